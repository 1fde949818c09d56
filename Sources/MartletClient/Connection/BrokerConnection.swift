// A connection to one broker, usable from any thread.
import KafkaMessages
import KafkaWire
import NIOCore
import NIOPosix
import Primitives
import Synchronization

/// An open connection whose API versions are known.
package final class BrokerConnection: Sendable {
    package let address: BrokerAddress
    package let versions: NegotiatedVersions
    let channel: any Channel
    let handler: NIOLoopBound<ConnectionHandler>
    private let clientID: String

    private init(
        address: BrokerAddress, versions: NegotiatedVersions, channel: any Channel, handler: NIOLoopBound<ConnectionHandler>,
        clientID: String
    ) {
        self.address = address
        self.versions = versions
        self.channel = channel
        self.handler = handler
        self.clientID = clientID
    }

    package var isActive: Bool { channel.isActive }
    package var eventLoop: any EventLoop { channel.eventLoop }

    /// Connects and asks for the broker's API versions.
    package static func connect(to address: BrokerAddress, configuration: ClientConfiguration) async throws(KafkaError) -> BrokerConnection
    {
        // First of all: there is no use for a connection that nobody can log in on.
        let credentials = try await configuration.security.currentCredentials(
            on: configuration.eventLoopGroup, within: configuration.requestTimeout)
        let connected: (any Channel, NIOLoopBound<ConnectionHandler>)
        do {
            connected = try await open(address, configuration)
        } catch {
            throw KafkaError(.connectionFailed, "cannot connect to \(address): \(Self.reason(error))", isRetriable: true)
        }
        let bare = BrokerConnection(
            address: address, versions: NegotiatedVersions([.apiVersions: ApiKey.apiVersions.validVersions]), channel: connected.0,
            handler: connected.1, clientID: configuration.clientID)
        do throws(KafkaError) {
            let versions = try await bare.negotiate(timeout: configuration.requestTimeout)
            let connection = BrokerConnection(
                address: address, versions: versions, channel: connected.0, handler: connected.1, clientID: configuration.clientID)
            if let credentials {
                let lifetime = try await connection.logIn(credentials, timeout: configuration.requestTimeout)
                connection.sessionBegan(lifetimeMilliseconds: lifetime, configuration)
            }
            return connection
        } catch {
            bare.close()
            guard configuration.security.tls != nil, error.kind == .disconnected else { throw error }
            // A plaintext listener hangs up on a client that speaks TLS.
            var explained = error
            explained.explanation += "; if the server does not speak TLS at this port, security.protocol is wrong"
            throw explained
        }
    }

    private static func open(
        _ address: BrokerAddress, _ configuration: ClientConfiguration
    ) async throws -> (any Channel, NIOLoopBound<ConnectionHandler>) {
        @Sendable func handle(_ channel: any Channel) throws -> (any Channel, NIOLoopBound<ConnectionHandler>) {
            let handler = ConnectionHandler(
                address: address, maximumInFlight: configuration.maximumInFlightRequests,
                maximumQueued: configuration.maximumQueuedRequests, maximumResponseSize: configuration.maximumResponseSize)
            try channel.pipeline.syncOperations.addHandler(handler)
            return (channel, NIOLoopBound(handler, eventLoop: channel.eventLoop))
        }
        if let dialler = configuration.dialler {
            let channel = try await dialler(address.host, address.port).get()
            return try await channel.eventLoop.submit {
                guard channel.isActive else { throw ChannelError.ioOnClosedChannel }
                return try handle(channel)
            }.get()
        }
        return try await ClientBootstrap(group: configuration.eventLoopGroup)
            .connectTimeout(.nanoseconds(configuration.connectTimeout.wholeNanoseconds))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 256 * 1024))
            .connect(host: address.host, port: address.port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls = configuration.security.tls {
                        try channel.pipeline.syncOperations.addHandler(tls.makeHandler(host: address.host))
                    }
                    return try handle(channel)
                }
            }
    }

    /// A broker that does not know the version answers in version 0 and names the versions of ApiVersions that it has (KIP-511).
    private func negotiate(timeout: Duration) async throws(KafkaError) -> NegotiatedVersions {
        let request = ApiVersionsRequest.own
        var version: Int16 = 4
        for _ in 0..<2 {
            let frame = try await exchange(request, version: version, timeout: timeout)
            let readable =
                frame.getInteger(at: frame.readerIndex + 4, as: Int16.self) == ErrorCode.unsupportedVersion.rawValue ? 0 : version
            let response = try Self.decode(frame, as: ApiVersionsResponse.self, version: readable)
            guard response.errorCode == .unsupportedVersion else {
                try response.errorCode.check(about: "ApiVersions of \(address)")
                return NegotiatedVersions(response)
            }
            let highest = response.apiKeys.first { $0.apiKey == ApiKey.apiVersions.rawValue }?.maxVersion ?? 0
            version = max(0, min(version, highest))
        }
        throw KafkaError(.unsupportedVersion, "\(address) accepts no version of ApiVersions")
    }

    /// Sends a request in the highest common version and waits for its response.
    ///
    /// - Parameter isLogin: whether it belongs to a login, during which nothing else is sent.
    package func send<Request: KafkaRequest>(
        _ request: Request, timeout: Duration, allowed: ClosedRange<Int16>? = nil, isLogin: Bool = false
    ) async throws(KafkaError) -> Request.Response {
        let version = try versions.version(of: Request.apiKey, allowed: allowed)
        let frame = try await exchange(request, version: version, timeout: timeout, isLogin: isLogin)
        return try Self.decode(frame, as: Request.Response.self, version: version)
    }

    private func exchange<Request: KafkaRequest>(
        _ request: Request, version: Int16, timeout: Duration, isLogin: Bool = false
    ) async throws(KafkaError) -> ByteBuffer {
        let frame = try encode(request, version: version)
        let completion = Completion<ByteBuffer>()
        submit(frame, api: Request.apiKey, timeout: timeout, isLogin: isLogin) { completion.finish($0) }
        return try await completion.value()
    }

    /// A request's frame with its size, for ``submit(_:api:timeout:expectsResponse:completion:)``.
    package func encode<Request: KafkaRequest>(_ request: Request, version: Int16) throws(KafkaError) -> ByteBuffer {
        do throws(WireError) {
            return try Frame.request(request, version: version, correlationId: 0, clientId: clientID, withSize: true)
        } catch {
            throw KafkaError(.unsupportedVersion, "the broker's version \(version) cannot carry this request: \(error)")
        }
    }

    package static func decode<Response: KafkaResponse>(
        _ frame: ByteBuffer, as type: Response.Type, version: Int16
    ) throws(KafkaError) -> Response {
        do throws(WireError) {
            return try Frame.decodeResponse(frame, as: type, version: version).response
        } catch {
            throw KafkaError(error)
        }
    }

    /// Sends a frame; `completion` is called once on the event loop. No task, no promise: the producer's way.
    package func submit(
        _ frame: ByteBuffer, api: ApiKey, timeout: Duration, expectsResponse: Bool = true, isLogin: Bool = false,
        completion: @escaping @Sendable (Result<ByteBuffer, KafkaError>) -> Void
    ) {
        let request = OutboundRequest(
            frame: frame, api: api, deadlineNanoseconds: SystemClock.monotonicNanoseconds() &+ timeout.wholeNanoseconds,
            expectsResponse: expectsResponse, isLogin: isLogin, completion: completion)
        if channel.eventLoop.inEventLoop {
            handler.value.submit(request)
        } else {
            channel.eventLoop.execute { [handler] in handler.value.submit(request) }
        }
    }

    package func close() {
        channel.eventLoop.execute { [handler] in handler.value.close(.closed) }
    }

    /// A login was good for that long. The next one is made on the same connection, before the session ends (KIP-368).
    private func sessionBegan(lifetimeMilliseconds lifetime: Int64, _ configuration: ClientConfiguration) {
        guard lifetime > 0 else { return }
        // Some time before the session's end, by Kafka's own range.
        let part = Double(lifetime) * Double.random(in: 0.85...0.95) * 1_000_000
        let due = SystemClock.monotonicNanoseconds() + Int64(part)
        channel.eventLoop.execute { [handler] in
            handler.value.sessionBegan(dueNanoseconds: due) {
                Task.detached { await self.logInAgain(configuration) }
            }
        }
    }

    private func logInAgain(_ configuration: ClientConfiguration) async {
        do throws(KafkaError) {
            let credentials = try await configuration.security.currentCredentials(
                on: configuration.eventLoopGroup, within: configuration.requestTimeout)
            guard let credentials else { return close() }
            let lifetime = try await logIn(credentials, timeout: configuration.requestTimeout)
            sessionBegan(lifetimeMilliseconds: lifetime, configuration)
            channel.eventLoop.execute { [handler] in handler.value.sessionContinues() }
        } catch {
            // Whoever waits tries again on another connection, whose login says what is wrong if that goes on.
            let reason = KafkaError(
                .disconnected, "the connection to \(address) was closed, for the next login failed: \(error)", isRetriable: true)
            channel.eventLoop.execute { [handler] in handler.value.close(reason) }
        }
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError:
            if let dns = error.dnsAError ?? error.dnsAAAAError, error.connectionErrors.isEmpty {
                return "the name does not resolve (\(dns))"
            }
            return error.connectionErrors.last.map { "\($0.error)" } ?? "no address"
        case ChannelError.connectTimeout(let time): return "no answer within \(time.nanoseconds / 1_000_000) ms"
        case let error as IOError: return "\(error)"
        default: return "\(error)"
        }
    }
}

