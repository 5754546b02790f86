/// Reads the samples of a response of `/metrics`.
struct PrometheusText: Sendable {
    struct Sample: Equatable, Sendable {
        var name: String
        var labels: [String: String]
        var value: Double
    }

    private(set) var samples: [Sample] = []

    init(_ text: String) {
        for line in text.split(whereSeparator: \.isNewline) where !line.hasPrefix("#") {
            if let sample = PrometheusText.sample(line) { self.samples.append(sample) }
        }
    }

    /// The sum of all samples with this name and these labels. Nil if no sample matches.
    func value(_ name: String, _ labels: [String: String] = [:]) -> Int? {
        let found = self.samples.filter { sample in sample.name == name && labels.allSatisfy { sample.labels[$0.key] == $0.value } }
        let sum = found.reduce(0) { $0 + $1.value }
        return found.isEmpty || !sum.isFinite ? nil : Int(sum)
    }

    private static func sample(_ line: Substring) -> Sample? {
        let name = line.prefix { $0 != "{" && $0 != " " && $0 != "\t" }
        var rest = line[name.endIndex...]
        var labels: [String: String] = [:]
        if rest.hasPrefix("{") {
            rest = rest.dropFirst()
            while !rest.hasPrefix("}") {
                let label = rest.prefix { $0 != "=" }
                rest = rest[label.endIndex...].dropFirst()
                guard rest.hasPrefix("\""), let value = quoted(&rest) else { return nil }
                labels[label.trimmingSpace] = value
                if rest.hasPrefix(",") { rest = rest.dropFirst() }
            }
            rest = rest.dropFirst()
        }
        guard !name.isEmpty, let value = rest.split(whereSeparator: \.isWhitespace).first.flatMap({ Double($0) }) else { return nil }
        return Sample(name: String(name), labels: labels, value: value)
    }

    private static func quoted(_ rest: inout Substring) -> String? {
        rest = rest.dropFirst()
        var value = ""
        while let next = rest.popFirst() {
            switch next {
            case "\"": return value
            case "\\":
                guard let escaped = rest.popFirst() else { return nil }
                value.append(escaped == "n" ? "\n" : escaped)
            default: value.append(next)
            }
        }
        return nil
    }
}

extension Substring {
    fileprivate var trimmingSpace: String { String(self.drop { $0 == " " }.prefix { $0 != " " }) }
}
