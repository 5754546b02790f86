import JSON

/// The first fields of every response about the cluster: the node that reports, and whether the cluster can make decisions.
package struct ClusterHead: Hashable, Sendable {
    package struct Controller: Hashable, Sendable {
        package var id: String
        package var incarnation: Int
        package var epoch: Int
        /// The controller's API address. Nil in a response of an older version.
        package var api: String?

        package init(id: String, incarnation: Int, epoch: Int, api: String?) {
            self.id = id
            self.incarnation = incarnation
            self.epoch = epoch
            self.api = api
        }
    }

    /// Whether the cluster can make decisions.
    package struct Coordination: Hashable, Sendable {
        package var health: Health
        /// If the cluster cannot make decisions: the consequences, in sentences.
        package var reason: String?

        package init(_ health: Health, reason: String? = nil) {
            self.health = health
            self.reason = reason
        }
    }

    package var cluster: String
    /// The node that reports. This is the controller if the controller could be reached.
    package var through: String
    /// False if the reporting node is not the controller. Then the response contains only the data that this node has.
    package var authoritative: Bool
    package var controller: Controller?
    package var coordination: Coordination
    /// `normal`, `maintenance` or `guarded`.
    package var mode: String
    package var viewVersion: Int
    package var viewAgeSeconds: Int

    package init(
        cluster: String, through: String, authoritative: Bool, controller: Controller?, coordination: Coordination, mode: String, viewVersion: Int,
        viewAgeSeconds: Int
    ) {
        self.cluster = cluster
        self.through = through
        self.authoritative = authoritative
        self.controller = controller
        self.coordination = coordination
        self.mode = mode
        self.viewVersion = viewVersion
        self.viewAgeSeconds = viewAgeSeconds
    }

    func writeFields(to writer: inout JSONWriter<some JSONSink>) {
        writer.field("cluster", self.cluster)
        writer.field("through", self.through)
        writer.field("authoritative", self.authoritative)
        writer.name("controller")
        if let controller = self.controller {
            writer.object { writer in
                writer.field("id", controller.id)
                writer.field("incarnation", controller.incarnation)
                writer.field("epoch", controller.epoch)
                if let api = controller.api { writer.field("api", api) }
            }
        } else {
            writer.null()
        }
        writer.name("coordination")
        writer.object { writer in
            writer.field("health", self.coordination.health.rawValue)
            if let reason = self.coordination.reason { writer.field("reason", reason) }
        }
        writer.field("mode", self.mode)
        writer.field("view_version", self.viewVersion)
        writer.field("view_age_seconds", self.viewAgeSeconds)
    }

    init(from object: inout JSONObject) throws(JSONError) {
        self.cluster = try object.text("cluster")
        self.through = try object.text("through")
        self.authoritative = try object.boolean("authoritative")
        if var controller = try object.optional("controller")?.object() {
            self.controller = Controller(
                id: try controller.text("id"), incarnation: try controller.integer("incarnation"), epoch: try controller.integer("epoch"),
                api: try controller.optional("api")?.text())
        }
        var coordination = try object.required("coordination").object()
        self.coordination = Coordination(try Health(try coordination.required("health")), reason: try coordination.optional("reason")?.text())
        self.mode = try object.text("mode")
        self.viewVersion = try object.integer("view_version")
        self.viewAgeSeconds = try object.integer("view_age_seconds")
    }
}
