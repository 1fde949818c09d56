// Asking a token endpoint for a token of one's own (KIP-768): one request, one answer. When to ask, and what to do without an answer, is the
// caller's business.
import Authentication
import NIOCore
import Primitives
import TransportSecurity

/// An endpoint that gives out tokens. Thread-safe.
public final class TokenEndpoint: Sendable {
    /// No token is larger; brokers take none of more than half of this (`sasl.server.max.receive.size`).
    static let maximumBytes = 1 << 20

    public let settings: TokenEndpointSettings
    private let tls: TLSClientContext?

    public init(_ settings: TokenEndpointSettings) throws(TLSFailure) {
        self.settings = settings
        tls = settings.address.isSecured ? try TLSClientContext(settings.tls) : nil
    }

    /// Asks once. Fails with a `TokenEndpointFailure` that names the endpoint.
    public func token(on eventLoop: any EventLoop) -> EventLoopFuture<IssuedToken> {
        let (address, grant) = (settings.address, settings.grant)
        var request = WebRequest(
            address, maximumBytes: Self.maximumBytes, connectTimeout: .milliseconds(settings.connectTimeoutMilliseconds),
            readTimeout: .milliseconds(settings.readTimeoutMilliseconds))
        request.content = (grant.body, "application/x-www-form-urlencoded")
        request.authorization = grant.authorization
        return WebFetch.send(request, tls: tls, on: eventLoop).flatMapThrowing { answer in
            try IssuedToken(
                status: answer.status, body: Array(answer.body.readableBytesView), now: SystemClock.now())
        }.flatMapErrorThrowing { error in
            let failure = error as? TokenEndpointFailure ?? TokenEndpointFailure("\(error)", isRetriable: true)
            throw TokenEndpointFailure(
                "\(address) gave no token to \(grant): \(grant.hidingSecret(in: failure.description))", isRetriable: failure.isRetriable)
        }
    }

    /// Reads the files of TLS again if they changed. Returns what is wrong with them, if anything; those in use stay then.
    public func refresh() -> String? {
        do throws(TLSFailure) {
            _ = try tls?.reload()
            return nil
        } catch {
            return error.description
        }
    }
}
