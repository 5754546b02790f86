/// The paths of a cluster's znodes.
struct ClusterPaths: Sendable {
    /// The parents of the chroot, in order, and the chroot itself. Empty without one.
    let chroot: [String]
    let root: String

    init(cluster: String, chroot: String = "") {
        var path = ""
        self.chroot = chroot.split(separator: "/").map { part in
            path += "/" + part
            return path
        }
        self.root = "\(chroot)/rt/\(cluster)"
    }

    var configuration: String { "\(self.root)/config" }
    var nodes: String { "\(self.root)/nodes" }
    var members: String { "\(self.root)/members" }
    var controller: String { "\(self.root)/controller" }
    var controllerEpoch: String { "\(self.root)/controller_epoch" }
    var view: String { "\(self.root)/view" }

    func node(_ id: String) -> String { "\(self.nodes)/\(id)" }
    func member(_ id: String) -> String { "\(self.members)/\(id)" }

    /// Creates the znodes that must exist before a node can join, parents first. The chroot and `/rt` are shared with other clusters on the same servers, so every
    /// user may create children there.
    var foundations: [ZooKeeperRequest] {
        let own: [(path: String, data: [UInt8])] = [(self.root, []), (self.nodes, []), (self.members, []), (self.controllerEpoch, Array("0".utf8))]
        return (self.chroot + ["\(self.chroot.last ?? "")/rt"]).map { .createShared(path: $0) }
            + own.map { .create(path: $0.path, data: $0.data, ephemeral: false) }
    }
}
