// The tokens that a client logs in with by OAUTHBEARER: read from a file for every login, or asked for at an endpoint (KIP-768) and used until
// they are due to be replaced. Nothing runs by itself: a client that does not log in needs no token.
import Authentication
import IdentityProvider
import NIOCore
import Primitives
import Synchronization
import TransportSecurity

/// Shared by all connections of a client. Thread-safe.
final class ClientTokens: Sendable {
    private enum Origin {
        case file(String)
        case endpoint(TokenEndpoint)
    }

    private struct State {
        var token: IssuedToken?
        /// Milliseconds since 1970 from which on another token is asked for.
        var due: Int64 = 0
        var asking: Task<Result<IssuedToken, KafkaError>, Never>?

        func usable(_ now: Int64) -> IssuedToken? { token.flatMap { $0.expirationMilliseconds > now ? $0 : nil } }
    }

    /// How long a token that is still good is used before another is asked for again after there was none.
    private static let pauseMilliseconds: Int64 = 10_000

    private let origin: Origin
    private let state = Mutex(State())

    init(_ origin: TokenOrigin) throws(TLSFailure) {
        switch origin {
        case .file(let path): self.origin = .file(path)
        case .endpoint(let settings): self.origin = .endpoint(try TokenEndpoint(settings))
        }
    }

    /// A token to log in with now.
    ///
    /// - Parameter limit: how long to go on asking where there is none; `sasl.login.retry.backoff.max.ms` if that is less.
    func current(on group: any EventLoopGroup, within limit: Duration) async throws(KafkaError) -> String {
        switch origin {
        case .file(let path): return try Self.read(path)
        case .endpoint(let endpoint): return try await current(endpoint, on: group, within: limit)
        }
    }

    /// What there is to log in with now, without waiting; nil when there is nothing. Another token is asked for meanwhile when it is time for one.
    func present(on group: any EventLoopGroup) -> String? {
        switch origin {
        case .file(let path): return try? Self.read(path)
        case .endpoint(let endpoint):
            let now = SystemClock.now()
            let isDue = state.withLock { $0.asking == nil && now >= $0.due }
            guard isDue else { return state.withLock { $0.usable(now) }?.text }
            return usableOrAsking(endpoint, on: group, within: .zero).usable?.text
        }
    }

    private static func read(_ path: String) throws(KafkaError) -> String {
        guard let text = TokenFile.text(path) else { throw KafkaError(.authenticationFailed, "\(path) cannot be read") }
        guard let token = SaslCredentials.token(in: text) else {
            throw KafkaError(.authenticationFailed, "\(path) does not hold one token")
        }
        return token
    }

    private func current(
        _ endpoint: TokenEndpoint, on group: any EventLoopGroup, within limit: Duration
    ) async throws(KafkaError) -> String {
        let (usable, asking) = usableOrAsking(endpoint, on: group, within: limit)
        guard let asking else { return usable?.text ?? "" }
        switch await asking.value {
        case .success(let token): return token.text
        case .failure(let error):
            // The one there is will do for a while.
            guard let usable else { throw error }
            return usable.text
        }
    }

    /// The token that is still good, and the attempt to have another where it is time for one.
    private func usableOrAsking(
        _ endpoint: TokenEndpoint, on group: any EventLoopGroup, within limit: Duration
    ) -> (usable: IssuedToken?, asking: Task<Result<IssuedToken, KafkaError>, Never>?) {
        let now = SystemClock.now()
        return state.withLock { state in
            let usable = state.usable(now)
            if usable != nil, now < state.due { return (usable, nil) }
            // Connections that need one at the same time share it.
            let asking =
                state.asking
                ?? Task.detached { await self.ask(endpoint, on: group.next(), within: usable == nil ? limit : .zero) }
            state.asking = asking
            return (usable, asking)
        }
    }

    /// Asks until there is a token, no other is to be expected, or the time is over.
    private func ask(_ endpoint: TokenEndpoint, on eventLoop: any EventLoop, within limit: Duration) async -> Result<
        IssuedToken, KafkaError
    > {
        let settings = endpoint.settings
        let end = SystemClock.monotonicMilliseconds() + min(settings.retry.maximumBackoffMilliseconds, limit.wholeMilliseconds)
        var result: Result<IssuedToken, KafkaError>
        var failures = 0
        repeat {
            do {
                result = .success(try await endpoint.token(on: eventLoop).get())
                break
            } catch {
                let isRetriable = (error as? TokenEndpointFailure)?.isRetriable ?? true
                result = .failure(KafkaError(.authenticationFailed, "\(error)", isRetriable: isRetriable))
                failures += 1
                let pause = settings.retry.pauseMilliseconds(failures: failures, isRetriable: isRetriable)
                guard isRetriable, SystemClock.monotonicMilliseconds() + pause < end else { break }
                try? await Task.sleep(for: .milliseconds(pause))
            }
        } while true
        let now = SystemClock.now()
        state.withLock { state in
            state.asking = nil
            switch result {
            case .success(let token):
                state.token = token
                state.due = now + settings.refresh.pauseMilliseconds(token, now: now, random: .random(in: 0...1))
            case .failure: state.due = now + Self.pauseMilliseconds
            }
        }
        return result
    }
}
