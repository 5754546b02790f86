import AdminAPI

/// Operators' requests at one node: each is forwarded to the controller or decided by it, and gets a response within a bounded time. A pure value.
struct AdminMachine: Sendable {
    /// A request that waits: for the controller, or at the controller for ZooKeeper.
    struct Pending: Sendable {
        var from: Requester
        var request: AdminRequest
        var until: ContinuousClock.Instant
        /// False when the desired state is what it is already.
        var changes = true
        /// What else it did, for the response.
        var outcome: String?
    }

    enum Requester: Hashable, Sendable {
        /// This node's own API.
        case local(UInt64)
        /// Forwarded by a peer.
        case peer(String, number: Int64)
    }

    /// A write to the registry or to the configuration.
    enum Change: Hashable, Sendable {
        case node(number: Int64)
        case configuration(number: Int64)
    }

    enum Effect: Sendable {
        case respond(AdminResponse, to: Requester)
        case forward(number: Int64, AdminRequest, to: String)
        /// Write it as the controller. Also when there is nothing to change: only ZooKeeper knows whether this still is the controller.
        case perform([ZooKeeperRequest.Part], for: Change)
        case record(AdminRequest, outcome: String?)
        case readAgain(RegistryReads.Target)
        case stepDown(String)
        case wake(at: ContinuousClock.Instant)
    }

    /// What a response depends on, as it is now.
    struct Facts {
        let now: ContinuousClock.Instant
        let view: ClusterView?
        let configuration: ClusterConfiguration?
        /// Of the configuration's znode.
        let configurationVersion: Int32
        let reads: RegistryReads
        /// While this node is the controller.
        let controlling: ControllerMachine?
        /// The controller, if there is a link to it.
        let reachable: String?
        /// Why the controller does not respond, as a sentence.
        let whyAlone: String
        /// While this node has no connection to ZooKeeper.
        let outage: ZooKeeperOutage?
        /// What this node can respond by itself; the second parameter says why it has to, where that is known better.
        let localResponse: (AdminRequest, String?) -> AdminResponse?

        /// To what needs the controller, while this node has no connection to ZooKeeper.
        func outageRefusal(of kind: AdminRequest.Kind) -> AdminResponse? {
            self.outage.map { .failed(.noZooKeeper, (kind.changes ? "nothing was changed. " : "") + $0.text) }
        }
    }

    private let settings: ClusterSettings
    private let paths: ClusterPaths
    /// Requests that wait for the controller's response, by their number on the link.
    private(set) var forwarded: [Int64: Pending] = [:]
    private var nextForwarded: Int64 = 1
    /// Changes that are with ZooKeeper, by their number.
    private var changes: [Int64: Pending] = [:]
    /// Counted over all controllerships, so that a late reply is to its own request.
    private var nextChange: Int64 = 1
    /// Requests that wait until what they change has been read again: an old copy might say that there is nothing to change.
    private var held: [Pending] = []

    init(settings: ClusterSettings) {
        self.settings = settings
        self.paths = settings.paths
    }

    /// Nothing waits for time to pass, or for a read.
    var isIdle: Bool { self.forwarded.isEmpty && self.held.isEmpty }

    // MARK: - At any node

    mutating func handle(_ request: AdminRequest, _ from: Requester, _ facts: Facts) -> [Effect] {
        if let controlling = facts.controlling { return self.decide(request, from, controlling, facts) }
        if case .peer = from { return [.respond(facts.outageRefusal(of: request.kind) ?? self.deposedRefusal, to: from)] }
        guard let controller = facts.reachable else {
            if !request.kind.changes, let response = facts.localResponse(request, nil) { return [.respond(response, to: from)] }
            let refusal = AdminResponse.failed(.noController, "\(facts.whyAlone) Retry in a few seconds, or at another node")
            return [.respond(facts.outageRefusal(of: request.kind) ?? refusal, to: from)]
        }
        let number = self.nextForwarded
        self.nextForwarded += 1
        let until = facts.now.advanced(by: request.kind.changes ? self.settings.requestTimeout : self.settings.readTimeout)
        self.forwarded[number] = Pending(from: from, request: request, until: until)
        return [.forward(number: number, request, to: controller)]
    }

