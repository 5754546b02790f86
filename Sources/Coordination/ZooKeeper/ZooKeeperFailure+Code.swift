import CZooKeeper

extension ZooKeeperFailure {
    /// The meaning of a completion's result code. After every code that the C client itself produces, the server may or may not have done the work:
    /// a lost connection (`ZCONNECTIONLOSS`), a silent one (`ZOPERATIONTIMEOUT`), replies out of order (`ZRUNTIMEINCONSISTENCY`), a handle that closes
    /// (`ZCLOSING`). An operation refused because its session moved to another server (`ZSESSIONMOVED`) counts among them: the session lives.
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

    /// The meaning of a call that was refused before anything was queued. On an expired handle that is `ZINVALIDSTATE`, and no completion follows.
    init(call code: Int32) {
        self = code == ZINVALIDSTATE.rawValue ? .sessionLost : .notSent(code: code)
    }

    /// The deadline passed after the operation was handed over.
    static var overdue: Self { .ambiguous(code: ZOPERATIONTIMEOUT.rawValue) }
    /// The deadline passed before.
    static var tooLate: Self { .notSent(code: ZOPERATIONTIMEOUT.rawValue) }
    /// The caller's task was cancelled before.
    static var cancelled: Self { .notSent(code: ZNOTHING.rawValue) }
    /// The handle has reached its limit of operations.
    static var tooMany: Self { .notSent(code: ZTHROTTLEDOP.rawValue) }
    /// The session is suspended, or does not exist yet.
    static var disconnected: Self { .notSent(code: ZCONNECTIONLOSS.rawValue) }
    /// The handle was closed while it waited.
    static var closed: Self { .ambiguous(code: ZCLOSING.rawValue) }
}
