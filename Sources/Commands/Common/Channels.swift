import ArgumentParser

/// Channel names in arguments: one name for each argument, or several names in one argument, separated by / as in a URL.
enum Channels {
    static func split(_ argument: String) -> [String] { argument.split(separator: "/", omittingEmptySubsequences: false).map(String.init) }

    /// Refuses empty names before a request is sent. The node checks the other rules for names.
    static func check(_ names: [String]) throws {
        if names.isEmpty { throw ValidationError("Give at least one channel.") }
        if names.contains("") { throw ValidationError("A channel name is empty. Write one / between two names, and no / at the beginning or end.") }
    }
}
