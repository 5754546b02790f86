import DequeModule
import NIOCore

extension Sequencer {
    /// Once a second: ages message ids, forgets idle channels, trims the log.
    package func tick() {
        self.sweep()
        guard !self.isTrimming else { return }
        self.isTrimming = true
        let now = self.clocks.steady()
        Task {
            do throws(LogError) { try await self.log.trim(now: now) } catch { self.statistics.trimFailures += 1 }
            self.isTrimming = false
        }
    }

    /// A slice, and the next in a moment: there may be a million channels.
    private func sweep() {
        let (forgotten, isMore) = self.machine.sweep(now: self.clocks.steady())
        self.toForget += forgotten
        if !self.toForget.isEmpty { self.drainIfNeeded() }
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

    /// Between two commits, so that the epochs of channels that come back are above the stored floor, and so many at once that the next commit
    /// hardly waits. Those that came back with an event meanwhile are not forgotten: their new epoch is in the log.
    func forget() async {
        guard !self.toForget.isEmpty else { return }
        let slice = Array(self.toForget.prefix(Self.forgottenAtOnce))
        self.toForget.removeFirst(slice.count)
        let channels = slice.filter { self.machine.channels[$0]?.head.offset ?? 0 == 0 }
        do throws(LogError) {
            try await self.log.forget(channels, epochFloor: self.machine.channels.epochFloor)
        } catch {
            // The floor is raised in memory; the log hears of them again.
            self.toForget.append(contentsOf: channels)
            self.statistics.trimFailures += 1
            try? await Task.sleep(for: .milliseconds(200))
        }
    }

    private static let forgottenAtOnce = 256
}
