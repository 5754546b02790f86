/// A connection that lives in a loop's table and wheel. Confined to that loop.
protocol LoopConnection: AnyObject {
    var id: ConnectionID { get set }
    /// The second at which ``deadlineReached()`` is due; never later than the wheel's entry when that was set.
    var deadline: Int { get set }
    /// The second of the wheel's entry that counts.
    var wheelSecond: Int { get set }

    /// The deadline has come. Sets a new one, or closes.
    func deadlineReached()
    /// The node stops: say goodbye in the transport's own words and close.
    func stop()
    /// The node is drained: a client that can continue elsewhere is sent away.
    func drain()
}

/// A connection that gathers the responses of one turn of the loop and writes them together. Confined to its loop.
protocol FlushingConnection: AnyObject {
    func flush()
}
