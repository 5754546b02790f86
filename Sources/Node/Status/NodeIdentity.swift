/// The id of a node, and the version and commit of its program.
struct NodeIdentity: Sendable {
    var id: String
    var version: String
    var commit: String
}
