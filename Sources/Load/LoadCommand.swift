import Options
package import ArgumentParser
import Glibc

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

package struct LoadCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "load",
        abstract: "Measure a server with many subscribers and a fixed rate of events, and check every delivery.",
        usage: "realertime load [<options>]",
        discussion: """
            EXAMPLES:
              realertime load -n 5000 -c 100 -r 1000 -d 30
              realertime load -n 5000 --hot -r max --pid $(pidof realertime)
              realertime load -n 15000 -r 0 -o json

            Each payload contains its channel, its sequence number and its scheduled send time. So the load tool counts lost, repeated \
            and reordered events exactly, and measures latency from the scheduled send time. The report says whether the load tool \
            itself was the bottleneck.

            ANOTHER SERVER:
              realertime load -n 5000 -c 100 -r max \\
                --subscribe-url 'http://127.0.0.1:9080/sub/{channel}' \\
                --publish-url 'http://127.0.0.1:9080/pub?id={channel}'

            EXIT STATUS:
              0 all expected events arrived once and in order
              1 an event is missing, repeated or out of order, or a connection failed
              3 the server cannot be reached
              64 wrong usage
            """
    )

    @OptionGroup(title: "Target") var target: TargetOptions
    @OptionGroup(title: "Load") var shape: ShapeOptions
    @OptionGroup(title: "Times") var time: TimeOptions
    @OptionGroup(title: "Resources and output") var resources: ResourceOptions

    package init() {}

    package func run() async throws {
        let isComplete: Bool
        do throws(LoadError) {
            isComplete = try self.measure()
        } catch {
            Self.print("\(error)", to: 2)
            throw ExitCode(error.code.rawValue)
        }
        if !isComplete { throw ExitCode(LoadError.Code.failed.rawValue) }
    }

    /// Prints the report. Returns false if the report contains failures.
    private func measure() throws(LoadError) -> Bool {
        let limits = LocalLimits.raised()
        var target = self.target
        if let token = Environment.workerToken { (target.secret.apiToken, target.secret.apiTokenFile) = (token, nil) }
        target = try target.filled(from: ProcessInfo.processInfo.environment)
        // The token file may be a pipe, which can be read only once. So worker processes get the token in an environment variable.
        if let token = target.secret.apiToken { setenv(Environment.workerTokenName, token, 1) }
        var settings = try LoadSettings(target: target, shape: self.shape, time: self.time, resources: self.resources, limits: limits)
        if let index = self.resources.workerIndex {
            Interruption.ignore()
            try settings.chooseSourceAddresses(limits: limits)
            var worker = try LoadWorker(settings: settings, index: index, link: WorkerLauncher.linkDescriptor)
            worker.run()
            return true
        }
        Interruption.watch()
        var coordinator = LoadCoordinator(settings: settings, limits: limits, showsProgress: isatty(2) == 1)
        let report = try coordinator.run()
        Self.print(settings.output == .json ? report.json : report.table(width: Self.width(of: 1)), to: 1)
        return report.isComplete
    }

    private enum Environment {
        static let workerTokenName = "REALERTIME_LOAD_WORKER_TOKEN"
        static var workerToken: String? { ProcessInfo.processInfo.environment[self.workerTokenName] }
    }

    /// The width of the terminal: COLUMNS, or without COLUMNS the current width. Nil if the output is not a terminal.
    private static func width(of descriptor: Int32) -> Int? {
        guard isatty(descriptor) == 1 else { return nil }
        if let columns = ProcessInfo.processInfo.environment["COLUMNS"].flatMap({ Int($0) }), columns > 0 { return Swift.max(columns, 40) }
        var size = winsize()
        return ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Swift.max(Int(size.ws_col), 40) : 80
    }

    private static func print(_ text: String, to descriptor: Int32) {
        let line = Array((text + "\n").utf8)
        var start = 0
        while start < line.count {
            let written = line.withUnsafeBytes { write(descriptor, $0.baseAddress! + start, $0.count - start) }
            guard written > 0 else { return }
            start += written
        }
    }
}
