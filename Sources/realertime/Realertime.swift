import ArgumentParser
import CBuild
import Commands
import Load
import Node

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The program. It only connects the modules.
@main
struct Realertime: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "realertime",
        abstract: "Receives events from back ends and delivers them to many browsers.",
        discussion: """
            TRY IT, each in its own terminal:
              realertime node                        start a node
              realertime subscribe demo              print the events of a channel
              realertime publish demo '{"hi":1}'     publish an event to the channel
            """,
        version: "\(Build.version) (\(String(cString: realertime_build_commit())))",
        subcommands: [NodeCommand.self, PublishCommand.self, SubscribeCommand.self, StatusCommand.self, DoctorCommand.self, LoadCommand.self],
        groupedSubcommands: [
            CommandGroup(
                name: "Cluster",
                subcommands: [
                    MembersCommand.self, PartitionsCommand.self, LocateCommand.self, EventsCommand.self, PlanCommand.self, RebalanceCommand.self,
                    DrainCommand.self, UndrainCommand.self, CordonCommand.self, UncordonCommand.self, MoveCommand.self, ForgetCommand.self,
                ])
        ]
    )

    static func main() async {
        Build.commit = String(cString: realertime_build_commit())
        let bytes = UnsafeBufferPointer(start: CommandLine.unsafeArgv, count: Int(CommandLine.argc)).dropFirst().map { argument in
            argument.map { Array(UnsafeRawBufferPointer(start: $0, count: strlen($0))) } ?? []
        }
        if let problem = Arguments.problem(bytes) ?? self.unknownCommand(in: Array(CommandLine.arguments.dropFirst())) {
            self.exit(withError: ValidationError(problem))
        }
        do {
            var command = try await self.asyncParseAsRoot()
            if var command = command as? any AsyncParsableCommand { try await command.run() } else { try command.run() }
        } catch {
            if let problem = Arguments.problem(about: self.message(for: error), in: Array(CommandLine.arguments.dropFirst())) {
                self.exit(withError: ValidationError(problem))
            }
            self.exit(withError: error)
        }
    }

    /// The message for an unknown command. Nil if the command is known. ArgumentParser would report an unknown command as a superfluous argument.
    private static func unknownCommand(in arguments: [String]) -> String? {
        guard let name = arguments.first == "help" ? arguments.dropFirst().first : arguments.first, !name.hasPrefix("-") else { return nil }
        let names = self.configuration.subcommands.compactMap { $0.configuration.commandName } + ["help"]
        guard !names.contains(name) else { return nil }
        return "There is no command '\(name)'." + (NearestName.of(name, among: names).map { " Did you mean '\($0)'?" } ?? "")
    }
}
