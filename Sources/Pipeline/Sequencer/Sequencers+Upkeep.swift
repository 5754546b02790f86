import NIOCore
import Partitioning

/// What is done about once a second: old message ids and unused channels leave the sequencers, the log is trimmed, old heads are forgotten.
extension Sequencers {
    /// Returns before the work is done. Does nothing for the log while the work of an earlier call continues.
    package func tick() async {
        for sequencer in self.all { await sequencer.sweep() }
        guard !self.isMaintaining, !self.isStopping else { return }
        self.isMaintaining = true
        Task {
            do throws(LogError) {
                try await self.trim()
                try await self.forgetOldHeads()
            } catch {
                self.trimFailures += 1
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

    /// The one place where heads are forgotten. The log is their home: it says which are old, and raises the epochs for channels that return. The sequencers
    /// know which channels are in use.
    private func forgetOldHeads() async throws(LogError) {
        let now = self.clocks.steady()
        var isPressed = false
        for sequencer in self.all where await sequencer.isPressed { isPressed = true }
        guard now >= self.forgotAt + (isPressed ? Self.pressedMilliseconds : Self.forgettingMilliseconds) else { return }
        self.forgotAt = now
        // A channel that is refused from now on causes another pass.
        for sequencer in self.all { await sequencer.clearPressed() }
        // While there is no room for new channels, a head goes with its history.
        let seconds = isPressed ? self.limits.historySecondsMax : max(self.limits.headSecondsMax, self.limits.historySecondsMax)
        do throws(LogError) {
            try await self.forget(writtenBefore: now - Int64(seconds) * 1000)
        } catch {
            // The next call begins again.
            self.forgotAt = .min / 2
            throw error
        }
    }

    private func forget(writtenBefore oldest: Int64) async throws(LogError) {
        var next: Int? = 0
        while let place = next, !self.isStopping {
            let slice = await self.log.remembered(from: place, count: Slices.channelsMax)
            next = slice.next
            var old: [[ChannelName]] = Array(repeating: [], count: self.all.count)
            for entry in slice.channels where entry.timestamp < oldest { old[self.router.index(of: entry.channel)].append(entry.channel) }
            for (sequencer, channels) in zip(self.all, old) where !channels.isEmpty { try await sequencer.forget(channels, writtenBefore: oldest) }
            // The log in memory never suspends, and the loop must poll its sockets.
            try? await Task.sleep(for: .milliseconds(1))
        }
    }

    /// Each sequencer counts the channels that it adds, and learns here what the others added and what was forgotten. So all of them together may exceed
    /// the limit by the channels of one interval.
    private func countRemembered() async {
        let count = await self.log.metrics.channels
        for sequencer in self.all { await sequencer.remembers(count) }
    }

    private static let forgettingMilliseconds: Int64 = 5000
    private static let pressedMilliseconds: Int64 = 1000
}

extension Sequencer {
    /// Ages message ids and removes unused channels from the table, a slice at a time: there may be a million channels.
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

    /// A new channel was refused because too many are remembered.
    fileprivate var isPressed: Bool { self.machine.isPressed }

    fileprivate func clearPressed() { self.machine.clearPressed() }

    /// Forgets those of these channels that this sequencer serves and that are not in use.
    ///
    /// A publish may reach the log before the request to forget does; the log then keeps the channel.
    fileprivate func forget(_ channels: [ChannelName], writtenBefore oldest: Int64) async throws(LogError) {
        let forgettable = self.machine.forgettable(channels)
        if !forgettable.isEmpty { try await self.log.forget(forgettable, writtenBefore: oldest) }
    }

    fileprivate func remembers(_ count: Int) { self.machine.remembers(count) }
}
