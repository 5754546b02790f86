import ArgumentParser

/// Channels in the commands' form: several arguments, or one argument with / between them, as in a URL.
enum Channels {
    static func split(_ argument: String) -> [String] { argument.split(separator: "/", omittingEmptySubsequences: false).map(String.init) }

    /// Refuses names that no channel can have, before anything is sent. The node checks the other rules.
    static func check(_ names: [String]) throws {
        if names.isEmpty { throw ValidationError("Give at least one channel.") }
        if names.contains("") { throw ValidationError("A channel's name cannot be empty: give names, or several with one / between them.") }
    }
}
