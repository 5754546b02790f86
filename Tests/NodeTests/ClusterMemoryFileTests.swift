import Coordination
import Foundation
import TestKit
import Testing

@testable import Node

@Suite struct ClusterMemoryFileTests {
    private static let text =
        #"{"format":1,"cluster":"c","reserved":1000,"config":"#
        + #"{"clusterId":"c-1","partitions":4,"hash":"xxh64-v1","activeProto":1,"rebalance":{"mode":"paused"},"pins":{"3":"n2"},"rev":2}}"#

    @Test func aSavedMemoryIsLoaded() async throws {
        try await withTemporaryFolder { (folder: String) async throws -> Void in
            let file = ClusterMemoryFile(folder: folder)
            #expect(file.load(cluster: "c") == (nil, nil))
            #expect(await file.save(Array(Self.text.utf8)) == nil)
            let (remembered, problem) = file.load(cluster: "c")
            #expect(problem == nil && remembered?.reservedOwnerEpoch == 1000 && remembered?.configuration.pins == [3: "n2"])
            let names = try FileManager.default.contentsOfDirectory(atPath: folder)
            #expect(names == ["cluster.json"])
        }
    }

    @Test(arguments: ["", "{", "\u{0}\u{1b}[2J", #"{"format":2}"#, #"{"format":1,"cluster":"c","reserved":-1}"#])
    func anInvalidFileIsReportedAndIgnored(_ text: String) async throws {
        try await withTemporaryFolder { (folder: String) async throws -> Void in
            try Data(text.utf8).write(to: URL(filePath: folder + "/cluster.json"))
            let file = ClusterMemoryFile(folder: folder)
            let (remembered, problem) = file.load(cluster: "c")
            #expect(remembered == nil && problem?.contains("is ignored") == true)
            // A new file replaces the invalid file. Nothing is appended.
            #expect(await file.save(Array(Self.text.utf8)) == nil)
            #expect(file.load(cluster: "c").0 != nil)
            // The invalid file is kept, because another version may be able to read it.
            #expect(try String(contentsOfFile: folder + "/cluster.json.damaged", encoding: .utf8) == text)
            #expect(problem?.contains("renamed to \(folder)/cluster.json.damaged") == true)
        }
    }

    /// If the folder was replaced, the new folder may belong to another cluster.
    @Test func aReplacedFolderIsNotWrittenTo() async throws {
        try await withTemporaryFolder { (base: String) async throws -> Void in
            let folder = base + "/data"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
            let file = ClusterMemoryFile(folder: folder)
            try FileManager.default.moveItem(atPath: folder, toPath: base + "/aside")
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
            #expect(await file.save(Array(Self.text.utf8)) == nil)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [])
            #expect(try FileManager.default.contentsOfDirectory(atPath: base + "/aside") == ["cluster.json"])
        }
    }

    @Test func aTooLongFileIsNotReadCompletely() async throws {
        try await withTemporaryFolder { (folder: String) async throws -> Void in
            try Data(repeating: 0x20, count: RememberedCluster.bytesMax + 100).write(to: URL(filePath: folder + "/cluster.json"))
            let (remembered, problem) = ClusterMemoryFile(folder: folder).load(cluster: "c")
            #expect(remembered == nil && problem != nil)
        }
    }

    @Test func anotherClustersFileIsReportedAndIgnored() async throws {
        try await withTemporaryFolder { (folder: String) async throws -> Void in
            let file = ClusterMemoryFile(folder: folder)
            #expect(await file.save(Array(Self.text.utf8)) == nil)
            let (remembered, problem) = file.load(cluster: "d")
            #expect(remembered == nil && problem?.contains("belongs to the cluster c") == true)
        }
    }

    @Test func aMissingFolderIsReportedAsASentence() async throws {
        try await withTemporaryFolder { (base: String) async throws -> Void in
            let folder = base + "/data"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
            let file = ClusterMemoryFile(folder: folder)
            try FileManager.default.removeItem(atPath: folder)
            #expect(file.load(cluster: "c") == (nil, nil))
            #expect(await file.save([])?.contains("cannot be written (open: No such file") == true)
        }
    }
}
