import JSON

/// Follows the cluster's configuration: reads it, creates it for a new cluster, and notices when ZooKeeper has lost or damaged it. A pure value.
struct ConfigurationMachine: Sendable {
    enum Operation: Hashable, Sendable {
        case create
        /// Reads the view, which shows whether the cluster is new or has lost its configuration.
        case inspectView
    }

    enum Effect: Hashable, Sendable {
        case perform(ZooKeeperRequest, for: Operation)
        /// Create the cluster's parent znodes that are missing.
        case makeFoundations
        /// Read the configuration again at that time, or immediately if the time is nil.
        case read(from: ContinuousClock.Instant?)
        /// Begin joining again.
        case joinAgain
        case alarm(String)
        case refuse(String)
    }

    /// The configuration's znode does not contain the newest configuration of this cluster.
    struct Fault: Hashable, Sendable {
        /// The version of the znode. The content is replaced only if the znode still has this version.
        var version: Int32
        /// Whether a newer version of the program wrote the znode. If so, this version does not replace the content.
        var isNewer = false
    }

    private let settings: ClusterSettings
    private let paths: ClusterPaths
    private let nonce: UInt64
    private(set) var configuration: ClusterConfiguration?
    /// The version of the znode.
    private(set) var version: Int32 = 0
    /// The czxid of the znode in which ``configuration`` was last found. Nil until the configuration has been found in the present session, because another
    /// cluster may have created a znode there before.
    private var created: Int64?
    private(set) var fault: Fault?
    /// When the configuration was first found missing in ZooKeeper. Nil if it exists there.
    private(set) var absentSince: ContinuousClock.Instant?
    /// Whether this process created the cluster's configuration while it knew no earlier configuration.
    private(set) var hasFounded = false
    private var open: Set<Operation> = []

    init(settings: ClusterSettings, nonce: UInt64, remembered: ClusterConfiguration?) {
        self.settings = settings
        self.paths = settings.paths
        self.nonce = nonce
        self.configuration = remembered
    }

    /// The configuration that the controller writes over a damaged znode, and the version of that znode.
    var damaged: (configuration: ClusterConfiguration, version: Int32)? {
        guard let fault, !fault.isNewer, let configuration else { return nil }
        return (configuration, fault.version)
    }

    mutating func sessionBegan() { self.created = nil }

    mutating func sessionLost() {
        self.absentSince = nil
        self.open = []
    }

    // MARK: - Reading

    /// - Parameter wasMember: whether this process has ever been a member. If so, it does not stop when the cluster's protocol becomes incompatible.
    mutating func found(_ data: [UInt8], _ stat: ZooKeeperStat, wasMember: Bool) -> [Effect] {
        self.absentSince = nil
        let candidate: ClusterConfiguration
        do throws(JSONError) {
            candidate = try ClusterConfiguration(json: data)
        } catch {
            return self.isUnreadable(data, stat, error, wasMember)
        }
        if let known = self.configuration, !known.isOfSameCluster(as: candidate) { return self.isForeign(candidate, known, stat) }
        self.version = stat.version
        self.created = stat.czxid
        if let known = self.configuration, candidate.revision < known.revision {
            self.fault = Fault(version: stat.version)
            return [
                .alarm(
                    "ZooKeeper lost writes: \(self.paths.configuration) went back from revision \(known.revision) to \(candidate.revision), and is written again: \(known.requests)"
                )
            ]
        }
        self.fault = nil
        self.configuration = candidate
        guard wasMember, !self.settings.protocols.contains(candidate.activeProtocol) else { return [] }
        return [.alarm(self.newerProtocol(candidate.activeProtocol))]
    }

    /// Another node has sent the controller a configuration that ZooKeeper may have lost.
    mutating func receivedFromPeer(_ candidate: ClusterConfiguration) -> [Effect] {
        guard let known = self.configuration, known.isOfSameCluster(as: candidate), candidate.revision > known.revision else { return [] }
        self.configuration = candidate
        return [.read(from: nil)]
    }

    /// Why a starting node is not compatible with this cluster. Nil if it is compatible. A node that was a member continues with another protocol, because
    /// otherwise all nodes would stop together when their sessions with ZooKeeper are renewed.
    func incompatibility(of configuration: ClusterConfiguration, wasMember: Bool) -> String? {
        if configuration.hash != ClusterConfiguration.hashName {
            return
                "the cluster assigns channels to partitions by \(configuration.hash), but this version uses \(ClusterConfiguration.hashName): use the same version"
        }
        guard wasMember || self.settings.protocols.contains(configuration.activeProtocol) else {
            return "the cluster uses protocol \(configuration.activeProtocol), and \(self.ownProtocols): upgrade this node"
        }
        return nil
    }

    private var ownProtocols: String { "this version supports \(self.settings.protocols.lowerBound) to \(self.settings.protocols.upperBound)" }

    private func newerProtocol(_ number: Int) -> String {
        "\(self.paths.configuration) requires protocol \(number), and \(self.ownProtocols): this node continues, but cannot join after a restart. "
            + "Upgrade it, or set activeProto back"
    }