    /// The controller's response to a request that was forwarded to it.
    mutating func responded(_ number: Int64, _ response: AdminResponse, by id: String, _ facts: Facts) -> [Effect] {
        guard let pending = self.forwarded.removeValue(forKey: number) else { return [] }
        // It may not be the controller any more, and this node has not heard of the next one.
        let why = "\(id) was asked as the controller, and cannot respond as one."
        let isRead = !pending.request.kind.changes && response.error?.code.isUnavailable ?? false
        let own = isRead ? facts.localResponse(pending.request, why) : nil
        return [.respond(own ?? response, to: pending.from)]
    }

    /// Ends what has waited for too long, and decides what can be decided now.
    mutating func proceed(_ facts: Facts) -> [Effect] {
        var effects = self.decideHeld(facts)
        for (number, pending) in self.forwarded.sorted(by: { $0.key < $1.key }) {
            guard facts.now >= pending.until else {
                effects.append(.wake(at: pending.until))
                continue
            }
            self.forwarded[number] = nil
            // The controller hangs, or its responses do not reach this node. Then an operator especially needs a response to find the reason.
            let response = pending.request.kind.changes ? nil : facts.localResponse(pending.request, nil)
            effects.append(
                .respond(response ?? .failed(.timeout, "the controller did not answer; what was requested may still happen"), to: pending.from))
        }
        return effects
    }

    private var deposedRefusal: AdminResponse {
        .failed(.noController, "nothing was changed: \(self.settings.id) is not the controller any more; retry in a moment")
    }

    // MARK: - At the controller

    private static let starting = AdminError(.starting, "the controller is still reading the cluster's state; retry in a moment")

    private mutating func decide(
        _ request: AdminRequest, _ from: Requester, until: ContinuousClock.Instant? = nil, _ controlling: ControllerMachine, _ facts: Facts
    ) -> [Effect] {
        if !request.kind.changes { return [.respond(facts.localResponse(request, nil) ?? .failed(Self.starting), to: from)] }
        if let refusal = facts.outageRefusal(of: request.kind) { return [.respond(refusal, to: from)] }
        let until = until ?? facts.now.advanced(by: self.settings.requestTimeout)
        guard self.isRead(for: request.kind, controlling, facts.reads) else {
            self.held.append(Pending(from: from, request: request, until: until))
            return [.wake(at: until)]
        }
        do throws(AdminError) {
            let number = self.nextChange
            let (parts, change) = try self.change(for: request, controlling, number: number, facts)
            self.nextChange += 1
            self.changes[number] = Pending(
                from: from, request: request, until: facts.now, changes: !parts.isEmpty,
                outcome: request.kind == .forget ? self.endedPins(of: request.node, facts.configuration) : nil)
            return [.perform(parts, for: change)]
        } catch {
            return [.respond(.failed(error), to: from)]
        }
    }

    /// Decides the requests that waited for a read, unless their time is over.
    private mutating func decideHeld(_ facts: Facts) -> [Effect] {
        let held = self.held
        self.held = []
        return held.flatMap { pending -> [Effect] in
            guard facts.now < pending.until else { return [.respond(.failed(Self.starting), to: pending.from)] }
            if let controlling = facts.controlling, facts.outage == nil {
                return self.decide(pending.request, pending.from, until: pending.until, controlling, facts)
            }
            self.held.append(pending)
            return [.wake(at: pending.until)]
        }
    }

    /// Whether what the request is about has been read, after any change that this copy may not have.
    private func isRead(for kind: AdminRequest.Kind, _ controlling: ControllerMachine, _ reads: RegistryReads) -> Bool {
        switch kind {
        case .rebalance, .pause, .resume, .move, .unpin: return reads.isCurrent(.configuration)
        case .status, .members, .partitions, .locate, .plan, .events, .drain, .undrain, .cordon, .uncordon, .forget:
            // What is forgotten takes its pins along.
            if kind == .forget, !reads.isCurrent(.configuration) { return false }
            return reads.isCurrent(.nodes) && controlling.hasGatheredNodes
        }
    }

