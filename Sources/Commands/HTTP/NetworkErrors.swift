import AsyncHTTPClient
import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Turns a network error into an error with advice. Errors of this module and a cancellation stay unchanged.
func unreachable(_ base: BaseURL, _ error: any Error) -> any Error {
    if error is any OwnError || Task.isCancelled { return error }
    let cause = networkErrorText(error)
    var failure = CommandError(.unreachable, "Cannot reach \(base): \(cause). Is the node running, and is the address correct?", cause: cause)
    failure.isBeforeSending = isConnectError(error)
    return failure
}

/// Whether no connection was open, so that the node cannot have received the request.
private func isConnectError(_ error: any Error) -> Bool {
    switch error {
    case is NIOConnectionError: true
    case let error as HTTPClientError: error == .connectTimeout || error == .getConnectionFromPoolTimeout
    case let error as ChannelError: if case .connectTimeout = error { true } else { false }
    case let error as IOError: error.errnoCode == ECONNREFUSED || error.errnoCode == EHOSTUNREACH || error.errnoCode == ENETUNREACH
    default: false
    }
}

/// A network error as text, without type names.
func networkErrorText(_ error: any Error) -> String {
    switch error {
    case is TimeoutError: return "no response in time"
    case let error as IOError: return String(cString: strerror(error.errnoCode)).lowercased()
    case let error as NIOConnectionError:
        guard let first = error.connectionErrors.first else { return "the host name \(error.host) cannot be resolved" }
        return networkErrorText(first.error)
    case let error as HTTPClientError where error == .connectTimeout || error == .getConnectionFromPoolTimeout: return "no connection within the time limit"
    case let error as HTTPClientError where error == .remoteConnectionClosed: return "the connection was closed"
    case let error as HTTPClientError where error == .readTimeout: return "no data arrived within the time limit"
    case let error as ChannelError:
        if case .connectTimeout = error { return "no connection within the time limit" }
        return "the connection was closed"
    case let error as NIOTooManyBytesError: return "the response has more than \(error.maxBytes ?? Response.bytesMax) bytes"
    default: return "\(error)"
    }
}
