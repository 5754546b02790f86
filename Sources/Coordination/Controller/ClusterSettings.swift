import Partitioning

/// A node's identity, addresses and timing in its cluster.
package struct ClusterSettings: Sendable {
    package var cluster: String
    /// The chroot in ZooKeeper: the path at the beginning of all paths. Empty if there is no chroot.
    package var chroot = ""
    /// The ZooKeeper servers as the operator wrote them. Used only in messages.
    package var servers = ""
    /// The client's last error when it tried to connect to a server: a space and the error in parentheses. Empty if there was no error.
    package var sessionFault: @Sendable () -> String = { "" }
    package var id: String
    package var zone: String
    package var weight: Double
    /// The addresses where other nodes reach this node's link and API: `host:port`.
    package var link: String
    package var api: String
    package var version: String
    package var protocols: ClosedRange<Int> = 1...1
    /// Milliseconds since 1970.
    package var startedAt: Int64
    /// The number of partitions of a new cluster. An existing cluster keeps its number.
    package var partitionCount = Partitions.countByDefault
    /// Whether this node stores its knowledge of the cluster on disk.
    package var keepsMemory = false
    /// Whether the log refuses commits under an older owner epoch, wherever they come from (Redis). Then this node continues to serve its partitions after its
    /// session with ZooKeeper was lost, until the log refuses a commit or a newer view ends the grants: the log accepts commits of one owner only.
    ///
    /// If false (each node has its own log in memory), only time separates two owners. This node stops serving before its session can have ended. Set with
    /// ``useFencingLog()``.
    package private(set) var isLogFencing = false
    /// After this time in the state `sealed`, an owner whose move was not completed takes its partition back.
    package var handoffMax: Duration = .seconds(2)

    /// How long an operation waits for ZooKeeper's reply.
    package var operationTimeout: Duration = .seconds(5)
    /// Every znode is read again after this time, even if no watch has fired.
    package var rereadInterval: Duration = .seconds(30)
    /// How long a starting node waits until another session that holds its id ends.
    /// Longer than a session timeout, so that a leftover session ends before the wait is over.
    package var duplicateWait: Duration = .seconds(11)
    package var reportInterval: Duration = .seconds(1)
    /// A peer that has refused connections for this long counts as dead.
    package var refusedMin: Duration = .milliseconds(300)
    /// A node that most others have not reached for this long is fenced.
    package var unreachableMin: Duration = .seconds(4)
    /// How long most nodes must reach a fenced node again before it may own partitions.
    package var fencedMin: Duration = .seconds(30)
    /// The shortest time between the fencing of two nodes.
    package var fenceInterval: Duration = .seconds(10)
    /// For this time after it was deposed, a former controller waits longer than other nodes in elections.
    package var deposedMin: Duration = .seconds(60)
    /// How much longer a candidate waits if it reaches less than half of the other nodes.
    package var isolatedWait: Duration = .seconds(2)
    /// A node without a link to any other node counts as isolated after this time. The sessions of dead nodes end earlier.
    package var isolatedMin: Duration = .seconds(11)
    /// How long an alarm is shown after it was last raised.
    package var alarmMin: Duration = .seconds(600)
    /// How long a new controller waits for the reports of the other nodes.
    package var reportsMax: Duration = .seconds(2)
    /// How long the partitions of a restarted node wait until the node is linked again.
    package var returningMax: Duration = .seconds(1)
    /// How long an operator's request waits for the controller's response.
    package var requestTimeout: Duration = .seconds(5)
    /// How long a request that changes nothing waits for the controller's response. After this time the node responds from its own knowledge.
    package var readTimeout: Duration = .seconds(1)
    package var massFailureHold: Duration = MassFailureGuard.hold
    package var joinQuiet: Duration = RebalanceDebounce.quiet
    package var joinLongest: Duration = RebalanceDebounce.longest
    /// Milliseconds since 1970, for people.
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

    /// Nodes share a log that fences. Then a wrong suspicion costs a move and no event, so nodes are suspected early.
    ///
    /// From the moment when an owner dies or stops until its partitions are served again (the targets are 1 s if its port refuses, and 4 s if it is silent):
    ///
    /// | | the port refuses | silent |
    /// |---|---|---|
    /// | the link is down | 0 s: the system closes it | 2 s without a byte (`link-silence-seconds-max`), checked every 0.25 s |
    /// | the next dial | 0.1 s | during the next period |
    /// | suspicion | 0.15 s (``refusedMin``), two dials | 0.5 s (``unreachableMin``) without a new link |
    /// | the witnesses' reports | sent immediately | sent immediately |
    /// | if it was the controller: complaints, election | 0.3 s | 0.3 s |
    /// | view written and sent, log sealed, publishes sent again | 0.1 s | 0.1 s |
    /// | together | 0.35 s, 0.65 s for the controller | 2.85 s, 3.15 s for the controller |
    package mutating func useFencingLog() {
        self.isLogFencing = true
        self.refusedMin = .milliseconds(150)
        self.unreachableMin = .milliseconds(500)
    }

    var paths: ClusterPaths { ClusterPaths(cluster: self.cluster, chroot: self.chroot) }
}
