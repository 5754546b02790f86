import Testing

@testable import Commands

@Suite struct RawJSONTests {
    private func members(_ text: String) -> [String: String]? {
        RawJSON.members(text.utf8)?.mapValues { String(decoding: $0, as: UTF8.self) }
    }

    @Test func cutsMembersWithoutRewritingThem() {
        #expect(
            members(#"{"a":1.50,"b":{"x":[1, 2,{"}":"]"}]},"c":"\"},","d":null}"#) == [
                "a": "1.50", "b": #"{"x":[1, 2,{"}":"]"}]}"#, "c": #""\"},""#, "d": "null",
            ])
        #expect(members("{}") == [:])
        #expect(members(" {\n\"a\" : true , \"b\":[] } ") == ["a": "true", "b": "[]"])
        #expect(members(#"{"\u0061":1}"#) == ["a": "1"])
    }

    @Test(arguments: ["", "1", "[1]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1", "{\"a\":1,}", "{a:1}", "{\"a\":\"x}", "{\"a\":[}", "{\"a\":1}x"])
    func refusesWhatIsNoObject(text: String) {
        #expect(RawJSON.members(text.utf8) == nil)
    }

    @Test func cutsElements() {
        #expect(RawJSON.elements(#"[1,"a,]",{"x":[2]}]"#.utf8)?.map { String(decoding: $0, as: UTF8.self) } == ["1", #""a,]""#, #"{"x":[2]}"#])
        #expect(RawJSON.elements("[]".utf8) == [])
        #expect(RawJSON.elements("[1,]".utf8) == nil)
        #expect(RawJSON.elements("{}".utf8) == nil)
    }

    @Test func readsAndWritesStrings() {
        #expect(RawJSON.string(#""a\n\u00fc\/""#.utf8) == "a\nü/")
        #expect(RawJSON.string("1".utf8) == nil)
        #expect(RawJSON.quoted("a\"/\n") == #""a\"/\n""#)
    }

    @Test(arguments: [
        "1", "0", "-0", "-1.5e+10", "1E5", #""a\u00fc\n""#, "null", "true", "false", "{}", " [ ] ", #"{"a":[1,2,{"b":null}]}"#, "\t[1 , 2]\n", #""grüße""#,
    ])
    func knowsJSON(text: String) {
        #expect(JSONGrammar.accepts(text.utf8))
    }

    @Test(arguments: [
        "", " ", "a", "{", "[1,]", "{\"a\":1,}", "[,1]", "'a'", "{\"a\":1}}", "01", "+1", ".5", "1.", "1e", "-", "NaN", "tru", "\"a", "\"a\nb\"", #""\x""#,
        #""\u12g4""#, "{a:1}", "{\"a\" 1}", "[1 2]", "1 2", "// x\n1",
    ])
    func knowsWhatIsNoJSON(text: String) {
        #expect(!JSONGrammar.accepts(text.utf8))
    }

    @Test func textMustBeUTF8AndNotTooDeep() {
        #expect(!JSONGrammar.accepts([0x22, 0xFF, 0x22]))
        func nested(_ depth: Int) -> String { String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
        #expect(JSONGrammar.accepts(nested(500).utf8))
        #expect(!JSONGrammar.accepts(nested(100_000).utf8))
    }
}
