/// A connection in a loop's table and timer wheel. Confined to that loop.
protocol LoopConnection: AnyObject {
    var id: ConnectionID { get set }
    /// The second at which ``deadlineReached()`` is due.
    var deadline: Int { get set }
    /// The second of the connection's valid entry in the timer wheel.
    var wheelSecond: Int { get set }

    /// Called at the deadline. Sets a new deadline, or closes the connection.
    func deadlineReached()
    /// Called when the node stops. Ends the connection in the way that its transport defines.
    func stop()
    /// Called while the node is drained. Asks a client that can use another node to reconnect.
    func drain()
}

/// A connection that collects the responses of one turn of the loop and writes them together. Confined to its loop.
protocol FlushingConnection: AnyObject {
    func flush()
}
