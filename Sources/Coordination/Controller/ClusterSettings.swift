import Partitioning

/// What a node is given about itself, and the timing of its cluster.
package struct ClusterSettings: Sendable {
    package var cluster: String
    /// Of ZooKeeper, in front of all paths. Empty, or a path.
    package var chroot = ""
    /// As the operator wrote them, for people.
    package var servers = ""
    /// What the client last met when it looked for a server: empty, or in parentheses behind a space.
    package var sessionFault: @Sendable () -> String = { "" }
    package var id: String
    package var zone: String
    package var weight: Double
    /// Where others reach this node's link and API, `host:port`.
    package var link: String
    package var api: String
    package var version: String
    package var protocols: ClosedRange<Int> = 1...1
    /// Milliseconds since 1970.
    package var startedAt: Int64
    /// Of a cluster that this node is the first of. Later ones take what is there.
    package var partitionCount = Partitions.countByDefault
    /// Whether what is known of the cluster is kept over restarts.
    package var keepsMemory = false

    /// For the reply of one operation on ZooKeeper.
    package var operationTimeout: Duration = .seconds(5)
    /// Everything is read again after this long, watch or not.
    package var rereadInterval: Duration = .seconds(30)
    /// How long a member znode of this id and another session is waited for: a leftover is gone when that session has ended, so it is more than a timeout.
    package var duplicateWait: Duration = .seconds(11)
    package var reportInterval: Duration = .seconds(1)
    /// A link that has been refused for this long belongs to a dead process.
    package var refusedMin: Duration = .milliseconds(300)
    /// A node that most others have not reached for this long is fenced.
    package var unreachableMin: Duration = .seconds(4)
    /// Until a fenced node that is reached again may own.
    package var fencedMin: Duration = .seconds(30)
    /// Between two evictions of nodes that are silent, rather than refused.
    package var fenceInterval: Duration = .seconds(10)
    /// How long a controller that was deposed lets others go first.
    package var deposedMin: Duration = .seconds(60)
    /// How long a candidate that reaches less than half of the others lets them go first.
    package var isolatedWait: Duration = .seconds(2)
    /// A node without any link to others is isolated after this long: a dead one's session has ended by then.
    package var isolatedMin: Duration = .seconds(11)
    /// How long an alarm is shown after what it is about was last seen.
    package var alarmMin: Duration = .seconds(600)
    /// How long a controller that is new to the cluster waits for the reports of the others.
    package var reportsMax: Duration = .seconds(2)
    /// How long the partitions of a node that was restarted wait for it to be reached.
    package var returningMax: Duration = .seconds(1)
    /// How long to wait for the controller's response to an operator.
    package var requestTimeout: Duration = .seconds(5)
    /// The same for a request that changes nothing: after that this node responds from what it knows itself.
    package var readTimeout: Duration = .seconds(1)
    package var massFailureHold: Duration = MassFailureGuard.hold
    package var joinQuiet: Duration = RebalanceDebounce.quiet
    package var joinLongest: Duration = RebalanceDebounce.longest
    /// Milliseconds since 1970, for what people read.
    package var wallClock: @Sendable () -> Int64 = { 0 }

    package init(cluster: String, id: String, zone: String = "", weight: Double = 1, link: String, api: String, version: String, startedAt: Int64 = 0) {
        self.cluster = cluster
        self.id = id
        self.zone = zone
        self.weight = weight
        self.link = link
        self.api = api
        self.version = version
        self.startedAt = startedAt
    }

    var paths: ClusterPaths { ClusterPaths(cluster: self.cluster, chroot: self.chroot) }
}
