/// The paths of a cluster's znodes.
struct ClusterPaths: Sendable {
    /// The parents of the chroot, in order, and the chroot itself. Empty if there is no chroot.
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

    /// The requests that create the znodes that a node needs before it can join, parents first. Other clusters on the same servers use the same chroot and
    /// `/rt`, so every user may create children there.
    var foundations: [ZooKeeperRequest] {
        let own: [(path: String, data: [UInt8])] = [(self.root, []), (self.nodes, []), (self.members, []), (self.controllerEpoch, Array("0".utf8))]
        return (self.chroot + ["\(self.chroot.last ?? "")/rt"]).map { .createShared(path: $0) }
            + own.map { .create(path: $0.path, data: $0.data, ephemeral: false) }
    }
}
