package import JSON

/// The response to `members`: a row for each node of the view.
package struct ClusterMembers: Hashable, Sendable {
    /// Whether a node is up, according to the members' reports about each other.
    package enum Presence: String, Hashable, Sendable, CaseIterable {
        case up
        /// Most witnesses do not reach the node, or the controller gets no report from the node. A witness is a member that reports whether it reaches the node.
        case suspect
        /// The node has no session, or its link port is closed.
        case down
        /// The response is not from the controller, and the responding node reaches too few other nodes to judge them.
        case unknown
    }

    /// A node's own report.
    package struct Report: Hashable, Sendable {
        /// Nil in a report of an older version.
        package var uptimeSeconds: Int?
        /// The state of the node's session with ZooKeeper, such as `connected`. Nil for a node without ZooKeeper.
        package var session: String?
        package var serving: Int
        package var connections: Int
        package var publishedPerSecond: Double
        package var deliveredPerSecond: Double
        package var viewVersion: Int
        package var ageMilliseconds: Int
        package var health: Health
        package var alarm: String?
        /// The number of other members. `sees` is the number of members that the node reaches. `doesNotSee` lists the ids of the others.
        package var peers: Int
        package var sees: Int
        package var doesNotSee: [String]

        package init(
            uptimeSeconds: Int?, session: String?, serving: Int, connections: Int, publishedPerSecond: Double, deliveredPerSecond: Double,
            viewVersion: Int, ageMilliseconds: Int, health: Health, alarm: String?, peers: Int, sees: Int, doesNotSee: [String]
        ) {
            self.uptimeSeconds = uptimeSeconds
            self.session = session
            self.serving = serving
            self.connections = connections
            self.publishedPerSecond = publishedPerSecond
            self.deliveredPerSecond = deliveredPerSecond
            self.viewVersion = viewVersion
            self.ageMilliseconds = ageMilliseconds
            self.health = health
            self.alarm = alarm
            self.peers = peers
            self.sees = sees
            self.doesNotSee = doesNotSee
        }
    }

    /// The desired state of a node, as an operator requested it.
    package struct Desired: Hashable, Sendable {
        package var state: String
        package var by: String
        package var note: String

        package init(state: String, by: String, note: String) {
            self.state = state
            self.by = by
            self.note = note
        }
    }

    package struct Member: Hashable, Sendable {
        package var id: String
        /// The state of the node in the view.
        package var state: String
        package var presence: Presence
        /// The number of witnesses. `seenBy` is the number of witnesses that reach the node. `notSeenBy` lists the first ids of the others.
        package var witnesses: Int
        package var seenBy: Int
        package var notSeenBy: [String]
        /// Nil in a response that is not from the controller.
        package var desired: Desired?
        package var zone: String
        package var link: String
        package var api: String
        /// Nil while the node is not a member.
        package var incarnation: Int?
        package var version: String
        package var weight: Double
        package var owned: Int
        package var share: Double
        package var movingIn: Int
        package var movingOut: Int
        /// Nil if the node has not reported.
        package var report: Report?

        package init(
            id: String, state: String, presence: Presence, witnesses: Int, seenBy: Int, notSeenBy: [String], desired: Desired?, zone: String,
            link: String, api: String, incarnation: Int?, version: String, weight: Double, owned: Int, share: Double, movingIn: Int, movingOut: Int,
            report: Report?
        ) {
            self.id = id
            self.state = state
            self.presence = presence
            self.witnesses = witnesses
            self.seenBy = seenBy
            self.notSeenBy = notSeenBy
            self.desired = desired
            self.zone = zone
            self.link = link
            self.api = api
            self.incarnation = incarnation
            self.version = version
            self.weight = weight
            self.owned = owned
            self.share = share
            self.movingIn = movingIn
            self.movingOut = movingOut
            self.report = report
        }
    }

    package var head: ClusterHead
    package var members: [Member]

    package init(head: ClusterHead, members: [Member]) {
        self.head = head
        self.members = members
    }

    package func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            self.head.writeFields(to: &writer)
            writer.name("members")
            writer.array { writer in for member in self.members { member.write(to: &writer) } }
        }
    }

    package init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.head = try ClusterHead(from: &object)
        self.members = try object.values("members") { value throws(JSONError) in try Member(value) }
    }
}

