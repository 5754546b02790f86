/// Finds the name that a misspelt name probably stands for.
package enum NearestName {
    /// The most similar of `names`. Nil if no name is similar, because a wrong suggestion would mislead.
    package static func of(_ name: String, among names: some Sequence<String>) -> String? {
        let bytes = Array(name.utf8)
        let nearest = names.map { (name: $0, distance: distance(bytes, Array($0.utf8))) }.min { $0.distance < $1.distance }
        guard let nearest, nearest.distance <= max(2, bytes.count / 3) else { return nil }
        return nearest.name
    }

    /// The smallest number of insertions, deletions and replacements of bytes that turn one name into the other.
    static func distance(_ from: [UInt8], _ to: [UInt8]) -> Int {
        var previous = Array(0...to.count)
        for (row, byte) in from.enumerated() {
            var current = [row + 1]
            for column in to.indices {
                let replaced = previous[column] + (byte == to[column] ? 0 : 1)
                current.append(min(replaced, previous[column + 1] + 1, current[column] + 1))
            }
            previous = current
        }
        return previous[to.count]
    }
}
