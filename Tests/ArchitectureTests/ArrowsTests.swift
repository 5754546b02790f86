import Foundation
import Testing

/// Arrows between modules are imports: ARCHITECTURE.md's table of layers lists all of them. Arrows between folders of one module are uses of names: these
/// arrows must not form a circle.
@Suite struct ArrowsTests {
    /// Circles that still exist. Do not add any. If a folder leaves its circle, remove it from this list.
    static let knownCircles: [[String]] = []

    @Test func modulesImportOnlyWhatTheTableOfLayersAllows() throws {
        let package = try Package.read()
        let table = LayerTable(markdown: package.architecture)
        #expect(!table.rows.isEmpty, "ARCHITECTURE.md has no table under ## Layers")
        for violation in table.violations(in: package.tree.files, modules: package.modules) { Issue.record("\(violation)") }
    }

    @Test func foldersFormNoCircle() throws {
        let tree = try Package.read().tree
        for violation in tree.violations(knownCircles: Self.knownCircles) { Issue.record("\(violation)") }
    }
}

/// The sources and documents of this package that the tests read.
struct Package {
    var tree: SourceTree
    /// The folders directly under Sources.
    var modules: Set<String>
    var architecture: String

    static func read() throws -> Package {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let sources = root.appending(path: "Sources")
        let enumerator = try #require(FileManager.default.enumerator(atPath: sources.path))
        var files: [SourceFile] = []
        for case let path as String in enumerator where path.hasSuffix(".swift") {
            files.append(SourceFile(path: path, text: try String(contentsOf: sources.appending(path: path), encoding: .utf8)))
        }
        return Package(
            tree: SourceTree(files: files.sorted { $0.path < $1.path }),
            modules: Set(try FileManager.default.contentsOfDirectory(atPath: sources.path).filter { !$0.hasPrefix(".") }),
            architecture: try String(contentsOf: root.appending(path: "ARCHITECTURE.md"), encoding: .utf8)
        )
    }
}
