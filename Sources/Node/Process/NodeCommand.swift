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
        abstract: "Run a node: serve subscribers, take publishes, keep the log.",
        discussion: """
            Without options it runs alone, on loopback, with its log in ./realertime-data.

            EXAMPLES:
              realertime node
              realertime node --listen 0.0.0.0:8080 --data /var/lib/realertime
              realertime node --config /etc/realertime/node.yaml --check-config

            EXIT STATUS:
              0 after a graceful end, 1 when it cannot run, 64 wrong usage or settings,
              78 when its cluster does not take it: starting it again changes nothing.
            """
    )

    @OptionGroup package var options: NodeOptions

    @Flag(help: "Check the configuration, print it with where each value comes from, and exit.")
    package var checkConfig = false

    package init() {}

    package func run() async throws {
        // What was said last is to be read, if anything reads it.
        defer { DiagnosticStream.standardError.flush(within: .seconds(1)) }
        let configuration: NodeConfiguration
        do {
            configuration = try NodeConfiguration.load(options: self.options, environment: ProcessInfo.processInfo.environment)
        } catch {
            Self.complain("\(error)")
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
        let impatience = Self.exitAtSecondSignal(logger)
        defer { impatience.cancel() }
        do {
            try await ServiceGroup(
                configuration: .init(
                    services: [.init(service: node, successTerminationBehavior: .gracefullyShutdownGroup)],
                    gracefulShutdownSignals: Self.stopSignals, logger: Self.quiet)
            ).run()
        } catch let refusal as ClusterRefusal {
            Self.complain("realertime node: \(refusal)")
            // EX_CONFIG of sysexits.h: starting it again changes nothing.
            throw ExitCode(78)
        } catch {
            Self.complain("realertime node: \(error)")
            throw ExitCode(1)
        }
    }

    /// SIGHUP as SIGTERM: a terminal that is closed ends what runs in it. Unless it is ignored already, as `nohup` has it: then it stays so.
    private static var stopSignals: [UnixSignal] { OperatingSystem.isIgnored(SIGHUP) ? [.sigterm, .sigint] : [.sigterm, .sigint, .sighup] }

    /// The first signal asks, the second does not. Not SIGHUP: a closed terminal sends it from the shell and from the kernel, and systemd may add it to SIGTERM.
    private static func exitAtSecondSignal(_ logger: Logger) -> Task<Void, Never> {
        Task {
            var count = 0
            for await _ in await UnixSignalsSequence(trapping: .sigterm, .sigint) {
                count += 1
                guard count == 2 else { continue }
                logger.warning("a second signal: exiting immediately")
                DiagnosticStream.standardError.flush(within: .milliseconds(200))
                // Not `exit`, which runs what other threads may be in the middle of.
                _exit(1)
            }
        }
    }

    /// The lifecycle library's own words are of no use to an operator.
    private static let quiet = Logger(label: "lifecycle") { _ in SwiftLogNoOpLogHandler() }

    private static func complain(_ message: String) {
        DiagnosticStream.standardError.write(message + "\n")
    }
}

/// What this binary was built from. Set once, by the executable, before anything runs.
package enum Build {
    package static let version = "0.1.0"
    nonisolated(unsafe) package static var commit = "unknown"
}
