import ArgumentParser
import NIOCore

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// How to reach the API port of a node.
struct APIOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The API port of the node. (env: REALERTIME_API_URL; default: http://127.0.0.1:8081)", valueName: "url"))
    var api: String?

    @Option(
        help: ArgumentHelp(
            "What the node has as its api-token. As a flag other users of this machine can see it. (env: REALERTIME_API_TOKEN)", valueName: "token"))
    var apiToken: String?

    func base() throws -> BaseURL {
        try BaseURL(named: "--api", self.api ?? Environment.value("REALERTIME_API_URL") ?? "http://127.0.0.1:8081")
    }

    var token: String? {
        let token = self.apiToken ?? Environment.value("REALERTIME_API_TOKEN") ?? ""
        return token.isEmpty ? nil : token
    }
}

enum Environment {
    /// A variable that is empty counts as not set, as for a node.
    static func value(_ name: String) -> String? {
        ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }
}

/// The hard limit of a command. What it limits is for the command to say.
struct Seconds: ExpressibleByArgument, Sendable, Equatable {
    var duration: Duration

    init?(argument: String) {
        guard let seconds = Double(argument), seconds > 0, seconds <= 31_536_000 else { return nil }
        self.duration = .milliseconds(Int((seconds * 1000).rounded(.up)))
    }

    init(_ seconds: Int) {
        self.duration = .seconds(seconds)
    }

    var defaultValueDescription: String { "\(Int(self.duration.seconds))" }
}

/// `http://host:port`, with or without a path below which everything is.
struct BaseURL: Sendable, Equatable, CustomStringConvertible {
    var isSecure: Bool
    var host: String
    var port: Int
    var path: String

    init(named option: String, _ text: String) throws {
        guard let url = URL(string: text), let scheme = url.scheme?.lowercased(), ["http", "https"].contains(scheme),
            let host = url.host(percentEncoded: false), !host.isEmpty, url.query == nil
        else {
            throw ValidationError("\(option) must be a URL like http://127.0.0.1:\(option == "--api" ? 8081 : 8080), not \"\(text)\".")
        }
        self.isSecure = scheme == "https"
        self.host = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        self.port = url.port ?? (self.isSecure ? 443 : 80)
        self.path = url.path(percentEncoded: true)
        while self.path.hasSuffix("/") { self.path.removeLast() }
    }

    /// As in a `Host` header.
    var authority: String {
        let host = self.host.contains(":") ? "[\(self.host)]" : self.host
        return self.port == (self.isSecure ? 443 : 80) ? host : "\(host):\(self.port)"
    }

    var description: String { "\(self.isSecure ? "https" : "http")://\(self.authority)\(self.path)" }
}

enum OutputFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
    case table
    case json
}

/// What help texts share. A paragraph is one line, which is wrapped as wide as the terminal is; what is indented stands as it is, in 80 columns.
enum Help {
    static let exitStatus = """
        EXIT STATUS:
          0 all is well, 1 degraded, 2 critical or refused,
          3 the node cannot be reached, 64 wrong usage.
        """
}
