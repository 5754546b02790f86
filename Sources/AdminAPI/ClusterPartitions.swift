package import JSON

/// The state of a partition.
package enum PartitionState: String, Hashable, Sendable, CaseIterable {
    /// The owner reports that it serves the partition under the view's owner epoch.
    case served
    /// The partition was granted. The owner has not reported yet that it serves the partition.
    case preparing
    /// A handoff is in progress.
    case moving
    /// The partition has no owner.
    case orphan
    /// The owner has not reported for a while.
    case unknown
}

/// The response to `partitions` and to `locate`.
package struct ClusterPartitions: Hashable, Sendable {
    package struct Partition: Hashable, Sendable {
        package var partition: Int
        package var owner: String?
        package var ownerEpoch: Int
        package var state: PartitionState
        package var movingTo: String?
        /// Why the partition moves.
        package var reason: String?
        /// Whether two nodes report that they serve the partition under this owner epoch.
        package var isContested: Bool
        package var pinnedTo: String?
        /// The owner's API address.
        package var api: String?

        package init(
            partition: Int, owner: String?, ownerEpoch: Int, state: PartitionState, movingTo: String?, reason: String?, isContested: Bool, pinnedTo: String?,
            api: String?
        ) {
            self.partition = partition
            self.owner = owner
            self.ownerEpoch = ownerEpoch
            self.state = state
            self.movingTo = movingTo
            self.reason = reason
            self.isContested = isContested
            self.pinnedTo = pinnedTo
            self.api = api
        }
    }

    package var head: ClusterHead
    /// Only in the response to `locate`.
    package var channel: String?
    package var partitions: [Partition]

    package init(head: ClusterHead, channel: String? = nil, partitions: [Partition]) {
        self.head = head
        self.channel = channel
        self.partitions = partitions
    }

    package func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            if let channel = self.channel { writer.field("channel", channel) }
            self.head.writeFields(to: &writer)
            writer.name("partitions")
            writer.array { writer in for partition in self.partitions { partition.write(to: &writer) } }
        }
    }

    package init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.channel = try object.optional("channel")?.text()
        self.head = try ClusterHead(from: &object)
        self.partitions = try object.values("partitions") { value throws(JSONError) in try Partition(value) }
    }
}

extension ClusterPartitions.Partition {
    fileprivate func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.field("partition", self.partition)
            if let owner = self.owner { writer.field("owner", owner) }
            writer.field("owner_epoch", self.ownerEpoch)
            writer.field("state", self.state.rawValue)
            if let target = self.movingTo { writer.field("moving_to", target) }
            if let reason = self.reason { writer.field("reason", reason) }
            if self.isContested { writer.field("contested", true) }
            if let pin = self.pinnedTo { writer.field("pinned_to", pin) }
            if let api = self.api { writer.field("api", api) }
        }
    }

    fileprivate init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.partition = try object.integer("partition")
        self.owner = try object.optional("owner")?.text()
        self.ownerEpoch = try object.integer("owner_epoch")
        self.state = try object.name("state", else: .unknown)
        self.movingTo = try object.optional("moving_to")?.text()
        self.reason = try object.optional("reason")?.text()
        self.isContested = try object.optional("contested")?.boolean() ?? false
        self.pinnedTo = try object.optional("pinned_to")?.text()
        self.api = try object.optional("api")?.text()
    }
}
