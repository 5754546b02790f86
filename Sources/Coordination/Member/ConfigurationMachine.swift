import JSON

/// Follows the cluster's configuration: reads it, makes it where the cluster is new, and notices when ZooKeeper has lost or damaged it. A pure value.
struct ConfigurationMachine: Sendable {
    enum Operation: Hashable, Sendable {
        case create
        /// Reads the view, to find out whether the cluster is new or has lost its configuration.
        case inspectView
    }

    enum Effect: Hashable, Sendable {
        case perform(ZooKeeperRequest, for: Operation)
        /// Make the cluster's folders again.
        case makeFoundations
        /// Read the configuration again, from then on.
        case read(from: ContinuousClock.Instant?)
        /// Begin with joining again.
        case joinAgain
        case alarm(String)
        case refuse(String)
    }

    struct Fault: Hashable, Sendable {
        /// Of the znode: it is written over only as it was read.
        var version: Int32
        /// A newer version of the program wrote it, so this one leaves it alone.
        var isNewer = false
    }

    private let settings: ClusterSettings
    private let paths: ClusterPaths
    private let nonce: UInt64
    private(set) var configuration: ClusterConfiguration?
    /// Of the znode.
    private(set) var version: Int32 = 0
    /// The znode that ``configuration`` was last found in. Nil before it was found in this session: a znode that was made since may be another cluster's.
    private var created: Int64?
    /// What ZooKeeper has instead of ``configuration``, while that is so.
    private(set) var fault: Fault?
    /// Since when no configuration exists.
    private(set) var absentSince: ContinuousClock.Instant?
    /// This process made the cluster, or what was left of it.
    private(set) var hasFounded = false
    private var open: Set<Operation> = []

    init(settings: ClusterSettings, nonce: UInt64, remembered: ClusterConfiguration?) {
        self.settings = settings
        self.paths = settings.paths
        self.nonce = nonce
        self.configuration = remembered
    }

    /// What the controller writes over with what it knows.
    var damaged: (configuration: ClusterConfiguration, version: Int32)? {
        guard let fault, !fault.isNewer, let configuration else { return nil }
        return (configuration, fault.version)
    }

    mutating func sessionBegan() { self.created = nil }

    mutating func sessionLost() {
        self.absentSince = nil
        self.open = []
    }

    // MARK: - What is there

    /// - Parameter wasMember: this process was a member once, so what it finds in ZooKeeper later does not decide any more whether it fits.
    mutating func found(_ data: [UInt8], _ stat: ZooKeeperStat, wasMember: Bool) -> [Effect] {
        self.absentSince = nil
        let candidate: ClusterConfiguration
        do throws(JSONFailure) {
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

    /// The controller hears from another node of one that ZooKeeper has lost.
    mutating func heard(_ candidate: ClusterConfiguration) -> [Effect] {
        guard let known = self.configuration, known.isOfSameCluster(as: candidate), candidate.revision > known.revision else { return [] }
        self.configuration = candidate
        return [.read(from: nil)]
    }

    /// Why a node that starts does not fit into this cluster; nil if it does. A node that runs continues, or all of them would stop together when their sessions
    /// with ZooKeeper are renewed.
    func misfit(_ configuration: ClusterConfiguration, wasMember: Bool) -> String? {
        if configuration.hash != ClusterConfiguration.hashName {
            return "the cluster places channels by \(configuration.hash), this version by \(ClusterConfiguration.hashName): use the same version"
        }
        guard wasMember || self.settings.protocols.contains(configuration.activeProtocol) else {
            return "the cluster speaks protocol \(configuration.activeProtocol), \(self.ownProtocols): upgrade this node"
        }
        return nil
    }

    private var ownProtocols: String { "this version \(self.settings.protocols.lowerBound) to \(self.settings.protocols.upperBound)" }

    private func newerProtocol(_ number: Int) -> String {
        "\(self.paths.configuration) asks for protocol \(number), \(self.ownProtocols): this node continues, and is refused when it is started again. "
            + "Upgrade it, or set activeProto back"
    }

    private mutating func isUnreadable(_ data: [UInt8], _ stat: ZooKeeperStat, _ failure: JSONFailure, _ wasMember: Bool) -> [Effect] {
        if let number = ClusterConfiguration.activeProtocol(in: data), number > self.settings.protocols.upperBound {
            guard wasMember else { return [.refuse("the cluster speaks protocol \(number), \(self.ownProtocols): upgrade this node")] }
            self.fault = Fault(version: stat.version, isNewer: true)
            return [.alarm(self.newerProtocol(number))]
        }
        self.fault = Fault(version: stat.version)
        return [
            .alarm(
                "\(self.paths.configuration) cannot be read: \(failure). "
                    + (self.configuration != nil
                        ? "The controller writes it again as this node knows it"
                        : "A controller that knows it writes it again; if no node does, delete it, and the next node that starts makes it from the view"))
        ]
    }

    /// Channels would be looked for on the wrong partitions, so a node of one cluster is never a member of another.
    private mutating func isForeign(_ candidate: ClusterConfiguration, _ known: ClusterConfiguration, _ stat: ZooKeeperStat) -> [Effect] {
        // In the same znode, of the same session, it is damage. In another one, other nodes have made another cluster.
        guard stat.czxid == self.created else {
            return [
                .refuse(
                    "ZooKeeper has another cluster at \(self.paths.root) than the one this node belongs to: \(candidate.identity), and not \(known.identity). "
                        + "If ZooKeeper was emptied by mistake, stop the other cluster's nodes, delete \(self.paths.root), and start this node first; "
                        + "if the other cluster is the right one, delete cluster.json in this node's data folder and start it again")
            ]
        }
        self.fault = Fault(version: stat.version)
        return [
            .alarm(
                "\(self.paths.configuration) was set to another cluster's, \(candidate.identity), and this is \(known.identity): the controller writes it again as this node knows it"
            )
        ]
    }

    // MARK: - What is missing

    mutating func absent(wasMember: Bool, at now: ContinuousClock.Instant) -> [Effect] {
        self.created = nil
        self.fault = nil
        if self.absentSince == nil { self.absentSince = now }
        guard self.open.isEmpty else { return [] }
        // A cluster that has a view is not new: its nodes know what it was.
        guard self.configuration != nil else { return [self.perform(.get(path: self.paths.view, watch: false), for: .inspectView)] }
        guard wasMember else { return [self.create()] }
        // What else is gone comes back with it, before a node that starts takes this for the place of a new cluster.
        return [.alarm("ZooKeeper lost the cluster's configuration: it is written again as this node knows it"), .makeFoundations, self.create()]
    }

    /// - Parameter isAwaited: joining waits for the configuration.
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
        // A member finds it missing when it reads it again.
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
                            ? "If none does within 5 seconds, this node makes it from the view"
                            : "If no such node can be started, delete \(self.paths.view), which cannot be read either, and a new cluster is made")),
                .read(from: now.advanced(by: .seconds(1))),
            ]
        case .success, .failure: return [.read(from: now.advanced(by: .milliseconds(200)))]
        }
    }

    /// The first node says what the cluster is; all others read what is there. After a loss it is what the cluster was.
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
