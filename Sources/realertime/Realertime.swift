import ArgumentParser

@main
struct Realertime: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "realertime")
}
