package import JSON

/// The response to `events`: the newest events of the controller. If the controller cannot be reached, the events of the node that got the request.
package struct ClusterEvents: Hashable, Sendable {
    package var through: String
    package var events: [ClusterEvent]

    package init(through: String, events: [ClusterEvent]) {
        self.through = through
        self.events = events
    }

    package func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.field("through", self.through)
            writer.name("events")
            writer.array { writer in for event in self.events { event.write(to: &writer) } }
        }
    }

    package init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.through = try object.text("through")
        self.events = try object.values("events") { value throws(JSONError) in try ClusterEvent(value) }
    }
}
