import AdminAPI
import JSON
import TestKit
import Testing

@testable import Coordination

@Suite struct ClusterViewJSONTests {
    static let text = """
        {"v":8123,"ce":17,"writer":"n3/412316860418/991","at":1795000000000,"mode":"normal","nodes":[\
        {"id":"n1","inc":412316860417,"link":"10.0.0.1:7400","api":"10.0.0.1:8081","zone":"a","w":1,"ver":"1.4.0","st":"active"},\
        {"id":"n2","link":"","api":"","zone":"b","w":0.5,"ver":"1.3.9","st":"down"}],\
        "owner":[0,0,-1],"oe":[5,5,6],"moves":[{"id":77,"p":0,"to":"n2","why":"drain"}]}
        """

    static func view(_ text: String) throws -> ClusterView { try ClusterView(json: Array(text.utf8)) }

    /// The error message for a view that is refused, or nil.
    static func refusal(_ text: String) -> String? {
        do throws(JSONError) {
            _ = try ClusterView(json: Array(text.utf8))
            return nil
        } catch { return error.description }
    }

    static func random(_ random: inout SplitMix) -> ClusterView {
        let nodes = (0..<random.below(8)).map { index in
            ClusterView.Node(
                id: "n\(index)", incarnation: random.chance(30) ? nil : Int64(random.below(1 << 40)), link: "10.0.0.\(index):7400", api: "\"\\\u{1}é",
                zone: ["", "a", "b"].randomElement(using: &random)!, weight: Double(random.below(1000)) / 7, version: "1.\(random.below(30)).0",
                state: NodeState.allCases.randomElement(using: &random)!)
        }
        let partitions = (0..<1 + random.below(40)).map { index in
            let owner = random.chance(20) ? nil : nodes.randomElement(using: &random)?.id
            let to = random.chance(20) && owner != nil ? nodes.randomElement(using: &random)!.id : nil
            let move = to == nil || to == owner ? nil : ClusterView.Move(id: Int64(index), to: to!, reason: .allCases.randomElement(using: &random)!)
            return ClusterView.Partition(owner: owner, ownerEpoch: Int64(random.below(1 << 50)), move: move)
        }
        return ClusterView(
            version: Int64(random.below(1 << 50)), controllerEpoch: Int32(random.below(1 << 30)), writer: "n/1/2", writtenAt: Int64(random.below(1 << 50)),
            mode: ClusterView.Mode.allCases.randomElement(using: &random)!, nodes: nodes, partitions: partitions)
    }

    @Test func readsAndWritesTheSameText() throws {
        let view = try Self.view(Self.text)
        #expect(view.partitions.map(\.owner) == ["n1", "n1", nil])
        #expect(view.partitions[0].move == ClusterView.Move(id: 77, to: "n2", reason: .drain))
        #expect(view.nodes.map(\.state) == [.active, .down])
        #expect(String(decoding: try view.json(), as: UTF8.self) == Self.text)
    }

    @Test func everyViewIsUnchangedAfterWritingAndReading() throws {
        for seed in 0..<2000 as Range<UInt64> {
            var random = SplitMix(seed: seed)
            let view = Self.random(&random)
            #expect(try ClusterView(json: view.json()) == view, "seed \(seed)")
        }
    }

