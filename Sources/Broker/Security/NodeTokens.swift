// The tokens that this node logs in with at others by OAUTHBEARER: one for each place where a token comes from, whichever listeners it is shown
// at. Dynamic configuration may name another place, or another id and secret.
import Authentication
import Configuration
import Logging
import NIOCore
import Synchronization

/// Where one of this node's own tokens comes from.
enum NodeToken: Sendable {
    case file(TokenFile)
    case endpoint(EndpointToken)

    /// What to log in with now; nil while there is nothing.
    var credentials: SaslCredentials? {
        switch self {
        case .file(let file): file.credentials
        case .endpoint(let endpoint): endpoint.credentials
        }
    }

    func start(on eventLoop: any EventLoop) {
        if case .endpoint(let endpoint) = self { endpoint.start(on: eventLoop) }
    }

    /// Reads files again. Returns what is wrong with them, if anything.
    func refresh() -> String? {
        switch self {
        case .file(let file): file.refresh()
        case .endpoint(let endpoint): endpoint.refreshFiles()
        }
    }
}

/// This node's own tokens, by the listener of others that they are for. Thread-safe.
final class NodeTokens: Sendable {
    private struct State {
        var origins: [String: TokenOrigin] = [:]
        var tokens: [TokenOrigin: NodeToken] = [:]
        var eventLoop: (any EventLoop)?
    }

    private let logger: Logger
    private let state: Mutex<State>

    init(_ outgoing: [String: OutgoingSecuritySettings], logger: Logger) throws(BrokerStartFailure) {
        self.logger = logger
        var first = State()
        for (name, settings) in outgoing {
            guard let origin = settings.token else { continue }
            first.origins[name] = origin
            if first.tokens[origin] == nil { first.tokens[origin] = try Self.token(origin, instead: nil, logger) }
        }
        state = Mutex(first)
    }

    private static func token(
        _ origin: TokenOrigin, instead former: NodeToken?, _ logger: Logger
    ) throws(BrokerStartFailure) -> NodeToken {
        switch origin {
        case .file(let path): return .file(try TokenFile(path: path))
        case .endpoint(let settings):
            let token = try EndpointToken(settings, logger: logger)
            // Until the new place has given its first one.
            if case .endpoint(let former) = former { token.inherit(former) }
            return .endpoint(token)
        }
    }

    /// What to log in with at that listener of others now; nil while there is nothing.
    func credentials(_ listener: String) -> SaslCredentials? {
        state.withLock { state in state.origins[listener].flatMap { state.tokens[$0] } }?.credentials
    }

    /// Begins to ask endpoints.
    func start(on eventLoop: any EventLoop) {
        let tokens = state.withLock { state in
            state.eventLoop = eventLoop
            return Array(state.tokens.values)
        }
        for token in tokens { token.start(on: eventLoop) }
    }

    /// Goes over to other settings. A place that cannot be used changes nothing.
    func update(_ outgoing: [String: OutgoingSecuritySettings]) {
        for (name, settings) in outgoing {
            guard let origin = settings.token else { continue }
            let (former, known, eventLoop) = state.withLock { state in
                (state.origins[name], state.tokens[origin], state.eventLoop)
            }
            guard let former, former != origin else { continue }
            do throws(BrokerStartFailure) {
                let token: NodeToken
                if let known {
                    token = known
                } else {
                    token = try Self.token(origin, instead: state.withLock { $0.tokens[former] }, logger)
                }
                state.withLock { state in
                    state.origins[name] = origin
                    state.tokens[origin] = token
                    if !state.origins.values.contains(former) { state.tokens[former] = nil }
                }
                if let eventLoop { token.start(on: eventLoop) }
                logger.notice("this node's own token comes from another place or by other settings", metadata: ["connections": "\(name)"])
            } catch {
                logger.error("the token for other nodes stays as it was", metadata: ["connections": "\(name)", "reason": "\(error)"])
            }
        }
    }

    /// Reads files again that changed.
    func refresh() {
        for token in state.withLock({ Array($0.tokens.values) }) {
            guard let problem = token.refresh() else { continue }
            logger.error("the token for other nodes stays as it was", metadata: ["reason": "\(problem)"])
        }
    }
}