    /// Fails the changes that this node was making as the controller: it cannot report how they end.
    mutating func stopControlling(_ facts: Facts) -> [Effect] {
        defer {
            self.held = []
            self.changes = [:]
        }
        let why = facts.outage?.text ?? "\(self.settings.id) is not the controller any more."
        return self.held.map { .respond(facts.outageRefusal(of: $0.request.kind) ?? self.deposedRefusal, to: $0.from) }
            + self.changes.sorted { $0.key < $1.key }.map {
                .respond(.failed(.timeout, "it may have been done or not; look before you retry. \(why)"), to: $0.value.from)
            }
    }

    mutating func replied(_ change: Change, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ facts: Facts) -> [Effect] {
        let number: Int64
        var effects: [Effect]
        switch change {
        case .node(let change):
            number = change
            effects = [.readAgain(.nodes), .readAgain(.members), .readAgain(.configuration)]
        case .configuration(let change):
            number = change
            effects = [.readAgain(.configuration)]
        }
        guard let pending = self.changes.removeValue(forKey: number) else { return effects }
        func respond(_ response: AdminResponse) { effects.append(.respond(response, to: pending.from)) }
        switch result {
        case .success where pending.changes:
            effects.append(.record(pending.request, outcome: pending.outcome))
            respond(self.accepted(pending.request, pending.outcome))
        case .success: respond(self.accepted(pending.request, "nothing to change"))
        case .failure(.refused(_, part: 0)):
            respond(self.deposedRefusal)
            effects.append(.stepDown(ControllerMachine.epochRaised))
        case .failure(.refused(.notAuthorized, _)):
            respond(.failed(.notAuthorized, "ZooKeeper does not let \(self.settings.id) write there: check zookeeper-user, and which user created the znode"))
        case .failure(.refused): respond(.failed(.conflict, "it was changed by another request at the same moment; retry"))
        case .failure(.notSent):
            let refusal = AdminResponse.failed(.noZooKeeper, "nothing was changed: \(self.settings.id) did not reach ZooKeeper; retry in a moment")
            respond(facts.outageRefusal(of: pending.request.kind) ?? refusal)
        case .failure: respond(.failed(.timeout, "ZooKeeper did not answer; it may have been done, look before you retry"))
        }
        return effects
    }

    private func accepted(_ request: AdminRequest, _ note: String?) -> AdminResponse {
        .accepted(AcceptedChange(result: request.sentence, through: self.settings.id, note: note))
    }

    // MARK: - Changes

    /// The writes that carry a request out; none when it is so already.
    private func change(
        for request: AdminRequest, _ controlling: ControllerMachine, number: Int64, _ facts: Facts
    ) throws(AdminError) -> ([ZooKeeperRequest.Part], Change) {
        switch request.kind {
        case .drain: (try self.setDesired(.draining, request, controlling.known, facts), .node(number: number))
        case .cordon: (try self.setDesired(.cordoned, request, controlling.known, facts), .node(number: number))
        case .undrain, .uncordon: (try self.setDesired(.active, request, controlling.known, facts), .node(number: number))
        case .forget: (try self.setDesired(.removed, request, controlling.known, facts), .node(number: number))
        case .rebalance, .resume, .pause, .move, .unpin: (try self.configure(request, facts), .configuration(number: number))
        case .status, .members, .partitions, .locate, .plan, .events: throw AdminError(.badRequest, "\(request.kind.rawValue) changes nothing")
        }
    }

