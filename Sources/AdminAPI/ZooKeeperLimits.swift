package import JSON

/// The response of `GET /api/zookeeper`: how long each server continues to serve clients after it is cut off from the other servers.
package struct ZooKeeperLimits: Hashable, Sendable {
    package struct Server: Hashable, Sendable {
        package var address: String
        /// `syncLimit` × `tickTime`. 0 for a standalone server.
        package var syncLimitMilliseconds: Int?
        /// Why the limit is not known.
        package var unknown: String?

        package init(address: String, syncLimitMilliseconds: Int? = nil, unknown: String? = nil) {
            self.address = address
            self.syncLimitMilliseconds = syncLimitMilliseconds
            self.unknown = unknown
        }
    }

    package var sessionMilliseconds: Int
    package var servers: [Server]

    package init(sessionMilliseconds: Int, servers: [Server]) {
        self.sessionMilliseconds = sessionMilliseconds
        self.servers = servers
    }

    package func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.field("session_ms", self.sessionMilliseconds)
            writer.name("servers")
            writer.array { writer in
                for server in self.servers {
                    writer.object { writer in
                        writer.field("address", server.address)
                        if let limit = server.syncLimitMilliseconds { writer.field("sync_limit_ms", limit) }
                        if let reason = server.unknown { writer.field("unknown", reason) }
                    }
                }
            }
        }
    }

    package init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.sessionMilliseconds = try object.integer("session_ms")
        self.servers = try object.values("servers") { value throws(JSONError) in
            var server = try value.object()
            return Server(
                address: try server.text("address"), syncLimitMilliseconds: try server.optional("sync_limit_ms")?.integer(),
                unknown: try server.optional("unknown")?.text())
        }
    }
}
