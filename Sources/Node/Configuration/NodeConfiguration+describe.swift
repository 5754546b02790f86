extension NodeConfiguration: CustomStringConvertible {
    /// The effective configuration: one line for each key, with its value and the source of the value. Secrets are not shown.
    package func describe() -> String {
        let rows = ConfigurationKey.all.map {
            [$0.name, self.shown($0), self.origins[$0.name]?.description ?? $0.defaultOrigin.map { "default, by \($0())" } ?? "default"]
        }
        let widths = (0..<2).map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            pad(row[0], to: widths[0]) + "  " + pad(row[1], to: widths[1]) + "  " + row[2]
        }.joined(separator: "\n")
    }

    /// The text of `describe()`, so that a configuration that is logged or interpolated shows no secret.
    package var description: String { self.describe() }

    private func shown(_ key: ConfigurationKey) -> String {
        guard let text = key.text(self) else { return "none" }
        if key.isSecret { return "set, not shown" }
        if case .integer(_, let unit) = key.kind { return "\(text) \(unit)" }
        return text
    }

    private func pad(_ text: String, to width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
