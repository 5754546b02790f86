import Configuration
import Options
import Pipeline
import Sockets

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension NodeConfiguration {
    /// Reads flags, the environment and the file. Flags take precedence over the environment, and the environment over the file.
    ///
    /// - Throws: `ConfigurationError` with all problems.
    package static func load(options: NodeOptions, environment: [String: String]) throws -> NodeConfiguration {
        let file = options.config ?? environment[ConfigurationSource.fileVariable].flatMap { $0.isEmpty ? nil : $0 }
        return try self.load(flags: options.values, environment: environment, file: file)
    }

    static func load(flags: [String: String], environment: [String: String], file: String?) throws -> NodeConfiguration {
        var problems: [ConfigurationError.Problem] = []
        var sources = [ConfigurationSource(flags: flags), ConfigurationSource(environment: environment)]
        if let file {
            do {
                sources.append(ConfigurationSource(file: file, text: try TextFile.read(file)))
            } catch {
                problems.append(.init("The configuration file \(file) \(error)"))
            }
        }
        let reader = ConfigReader(providers: sources.map { $0.provider(problems: &problems) })
        var configuration = NodeConfiguration(config: reader)
        for source in sources.reversed() {
            configuration.origins.merge(source.entries.mapValues(\.origin)) { _, earlier in earlier }
        }
        configuration.readSecretFile("api-token", \.apiToken, reader, sources, &problems)
        configuration.readSecretFile("zookeeper-password", \.cluster.password, reader, sources, &problems)
        configuration.readSecretFile("link-secret", \.cluster.linkSecret, reader, sources, &problems)
        configuration.readSecretFile("redis-password", \.cluster.redis.password, reader, sources, &problems)
        if configuration.origins["log"] == nil { configuration.origins["log"] = configuration.origins["redis"] }
        guard problems.isEmpty else { throw ConfigurationError(problems) }
        let contradictions = configuration.contradictions
        guard contradictions.isEmpty else { throw ConfigurationError(contradictions) }
        return configuration
    }

    /// Reads a secret from the file that the key `NAME-file` names. If a source with higher precedence sets `NAME` itself, the file is not read.
    /// A source that sets both keys is an error.
    private mutating func readSecretFile(
        _ name: String, _ secret: WritableKeyPath<NodeConfiguration, String?>, _ reader: ConfigReader, _ sources: [ConfigurationSource],
        _ problems: inout [ConfigurationError.Problem]
    ) {
        let fileName = name + "-file"
        guard let path = reader.string(forKey: ConfigKey([fileName])), let origin = self.origins[fileName] else { return }
        let given = sources.firstIndex { $0.entries[name] != nil } ?? sources.endIndex
        let file = sources.firstIndex { $0.entries[fileName] != nil } ?? sources.endIndex
        guard file <= given else {
            self.origins[fileName] = nil
            return
        }
        guard file < given else {
            problems.append(.init("\(fileName) and \(name) are both set here: keep one", at: origin))
            return
        }
        let line: String
        do {
            line = try TextFile.firstLine(of: path)
        } catch {
            problems.append(.init("\(fileName) \(path) \(error)", at: origin))
            return
        }
        guard !line.isEmpty else {
            problems.append(.init("the first line of \(fileName) \(path) must be the secret, but it is empty", at: origin))
            return
        }
        self[keyPath: secret] = line
        self.secretFiles[fileName] = path
        self.origins[name] = origin
    }
}

// MARK: - Contradictions

extension NodeConfiguration {
    /// Problems with values that are allowed separately, but not together.
    var contradictions: [ConfigurationError.Problem] {
        var problems: [ConfigurationError.Problem] = []
        if self.listen.overlaps(self.api) {
            problems.append(.init("listen and api are both \(self.api): give each its own port", at: self.origins["api"] ?? self.origins["listen"]))
        }
        problems += self.clusterContradictions + self.logContradictions
        if (self.cluster.user == nil) != (self.cluster.password == nil) {
            problems.append(
                .init(
                    "zookeeper-user and zookeeper-password belong together: set both, or neither",
                    at: self.origins["zookeeper-user"] ?? self.origins["zookeeper-password"]))
        }
        if !self.api.isLoopback, self.apiToken == nil {
            problems.append(
                .init(
                    "api \(self.api) can be reached from other machines, so it needs a token: set api-token-file (or REALERTIME_API_TOKEN), "
                        + "or listen on 127.0.0.1:\(self.api.port)",
                    at: self.origins["api"]))
        }
        if let token = self.apiToken,
            token.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) || token.hasPrefix(" ")
                || token.hasSuffix(" ")
        {
            problems.append(
                .init(
                    "api-token has a space at its beginning or end, or a control character, which no HTTP header can carry: choose another token",
                    at: self.origins["api-token"]))
        }
        if self.corsOrigins.contains("*"), self.corsOrigins.count > 1 {
            problems.append(.init("cors-origins contains * and other origins: keep * alone, or remove it", at: self.origins["cors-origins"]))
        }
        for (name, bound) in [("request-bytes-max", self.limits.requestBytesMax), ("parked-bytes-max", self.limits.parkedBytesMax)]
        where self.limits.eventBytesMax > bound {
            problems.append(
                .init(
                    "event-bytes-max \(self.limits.eventBytesMax) is over \(name) \(bound), so the largest events could never be published: "
                        + "raise \(name) or lower event-bytes-max",
                    at: self.origins[name] ?? self.origins["event-bytes-max"]))
        }
        return problems
    }
}
