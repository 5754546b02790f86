import CZooKeeper

// The C client calls these functions. Completions and watches run on the client's one completion thread, in the order of the server's replies. At the end of a
// handle they also run on the thread that closes it. Log lines arrive on any of the client's threads. So no function here may block. Each function copies its
// arguments before it returns, because the client frees them then.

/// The default watcher of a handle: events of the session.
func zooKeeperSessionWatcher(
    handle: OpaquePointer?, type: Int32, state: Int32, path: UnsafePointer<CChar>?, context: UnsafeMutableRawPointer?
) {
    guard type == ZOO_SESSION_EVENT, let handle else { return }
    let event: ZooKeeperSession.Event
    switch state {
    case ZOO_CONNECTED_STATE:
        // These fields are read only here. The client's other thread writes them only before it queues this event, so there is no race.
        event = .connected(ZooKeeperIdentity(zoo_client_id(handle).pointee), timeout: .milliseconds(zoo_recv_timeout(handle)))
    case ZOO_EXPIRED_SESSION_STATE: event = .expired
    case ZOO_AUTH_FAILED_STATE: event = .authenticationFailed
    default: event = .disconnected
    }
    ZooKeeperRegistry.shared.deliver(event, to: UInt(bitPattern: context))
}

/// The watcher of all paths. Session events arrive here too, once for each handle. They are ignored here, because the default watcher handles them.
func zooKeeperPathWatcher(
    handle: OpaquePointer?, type: Int32, state: Int32, path: UnsafePointer<CChar>?, context: UnsafeMutableRawPointer?
) {
    guard type != ZOO_SESSION_EVENT, let path else { return }
    ZooKeeperRegistry.shared.deliver(.changed(path: String(cString: path)), to: UInt(bitPattern: context))
}

func zooKeeperDataCompletion(
    code: Int32, value: UnsafePointer<CChar>?, length: Int32, stat: UnsafePointer<Stat>?, context: UnsafeRawPointer?
) {
    complete(context, code) { _ in
        // A znode without data has a length of -1.
        let data = length > 0 ? Array(UnsafeRawBufferPointer(start: value, count: Int(length))) : []
        return .node(data: data, stat: ZooKeeperStat(stat!.pointee))
    }
}

func zooKeeperStatCompletion(code: Int32, stat: UnsafePointer<Stat>?, context: UnsafeRawPointer?) {
    complete(context, code) { _ in .stat(ZooKeeperStat(stat!.pointee)) }
}

/// The completion of `exists`. A missing znode is a result, not an error.
func zooKeeperExistsCompletion(code: Int32, stat: UnsafePointer<Stat>?, context: UnsafeRawPointer?) {
    let missing = code == ZNONODE.rawValue
    complete(context, missing ? ZOK.rawValue : code) { _ in .stat(missing ? nil : ZooKeeperStat(stat!.pointee)) }
}

func zooKeeperCreateCompletion(code: Int32, path: UnsafePointer<CChar>?, stat: UnsafePointer<Stat>?, context: UnsafeRawPointer?) {
    complete(context, code) { _ in .stat(ZooKeeperStat(stat!.pointee)) }
}

func zooKeeperChildrenCompletion(
    code: Int32, strings: UnsafePointer<String_vector>?, stat: UnsafePointer<Stat>?, context: UnsafeRawPointer?
) {
    complete(context, code) { _ in
        let names = UnsafeBufferPointer(start: strings!.pointee.data, count: Int(strings!.pointee.count))
        return .children(names.map { String(cString: $0!) }, stat: ZooKeeperStat(stat!.pointee))
    }
}

func zooKeeperDeleteCompletion(code: Int32, context: UnsafeRawPointer?) {
    complete(context, code) { _ in .done }
}

func zooKeeperMultiCompletion(code: Int32, context: UnsafeRawPointer?) {
    complete(context, code) { .multi($0!.stats) }
}

/// The completion of `zoo_add_auth`. It does nothing, because the session's watcher also gets a failure. Runs on any thread that uses the client, even on the
/// thread that closes the handle.
func zooKeeperAuthenticationCompletion(code: Int32, context: UnsafeRawPointer?) {}

func zooKeeperLogCallback(message: UnsafePointer<CChar>?) {
    if let message { ZooKeeperLog.line(message) }
}

/// Completes the operation, if it is still waiting. A completion after the operation's deadline is ignored.
///
/// - Parameter reply: runs before this returns, and only if the server reported success.
private func complete(_ context: UnsafeRawPointer?, _ code: Int32, reply: (ZooKeeperMultiResults?) -> ZooKeeperReply) {
    guard let pending = ZooKeeperRegistry.shared.take(UInt(bitPattern: context)), let resume = pending.resume else { return }
    if code == ZOK.rawValue {
        resume(.success(reply(pending.results)))
    } else {
        resume(.failure(ZooKeeperFailure(completion: code, part: pending.results?.firstRefused)))
    }
}

extension ZooKeeperStat {
    init(_ stat: Stat) {
        self.init(czxid: stat.czxid, mzxid: stat.mzxid, version: stat.version, ephemeralOwner: stat.ephemeralOwner)
    }
}