    @Test func keepsUnknownFields() throws {
        let text = """
            {"v":1,"ce":1,"mirror":[3, 2],"writer":"w","at":0,"mode":"upgrading","nodes":[\
            {"id":"a","link":"","api":"","zone":"","w":1,"proto":3,"ver":"","st":"suspect"}],\
            "owner":[-1,0],"oe":[1,2],"moves":[],"isr":"x"}
            """
        var view = try Self.view(text)
        #expect(view.mode == .maintenance)
        #expect(view.nodes[0].state == .fenced)
        view.version = 2
        view.grant(0, to: "a")
        let written = String(decoding: try view.json(), as: UTF8.self)
        #expect(
            written == """
                {"v":2,"ce":1,"writer":"w","at":0,"nodes":[{"id":"a","link":"","api":"","zone":"","w":1,"ver":"","st":"suspect","proto":3}],\
                "owner":[0,0],"oe":[2,2],"moves":[],"mode":"upgrading","mirror":[3, 2],"isr":"x"}
                """)
        view.mode = .normal
        view.nodes[0].state = .active
        let set = try ClusterView(json: view.json())
        #expect(set.mode == .normal)
        #expect(set.nodes[0].state == .active)
        #expect(set == view)
    }

    @Test(arguments: [
        ("", "view is empty"),
        ("{", "view is not valid JSON, or is incomplete"),
        ("[]", "view is not a JSON object, or one of its field names is not valid text"),
        ("{}", "view has no v"),
        (text.replacing("\"v\":8123", with: "\"v\":-1"), "view.v is not a whole number from 0 to 9007199253692415"),
        (text.replacing("\"v\":8123", with: "\"v\":1,\"v\":2"), "view has the field \"v\" twice"),
        (text.replacing("[0,0,-1]", with: "[0,2,-1]"), "view.owner[1] is not a whole number from -1 to 1"),
        (text.replacing("[0,0,-1]", with: "[0,0]"), "view.owner has 2 elements and view.oe 3"),
        (text.replacing("[5,5,6]", with: "[5,5.5,6]"), "view.oe[1] is not a whole number from 0 to 9007199253692415"),
        (
            text.replacing("[0,0,-1]", with: "[]").replacing("[5,5,6]", with: "[]").replacing("{\"id\":77,\"p\":0,\"to\":\"n2\",\"why\":\"drain\"}", with: ""),
            "view: there are 0 partitions, and 1 to 65536 are allowed"
        ),
        (text.replacing("\"w\":0.5", with: "\"w\":-0.5"), "view.nodes[1].w is not a number from 0.0 to 1000.0"),
        (text.replacing("\"w\":0.5", with: "\"w\":\"1\""), "view.nodes[1].w is not a number from 0.0 to 1000.0"),
        (text.replacing("\"id\":\"n2\"", with: "\"id\":\"n1\""), "view: node n1 is listed twice"),
        (text.replacing("\"id\":\"n2\"", with: "\"id\":\"m\""), "view: node m is listed after n1, out of order"),
        (text.replacing("\"id\":\"n2\"", with: "\"id\":\"n 2\""), "view: nodes[1] has the id \"n 2\", which is not 1 to 64 characters of A-Z a-z 0-9 _ . -"),
        (text.replacing("\"to\":\"n2\"", with: "\"to\":\"n1\""), "view: partition 0 moves to n1, which owns it already"),
        (text.replacing("\"to\":\"n2\"", with: "\"to\":\"n7\""), "view: partition 0 moves to n7, which is not among the nodes"),
        (text.replacing("\"p\":0", with: "\"p\":2"), "view: partition 2 moves to n2, but has no owner"),
        (text.replacing("\"p\":0", with: "\"p\":3"), "view.moves[0].p is not a whole number from 0 to 2"),
        (text.replacing("\"st\":\"active\"", with: "\"st\":1"), "view.nodes[0].st is not a string of valid text"),
        (text.replacing("\"st\":\"active\"", with: "\"st\":\"\\ud800\""), "view.nodes[0].st is not a string of valid text"),
        (String(repeating: " ", count: 1_000_001), "view has 1000001 bytes, but at most 1000000 are allowed"),
    ])
    func theErrorNamesTheDamagedField(_ text: String, _ sentence: String) {
        #expect(Self.refusal(text) == sentence)
    }

    @Test func writesNoViewThatContradictsItself() throws {
        var view = try Self.view(Self.text)
        view.partitions[1].owner = "n9"
        #expect(throws: JSONError("partition 1 is owned by n9, which is not among the nodes")) { try view.json() }
    }

    /// Damaged JSON never crashes the reader. A view that can be read is unchanged after writing and reading.
    @Test func readingDamagedViewsNeverCrashes() throws {
        let tokens = ["\"", "\\u", "{", "}", "[", "]", ",", ":", "\\ud800", "null", "-", "\n", "é", "9999999999999999999", "1e999", "0.", "-1", "\"v\":"]
        var refused = 0
        for seed in 0..<20_000 as Range<UInt64> {
            var random = SplitMix(seed: seed)
            let bytes = random.mutate(random.chance(50) ? Array(Self.text.utf8) : try Self.random(&random).json(), with: tokens)
            do throws(JSONError) {
                let view = try ClusterView(json: bytes)
                #expect(try ClusterView(json: view.json()) == view, "seed \(seed)")
            } catch {
                refused += 1
                #expect(!error.description.isEmpty)
            }
        }
        #expect(refused > 10_000)
    }

    @Test func theLargestClusterFits() throws {
        let nodes = (100..<160).map {
            ClusterView.Node(
                id: "node-\($0)", incarnation: 412_316_860_417, link: "10.100.100.\($0):7400", api: "10.100.100.\($0):8081", zone: "zone-a", state: .active)
        }
        let partitions = (0..<16_384).map { ClusterView.Partition(owner: nodes[$0 % 60].id, ownerEpoch: 1_234_567) }
        let view = ClusterView(version: 1 << 40, controllerEpoch: 1 << 30, writer: "n/1/1", nodes: nodes, partitions: partitions)
        #expect(try view.json().count < 250_000)
        #expect(try ClusterView(json: view.json()) == view)
    }
}
