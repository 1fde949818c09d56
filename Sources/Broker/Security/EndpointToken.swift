// The token that this node logs in with at others by OAUTHBEARER, from an endpoint that makes tokens (KIP-768): asked for when the node
// starts, and again before it ends. An endpoint that is away keeps a node from logging in, not from starting: it is asked again and again.
import Authentication
import IdentityProvider
import Logging
import NIOCore
import Primitives
import Synchronization
import TransportSecurity

/// The token of one endpoint. Thread-safe.
final class EndpointToken: Sendable {
    private struct State {
        var token: IssuedToken?
        /// Whether the token is of this endpoint.
        var isOwn = false
        /// Attempts that failed since the last good one.
        var failures = 0
        var eventLoop: (any EventLoop)?
    }

    private let endpoint: TokenEndpoint
    private let logger: Logger
    private let state = Mutex(State())

    init(_ settings: TokenEndpointSettings, logger: Logger) throws(BrokerStartFailure) {
        self.logger = logger
        do throws(TLSFailure) {
            endpoint = try TokenEndpoint(settings)
        } catch {
            throw BrokerStartFailure("\(TokenOrigin.addressKey) cannot be asked by TLS: \(error)")
        }
    }

    /// What to log in with now; nil until there was a first token. One that has ended stays until there is another: whether it is too late is for
    /// the other side's clock to say.
    var credentials: SaslCredentials? {
        state.withLock { $0.token }.map { SaslCredentials(mechanism: .oauthBearer, user: "", password: $0.text) }
    }

    /// Begins to ask. Once only, for whoever shares the token.
    func start(on eventLoop: any EventLoop) {
        let isFirst = state.withLock { state in
            defer { state.eventLoop = eventLoop }
            return state.eventLoop == nil
        }
        if isFirst { ask(on: eventLoop) }
    }

    /// Uses another's token until it has one of its own.
    func inherit(_ other: EndpointToken) {
        let token = other.state.withLock { $0.token }
        state.withLock { $0.token = $0.token ?? token }
    }

    func refreshFiles() -> String? { endpoint.refresh() }

    private func ask(on eventLoop: any EventLoop) {
        endpoint.token(on: eventLoop).whenComplete { [weak self] result in
            guard let self else { return }
            let pause =
                switch result {
                case .success(let token): took(token)
                case .failure(let error): failed(error)
                }
            _ = eventLoop.scheduleTask(in: .milliseconds(pause)) { [weak self] in self?.ask(on: eventLoop) }
        }
    }

    /// Returns the milliseconds until the next token is asked for.
    private func took(_ token: IssuedToken) -> Int64 {
        let (isFirst, failures) = state.withLock { state in
            defer {
                state.token = token
                state.isOwn = true
                state.failures = 0
            }
            return (!state.isOwn, state.failures)
        }
        let now = SystemClock.now()
        let pause = endpoint.settings.refresh.pauseMilliseconds(token, now: now, random: .random(in: 0...1))
        let details: Logger.Metadata = [
            "address": "\(endpoint.settings.address)", "principal": "\(token.principalName ?? "")",
            "endsInMilliseconds": "\(token.expirationMilliseconds - now)", "nextInMilliseconds": "\(pause)",
        ]
        if token.expirationMilliseconds <= now {
            logger.warning("the token for other nodes has ended by this node's clock; one of the clocks is wrong", metadata: details)
        } else if isFirst || failures > 0 {
            logger.notice("this node logs in at others with a token of this endpoint", metadata: details)
        } else {
            logger.debug("a new token for other nodes is in use", metadata: details)
        }
        return pause
    }

    private func failed(_ error: any Error) -> Int64 {
        let isRetriable = (error as? TokenEndpointFailure)?.isRetriable ?? true
        let (token, failures) = state.withLock { state in
            state.failures += 1
            return (state.token, state.failures)
        }
        let pause = endpoint.settings.retry.pauseMilliseconds(failures: failures, isRetriable: isRetriable)
        let what =
            switch token {
            case nil: "this node has no token to log in at others with, and waits for one"
            case let token? where token.expirationMilliseconds <= SystemClock.now():
                "the token for other nodes has ended, and there is no new one"
            default: "there is no new token for other nodes yet; the one in use is still good"
            }
        let details: Logger.Metadata = ["reason": "\(error)", "nextTryMilliseconds": "\(pause)"]
        logger.log(level: isRetriable ? .warning : .error, "\(what)", metadata: details)
        return pause
    }
}
