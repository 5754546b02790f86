import ArgumentParser

/// Channels as the commands take them: several arguments, or one with / between them, as in a URL.
enum Channels {
    static func split(_ argument: String) -> [String] { argument.split(separator: "/", omittingEmptySubsequences: false).map(String.init) }

    /// What no channel can be called is refused before anything is sent. Which other bytes a name may have is for the node to say.
    static func check(_ names: [String]) throws {
        if names.isEmpty { throw ValidationError("Give at least one channel.") }
        if names.contains("") { throw ValidationError("A channel's name cannot be empty: give names, or several with one / between them.") }
    }
}
