/// The declarations, imports and uses of one Swift file, as far as its tokens show them.
struct SourceFile {
    struct Declaration {
        enum Place: Equatable {
            /// At file scope.
            case file
            /// Inside the braces of a type, with the type's full name.
            case type(String)
            case `extension`(of: String)
            /// Inside a function or a closure.
            case local
        }

        var name: String
        var place: Place
        var isType: Bool
        /// True if other files can use the declaration.
        var isShared: Bool
    }

    struct Use {
        var name: String
        /// The words before the name: `A.B.name` has `["A", "B"]`. Empty if there are none.
        var base: [String]
        /// True if a dot is before the name.
        var isMember: Bool
        var isCall: Bool
        /// The full names of the types whose braces contain the use, outermost first.
        var inside: [String]
        var line: Int
    }

    /// The path from the folder `Sources`.
    var path: String
    var imports: [(module: String, line: Int)] = []
    var declarations: [Declaration] = []
    var uses: [Use] = []
    /// Names of generic parameters. They hide types of the same name.
    var parameters: Set<String> = []

    /// The folder of the file, from the folder `Sources`: `Pipeline/Event`.
    var folder: String { self.path.split(separator: "/").dropLast().joined(separator: "/") }
    var module: String { String(self.path.prefix { $0 != "/" }) }

    private enum Scope {
        case type(String)
        case `extension`(String)
        case other
    }

    private static let types: Set<String> = ["struct", "class", "enum", "actor", "protocol"]
    private static let modifiers: Set<String> = [
        "private", "fileprivate", "internal", "package", "public", "open", "final", "static", "class", "nonisolated", "mutating", "nonmutating", "lazy", "weak",
        "unowned", "indirect", "override", "convenience", "required", "isolated", "consuming", "borrowing", "dynamic", "async", "distributed",
    ]

    init(path: String, text source: String) {
        self.path = path
        let tokens = SwiftTokens.tokens(of: source)
        var scopes: [Scope] = []
        /// The type or extension whose opening brace is next.
        var pending: Scope?
        var declared: Set<Int> = []
        var inside: [String] { scopes.compactMap { if case .type(let name) = $0 { name } else if case .extension(let name) = $0 { name } else { nil } } }
        func text(_ index: Int) -> String { tokens.indices.contains(index) ? tokens[index].text : "" }
        func isWord(_ index: Int) -> Bool { tokens.indices.contains(index) && tokens[index].kind == .word }
        /// The words of `A.B.C`, from this index on.
        func chain(from start: Int) -> [String] {
            var words = [text(start)]
            var index = start + 1
            while text(index) == ".", isWord(index + 1) {
                words.append(text(index + 1))
                index += 2
            }
            return words
        }
        func place() -> Declaration.Place {
            switch scopes.last {
            case nil: .file
            case .type(let name): .type(name)
            case .extension(let name): .extension(of: name)
            case .other: .local
            }
        }
        /// Returns true if the declaration whose keyword is at this index is private to the file.
        func isPrivate(_ index: Int) -> Bool {
            var index = index - 1
            while index >= 0 {
                if text(index) == ")" {
                    // `private(set)`, `nonisolated(unsafe)`, an attribute's arguments: these do not hide the declaration.
                    while index >= 0, text(index) != "(" { index -= 1 }
                    index -= text(index - 2) == "@" ? 3 : 2
                } else if text(index - 1) == "@" {
                    index -= 2
                } else if Self.modifiers.contains(text(index)) {
                    if text(index) == "private" || text(index) == "fileprivate" { return true }
                    index -= 1
                } else {
                    return false
                }
            }
            return false
        }
        var hidden = false

        for (index, token) in tokens.enumerated() {
            if token.kind == .mark {
                switch token.text {
                case "{":
                    scopes.append(pending ?? .other)
                    pending = nil
                case "}":
                    _ = scopes.popLast()
                    if scopes.isEmpty { hidden = false }
                default: break
                }
                continue
            }
            if declared.contains(index) { continue }
            let before = text(index - 1)
            let isAfterDot = before == "." && text(index - 2) != "."
            if !isAfterDot, before != "`" {
                if token.text == "import", scopes.isEmpty {
                    var name = index + 1
                    if Self.types.contains(text(name)) || text(name) == "func" { name += 1 }
                    self.imports.append((text(name), token.line))
                    declared.formUnion([name])
                    continue
                }
                if token.text == "extension", isWord(index + 1) {
                    pending = .extension(chain(from: index + 1).joined(separator: "."))
                    if scopes.isEmpty { hidden = isPrivate(index) }
                    continue
                }
                if Self.types.contains(token.text), isWord(index + 1), !Self.modifiers.contains(text(index + 1)),
                    !["func", "var", "let"].contains(text(index + 1))
                {
                    let name = text(index + 1)
                    self.declarations.append(Declaration(name: name, place: place(), isType: true, isShared: !hidden && !isPrivate(index)))
                    declared.insert(index + 1)
                    pending = .type((inside.last.map { [$0] } ?? []).joined() + (inside.isEmpty ? "" : ".") + name)
                    if text(index + 2) == "<" { self.parameters.formUnion(Self.parameters(tokens, from: index + 3)) }
                    continue
                }
                if ["typealias", "associatedtype"].contains(token.text), isWord(index + 1) {
                    self.declarations.append(Declaration(name: text(index + 1), place: place(), isType: true, isShared: !hidden && !isPrivate(index)))
                    declared.insert(index + 1)
                    continue
                }
                if ["func", "var", "let"].contains(token.text), isWord(index + 1) {
                    self.declarations.append(Declaration(name: text(index + 1), place: place(), isType: false, isShared: !hidden && !isPrivate(index)))
                    declared.insert(index + 1)
                    if token.text == "func", text(index + 2) == "<" { self.parameters.formUnion(Self.parameters(tokens, from: index + 3)) }
                    continue
                }
                if token.text == "case", isWord(index + 1), case .type = scopes.last {
                    self.declarations.append(Declaration(name: text(index + 1), place: place(), isType: false, isShared: !hidden))
                    declared.insert(index + 1)
                    continue
                }
            }
            var base: [String] = []
            var first = index
            while text(first - 1) == ".", isWord(first - 2), text(first - 2) != "self" || base.isEmpty {
                base.insert(text(first - 2), at: 0)
                first -= 2
            }
            self.uses.append(
                Use(
                    name: token.text, base: base, isMember: isAfterDot, isCall: text(index + 1) == "(" || text(index + 1) == "{", inside: inside,
                    line: token.line
                ))
        }
    }

    /// The names in `<A: B, C>`, from the word after the bracket.
    private static func parameters(_ tokens: [Token], from start: Int) -> Set<String> {
        var names: Set<String> = []
        var depth = 1
        var isName = true
        var index = start
        while index < tokens.count, depth > 0 {
            switch tokens[index].text {
            case "<": depth += 1
            case ">": depth -= 1
            case ",": if depth == 1 { isName = true }
            case "let", "each": break
            default:
                if isName, tokens[index].kind == .word { names.insert(tokens[index].text) }
                isName = false
            }
            index += 1
        }
        return names
    }
}
