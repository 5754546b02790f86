@testable import Commands

/// Responses of a controller.
enum ClusterSamples {
    static func head(authoritative: Bool = true, controller: Bool = true, mode: String = "normal", health: String? = nil) -> String {
        let health = health ?? (!controller ? "critical" : authoritative ? "healthy" : "degraded")
        let coordination = "{\"health\":\"\(health)\"\(health == "healthy" ? "" : ",\"reason\":\"No decision is made.\"")}"
        let record = controller ? "{\"id\":\"n3\",\"incarnation\":41,\"epoch\":17,\"api\":\"10.0.0.3:8081\"}" : "null"
        return
            "\"cluster\":\"prod\",\"through\":\"n3\",\"authoritative\":\(authoritative),\"controller\":\(record),\"coordination\":\(coordination),\"mode\":\"\(mode)\",\"view_version\":8123,\"view_age_seconds\":4"
    }

    static func overview(
        _ head: String = head(), moving: Int = 0, preparing: Int = 0, orphan: Int = 0, contested: Int = 0, active: Int = 3, spread: Double = 1.01,
        zookeeper: String = "{\"node\":\"n3\",\"state\":\"connected\",\"session\":\"0x1f\",\"timeout_ms\":6000}", health: String = "healthy",
        reasons: String = ""
    ) -> String {
        """
        {\(head),"zookeeper":\(zookeeper),
         "nodes":{"joining":0,"active":\(active),"cordoned":0,"draining":1,"drained":0,"fenced":0,"down":0},
         "partitions":{"total":1024,"served":\(1024 - moving - preparing - orphan),"preparing":\(preparing),"moving":\(moving),"orphan":\(orphan),"unknown":0,"contested":\(contested)},
         "spread":\(spread),"connections":12345,"published_per_second":100.5,"delivered_per_second":20000,"health":"\(health)","reasons":[\(reasons)],"notices":["n2 is draining: draining, requested by ann (kernel)."]}
        """
    }

    static func member(
        _ id: String, state: String = "active", desired: String? = nil, owned: Int = 341, movingOut: Int = 0, version: String = "0.1.0", view: Int = 8123,
        ageMs: Int? = 400, presence: String = "up", notSeenBy: [String] = [], link: String? = nil, alarm: String? = nil, session: String = "connected"
    ) -> String {
        let wish = desired.map { ",\"desired\":\"\($0)\",\"by\":\"ann\",\"note\":\"kernel\"" } ?? ""
        let report =
            state == "down"
            ? ""
            : ageMs.map { age in
                """
                ,"uptime_seconds":90000,"session":"\(session)","serving":\(owned),"connections":48211,"published_per_second":12.1,"delivered_per_second":900,
                 "node_view_version":\(view),"report_age_ms":\(age),"health":"healthy","peers":2,"sees":2,
                 "does_not_see":[]\(alarm.map { ",\"alarm\":\"\($0)\"" } ?? "")
                """
            } ?? ""
        let sighting = """
            "presence":"\(state == "down" ? "down" : presence)","witnesses":2,"seen_by":\(2 - notSeenBy.count),
             "not_seen_by":[\(notSeenBy.map { "\"\($0)\"" }.joined(separator: ","))]\(state == "down" ? "" : ",\"incarnation\":4123")
            """
        return """
            {"id":"\(id)","state":"\(state)"\(wish),"zone":"a","link":"\(link ?? "\(id):7400")","api":"\(id):8081","version":"\(version)","weight":1,
             "owned":\(owned),"share":0.333,"moving_in":0,"moving_out":\(movingOut),\(sighting)\(report)}
            """
    }

    static func members(_ members: String..., head: String = head()) -> String { "{\(head),\"members\":[\(members.joined(separator: ","))]}" }

    static func partitions(_ partitions: String..., head: String = head(), channel: String? = nil) -> String {
        "{\(channel.map { "\"channel\":\"\($0)\"," } ?? "")\(head),\"partitions\":[\(partitions.joined(separator: ","))]}"
    }

    static func plan(
        _ head: String = head(), moves: Int = 0, grants: Int = 0, bound: Int? = nil, waiting: Int = 0, settled: Bool = true, pairs: String = "",
        refusals: String = ""
    ) -> String {
        """
        {\(head),"moves":\(moves),"grants":\(grants),"lower_bound":\(bound ?? moves + grants),"waiting":\(waiting),"rounds":3,"spread_before":1.1,
         "spread_after":1.0,"settled":\(settled),"pairs":[\(pairs)],"refusals":[\(refusals)]}
        """
    }

    static func events(_ through: String, _ numbers: [(Int, at: Int)]) -> String {
        let events = numbers.map { "{\"number\":\($0.0),\"kind\":\"granted\",\"at\":\($0.at),\"node\":\"\",\"view\":7,\"text\":\"12 partitions\"}" }
        return "{\"through\":\"\(through)\",\"events\":[\(events.joined(separator: ","))]}"
    }

    static let plain = Terminal(descriptor: 1, isInteractive: false, noColour: nil, kind: nil)
}

extension ClusterReport {
    init(_ text: String) throws { try self.init(json: Array(text.utf8)) }
}
