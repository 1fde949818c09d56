// One connection to another node, on its event loop: connecting with growing pauses, the exchange of versions, requests in order,
// deadlines. It lives as long as the address is in use; sockets come and go below it.
import DequeModule
import KafkaMessages
import KafkaWire
import NIOCore
import NIOPosix
import Primitives

/// A request that has not been written.
struct PendingRequest: Sendable {
    let api: Int16
    /// Monotonic time.
    let deadlineNanoseconds: Int64
    let encode: PeerConnections.Encoder
    let completion: PeerConnections.Completion
}

final class PeerConnection {
    private enum State {
        case idle
        case pausing(Scheduled<Void>)
        /// Each attempt has a number, so that what comes of an older one is recognized.
        case connecting
        case negotiating(any PeerTransport)
        case authenticating(any PeerTransport, PeerAuthentication)
        case open(any PeerTransport)
        case closed(PeerFailure)
    }

    private struct InFlight {
        let correlationID: Int32
        let api: Int16
        let version: Int16
        let deadlineNanoseconds: Int64
        let completion: PeerConnections.Completion
    }

    /// What is tried first. Kafka before 2.4 knows less, and says so in version 0 (KIP-511).
    private static let apiVersionsVersion: Int16 = 3
    private static let noCredentials = "there is no token to log in with yet"

    private let address: PeerAddress
    private let options: PeerOptions
    private let offers: PeerOffers
    private let eventLoop: any EventLoop
    private let pool: BufferPool
    private var state = State.idle
    private var attempt = 0
    private var failedAttempts = 0
    private var nextAttemptNanoseconds: Int64 = 0
    private var waiting = Deque<PendingRequest>()
    private var inFlight = Deque<InFlight>()
    private var versions: [Int16: ClosedRange<Int16>] = [:]
    /// In which the exchange of versions is asked for at the moment.
    private var negotiatedIn = apiVersionsVersion
    /// From when on this side has to log in again before it sends anything else (KIP-368).
    private var reauthenticationNanoseconds = Int64.max
    private var nextCorrelationID: Int32 = 0
    private var timer: Scheduled<Void>?
    private var timerDeadline = Int64.max

    init(to address: PeerAddress, options: PeerOptions, offers: PeerOffers, eventLoop: any EventLoop, pool: BufferPool) {
        self.address = address
        self.options = options
        self.offers = offers
        self.eventLoop = eventLoop
        self.pool = pool
    }

    func submit(_ request: PendingRequest) {
        if case .closed(let failure) = state { return request.completion(.failure(failure)) }
        guard waiting.count < options.maximumWaiting else { return request.completion(.failure(.overloaded)) }
        waiting.append(request)
        switch state {
        case .idle: connectWhenDue()
        case .open(let handler): writeWaiting(handler)
        case .pausing, .connecting, .negotiating, .authenticating, .closed: break
        }
        scheduleTimer(request.deadlineNanoseconds)
    }

    /// Ends the connection for good.
    func close(_ failure: PeerFailure) {
        if case .closed = state { return }
        let before = state
        state = .closed(failure)
        attempt += 1
        timer?.cancel()
        switch before {
        case .pausing(let pause): pause.cancel()
        case .negotiating(let handler), .open(let handler), .authenticating(let handler, _): handler.close()
        case .idle, .connecting, .closed: break
        }
        failInFlight(failure)
        failWaiting(failure)
    }

    // MARK: connecting

