import NIOCore
import Partitioning

extension Sequencer {
    /// Once a second: ages message ids, lets go of channels that are not used, trims the log and forgets old heads.
    package func tick() {
        self.sweep()
        guard !self.isTrimming else { return }
        self.isTrimming = true
        Task {
            do throws(LogError) {
                try await self.log.trim(self.machine.grants, now: self.clocks.steady())
                try await self.forget()
            } catch {
                self.metrics.trimFailures += 1
            }
            self.isTrimming = false
        }
    }

    /// A slice, and the next in a moment: there may be a million channels.
    private func sweep() {
        let isMore = self.machine.sweep(now: self.clocks.steady())
        guard isMore, !self.isSweeping else { return }
        self.isSweeping = true
        // Not `execute`, which NIO would run before it polls.
        self.loop.assumeIsolated().scheduleTask(in: .milliseconds(1)) {
            self.assumeIsolated { sequencer in
                sequencer.isSweeping = false
                sequencer.sweep()
            }
        }
    }

    /// The one place where heads are forgotten: those of this sequencer's partitions that are old and not in use. The log is their home; it says which
    /// are old and raises the epochs for channels that come back, and this sequencer knows which are in use. A slice at a time, not before the next is due.
    private func forget() async throws(LogError) {
        let now = self.clocks.steady()
        guard now >= self.lastForgetting + (self.machine.isPressed ? 1000 : Self.forgettingMilliseconds) else { return }
        self.lastForgetting = now
        let oldest = self.machine.forgettingHorizon(now: now)
        var next: Int? = 0
        while let place = next {
            let slice = await self.log.remembered(from: place, count: Self.lookedAtOnce)
            next = slice.next
            let old = slice.channels.filter { $0.timestamp < oldest }.map(\.channel)
            let forgettable = self.machine.forgettable(old)
            if !forgettable.isEmpty {
                do throws(LogError) {
                    try await self.log.forget(forgettable)
                } catch {
                    // From the beginning, the next time.
                    self.lastForgetting = .min / 2
                    throw error
                }
                self.machine.forgot(forgettable.values.reduce(0) { $0 + $1.count })
            }
            // The log in memory never suspends, and the loop has sockets to look at.
            try? await Task.sleep(for: .milliseconds(1))
        }
    }

    private static let forgettingMilliseconds: Int64 = 5_000
    private static let lookedAtOnce = 1024
}
