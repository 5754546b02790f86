import Testing

/// Tests the checks of this target on invented sources: which arrows and violations they find, and which they do not.
@Suite struct ArrowRulesTests {
    private func tree(_ files: [(path: String, text: String)]) -> SourceTree { SourceTree(files: files.map { SourceFile(path: $0.path, text: $0.text) }) }

    private func arrows(_ files: [(path: String, text: String)]) -> [String] {
        self.tree(files).arrows.sorted { $0.key < $1.key }.map { "\($0.key.from) \($0.key.to) \($0.value[0])" }
    }

    @Test func aTypeFromAnotherFolderMakesAnArrow() {
        let home = ("M/Home/Home.swift", "struct Home { enum Room { case big } }\nfunc enter() {}\nlet doors = 3")
        #expect(arrows([home, ("M/Street/A.swift", "let x = 1\nfunc f(_ home: Home) {}")]) == ["M/Street M/Home Sources/M/Street/A.swift:2 names Home"])
        #expect(arrows([home, ("M/Street/A.swift", "let room: [Home.Room] = []")]).count == 1)
        #expect(arrows([home, ("M/Street/A.swift", "let a = \"\\(Home().x)\"")]).count == 1)
        #expect(arrows([home, ("M/Street/A.swift", "struct A { func f() { enter() } }")]) == ["M/Street M/Home Sources/M/Street/A.swift:1 names enter"])
        #expect(arrows([home, ("M/Street/A.swift", "extension Home { func leave() {} }")]).count == 1)
        #expect(arrows([home, ("M/Home/A.swift", "var home: Home")]) == [])
    }

    @Test func aMemberFromAnotherFoldersExtensionMakesAnArrow() {
        let files = [
            ("M/Home/Home.swift", "struct Home {}"),
            ("M/Garden/Home+Garden.swift", "extension Home { func plantTrees() {} }\nextension Home { struct Tree {} }"),
        ]
        #expect(
            arrows(files + [("M/Street/A.swift", "func f(x: Int) { x.plantTrees() }")]).contains(
                "M/Street M/Garden Sources/M/Street/A.swift:1 names plantTrees"))
        #expect(arrows(files + [("M/Street/A.swift", "let tree = Home.Tree()")]).contains("M/Street M/Garden Sources/M/Street/A.swift:1 names Tree"))
    }

    @Test func namesOfOtherThingsMakeNoArrow() {
        let home = ("M/Home/Home.swift", "struct Home {}\nprivate struct Secret {}\nextension Home { struct Room {} }")
        for text in [
            "// Home\n/* Home /* */ Home */ let a = \"Home\" + #\"\\(Home)\"# + \"\"\"\n Home \"Home\"\n\"\"\"",
            "struct A { struct Home {}\n var home: Home }",
            "struct A { enum Kind { case Home }\n typealias Home = Int }\nextension A { var x: Home { 1 } }",
            "struct Box<Home: Sendable> { var x: Home }",
            "func f<each Home>(_ x: repeat each Home) {}",
            "let secret = Secret()",
            "let room = Room()",
            "let x = Other.Home()",
            "let x = list.Home",
        ] {
            #expect(arrows([home, ("M/Street/A.swift", text)]) == [], "\(text)")
        }
        #expect(arrows([home, ("N/Street/A.swift", "let home: Home")]) == [], "names of another module need an import and make no arrow")
    }

    @Test func aCircleIsFoundAndNamed() throws {
        let tree = tree([
            ("M/A/A.swift", "struct A { var b: B }"), ("M/B/B.swift", "struct B { var c: C }"), ("M/C/C.swift", "struct C {\n var a: A }"),
            ("M/D/D.swift", "struct D { var a: A }"),
        ])
        #expect(tree.circles == [["M/A", "M/B", "M/C"]])
        let violations = tree.violations(knownCircles: [])
        #expect(violations.count == 1)
        #expect(violations.first?.contains("M/C -> M/A: Sources/M/C/C.swift:2 names A") == true)
        #expect(tree.violations(knownCircles: [["M/A", "M/B", "M/C"]]) == [])
        #expect(tree.violations(knownCircles: [["M/A", "M/B"]]).count == 1, "the circle has grown")
        #expect(tree.violations(knownCircles: [["M/A", "M/B", "M/C", "M/D"]]).count == 1, "the circle has shrunk")
        #expect(tree.violations(knownCircles: [["M/A", "M/B", "M/C"], ["M/D", "M/E"]]).count == 1, "the circle is gone")
    }

    private func violations(_ rows: [LayerTable.Row], _ files: [(path: String, text: String)]) -> [String] {
        let files = files.map { SourceFile(path: $0.path, text: $0.text) }
        return LayerTable(rows: rows).violations(in: files, modules: Set(files.map(\.module)))
    }

    @Test func theTableOfLayersIsExact() {
        let high = LayerTable.Row(name: "High", ours: ["Low"], others: [])
        let low = LayerTable.Row(name: "Low", ours: [], others: ["NIOCore"])
        let lowFile = ("Low/B.swift", "internal import NIOCore\nimport Glibc")
        let highFile = ("High/A.swift", "package import Low")
        #expect(violations([high, low], [highFile, lowFile]) == [])
        #expect(violations([low, high], [highFile, lowFile]) == ["the row of High allows Low, but the row of Low is not further down"])
        #expect(
            violations([high, low], [highFile, lowFile, ("Low/C.swift", "\nimport High")]) == [
                "Sources/Low/C.swift:2 imports High: no row of the table allows it"
            ])
        #expect(
            violations([high, low], [("High/A.swift", "import Low\nimport struct Foundation.URL"), lowFile])
                == ["Sources/High/A.swift:2 imports Foundation: no row of the table allows it"])
        #expect(violations([high, low], [("High/A.swift", ""), lowFile]) == ["no file of High imports Low: remove Low from the row"])
        #expect(violations([low], [("High/A.swift", ""), lowFile]) == ["Sources/High has no row"])
        #expect(violations([high, low, .init(name: "Gone", ours: [], others: [])], [highFile, lowFile]) == ["Gone has a row, but no folder in Sources"])
        let folder = LayerTable.Row(name: "High/Disk", ours: [], others: ["GRDB"])
        #expect(violations([high, folder, low], [highFile, lowFile, ("High/Disk/D.swift", "import GRDB")]) == [])
        #expect(
            violations([high, folder, low], [("High/A.swift", "import Low\nimport GRDB"), lowFile, ("High/Disk/D.swift", "import GRDB")])
                == ["Sources/High/A.swift:2 imports GRDB: no row of the table allows it"])
    }

    @Test func theTableIsReadFromMarkdown() {
        let text =
            "## Words\n| `No` | a | b | c |\n## Layers\n\n| module | is | knows | others |\n|---|---|---|---|\n| `A` | x | `B`, `C` | |\n| `B` | `x` | – | `D` |\n## Next\n| `E` | a | b | c |"
        #expect(LayerTable(markdown: text).rows == [.init(name: "A", ours: ["B", "C"], others: []), .init(name: "B", ours: [], others: ["D"])])
    }
}
