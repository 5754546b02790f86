import AdminAPI

/// Handles operators' requests at one node: forwards them to the controller, or executes them as the controller. Each request gets a response within a bounded
/// time. A pure value.
struct AdminMachine: Sendable {
    /// A request without a response. It waits for the controller's response, or at the controller for ZooKeeper's reply.
    struct Pending: Sendable {
        var from: Requester
        var request: AdminRequest
        var until: ContinuousClock.Instant
        /// False if nothing has to be written, because the desired state exists already.
        var changes = true
        /// Additional effects of the change, as text for the response.
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
        /// Write these parts as the controller. Sent even without parts, because only ZooKeeper knows whether this node still is the controller.
        case perform([ZooKeeperRequest.Part], for: Change)
        case record(AdminRequest, outcome: String?)
        case readAgain(RegistryReads.Target)
        case stepDown(String)
        case wake(at: ContinuousClock.Instant)
    }

    /// The current state of everything that a response depends on.
    struct Facts {
        let now: ContinuousClock.Instant
        let view: ClusterView?
        let configuration: ClusterConfiguration?
        /// The version of the configuration's znode.
        let configurationVersion: Int32
        let reads: RegistryReads
        /// Nil unless this node is the controller.
        let controlling: ControllerMachine?
        /// The controller's id, if there is a link to it.
        let reachable: String?
        /// Why this node responds without the controller, as a sentence.
        let noControllerReason: String
        /// The outage of ZooKeeper. Nil while this node has a connection.
        let outage: ZooKeeperOutage?
        /// This node's own response. The second parameter replaces ``noControllerReason``, unless it is nil.
        let localResponse: (AdminRequest, String?) -> AdminResponse?

        /// The refusal of a request that needs ZooKeeper. Nil while there is a connection.
        func outageRefusal(of kind: AdminRequest.Kind) -> AdminResponse? {
            self.outage.map { .failed(.noZooKeeper, (kind.changes ? "nothing was changed. " : "") + $0.text) }
        }
    }

    private let settings: ClusterSettings
    private let paths: ClusterPaths
    /// Requests that were forwarded to the controller and have no response, by their number on the link.
    private(set) var forwarded: [Int64: Pending] = [:]
    private var nextForwarded: Int64 = 1
    /// Changes that were sent to ZooKeeper and have no reply, by their number.
    private var changes: [Int64: Pending] = [:]
    /// The number of the next change. It is never reset, so that a late reply to a change under an earlier controller epoch is not mistaken for a new reply.
    private var nextChange: Int64 = 1
    /// Requests that wait until the data that they change has been read again. With outdated data, a necessary change could look unnecessary.
    private var held: [Pending] = []

    init(settings: ClusterSettings) {
        self.settings = settings
        self.paths = settings.paths
    }

    /// Whether no request waits for a deadline or a read.
    var isIdle: Bool { self.forwarded.isEmpty && self.held.isEmpty }

    // MARK: - At any node

