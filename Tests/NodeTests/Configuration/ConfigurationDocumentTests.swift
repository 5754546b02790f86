import Foundation
import Testing

@testable import Node

/// `docs/configuration.md` contains the same keys and texts as the table of keys.
@Suite struct ConfigurationDocumentTests {
    @Test func theDocumentHasARowForEveryKeyAndNoOtherRow() throws {
        let path = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath().deletingLastPathComponent().appendingPathComponent(
            "../../../docs/configuration.md"
        ).standardized
        let rows = try String(contentsOf: path, encoding: .utf8).split(separator: "\n").map(String.init).filter { $0.hasPrefix("| `") }
        let expected = ConfigurationKey.all.map(\.row)
        for row in expected where !rows.contains(row) { Issue.record("docs/configuration.md lacks: \(row)") }
        for row in rows where !expected.contains(row) { Issue.record("docs/configuration.md has, but the keys do not: \(row)") }
        #expect(rows.count == expected.count)
    }
}

extension ConfigurationKey {
    /// The key as the document shows it.
    fileprivate var row: String {
        "| `\(self.name)` | \(self.preset ?? "none") | \(self.allowed) | \(self.help) |"
    }
}
