import CZooKeeper

extension ZooKeeperFailure {
    /// The meaning of a completion's result code. After a code that the C client itself produces, the server may or may not have executed the operation. Such
    /// codes mean a lost connection (`ZCONNECTIONLOSS`), a silent one (`ZOPERATIONTIMEOUT`), replies out of order (`ZRUNTIMEINCONSISTENCY`), or a handle that
    /// closes (`ZCLOSING`). `ZSESSIONMOVED` means that the session moved to another server. It counts as ambiguous too, because the session is still valid.
    ///
    /// - Parameter part: the first part of a multi that the server refused.
    init(completion code: Int32, part: Int? = nil) {
        switch code {
        case ZNONODE.rawValue: self = .refused(.noNode, part: part)
        case ZNODEEXISTS.rawValue: self = .refused(.nodeExists, part: part)
        case ZBADVERSION.rawValue: self = .refused(.badVersion, part: part)
        case ZNOTEMPTY.rawValue: self = .refused(.notEmpty, part: part)
        case ZNOCHILDRENFOREPHEMERALS.rawValue: self = .refused(.noChildrenForEphemerals, part: part)
        case ZNOAUTH.rawValue: self = .refused(.notAuthorized, part: part)
        case ZSESSIONEXPIRED.rawValue, ZAUTHFAILED.rawValue, ZINVALIDSTATE.rawValue, ZSESSIONCLOSEDREQUIRESASLAUTH.rawValue: self = .sessionLost
        case ZTHROTTLEDOP.rawValue: self = .notSent(code: code)
        case ZCLOSING.rawValue, ZSESSIONMOVED.rawValue: self = .ambiguous(code: code)
        case ZBADARGUMENTS.rawValue, ZUNIMPLEMENTED.rawValue: self = .refused(.other(code: code), part: part)
        case _ where code > ZAPIERROR.rawValue: self = .ambiguous(code: code)
        default: self = .refused(.other(code: code), part: part)
        }
    }

    /// The meaning of the code of a call that queued no operation. On an expired handle the code is `ZINVALIDSTATE`. No completion follows.
    init(call code: Int32) {
        self = code == ZINVALIDSTATE.rawValue ? .sessionLost : .notSent(code: code)
    }

    /// The deadline passed after the operation was passed to the client.
    static var overdue: Self { .ambiguous(code: ZOPERATIONTIMEOUT.rawValue) }
    /// The deadline passed before the operation was passed to the client.
    static var tooLate: Self { .notSent(code: ZOPERATIONTIMEOUT.rawValue) }
    /// The caller's task was cancelled before the operation was passed to the client.
    static var cancelled: Self { .notSent(code: ZNOTHING.rawValue) }
    /// The handle has reached its limit of operations.
    static var tooMany: Self { .notSent(code: ZTHROTTLEDOP.rawValue) }
    /// The session is suspended, or does not exist yet.
    static var disconnected: Self { .notSent(code: ZCONNECTIONLOSS.rawValue) }
    /// The handle was closed, or the task was cancelled, while the operation waited for its completion.
    static var closed: Self { .ambiguous(code: ZCLOSING.rawValue) }
}
