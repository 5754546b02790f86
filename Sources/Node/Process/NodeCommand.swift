package import ArgumentParser
import Coordination
import Logging
import ServiceLifecycle
import UnixSignals

import Foundation

/// `realertime node`.
package struct NodeCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "node",
        abstract: "Run a node: accept publishes, store events, deliver them to subscribers.",
        discussion: """
            Without options the node runs outside a cluster, listens on loopback only, and stores events in \
            ./realertime-data.

            EXAMPLES:
              realertime node
              realertime node --listen 0.0.0.0:8080 --data /var/lib/realertime
              realertime node --config /etc/realertime/node.yaml --check-config

            EXIT STATUS:
              0 the node was stopped gracefully
              1 the node could not start, or stopped because of an error
              64 wrong usage or wrong settings
              78 the cluster refuses this node: a restart would not help
            """
    )

    @OptionGroup package var options: NodeOptions

    @Flag(help: "Check the configuration, print each value with its source, and exit.")
    package var checkConfig = false

    package init() {}

    package func run() async throws {
        // The last messages must be written before the process exits.
        defer { DiagnosticStream.standardError.flush(within: .seconds(1)) }
        let configuration: NodeConfiguration
        do {
            configuration = try NodeConfiguration.load(options: self.options, environment: ProcessInfo.processInfo.environment)
        } catch {
            Self.report("\(error)")
            throw ExitCode(64)
        }
        if self.checkConfig {
            print(configuration.describe())
            return
        }
        LoggingSystem.bootstrap { StreamLogHandler(label: $0, stream: DiagnosticStream.standardError) }
        var logger = Logger(label: "realertime")
        logger.logLevel = configuration.logLevel
        let node = RealertimeNode(configuration: configuration, version: Build.version, commit: Build.commit, logger: logger)
        let signals = Self.exitAtSecondSignal(logger)
        defer { signals.cancel() }
        do {
            try await ServiceGroup(
                configuration: .init(
                    services: [.init(service: node, successTerminationBehavior: .gracefullyShutdownGroup)],
                    gracefulShutdownSignals: Self.stopSignals, logger: Self.quiet)
            ).run()
        } catch let refusal as ClusterRefusal {
            Self.report("realertime node: \(refusal)")
            // EX_CONFIG of sysexits.h: a restart would not help.
            throw ExitCode(78)
        } catch {
            Self.report("realertime node: \(error)")
            throw ExitCode(1)
        }
    }

    /// SIGHUP stops the node like SIGTERM. A closed terminal sends SIGHUP. If SIGHUP is ignored at the start, as with `nohup`, the node ignores it too.
    private static var stopSignals: [UnixSignal] { OperatingSystem.isIgnored(SIGHUP) ? [.sigterm, .sigint] : [.sigterm, .sigint, .sighup] }

    /// The first signal begins a graceful stop, and the second signal ends the process. SIGHUP is not counted: a closed terminal can send SIGHUP twice, and
    /// systemd may send SIGHUP together with SIGTERM.
    private static func exitAtSecondSignal(_ logger: Logger) -> Task<Void, Never> {
        Task {
            var count = 0
            for await _ in await UnixSignalsSequence(trapping: .sigterm, .sigint) {
                count += 1
                guard count == 2 else { continue }
                logger.warning("received a second signal: exiting immediately")
                DiagnosticStream.standardError.flush(within: .milliseconds(200))
                // `exit` would run exit handlers while other threads use the same state.
                _exit(1)
            }
        }
    }

    /// The log lines of the lifecycle library do not help an operator.
    private static let quiet = Logger(label: "lifecycle") { _ in SwiftLogNoOpLogHandler() }

    private static func report(_ message: String) {
        DiagnosticStream.standardError.write(message + "\n")
    }
}

/// The version and the commit of this program. The executable sets the commit before anything else runs.
package enum Build {
    package static let version = "0.1.0"
    nonisolated(unsafe) package static var commit = "unknown"
}
