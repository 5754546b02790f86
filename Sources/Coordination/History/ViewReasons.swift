/// The reasons for the changes of a view, for the history of the node that wrote it.
struct ViewReasons: Sendable {
    /// The reason for each node that changed its state or was removed from the view.
    var nodes: [String: String] = [:]
    /// The reason for a change of the mode.
    var mode: String?
    /// The previous owners of the orphans that this view grants.
    var previousOwners: [Int: String] = [:]
}
