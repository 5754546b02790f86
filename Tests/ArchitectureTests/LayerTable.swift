/// The table under `## Layers` in ARCHITECTURE.md: which modules each module or folder may import.
struct LayerTable {
    struct Row: Equatable {
        /// A module, or a folder that may import more than the rest of its module.
        var name: String
        /// Modules of this package, which have rows further down.
        var ours: [String]
        /// Modules of other packages.
        var others: [String]
    }

    var rows: [Row] = []

    init(rows: [Row]) { self.rows = rows }

    /// Reads `| `Name` | what it is | `Ours`, `Ours` | `Others` |` lines.
    init(markdown: String) {
        var isInside = false
        for line in markdown.split(separator: "\n") {
            if line.hasPrefix("## ") { isInside = line == "## Layers" }
            guard isInside, line.hasPrefix("| `") else { continue }
            let cells = line.split(separator: "|")
            guard cells.count >= 4, let name = Self.names(in: cells[0]).first else { continue }
            self.rows.append(Row(name: name, ours: Self.names(in: cells[2]), others: Self.names(in: cells[3])))
        }
    }

    /// The texts between pairs of backticks.
    private static func names(in cell: Substring) -> [String] {
        cell.split(separator: "`", omittingEmptySubsequences: false).enumerated().compactMap { index, part in index % 2 == 1 ? String(part) : nil }
    }

    /// Modules that any module may import without a row: libraries of the system and of the language.
    private static let free: Set<String> = ["Darwin", "Dispatch", "Glibc", "Musl", "Synchronization"]

    /// One sentence for each import that the table does not allow, and for each entry of the table that is wrong or not needed.
    func violations(in files: [SourceFile], modules: Set<String>) -> [String] {
        var violations: [String] = []
        var place: [String: Int] = [:]
        for (index, row) in self.rows.enumerated() { place[row.name] = index }
        for row in self.rows {
            for name in row.ours {
                guard let below = place[name] else {
                    violations.append("the row of \(row.name) allows \(name), but \(name) has no row")
                    continue
                }
                if below <= place[row.name]! { violations.append("the row of \(row.name) allows \(name), but the row of \(name) is not further down") }
            }
        }
        var used: Set<String> = []
        for file in files {
            for (name, line) in file.imports where !Self.free.contains(name) {
                let row = self.rows.first { file.folder == $0.name && ($0.ours + $0.others).contains(name) }
                let allowing = row ?? self.rows.first { file.module == $0.name && ($0.ours + $0.others).contains(name) }
                if let allowing {
                    used.insert("\(allowing.name) \(name)")
                } else {
                    violations.append("Sources/\(file.path):\(line) imports \(name): no row of the table allows it")
                }
            }
        }
        for row in self.rows {
            for name in row.ours + row.others where !used.contains("\(row.name) \(name)") {
                violations.append("no file of \(row.name) imports \(name): remove \(name) from the row")
            }
        }
        let named = Set(self.rows.map(\.name))
        violations += modules.subtracting(named).sorted().map { "Sources/\($0) has no row" }
        violations += named.filter { !$0.contains("/") }.subtracting(modules).sorted().map { "\($0) has a row, but no folder in Sources" }
        return violations
    }
}