    private func setDesired(
        _ desired: NodeRecord.Desired, _ request: AdminRequest, _ known: KnownNodes, _ facts: Facts
    ) throws(AdminError) -> [ZooKeeperRequest.Part] {
        guard let id = request.node, NodeID.isValid(id) else { throw AdminError(.badRequest, "node is missing: the id of a node, as members lists it") }
        let entry = known.entries[id]
        guard facts.view?.node(id) != nil || entry != nil else {
            throw AdminError(.notFound, "there is no node \(id) in this cluster; members lists those that are")
        }
        if let record = entry?.record, let end = record.endsFirst(for: request.kind) {
            throw AdminError(.conflict, "\(id) is \(record.desired.rawValue), \(record.request): \(end.rawValue) it first")
        }
        var parts: [ZooKeeperRequest.Part] = []
        if desired == .removed, known.members[id] != nil {
            guard facts.view?.node(id)?.state == .fenced else {
                throw AdminError(.conflict, "\(id) is a member: drain it and stop it first, or stop it and wait until it is down")
            }
            // No node reaches it, and its session does not end: some servers have kept member znodes of sessions that were over.
            parts.append(.delete(path: self.paths.member(id), version: nil))
        }
        var record = entry?.record ?? NodeRecord()
        if record.desired == desired { return parts }
        record.desired = desired
        record.by = request.by ?? ""
        record.note = request.note ?? ""
        record.at = self.settings.wallClock()
        record.revision += 1
        if let version = entry?.version {
            parts.append(.set(path: self.paths.node(id), data: record.json, version: version))
        } else if desired != .active {
            parts.append(.create(path: self.paths.node(id), data: record.json, ephemeral: false))
        }
        // No plan can follow a pin to a node that is not in the cluster.
        if desired == .removed, var configuration = facts.configuration, configuration.pins.values.contains(id) {
            configuration.pins = configuration.pins.filter { $0.value != id }
            configuration.revision += 1
            parts.append(.set(path: self.paths.configuration, data: configuration.json, version: facts.configurationVersion))
        }
        return parts
    }

    /// The pins that end with a node.
    private func endedPins(of id: String?, _ configuration: ClusterConfiguration?) -> String? {
        let partitions = (configuration?.pins ?? [:]).filter { $0.value == id }.keys.sorted()
        guard !partitions.isEmpty else { return nil }
        let rest = partitions.count > 20 ? " and \(partitions.count - 20) more" : ""
        return "ends the pins of partitions \(partitions.prefix(20).map(String.init).joined(separator: ", "))\(rest)"
    }

    private func configure(_ request: AdminRequest, _ facts: Facts) throws(AdminError) -> [ZooKeeperRequest.Part] {
        guard var configuration = facts.configuration else { throw Self.starting }
        let before = configuration
        switch request.kind {
        case .pause: if configuration.pauseRequest == nil { configuration.pause(by: request.by ?? "", note: request.note ?? "") }
        case .move:
            guard let partition = request.partition, (0..<configuration.partitionCount).contains(partition) else {
                throw AdminError(.badRequest, "partition is a number from 0 to \(configuration.partitionCount - 1)")
            }
            guard let id = request.node, let node = facts.view?.node(id) else {
                throw AdminError(.badRequest, "node names no node of this cluster; members lists them")
            }
            guard node.state == .active else { throw AdminError(.conflict, "\(id) is \(node.state.rawValue), and only an active node gains partitions") }
            configuration.pins[partition] = id
        case .unpin:
            guard let partition = request.partition, configuration.pins[partition] != nil else { throw AdminError(.conflict, "that partition is not pinned") }
            configuration.pins[partition] = nil
        case .rebalance, .resume: configuration.resume()
        case .status, .members, .partitions, .locate, .plan, .events, .drain, .undrain, .cordon, .uncordon, .forget: break
        }
        if configuration == before { return [] }
        configuration.revision += 1
        return [.set(path: self.paths.configuration, data: configuration.json, version: facts.configurationVersion)]
    }
}

extension NodeRecord {
    /// What has to be requested first: `undrain` only lifts a drain, `uncordon` only lifts a cordon. Draining a cordoned node is allowed, and so is forgetting
    /// any node.
    fileprivate func endsFirst(for kind: AdminRequest.Kind) -> AdminRequest.Kind? {
        switch (self.desired, kind) {
        case (.draining, .cordon), (.draining, .uncordon): .undrain
        case (.cordoned, .undrain): .uncordon
        default: nil
        }
    }
}
