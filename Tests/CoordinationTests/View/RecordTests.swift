import AdminAPI
import JSON
import TestKit
import Testing

@testable import Coordination

@Suite struct RecordTests {
    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    @Test func nodeRecord() throws {
        let record = NodeRecord(desired: .draining, note: "disk \"a\"", by: "ops", at: 12)
        #expect(try NodeRecord(json: record.json) == record)
        #expect(try NodeRecord(json: NodeRecord().json) == NodeRecord())
        let text = #"{"note":"","by":"","at":0,"desired":"parked","weight":0.1,"new":{"x":1}}"#
        var later = try NodeRecord(json: Array(text.utf8))
        #expect(later.desired == .cordoned)
        #expect(self.text(later.json) == text)
        later.desired = .active
        #expect(try NodeRecord(json: later.json).desired == .active)
    }

    @Test func memberRecord() throws {
        let record = MemberRecord(link: "h:1", api: "h:2", zone: "a", weight: 0.3, version: "1.2.3", protocols: 2...3, nonce: "x", startedAt: 99)
        #expect(try MemberRecord(json: record.json) == record)
        for proto in ["[3,2]", "[1]", "[1,2,3]", "1", "[1,\"2\"]"] {
            #expect(throws: JSONError.self) { try MemberRecord(json: Array(self.text(record.json).replacing("[2,3]", with: proto).utf8)) }
        }
        #expect(throws: JSONError("member has no weight")) {
            var mad = record
            mad.weight = .nan
            _ = try MemberRecord(json: mad.json)
        }
    }

    @Test func configuration() throws {
        let configuration = ClusterConfiguration(clusterID: "c", partitionCount: 256, pins: [3: "n1", 20: "n2", 100: "n1"])
        #expect(try ClusterConfiguration(json: configuration.json) == configuration)
        #expect(
            self.text(configuration.json)
                == #"{"clusterId":"c","partitions":256,"hash":"xxh64-v1","activeProto":1,"rebalance":{"mode":"automatic"},"#
                + #""pins":{"3":"n1","20":"n2","100":"n1"}}"#)
        let text = #"{"clusterId":"c","partitions":8,"hash":"h","activeProto":2,"rebalance":{"mode":"gentle","x":[]},"pins":{},"limits":{"y":1}}"#
        var later = try ClusterConfiguration(json: Array(text.utf8))
        #expect(later.rebalance == .paused)
        #expect(self.text(later.json) == text)
        later.rebalance = .automatic
        #expect(self.text(later.json) == text.replacing(#""mode":"gentle","#, with: #""mode":"automatic","#))
        for (pins, sentence) in [
            (#"{"8":"n1"}"#, #"config.pins has "8", which is not a partition from 0 to 7"#),
            (#"{"01":"n1"}"#, #"config.pins has "01", which is not a partition from 0 to 7"#),
            (#"{"1":"n 1"}"#, #"config.pins.1 is "n 1", which is not a node's id"#),
        ] {
            #expect(throws: JSONError(sentence)) {
                try ClusterConfiguration(json: Array(text.replacing(#""pins":{}"#, with: "\"pins\":\(pins)").utf8))
            }
        }
    }

    @Test func readingDamagedRecordsNeverCrashes() {
        let corpus = [
            NodeRecord(desired: .cordoned, note: "z").json,
            MemberRecord(link: "h:1", api: "h:2", version: "1", protocols: 1...2, nonce: "x", startedAt: 9).json,
            ClusterConfiguration(clusterID: "c", partitionCount: 8, pins: [1: "n"]).json,
        ]
        for seed in 0..<5000 as Range<UInt64> {
            var random = SplitMix(seed: seed)
            let bytes = random.mutate(corpus.randomElement(using: &random)!, with: ["\"", "{", "}", "[", "]", ",", "null", "1e999", "\\ud800", "-0"])
            if let record = try? NodeRecord(json: bytes) { #expect((try? NodeRecord(json: record.json)) == record, "seed \(seed)") }
            if let record = try? MemberRecord(json: bytes) { #expect((try? MemberRecord(json: record.json)) == record, "seed \(seed)") }
            if let record = try? ClusterConfiguration(json: bytes) { #expect((try? ClusterConfiguration(json: record.json)) == record, "seed \(seed)") }
        }
    }
}