    private mutating func isUnreadable(_ data: [UInt8], _ stat: ZooKeeperStat, _ failure: JSONError, _ wasMember: Bool) -> [Effect] {
        if let number = ClusterConfiguration.activeProtocol(in: data), number > self.settings.protocols.upperBound {
            guard wasMember else { return [.refuse("the cluster uses protocol \(number), and \(self.ownProtocols): upgrade this node")] }
            self.fault = Fault(version: stat.version, isNewer: true)
            return [.alarm(self.newerProtocol(number))]
        }
        self.fault = Fault(version: stat.version)
        return [
            .alarm(
                "\(self.paths.configuration) cannot be read: \(failure). "
                    + (self.configuration != nil
                        ? "The controller replaces it with the configuration that this node knows"
                        : "A controller that knows the configuration replaces it. If no node knows it, delete the znode; the next node that starts creates it from the view")
            )
        ]
    }

    /// ZooKeeper has the configuration of another cluster.
    /// A node of one cluster never becomes a member of another, because it would look for channels on the wrong partitions.
    private mutating func isForeign(_ candidate: ClusterConfiguration, _ known: ClusterConfiguration, _ stat: ZooKeeperStat) -> [Effect] {
        // If the znode is still the same one, its content is damaged. If the znode was created later, it belongs to another cluster.
        guard stat.czxid == self.created else {
            return [
                .refuse(
                    "ZooKeeper has another cluster at \(self.paths.root): \(candidate.identity). This node belongs to \(known.identity). "
                        + "If ZooKeeper was emptied by mistake, stop the other cluster's nodes, delete \(self.paths.root), and start this node first; "
                        + "if the other cluster is the right one, delete cluster.json in this node's data folder and start it again")
            ]
        }
        self.fault = Fault(version: stat.version)
        return [
            .alarm(
                "\(self.paths.configuration) was replaced by the configuration of another cluster, \(candidate.identity); this node belongs to \(known.identity). The controller writes the configuration of \(known.identity) again"
            )
        ]
    }

    // MARK: - Creating

    mutating func absent(wasMember: Bool, at now: ContinuousClock.Instant) -> [Effect] {
        self.created = nil
        self.fault = nil
        if self.absentSince == nil { self.absentSince = now }
        guard self.open.isEmpty else { return [] }
        // A cluster with a view is not new, and its other nodes know the configuration. So this node looks for a view first.
        guard self.configuration != nil else { return [self.perform(.get(path: self.paths.view, watch: false), for: .inspectView)] }
        guard wasMember else { return [self.create()] }
        // The parent znodes are created again too. Otherwise a starting node could create a new cluster here.
        return [.alarm("ZooKeeper lost the cluster's configuration: this node writes it again"), .makeFoundations, self.create()]
    }

    /// - Parameter isAwaited: whether this node waits for the configuration to join the cluster.
    mutating func replied(
        _ operation: Operation, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, isAwaited: Bool, at now: ContinuousClock.Instant
    ) -> [Effect] {
        self.open.remove(operation)
        switch operation {
        case .create: return self.created(result, isAwaited: isAwaited, at: now)
        case .inspectView: return isAwaited ? self.inspected(result, at: now) : []
        }
    }

    private mutating func created(_ result: Result<ZooKeeperReply, ZooKeeperFailure>, isAwaited: Bool, at now: ContinuousClock.Instant) -> [Effect] {
        switch result {
        case .success, .failure(.refused(.nodeExists, _)):
            if case .success = result, self.configuration == nil { self.hasFounded = true }
            self.absentSince = nil
            return [.read(from: nil)]
        case .failure where isAwaited: return [.joinAgain]
        // A member reads the configuration again. The read shows whether it is still missing.
        case .failure(.refused(.noNode, _)): return [.read(from: now.advanced(by: .milliseconds(50)))]
        case .failure: return [.read(from: now.advanced(by: .seconds(1)))]
        }
    }

    private mutating func inspected(_ result: Result<ZooKeeperReply, ZooKeeperFailure>, at now: ContinuousClock.Instant) -> [Effect] {
        guard let absentSince else { return [] }
        switch result {
        case .failure(.refused(.noNode, _)): return [self.create()]
        case .success(.node(let data, _)):
            let view = try? ClusterView(json: data)
            if let view, now >= absentSince.advanced(by: .seconds(5)) { return [self.create(partitionCount: view.partitions.count)] }
            return [
                .alarm(
                    "ZooKeeper lost \(self.paths.configuration): a node that was a member writes it again. "
                        + (view != nil
                            ? "If no such node writes it within 5 seconds, this node creates it from the view"
                            : "If no such node can be started, delete \(self.paths.view), which cannot be read either; then a new cluster is created")),
                .read(from: now.advanced(by: .seconds(1))),
            ]
        case .success, .failure: return [.read(from: now.advanced(by: .milliseconds(200)))]
        }
    }

    /// Creates the configuration. The content is the configuration that this node knows. If it knows none, the content is made from the view or the settings.
    private mutating func create(partitionCount: Int? = nil) -> Effect {
        let configuration =
            self.configuration
            ?? ClusterConfiguration(
                clusterID: "\(self.settings.cluster)-\(String(self.nonce, radix: 16))", partitionCount: partitionCount ?? self.settings.partitionCount)
        return self.perform(.create(path: self.paths.configuration, data: configuration.json, ephemeral: false), for: .create)
    }

    private mutating func perform(_ request: ZooKeeperRequest, for operation: Operation) -> Effect {
        self.open.insert(operation)
        return .perform(request, for: operation)
    }
}