extension ClusterMembers.Member {
    fileprivate func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.field("id", self.id)
            writer.field("state", self.state)
            writer.field("presence", self.presence.rawValue)
            writer.field("witnesses", self.witnesses)
            writer.field("seen_by", self.seenBy)
            writer.field("not_seen_by", self.notSeenBy)
            if let desired = self.desired {
                writer.field("desired", desired.state)
                writer.field("by", desired.by)
                writer.field("note", desired.note)
            }
            writer.field("zone", self.zone)
            writer.field("link", self.link)
            writer.field("api", self.api)
            if let incarnation = self.incarnation { writer.field("incarnation", incarnation) }
            writer.field("version", self.version)
            writer.field("weight", self.weight)
            writer.field("owned", self.owned)
            writer.field("share", self.share)
            writer.field("moving_in", self.movingIn)
            writer.field("moving_out", self.movingOut)
            self.report?.writeFields(to: &writer)
        }
    }

    fileprivate init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.id = try object.text("id")
        self.state = try object.text("state")
        self.presence = try object.name("presence", else: .unknown)
        self.witnesses = try object.integer("witnesses")
        self.seenBy = try object.integer("seen_by")
        self.notSeenBy = try object.texts("not_seen_by")
        if let state = try object.optional("desired")?.text() {
            self.desired = .init(state: state, by: try object.optional("by")?.text() ?? "", note: try object.optional("note")?.text() ?? "")
        }
        self.zone = try object.text("zone")
        self.link = try object.text("link")
        self.api = try object.text("api")
        self.incarnation = try object.optional("incarnation")?.integer()
        self.version = try object.text("version")
        self.weight = try object.number("weight")
        self.owned = try object.integer("owned")
        self.share = try object.number("share")
        self.movingIn = try object.integer("moving_in")
        self.movingOut = try object.integer("moving_out")
        if let age = try object.optional("report_age_ms")?.integer() { self.report = try .init(from: &object, ageMilliseconds: age) }
    }
}

extension ClusterMembers.Report {
    fileprivate func writeFields(to writer: inout JSONWriter<some JSONSink>) {
        if let uptime = self.uptimeSeconds { writer.field("uptime_seconds", uptime) }
        if let session = self.session { writer.field("session", session) }
        writer.field("serving", self.serving)
        writer.field("connections", self.connections)
        writer.field("published_per_second", self.publishedPerSecond)
        writer.field("delivered_per_second", self.deliveredPerSecond)
        writer.field("node_view_version", self.viewVersion)
        writer.field("report_age_ms", self.ageMilliseconds)
        writer.field("health", self.health.rawValue)
        if let alarm = self.alarm { writer.field("alarm", alarm) }
        writer.field("peers", self.peers)
        writer.field("sees", self.sees)
        writer.field("does_not_see", self.doesNotSee)
    }

    fileprivate init(from object: inout JSONObject, ageMilliseconds: Int) throws(JSONError) {
        self.uptimeSeconds = try object.optional("uptime_seconds")?.integer()
        self.session = try object.optional("session")?.text()
        self.serving = try object.integer("serving")
        self.connections = try object.integer("connections")
        self.publishedPerSecond = try object.number("published_per_second")
        self.deliveredPerSecond = try object.number("delivered_per_second")
        self.viewVersion = try object.integer("node_view_version")
        self.ageMilliseconds = ageMilliseconds
        self.health = try Health(try object.required("health"))
        self.alarm = try object.optional("alarm")?.text()
        self.peers = try object.integer("peers")
        self.sees = try object.integer("sees")
        self.doesNotSee = try object.texts("does_not_see")
    }
}
