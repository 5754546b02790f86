import NIOCore
import Partitioning

/// Work that is done about once a second: remove old message ids and unused channels from the sequencers, trim the log, forget old heads.
extension Sequencers {
    /// Returns before the work is done. Skips the work on the log while such work of an earlier call continues.
    package func tick() async {
        for sequencer in self.all { await sequencer.sweep() }
        guard !self.isMaintaining, !self.isStopping else { return }
        self.isMaintaining = true
        Task {
            for sequencer in self.all { await sequencer.verify() }
            do throws(LogError) {
                try await self.trim()
                try await self.forgetOldHeads()
            } catch {
                self.upkeepFailures += 1
            }
            await self.countRemembered()
            self.isMaintaining = false
        }
    }

    private func trim() async throws(LogError) {
        var grants: [Grant] = []
        for sequencer in self.all { grants += await sequencer.grants }
        try await self.log.trim(grants, now: self.clocks.steady())
    }

    /// The only place where heads are forgotten. The log has all heads. It reports which are old, and gives a forgotten channel a higher epoch if the channel
    /// is used again. The sequencers know which channels are in use.
    private func forgetOldHeads() async throws(LogError) {
        let now = self.clocks.steady()
        var isPressed = false
        for sequencer in self.all where await sequencer.isPressed { isPressed = true }
        guard now >= self.forgotAt + (isPressed ? Self.pressedMilliseconds : Self.forgettingMilliseconds) else { return }
        self.forgotAt = now
        // If a channel is refused from now on, heads are forgotten again after a second.
        for sequencer in self.all { await sequencer.clearPressed() }
        // While new channels are refused, a head is forgotten as soon as its history has expired.
        let seconds = isPressed ? self.limits.historySecondsMax : max(self.limits.headSecondsMax, self.limits.historySecondsMax)
        do throws(LogError) {
            try await self.forget(writtenBefore: now - Int64(seconds) * 1000)
        } catch {
            // The next call starts again.
            self.forgotAt = .min / 2
            throw error
        }
    }

    private func forget(writtenBefore oldest: Int64) async throws(LogError) {
        var next: RememberedPlace? = .start
        while let place = next, !self.isStopping {
            let slice = try await self.log.remembered(from: place, count: Slices.channelsMax)
            next = slice.next
            var old: [[ChannelName]] = Array(repeating: [], count: self.all.count)
            for entry in slice.channels where entry.timestamp < oldest { old[self.router.index(of: entry.channel)].append(entry.channel) }
            for (sequencer, channels) in zip(self.all, old) where !channels.isEmpty { try await sequencer.forget(channels, writtenBefore: oldest) }
            // The log in memory never suspends. Without this pause the loop could not poll its sockets.
            try? await Task.sleep(for: .milliseconds(1))
        }
    }

    /// Gives each sequencer the log's number of channels. Between two calls a sequencer counts only the channels that it adds itself. So all sequencers
    /// together may exceed the limit by the channels that are added between two calls.
    private func countRemembered() async {
        let count = await self.log.metrics.channels
        for sequencer in self.all { await sequencer.remembers(count) }
    }

    private static let forgettingMilliseconds: Int64 = 5000
    private static let pressedMilliseconds: Int64 = 1000
}

extension Sequencer {
    /// Removes old message ids, and unused channels from the table. Works in slices, because there may be a million channels.
    func sweep() {
        guard self.machine.sweep(now: self.clocks.steady()), !self.isSweeping else { return }
        self.isSweeping = true
        self.loop.afterSockets {
            self.assumeIsolated { sequencer in
                sequencer.isSweeping = false
                sequencer.sweep()
            }
        }
    }

    fileprivate var grants: [Grant] { self.machine.grants }

    /// True if a new channel was refused because the limit of remembered channels is reached.
    fileprivate var isPressed: Bool { self.machine.isPressed }

    fileprivate func clearPressed() { self.machine.clearPressed() }

    /// Forgets the channels that this sequencer serves and that are not in use. Skips the others.
    ///
    /// A publish may reach the log before the request to forget does; the log then keeps the channel.
    fileprivate func forget(_ channels: [ChannelName], writtenBefore oldest: Int64) async throws(LogError) {
        let forgettable = self.machine.forgettable(channels, now: self.clocks.steady())
        if forgettable.isEmpty { return }
        defer {
            self.machine.forgot(forgettable)
            self.readHeadsIfNeeded()
            self.drainIfNeeded()
        }
        try await self.log.forget(forgettable, writtenBefore: oldest)
    }

    fileprivate func remembers(_ count: Int) { self.machine.remembers(count) }
}
