/// Why a view is another than the one before: for the history of the node that wrote it.
struct ViewReasons: Sendable {
    /// Of nodes that have become another, or are gone from the view.
    var nodes: [String: String] = [:]
    /// Of the mode.
    var mode: String?
    /// Previous owners of the orphans that are granted now.
    var previousOwners: [Int: String] = [:]
}
