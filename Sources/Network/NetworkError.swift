// What can go wrong with listeners. Failures of single connections are not errors of the server: they end in a log line.

/// Why a listener could not be started.
public enum NetworkError: Error, Hashable, CustomStringConvertible {
    /// The host of a listener does not resolve to an address.
    case unresolvableHost(listener: String, host: String, reason: String)
    /// The address could not be bound or listened on.
    case bindFailed(listener: String, host: String, port: Int, reason: String)
    /// `start` was called twice, or after `close`.
    case alreadyStarted

    public var description: String {
        switch self {
        case .unresolvableHost(let listener, let host, let reason):
            return "listener \(listener): host \(host) does not resolve: \(reason)"
        case .bindFailed(let listener, let host, let port, let reason):
            return "listener \(listener): cannot listen on \(host.isEmpty ? "*" : host):\(port): \(reason)"
        case .alreadyStarted:
            return "the listeners were started before"
        }
    }
}
