import Link
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Partitioning
import Pipeline

/// Hands partitions over to other nodes together with their contents: executes ``HandoffMachine``.
///
/// Runs on the cooperative pool, so that encoding chunks does not delay a loop. The log's lock is held for one chunk at a time.
actor Handoffs {
    private let sequencers: Sequencers
    private let transfer: any LogTransfer
    private let clocks: Clocks
    private let logger: Logger
    private var machine = HandoffMachine()
    private var carried: [Grant: Carried] = [:]
    private(set) var metrics = HandoffMetrics()

    /// One partition, from the call of ``handOver(_:to:)`` to its return.
    private struct Carried {
        let sender: LinkSender
        let continuation: CheckedContinuation<HandoffMachine.Result, Never>
        /// Nil before the first chunk.
        var export: (any LogExport)?
        /// The chunk that the link has refused.
        var refused: ByteBuffer?
    }

    init(sequencers: Sequencers, transfer: any LogTransfer, clocks: Clocks, logger: Logger) {
        self.sequencers = sequencers
        self.transfer = transfer
        self.clocks = clocks
        self.logger = logger
    }

    /// Stops the partition, and carries its content to the target, if there is a connection to it. When this method returns, nothing is committed under the grant.
    ///
    /// Returns false if the target cannot be reached: this node keeps the content, and takes the partition back.
    func handOver(_ grant: Grant, to sender: LinkSender?) async -> Bool {
        let result: HandoffMachine.Result
        if let sender, self.carried[grant] == nil {
            result = await withCheckedContinuation { continuation in
                self.carried[grant] = Carried(sender: sender, continuation: continuation)
                self.perform(self.machine.begin(grant, over: sender.session, now: self.clocks.steady()))
            }
        } else {
            result = .unreachable("there is no link to the next owner")
        }
        switch result {
        case .carried:
            self.metrics.carried += 1
            return true
        case .withoutContent(let reason):
            self.metrics.withoutContent += 1
            self.log("a partition moves without its history, and its subscribers get a gap notice", grant, reason)
            return true
        case .unreachable(let reason):
            self.metrics.failed += 1
            self.log("a partition is not moved, because its next owner cannot be reached; this node keeps it", grant, reason)
            // It may have been in the queue.
            await self.sequencers.handOver([grant])
            return false
        }
    }

    private func log(_ text: String, _ grant: Grant, _ reason: String) {
        self.logger.warning("\(text)", metadata: ["partition": "\(grant.partition)", "owner-epoch": "\(grant.ownerEpoch)", "reason": "\(reason)"])
    }

    // MARK: - Events of the links

    func staged(_ grant: Grant, over session: UInt64, _ staging: LogStaging) {
        self.perform(self.machine.staged(grant, over: session, staging, now: self.clocks.steady()))
    }

    func drained(_ session: UInt64) { self.perform(self.machine.drained(session)) }

    func closed(_ session: UInt64) { self.perform(self.machine.closed(session)) }

    func tick() { self.perform(self.machine.expire(now: self.clocks.steady())) }

    // MARK: - Effects

    private func perform(_ effects: [HandoffMachine.Effect]) {
        for effect in effects {
            switch effect {
            case .stop(let grant):
                Task {
                    await self.sequencers.handOver([grant])
                    self.stopped(grant)
                }
            case .send(let grant, let session): self.send(grant, session)
            case .end(let grant, let result): self.carried.removeValue(forKey: grant)?.continuation.resume(returning: result)
            }
        }
    }

    private func stopped(_ grant: Grant) {
        guard self.carried[grant] != nil else { return }
        guard let export = self.transfer.export(grant) else { return self.perform(self.machine.hasNoContent(grant, now: self.clocks.steady())) }
        self.carried[grant]!.export = export
        self.perform(self.machine.stopped(grant, now: self.clocks.steady()))
    }

    private func send(_ grant: Grant, _ session: UInt64) {
        guard let sender = self.carried[grant]?.sender else { return }
        guard let chunk = self.carried[grant]!.refused.take() ?? self.carried[grant]!.export?.next() else { return self.machine.sentAll(grant) }
        // In bulk: the link then has space for outcomes and interest.
        guard sender.send(.content(grant, chunk), isBulk: true) else {
            self.carried[grant]!.refused = chunk
            return self.machine.refusedByLink(grant)
        }
        self.metrics.bytes += UInt64(chunk.readableBytes)
        self.perform(self.machine.sent(grant))
    }
}

/// Numbers of the handoffs of one node, for `/metrics`. Only of a log whose storage nodes do not share.
package struct HandoffMetrics: Sendable {
    /// Partitions whose contents were carried to their next owners, and the bytes.
    package var carried: UInt64 = 0
    package var bytes: UInt64 = 0
    /// Partitions that moved without their contents.
    package var withoutContent: UInt64 = 0
    /// Partitions that this node kept, because the next owner could not be reached.
    package var failed: UInt64 = 0
}

/// Stages the contents that another node sends over one data connection. Called on the connection's loop.
final class HandoffReceiver: Sendable {
    private let transfer: (any LogTransfer)?
    private let sender: LinkSender
    /// Partitions of which chunks are missing.
    private let incomplete = NIOLockedValueBox<Set<Grant>>([])

    init(transfer: (any LogTransfer)?, sender: LinkSender) {
        self.transfer = transfer
        self.sender = sender
    }

    func received(_ chunk: ByteBuffer, of grant: Grant) {
        let staging = self.transfer?.stage(chunk, of: grant) ?? .refused("the next owner has another log")
        self.incomplete.withLockedValue { incomplete in
            if staging == .incomplete { incomplete.insert(grant) } else { incomplete.remove(grant) }
        }
        if !self.sender.send(.staged(grant, staging)) { self.sender.close() }
    }

    /// Complete content stays for a while: the controller may be about to grant the partition to this node.
    func close() {
        for grant in self.incomplete.withLockedValue({ $0 }) { self.transfer?.discard(grant) }
    }
}
