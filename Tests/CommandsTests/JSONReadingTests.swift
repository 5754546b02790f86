import JSON
import Testing

@testable import Commands

/// Commands print parts of received JSON. Each part must have exactly the received bytes.
@Suite struct JSONReadingTests {
    private func members(_ text: String) -> [String: String]? {
        guard var fields = JSONObject(text.utf8) else { return nil }
        return Dictionary(uniqueKeysWithValues: fields.names.map { ($0, fields.take($0)!.text) })
    }

    @Test func readsMembersUnchanged() {
        #expect(
            members(#"{"a":1.50,"b":{"x":[1, 2,{"}":"]"}]},"c":"\"},","d":null}"#) == [
                "a": "1.50", "b": #"{"x":[1, 2,{"}":"]"}]}"#, "c": #""\"},""#, "d": "null",
            ])
        #expect(members("{}") == [:])
        #expect(members(" {\n\"a\" : true , \"b\":[] } ") == ["a": "true", "b": "[]"])
        #expect(members(#"{"\u0061":1}"#) == ["a": "1"])
    }

    @Test(arguments: ["", "1", "[1]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1", "{\"a\":1,}", "{a:1}", "{\"a\":\"x}", "{\"a\":[}", "{\"a\":1}x"])
    func refusesTextsThatAreNotObjects(text: String) {
        #expect(self.members(text) == nil)
    }

    @Test func readsElementsUnchanged() {
        #expect(JSONValue(#"[1,"a,]",{"x":[2]}]"#.utf8)?.elements?.map(\.text) == ["1", #""a,]""#, #"{"x":[2]}"#])
        #expect(JSONValue("[]".utf8)?.elements?.isEmpty == true)
        #expect(JSONValue("[1,]".utf8)?.text == nil)
        #expect(JSONValue("{}".utf8)?.elements?.count == nil)
    }

    @Test func readsAndWritesStrings() {
        #expect(JSONValue(#""a\n\u00fc\/""#.utf8)?.string == "a\nü/")
        #expect(JSONValue("1".utf8)?.string == nil)
        #expect(writtenJSON { $0.string("a\"/\n") } == #""a\"/\n""#)
    }

    @Test func setsOneField() {
        func set(_ text: String) -> String? { JSONValue(text.utf8)?.json(setting: "b", to: "[2 ]") }
        #expect(set("{}") == #"{"b":[2 ]}"#)
        #expect(set(#"{"a" : {"b":1},"b":null, "c\n":1.50}"#) == #"{"a":{"b":1},"c\n":1.50,"b":[2 ]}"#, "the field is replaced, and occurs only once")
        #expect(set("[1]") == "[1]")
    }

    @Test(arguments: [
        "1", "0", "-0", "-1.5e+10", "1E5", #""a\u00fc\n""#, "null", "true", "false", "{}", " [ ] ", #"{"a":[1,2,{"b":null}]}"#, "\t[1 , 2]\n", #""grüße""#,
    ])
    func acceptsJSON(text: String) {
        #expect(JSONValue.accepts(text.utf8))
    }

    @Test(arguments: [
        "", " ", "a", "{", "[1,]", "{\"a\":1,}", "[,1]", "'a'", "{\"a\":1}}", "01", "+1", ".5", "1.", "1e", "-", "NaN", "tru", "\"a", "\"a\nb\"", #""\x""#,
        #""\u12g4""#, "{a:1}", "{\"a\" 1}", "[1 2]", "1 2", "// x\n1",
    ])
    func refusesInvalidJSON(text: String) {
        #expect(!JSONValue.accepts(text.utf8))
    }

    @Test func textMustBeUTF8AndNotTooDeep() {
        #expect(!JSONValue.accepts([0x22, 0xFF, 0x22]))
        func nested(_ depth: Int) -> String { String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
        // The maximum depth at which a node accepts a payload as JSON.
        #expect(JSONValue.accepts(nested(JSONScanner.depthMax).utf8))
        #expect(!JSONValue.accepts(nested(JSONScanner.depthMax + 1).utf8))
        #expect(!JSONValue.accepts(nested(100_000).utf8))
    }
}