    private func connectWhenDue() {
        let delay = nextAttemptNanoseconds - SystemClock.monotonicNanoseconds()
        guard delay > 0 else { return connect() }
        state = .pausing(eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(delay)) { self.connect() })
    }

    private func connect() {
        state = .connecting
        attempt += 1
        let current = attempt
        if let credentials = options.credentials, credentials() == nil { return ended(attempt: current, Self.noCredentials) }
        if let dialler = options.dialler { return relay(dialler(address.host, address.port), attempt: current) }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let timeout = TimeAmount.milliseconds(options.connectTimeoutMilliseconds)
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(timeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let connection = bound.value
                    if connection.options.receiveBufferBytes > 0 {
                        try channel.syncOptions?.setOption(
                            .socketOption(.so_rcvbuf), value: SocketOptionValue(connection.options.receiveBufferBytes))
                    }
                    let handler = PeerChannelHandler(
                        connection: connection, attempt: current, pool: connection.pool,
                        maximumFrameBytes: connection.options.maximumResponseBytes, isSecured: connection.options.tls != nil,
                        traffic: connection.options.traffic)
                    if let tls = connection.options.tls {
                        try channel.pipeline.syncOperations.addHandler(tls.makeHandler(host: connection.address.host))
                    } else {
                        try channel.syncOptions?.setOption(.recvAllocator, value: handler.receiveAllocator)
                    }
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
        let connecting: EventLoopFuture<any Channel>
        if let numeric = try? SocketAddress(ipAddress: address.host, port: address.port) {
            connecting = bootstrap.connect(to: numeric)
        } else {
            connecting = bootstrap.connect(host: address.host, port: address.port)
        }
        connecting.hop(to: eventLoop).assumeIsolated().whenFailure { error in
            self.ended(attempt: current, "\(error)")
        }
        // A peer that accepts and then says nothing is as good as one that does not accept.
        eventLoop.assumeIsolated().scheduleTask(in: timeout) { self.checkNegotiation(attempt: current) }
    }

    /// Connects over a channel that somebody else hands over.
    private func relay(_ channel: EventLoopFuture<any Channel>, attempt current: Int) {
        channel.hop(to: eventLoop).assumeIsolated().whenComplete { result in
            switch result {
            case .success(let channel):
                guard current == self.attempt else { return channel.close(promise: nil) }
                RelayedPeer(channel: channel, connection: self, attempt: current, home: self.eventLoop)
                    .start(maximumFrameBytes: self.options.maximumResponseBytes, traffic: self.options.traffic)
                let timeout = TimeAmount.milliseconds(self.options.connectTimeoutMilliseconds)
                self.eventLoop.assumeIsolated().scheduleTask(in: timeout) { self.checkNegotiation(attempt: current) }
            case .failure(let error): self.ended(attempt: current, "\(error)")
            }
        }
    }

    private func checkNegotiation(attempt late: Int) {
        guard late == attempt else { return }
        let handler: any PeerTransport
        switch state {
        case .negotiating(let waiting), .authenticating(let waiting, _): handler = waiting
        default: return
        }
        ended(attempt: late, "no answer to ApiVersions or to the login within \(options.connectTimeoutMilliseconds) ms")
        handler.close()
    }

    /// The socket is connected: asks which versions the peer knows.
    func connected(_ handler: any PeerTransport) {
        guard handler.attempt == attempt, case .connecting = state else { return handler.close() }
        state = .negotiating(handler)
        negotiate(in: Self.apiVersionsVersion, handler)
    }

    private func negotiate(in version: Int16, _ handler: any PeerTransport) {
        negotiatedIn = version
        var request = ApiVersionsRequest()
        if version >= 3 {
            request.clientSoftwareName = "martlet"
            request.clientSoftwareVersion = "1.0"
        }
        do throws(WireError) {
            let body = try request.encoded(version: version)
            handler.write(header(ApiKey.apiVersions.rawValue, version, correlationID: -1, bodyBytes: body), nil)
            handler.flush()
        } catch {
            ended(attempt: attempt, "\(error)")
            handler.close()
        }
    }

    private func negotiated(_ frame: ByteBuffer, _ handler: any PeerTransport) throws(PeerFailure) {
        var reader = WireReader(frame, message: "ApiVersionsResponse")
        _ = reader.int32("correlationId")
        // The error comes first in every version.
        let isTooNew = frame.getInteger(at: frame.readerIndex + 4, as: Int16.self) == ErrorCode.unsupportedVersion.rawValue
        let response: ApiVersionsResponse
        do throws(WireError) {
            response = try ApiVersionsResponse(from: &reader, version: isTooNew ? 0 : negotiatedIn)
        } catch {
            throw .malformed("\(error)")
        }
        if isTooNew, negotiatedIn == Self.apiVersionsVersion {
            let known = response.apiKeys.first { $0.apiKey == ApiKey.apiVersions.rawValue }?.maxVersion ?? 0
            return negotiate(in: max(0, min(known, Self.apiVersionsVersion - 1)), handler)
        }
        guard response.errorCode == .none else { throw .malformed("ApiVersions was answered with \(response.errorCode)") }
        versions = [:]
        for entry in response.apiKeys {
            guard let known = ApiKey(rawValue: entry.apiKey)?.validVersions, entry.minVersion <= entry.maxVersion,
                known.overlaps(entry.minVersion...entry.maxVersion)
            else { continue }
            versions[entry.apiKey] = known.clamped(to: entry.minVersion...entry.maxVersion)
        }
        offers.byPeer.withLock { $0[address] = versions }
        if options.credentials != nil { return try authenticate(handler) }
        opened(handler)
    }

    private func opened(_ handler: any PeerTransport) {
        failedAttempts = 0
        state = .open(handler)
        writeWaiting(handler)
    }

    /// Logs in, for the first time or again. Nothing may be under way then.
    private func authenticate(_ handler: any PeerTransport) throws(PeerFailure) {
        guard let credentials = options.credentials?() else { throw .unreachable(Self.noCredentials) }
        let authentication = try PeerAuthentication(credentials, offered: versions)
        try perform(try authentication.begin(), authentication, handler)
    }

    private func perform(
        _ step: PeerAuthentication.Step, _ authentication: PeerAuthentication, _ handler: any PeerTransport
    ) throws(PeerFailure) {
        switch step {
        case .send(let api, let version, let body):
            state = .authenticating(handler, authentication)
            handler.write(header(api.rawValue, version, correlationID: -1, bodyBytes: body), nil)
            handler.flush()
        case .complete(let lifetime):
            // Some time before the session's end, by Kafka's own range.
            let part = Double(lifetime) * Double.random(in: 0.85...0.95) * 1_000_000
            reauthenticationNanoseconds = lifetime > 0 ? SystemClock.monotonicNanoseconds() + Int64(part) : .max
            opened(handler)
        }
    }

    /// A connection or the attempt to make one came to its end.
    func ended(attempt ended: Int, _ reason: String) {
        guard ended == attempt else { return }
        let wasOpen: Bool
        switch state {
        case .closed, .idle, .pausing: return
        case .open: wasOpen = true
        case .connecting, .negotiating, .authenticating: wasOpen = false
        }
        attempt += 1
        state = .idle
        if !wasOpen {
            failedAttempts += 1
            let doublings = Int64(1) << Int64(min(failedAttempts - 1, 20))
            let pause = min(options.reconnectBackoffMaximumMilliseconds, options.reconnectBackoffMilliseconds * doublings)
            // Jitter, so that many clients of a node that fell do not return in step.
            let jittered = Double(pause) * Double.random(in: 0.8...1.2) * 1_000_000
            nextAttemptNanoseconds = SystemClock.monotonicNanoseconds() + Int64(jittered)
            failWaiting(.unreachable(reason))
        } else {
            nextAttemptNanoseconds = 0
        }
        failInFlight(.disconnected(reason))
        // Completions may have sent something already.
        if case .idle = state, !waiting.isEmpty { connectWhenDue() }
    }

    private func failInFlight(_ failure: PeerFailure) {
        let failed = inFlight
        inFlight = Deque()
        for request in failed { request.completion(.failure(failure)) }
    }

    private func failWaiting(_ failure: PeerFailure) {
        let failed = waiting
        waiting = Deque()
        for request in failed { request.completion(.failure(failure)) }
    }

    // MARK: requests

    private func writeWaiting(_ handler: any PeerTransport) {
        if reauthenticationNanoseconds < .max, !waiting.isEmpty, SystemClock.monotonicNanoseconds() >= reauthenticationNanoseconds {
            // As soon as nothing is under way: the other side takes nothing else meanwhile.
            guard inFlight.isEmpty else { return }
            reauthenticationNanoseconds = .max
            return reauthenticate(handler)
        }
        var wrote = false
        while inFlight.count < options.maximumInFlight, let request = waiting.popFirst() {
            guard let range = versions[request.api], let encoded = request.encode(range) else {
                request.completion(.failure(.unsupportedVersion))
                continue
            }
            let correlationID = nextCorrelationID
            nextCorrelationID = nextCorrelationID == .max ? 0 : nextCorrelationID + 1
            inFlight.append(
                InFlight(
                    correlationID: correlationID, api: request.api, version: encoded.version,
                    deadlineNanoseconds: request.deadlineNanoseconds, completion: request.completion))
            if encoded.body.readableBytes <= 4096 {
                handler.write(header(request.api, encoded.version, correlationID: correlationID, bodyBytes: encoded.body), nil)
            } else {
                handler.write(
                    header(request.api, encoded.version, correlationID: correlationID, followedBy: encoded.body.readableBytes),
                    encoded.body)
            }
            wrote = true
        }
        if wrote { handler.flush() }
    }

    private func reauthenticate(_ handler: any PeerTransport) {
        let current = attempt
        do throws(PeerFailure) {
            try authenticate(handler)
            let timeout = TimeAmount.milliseconds(options.connectTimeoutMilliseconds)
            eventLoop.assumeIsolated().scheduleTask(in: timeout) { self.checkNegotiation(attempt: current) }
        } catch {
            ended(attempt: current, error.description)
            handler.close()
        }
    }

    /// A request's size and header with the body behind it.
    private func header(_ api: Int16, _ version: Int16, correlationID: Int32, bodyBytes: ByteBuffer) -> ByteBuffer {
        var buffer = header(api, version, correlationID: correlationID, followedBy: bodyBytes.readableBytes)
        buffer.writeImmutableBuffer(bodyBytes)
        return buffer
    }

    private func header(_ api: Int16, _ version: Int16, correlationID: Int32, followedBy count: Int) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(32 + options.clientID.utf8.count + (count <= 4096 ? count : 0))
        buffer.writeMultipleIntegers(Int32(0), api, version, correlationID, Int16(clamping: options.clientID.utf8.count))
        buffer.writeString(options.clientID)
        if let key = ApiKey(rawValue: api), key.requestHeaderVersion(version) >= 2 { buffer.writeInteger(UInt8(0)) }
        buffer.setInteger(Int32(clamping: buffer.readableBytes - 4 + count), at: 0)
        return buffer
    }

    /// A response's frame without its size.
    func received(_ frame: ByteBuffer, on handler: any PeerTransport) {
        guard handler.attempt == attempt else { return }
        do throws(PeerFailure) {
            switch state {
            case .negotiating: try negotiated(frame, handler)
            case .authenticating(_, var authentication):
                let step = try authentication.answered(frame)
                try perform(step, authentication, handler)
            case .open:
                try answered(frame)
                if case .open(let current) = state { writeWaiting(current) }
            case .idle, .pausing, .connecting, .closed: return
            }
        } catch {
            ended(attempt: handler.attempt, error.description)
            handler.close()
        }
    }

    private func answered(_ frame: ByteBuffer) throws(PeerFailure) {
        guard let request = inFlight.first else { throw .malformed("\(address) sent a response that nobody asked for") }
        var reader = WireReader(frame, message: "ResponseHeader")
        let header: ResponseHeader
        do throws(WireError) {
            let api = ApiKey(rawValue: request.api)
            header = try ResponseHeader(from: &reader, version: api?.responseHeaderVersion(request.version) ?? 0)
        } catch {
            throw .malformed("\(error)")
        }
        guard header.correlationId == request.correlationID else {
            throw .malformed("\(address) answered request \(header.correlationId) where \(request.correlationID) was next")
        }
        inFlight.removeFirst()
        var body = frame
        body.moveReaderIndex(forwardBy: reader.position)
        request.completion(.success(PeerResponse(version: request.version, body: body)))
    }

    // MARK: deadlines

    /// One timer for the earliest deadline, so that a request costs none of its own.
    private func scheduleTimer(_ deadline: Int64) {
        guard deadline < timerDeadline else { return }
        if case .closed = state { return }
        timer?.cancel()
        timerDeadline = deadline
        let delay = max(1_000_000, deadline - SystemClock.monotonicNanoseconds())
        timer = eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(delay)) { self.checkDeadlines() }
    }

    private func checkDeadlines() {
        timerDeadline = .max
        let now = SystemClock.monotonicNanoseconds()
        let isLate = inFlight.contains { $0.deadlineNanoseconds <= now }
        let expired = waiting.filter { $0.deadlineNanoseconds <= now }
        if !expired.isEmpty { waiting.removeAll { $0.deadlineNanoseconds <= now } }
        if isLate {
            let late = inFlight.filter { $0.deadlineNanoseconds <= now }
            inFlight.removeAll { $0.deadlineNanoseconds <= now }
            for request in late { request.completion(.failure(.timedOut)) }
            if case .open(let handler) = state {
                ended(attempt: attempt, "\(address) did not answer in time")
                handler.close()
            }
        }
        for request in expired { request.completion(.failure(.timedOut)) }
        var next = Int64.max
        for request in inFlight { next = min(next, request.deadlineNanoseconds) }
        for request in waiting { next = min(next, request.deadlineNanoseconds) }
        if next < .max { scheduleTimer(next) }
    }
}
