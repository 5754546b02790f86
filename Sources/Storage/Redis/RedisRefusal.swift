/// An error reply by which Redis says that it did not execute a request.
///
/// Redis checks all of this before it runs a command, or a script that begins with `#!lua`. An error from inside a script has the same codes and names the
/// script: by then the script may have written.
struct RedisRefusal: Equatable {
    /// For people: what is wrong and what to do.
    let sentence: String
    /// The server is not what it was when the connection was made, so the handshake has to be repeated.
    let isAboutServer: Bool

    /// Nil if the request may have been executed, or if the sender has to decide (`NOSCRIPT`, `WRONGTYPE`).
    init?(_ error: String, place: String) {
        guard !error.contains(" script: ") else { return nil }
        let code = error.prefix { $0 != " " }
        switch code {
        case "LOADING": self.init("Redis at \(place) is loading its data from disk", true)
        case "MASTERDOWN": self.init("Redis at \(place) is a replica that has lost its master", true)
        case "READONLY": self.init("Redis at \(place) has become a read-only replica: use the address of its master", true)
        case "NOAUTH": self.init("Redis at \(place) requires a password: put it into the URL", true)
        case "BUSY": self.init("Redis at \(place) is busy with a script that runs for too long", false)
        case "OOM": self.init("Redis at \(place) has reached its maxmemory: raise it, or keep less history", false)
        case "MISCONF": self.init("Redis at \(place) accepts no writes, because it could not write to its disk: check its disk", false)
        case "NOREPLICAS": self.init("Redis at \(place) accepts no writes, because it has fewer replicas than min-replicas-to-write", false)
        case "CLUSTERDOWN": self.init("Redis at \(place) is part of a Redis Cluster that is down", false)
        default: return nil
        }
    }

    private init(_ sentence: String, _ isAboutServer: Bool) {
        self.sentence = sentence
        self.isAboutServer = isAboutServer
    }
}
