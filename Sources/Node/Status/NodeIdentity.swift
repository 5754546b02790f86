/// What a node is called and what it was built from.
struct NodeIdentity: Sendable {
    var id: String
    var version: String
    var commit: String
}