extension ApiVersionsRequest {
    /// With this library's name, without which brokers refuse it (KIP-511).
    package static var own: ApiVersionsRequest {
        var request = ApiVersionsRequest()
        request.clientSoftwareName = "martlet"
        request.clientSoftwareVersion = "1.0"
        return request
    }
}

/// A value that arrives once, waited for by one task, which may be cancelled.
package final class Completion<Value: Sendable>: Sendable {
    private enum State {
        case empty
        case waiting(CheckedContinuation<Result<Value, KafkaError>, Never>)
        case finished(Result<Value, KafkaError>)
        case taken
    }

    private let state = Mutex(State.empty)

    package init() {}

    package func finish(_ result: Result<Value, KafkaError>) {
        let continuation = state.withLock { state -> CheckedContinuation<Result<Value, KafkaError>, Never>? in
            switch state {
            case .empty:
                state = .finished(result)
                return nil
            case .waiting(let continuation):
                state = .taken
                return continuation
            case .finished, .taken: return nil
            }
        }
        continuation?.resume(returning: result)
    }

    package func value() async throws(KafkaError) -> Value {
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ready = state.withLock { state -> Result<Value, KafkaError>? in
                    if case .finished(let result) = state {
                        state = .taken
                        return result
                    }
                    state = .waiting(continuation)
                    return nil
                }
                if let ready { continuation.resume(returning: ready) }
            }
        } onCancel: {
            finish(.failure(.cancelled))
        }
        return try result.get()
    }
}