    mutating func handle(_ request: AdminRequest, _ from: Requester, _ facts: Facts) -> [Effect] {
        if let controlling = facts.controlling { return self.decide(request, from, controlling, facts) }
        if case .peer = from { return [.respond(facts.outageRefusal(of: request.kind) ?? self.deposedRefusal, to: from)] }
        guard let controller = facts.reachable else {
            if !request.kind.changes, let response = facts.localResponse(request, nil) { return [.respond(response, to: from)] }
            let refusal = AdminResponse.failed(.noController, "\(facts.noControllerReason) Retry in a few seconds, or at another node")
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
        // The node may have been deposed, and this node does not know the next controller yet.
        let why = "\(id) received the request as the controller, and could not respond as the controller."
        let isRead = !pending.request.kind.changes && response.error?.code.isUnavailable ?? false
        let own = isRead ? facts.localResponse(pending.request, why) : nil
        return [.respond(own ?? response, to: pending.from)]
    }

    /// Responds to requests whose deadline has passed, and decides the held requests that can be decided now.
    mutating func proceed(_ facts: Facts) -> [Effect] {
        var effects = self.decideHeld(facts)
        for (number, pending) in self.forwarded.sorted(by: { $0.key < $1.key }) {
            guard facts.now >= pending.until else {
                effects.append(.wake(at: pending.until))
                continue
            }
            self.forwarded[number] = nil
            // The controller hangs, or its responses do not arrive. Then an operator needs this node's own response to find the cause.
            let response = pending.request.kind.changes ? nil : facts.localResponse(pending.request, nil)
            effects.append(
                .respond(response ?? .failed(.timeout, "the controller did not respond; the request may still be executed"), to: pending.from))
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

    /// Decides the requests that waited for a read. Requests that have passed their deadline fail.
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

    /// Whether the data that the request changes is up to date.
    private func isRead(for kind: AdminRequest.Kind, _ controlling: ControllerMachine, _ reads: RegistryReads) -> Bool {
        switch kind {
        case .rebalance, .pause, .resume, .move, .unpin: return reads.isCurrent(.configuration)
        case .status, .members, .partitions, .locate, .plan, .events, .drain, .undrain, .cordon, .uncordon, .forget:
            // Forgetting a node also removes its pins.
            if kind == .forget, !reads.isCurrent(.configuration) { return false }
            return reads.isCurrent(.nodes) && controlling.hasGatheredNodes
        }
    }

    /// Fails the changes that this node has sent as the controller, because it will not learn their results.
    mutating func stopControlling(_ facts: Facts) -> [Effect] {
        defer {
            self.held = []
            self.changes = [:]
        }
        let why = facts.outage?.text ?? "\(self.settings.id) is not the controller any more."
        return self.held.map { .respond(facts.outageRefusal(of: $0.request.kind) ?? self.deposedRefusal, to: $0.from) }
            + self.changes.sorted { $0.key < $1.key }.map {
                .respond(.failed(.timeout, "the change may have been made or not; check before you retry. \(why)"), to: $0.value.from)
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
            respond(
                .failed(.notAuthorized, "ZooKeeper does not allow \(self.settings.id) to write there: check zookeeper-user, and which user created the znode"))
        case .failure(.refused): respond(.failed(.conflict, "another request changed the same data at the same moment; retry"))
        case .failure(.notSent):
            let refusal = AdminResponse.failed(.noZooKeeper, "nothing was changed: \(self.settings.id) did not reach ZooKeeper; retry in a moment")
            respond(facts.outageRefusal(of: pending.request.kind) ?? refusal)
        case .failure: respond(.failed(.timeout, "ZooKeeper did not respond; the change may have been made or not; check before you retry"))
        }
        return effects
    }

    private func accepted(_ request: AdminRequest, _ note: String?) -> AdminResponse {
        .accepted(AcceptedChange(result: request.sentence, through: self.settings.id, note: note))
    }

    // MARK: - Changes

    /// The writes that execute a request. Empty if the desired state exists already.
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
        guard let id = request.node, NodeID.isValid(id) else {
            throw AdminError(.badRequest, "the field \"node\" must be the id of a node (realertime members lists the ids)")
        }
        let entry = known.entries[id]
        guard facts.view?.node(id) != nil || entry != nil else {
            throw AdminError(.notFound, "there is no node \(id) in this cluster (realertime members lists the nodes)")
        }
        if let record = entry?.record, let end = record.endsFirst(for: request.kind) {
            throw AdminError(.conflict, "\(id) is \(record.desired.rawValue), \(record.request): \(end.rawValue) it first")
        }
        var parts: [ZooKeeperRequest.Part] = []
        if desired == .removed, known.members[id] != nil {
            guard facts.view?.node(id)?.state == .fenced else {
                throw AdminError(.conflict, "\(id) is a member: drain it and stop it first, or stop it and wait until it is down")
            }
            // No node reaches the fenced node, but its member znode still exists. Some ZooKeeper servers have kept ephemeral znodes of sessions that had ended.
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
        // The pins to the forgotten node are removed too, because no plan can follow them.
        if desired == .removed, var configuration = facts.configuration, configuration.pins.values.contains(id) {
            configuration.pins = configuration.pins.filter { $0.value != id }
            configuration.revision += 1
            parts.append(.set(path: self.paths.configuration, data: configuration.json, version: facts.configurationVersion))
        }
        return parts
    }

    /// The pins to a forgotten node, as text for the response. The pins are removed together with the node.
    private func endedPins(of id: String?, _ configuration: ClusterConfiguration?) -> String? {
        let partitions = (configuration?.pins ?? [:]).filter { $0.value == id }.keys.sorted()
        guard !partitions.isEmpty else { return nil }
        let rest = partitions.count > 20 ? " and \(partitions.count - 20) more" : ""
        return "removes the pins of partitions \(partitions.prefix(20).map(String.init).joined(separator: ", "))\(rest)"
    }

    private func configure(_ request: AdminRequest, _ facts: Facts) throws(AdminError) -> [ZooKeeperRequest.Part] {
        guard var configuration = facts.configuration else { throw Self.starting }
        let before = configuration
        switch request.kind {
        case .pause: if configuration.pauseRequest == nil { configuration.pause(by: request.by ?? "", note: request.note ?? "") }
        case .move:
            guard let partition = request.partition, (0..<configuration.partitionCount).contains(partition) else {
                throw AdminError(.badRequest, "the field \"partition\" must be a number from 0 to \(configuration.partitionCount - 1)")
            }
            guard let id = request.node, let node = facts.view?.node(id) else {
                throw AdminError(.badRequest, "the field \"node\" must be the id of a node in this cluster (realertime members lists the ids)")
            }
            guard node.state == .active else { throw AdminError(.conflict, "\(id) is \(node.state.rawValue), and only an active node can get partitions") }
            configuration.pins[partition] = id
        case .unpin:
            guard let partition = request.partition, configuration.pins[partition] != nil else { throw AdminError(.conflict, "this partition is not pinned") }
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
    /// The request that has to come first: `undrain` only lifts a drain, `uncordon` only lifts a cordon. Draining a cordoned node is allowed, and so is
    /// forgetting any node.
    fileprivate func endsFirst(for kind: AdminRequest.Kind) -> AdminRequest.Kind? {
        switch (self.desired, kind) {
        case (.draining, .cordon), (.draining, .uncordon): .undrain
        case (.cordoned, .undrain): .uncordon
        default: nil
        }
    }
}
