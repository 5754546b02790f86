/// All source files, and the arrows between their folders.
struct SourceTree {
    /// A file of the folder `from` uses a name that the folder `to` declares.
    struct Arrow: Hashable, Comparable {
        var from: String
        var to: String

        static func < (left: Arrow, right: Arrow) -> Bool { (left.from, left.to) < (right.from, right.to) }
    }

    /// Where an arrow comes from: `Pipeline/Event/Cursor.swift:12 names Feed`.
    struct Reference: Comparable, CustomStringConvertible {
        var path: String
        var line: Int
        var name: String

        var description: String { "Sources/\(self.path):\(self.line) names \(self.name)" }
        static func < (left: Reference, right: Reference) -> Bool { (left.path, left.line) < (right.path, right.line) }
    }

    let files: [SourceFile]
    /// The arrows between folders of the same module, with their references.
    let arrows: [Arrow: [Reference]]

    init(files: [SourceFile]) {
        self.files = files
        var arrows: [Arrow: [Reference]] = [:]
        for files in Dictionary(grouping: files, by: \.module).values {
            let names = ModuleNames(files: files)
            for file in files {
                for use in file.uses {
                    for home in names.homes(of: use, in: file) where home != file.folder {
                        arrows[Arrow(from: file.folder, to: home), default: []].append(Reference(path: file.path, line: use.line, name: use.name))
                    }
                }
            }
        }
        self.arrows = arrows.mapValues { $0.sorted() }
    }

    /// The groups of folders that reach each other through arrows. Each group is sorted.
    var circles: [[String]] {
        var next: [String: Set<String>] = [:]
        for arrow in self.arrows.keys { next[arrow.from, default: []].insert(arrow.to) }
        let reached = Dictionary(uniqueKeysWithValues: next.keys.map { ($0, Self.reached(from: $0, by: next)) })
        var circles: Set<[String]> = []
        for (folder, others) in reached where others.contains(folder) {
            circles.insert(others.filter { reached[$0]?.contains(folder) == true }.sorted())
        }
        return circles.sorted { $0[0] < $1[0] }
    }

    /// One message for each circle that is not in `knownCircles`, and for each circle in `knownCircles` that no longer exists or is smaller.
    func violations(knownCircles: [[String]]) -> [String] {
        var violations: [String] = []
        let circles = self.circles
        for circle in circles where !knownCircles.contains(where: { Set(circle).isSubset(of: $0) }) {
            let inside = self.arrows.filter { circle.contains($0.key.from) && circle.contains($0.key.to) }
            // Arrows with the fewest references first, because they are the easiest to remove.
            let lines = inside.sorted { ($0.value.count, $0.key) < ($1.value.count, $1.key) }
                .map { "  \($0.key.from) -> \($0.key.to): \($0.value[0])" + ($0.value.count > 1 ? " (and \($0.value.count - 1) more)" : "") }
            violations.append((["a circle of folders: " + circle.joined(separator: ", ")] + lines).joined(separator: "\n"))
        }
        for known in knownCircles where !circles.contains(where: { Set($0).isSuperset(of: known) }) {
            let left = circles.filter { Set($0).isSubset(of: known) }
            violations.append(
                "the known circle of \(known.joined(separator: ", ")) is " + (left.isEmpty ? "gone" : "smaller: \(left)") + "; update the list of known circles"
            )
        }
        return violations
    }

    private static func reached(from start: String, by next: [String: Set<String>]) -> Set<String> {
        var reached: Set<String> = []
        var open = Array(next[start] ?? [])
        while let folder = open.popLast() {
            if reached.insert(folder).inserted { open.append(contentsOf: next[folder] ?? []) }
        }
        return reached
    }
}

/// The names of one module, and the folders that declare them.
private struct ModuleNames {
    /// The folder of each type, by the type's full name.
    private var types: [String: String] = [:]
    /// The folder of each function or value at file scope whose name has no other use in the module.
    private var globals: [String: String] = [:]
    /// The folder of each member that an extension adds to a type of another folder, if its name has no other use in the module.
    private var members: [String: String] = [:]

    init(files: [SourceFile]) {
        var count: [String: Set<String>] = [:]
        for file in files {
            for declaration in file.declarations {
                let place: String
                switch declaration.place {
                case .file:
                    place = "file \(file.folder)"
                    if declaration.isType, declaration.isShared { self.types[declaration.name] = file.folder }
                case .type(let name), .extension(of: let name):
                    place = "\(name) \(file.folder)"
                    if declaration.isType { self.types[name + "." + declaration.name] = file.folder }
                case .local: place = "local"
                }
                if !declaration.isType { count[declaration.name, default: []].insert(place) }
            }
        }
        for file in files {
            for declaration in file.declarations where declaration.isShared && !declaration.isType && count[declaration.name]?.count == 1 {
                switch declaration.place {
                case .file: self.globals[declaration.name] = file.folder
                case .extension(of: let name): if let home = self.types[name], home != file.folder { self.members[declaration.name] = file.folder }
                case .type, .local: break
                }
            }
        }
    }

    /// The folder that declares the used name. Empty if the module does not declare it.
    func homes(of use: SourceFile.Use, in file: SourceFile) -> [String] {
        if use.base.isEmpty, !use.isMember {
            if let home = self.type(use.name, inside: use.inside, in: file) { return [home.folder] }
            if let home = self.globals[use.name] { return [home] }
            return []
        }
        if let first = use.base.first, let outer = self.type(first, inside: use.inside, in: file) {
            let name = ([outer.name] + use.base.dropFirst() + [use.name]).joined(separator: ".")
            if let home = self.types[name] { return [home] }
        }
        if let home = self.members[use.name] { return [home] }
        return []
    }

    private func type(_ name: String, inside: [String], in file: SourceFile) -> (name: String, folder: String)? {
        if file.parameters.contains(name) { return nil }
        for outer in inside.reversed() {
            // Inside `A.B`, a name may mean `A.B.name` or `A.name`, in this order.
            var words = outer.split(separator: ".")[...]
            while !words.isEmpty {
                let full = words.joined(separator: ".") + "." + name
                if let folder = self.types[full] { return (full, folder) }
                words = words.dropLast()
            }
        }
        if file.declarations.contains(where: { $0.isType && !$0.isShared && $0.place == .file && $0.name == name }) { return nil }
        return self.types[name].map { (name, $0) }
    }
}
