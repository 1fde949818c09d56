// One connection's protocol state, on its event loop: frames in, correlation ids, the bound on what is on its way, timeouts.
import DequeModule
import KafkaWire
import NIOCore
import Primitives
import TransportSecurity

/// A request ready to be written.
struct OutboundRequest: Sendable {
    /// The whole frame with its size; the correlation id is put in when it is written.
    var frame: ByteBuffer
    let api: ApiKey
    /// Monotonic time.
    let deadlineNanoseconds: Int64
    /// False only for Produce with acks=0.
    let expectsResponse: Bool
    /// Whether it belongs to a login.
    let isLogin: Bool
    /// Called once, on the event loop: the response's frame without its size.
    let completion: @Sendable (Result<ByteBuffer, KafkaError>) -> Void
}

/// Cuts the stream into response frames.
struct ResponseFrameDecoder: NIOSingleStepByteToMessageDecoder {
    typealias InboundOut = ByteBuffer
    let maximumSize: Int

    mutating func decode(buffer: inout ByteBuffer) throws -> ByteBuffer? {
        guard let size = buffer.getInteger(at: buffer.readerIndex, as: Int32.self) else { return nil }
        guard size >= 4, Int(size) <= maximumSize else {
            // A TLS record, alert (21) or handshake (22) of version 3.x: a listener of TLS has been spoken to in clear text.
            if [0x1503, 0x1603].contains(size >> 16) {
                throw KafkaError(
                    .protocolViolation, "the server speaks TLS at this port; security.protocol has to be SSL or SASL_SSL")
            }
            throw KafkaError(.protocolViolation, "response of \(size) bytes; allowed are 4 to \(maximumSize). Is this a Kafka listener?")
        }
        guard buffer.readableBytes >= 4 + Int(size) else { return nil }
        buffer.moveReaderIndex(forwardBy: 4)
        return buffer.readSlice(length: Int(size))
    }

    mutating func decodeLast(buffer: inout ByteBuffer, seenEOF: Bool) throws -> ByteBuffer? {
        try decode(buffer: &buffer)
    }
}

/// Sends requests in order and matches responses, which a broker sends in the order of the requests.
final class ConnectionHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private struct InFlight {
        let correlationID: Int32
        let api: ApiKey
        let deadlineNanoseconds: Int64
        let completion: @Sendable (Result<ByteBuffer, KafkaError>) -> Void
    }

    /// How long the login is good for (KIP-368).
    private enum Session {
        case endless
        /// From that time on the next login comes before anything else, once nothing is on its way: the broker takes nothing else meanwhile.
        case until(dueNanoseconds: Int64, logIn: () -> Void)
        case loggingIn
    }

    private let address: BrokerAddress
    private let maximumInFlight: Int
    private let maximumQueued: Int
    private let processor: NIOSingleStepByteToMessageProcessor<ResponseFrameDecoder>
    private var context: ChannelHandlerContext?
    private var inFlight = Deque<InFlight>()
    private var waiting = Deque<OutboundRequest>()
    private var nextCorrelationID: Int32 = 0
    private var session = Session.endless
    /// Why the connection ended; nothing is accepted after that.
    private var failure: KafkaError?
    private var timer: Scheduled<Void>?
    private var timerDeadline = Int64.max

    init(address: BrokerAddress, maximumInFlight: Int, maximumQueued: Int, maximumResponseSize: Int) {
        self.address = address
        self.maximumInFlight = max(1, maximumInFlight)
        self.maximumQueued = maximumQueued
        processor = NIOSingleStepByteToMessageProcessor(ResponseFrameDecoder(maximumSize: maximumResponseSize))
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func submit(_ request: OutboundRequest) {
        if let failure { return request.completion(.failure(failure)) }
        guard waiting.count < maximumQueued else {
            return request.completion(
                .failure(KafkaError(.timedOut, "\(waiting.count) requests wait for \(address) already", isRetriable: true)))
        }
        guard let context else { return request.completion(.failure(disconnected("is not open"))) }
        if request.isLogin, case .loggingIn = session {
            var request = request
            write(&request, context)
            context.flush()
            return scheduleTimer(context, request.deadlineNanoseconds)
        }
        waiting.append(request)
        if writeWaiting(context) { context.flush() }
        scheduleTimer(context, request.deadlineNanoseconds)
    }

    /// Ends the connection; what is on its way fails with `reason`.
    func close(_ reason: KafkaError) {
        fail(reason)
        context?.close(promise: nil)
    }

    /// The login is good until then; `logIn` begins the next one, in which requests of logins are let through.
    func sessionBegan(dueNanoseconds: Int64, logIn: @escaping () -> Void) {
        if failure == nil { session = .until(dueNanoseconds: dueNanoseconds, logIn: logIn) }
    }

    /// The next login was made; what waited for it is sent.
    func sessionContinues() {
        guard failure == nil, let context else { return }
        if case .loggingIn = session { session = .endless }
        if writeWaiting(context) { context.flush() }
    }

    /// Whether the next login comes before whatever else is to be written.
    private func isHeldBack() -> Bool {
        switch session {
        case .endless: return false
        case .loggingIn: return true
        case .until(let due, let logIn):
            guard !waiting.isEmpty, SystemClock.monotonicNanoseconds() >= due else { return false }
            guard inFlight.isEmpty else { return true }
            session = .loggingIn
            logIn()
            return true
        }
    }

    private func writeWaiting(_ context: ChannelHandlerContext) -> Bool {
        guard !isHeldBack() else { return false }
        var wrote = false
        while inFlight.count < maximumInFlight, var request = waiting.popFirst() {
            write(&request, context)
            wrote = true
        }
        return wrote
    }

    /// The frame is changed where it is: a copy of it would be one of all its records.
    private func write(_ request: inout OutboundRequest, _ context: ChannelHandlerContext) {
        let correlationID = nextCorrelationID
        nextCorrelationID = nextCorrelationID == .max ? 0 : nextCorrelationID + 1
        request.frame.setInteger(correlationID, at: request.frame.readerIndex + 8)
        if request.expectsResponse {
            inFlight.append(
                InFlight(
                    correlationID: correlationID, api: request.api, deadlineNanoseconds: request.deadlineNanoseconds,
                    completion: request.completion))
            context.write(wrapOutboundOut(request.frame), promise: nil)
        } else {
            // Without a response the write itself is all that can be known, and what holds the sender back.
            let completion = request.completion
            let lost = disconnected("was closed before the request was sent")
            context.writeAndFlush(wrapOutboundOut(request.frame)).whenComplete { result in
                switch result {
                case .success: completion(.success(ByteBuffer()))
                case .failure: completion(.failure(lost))
                }
            }
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        do {
            try processor.process(buffer: unwrapInboundIn(data)) { frame in try received(frame) }
        } catch {
            let reason = error as? KafkaError ?? KafkaError(.protocolViolation, "\(error)")
            close(reason)
        }
    }

    private func received(_ frame: ByteBuffer) throws {
        guard failure == nil else { return }
        guard let request = inFlight.first else {
            throw KafkaError(.protocolViolation, "\(address) sent a response that nobody asked for")
        }
        let correlationID = frame.getInteger(at: frame.readerIndex, as: Int32.self)
        guard correlationID == request.correlationID else {
            throw KafkaError(
                .protocolViolation, "\(address) answered request \(correlationID ?? -1), expected was \(request.correlationID)")
        }
        inFlight.removeFirst()
        request.completion(.success(frame))
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if failure == nil, writeWaiting(context) { context.flush() }
        context.fireChannelReadComplete()
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(disconnected("was closed by the broker"))
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        fail(disconnected("was closed"))
        self.context = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let problem = TLSPeer.explain(error, isServer: false, in: context.channel)
        var failure = disconnected("failed: \(problem ?? "\(error)")")
        failure.isRefusal = problem != nil
        close(failure)
    }

    private func disconnected(_ what: String) -> KafkaError {
        KafkaError(.disconnected, "the connection to \(address) \(what)", isRetriable: true)
    }

    private func fail(_ reason: KafkaError) {
        guard failure == nil else { return }
        failure = reason
        session = .endless
        timer?.cancel()
        timer = nil
        let (failed, unsent) = (inFlight, waiting)
        inFlight.removeAll()
        waiting.removeAll()
        for request in failed { request.completion(.failure(reason)) }
        for request in unsent { request.completion(.failure(reason)) }
    }

    // MARK: Timeouts

    /// One timer for the earliest deadline, so that a request costs no timer of its own.
    private func scheduleTimer(_ context: ChannelHandlerContext, _ deadline: Int64) {
        guard deadline < timerDeadline, failure == nil else { return }
        timer?.cancel()
        timerDeadline = deadline
        let delay = max(1_000_000, deadline - SystemClock.monotonicNanoseconds())
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(delay)) { self.checkDeadlines() }
    }

    private func checkDeadlines() {
        timerDeadline = .max
        guard failure == nil, let context else { return }
        let now = SystemClock.monotonicNanoseconds()
        if let late = inFlight.first(where: { $0.deadlineNanoseconds <= now }) {
            // Responses come in order: nothing behind a response that does not come can come either.
            return close(
                KafkaError(.timedOut, "\(address) did not answer a \(late.api.name) request in time", isRetriable: true))
        }
        let expired = waiting.filter { $0.deadlineNanoseconds <= now }
        if !expired.isEmpty {
            waiting.removeAll { $0.deadlineNanoseconds <= now }
            for request in expired {
                request.completion(
                    .failure(KafkaError(.timedOut, "a \(request.api.name) request to \(address) waited too long", isRetriable: true)))
            }
        }
        var next = inFlight.min { $0.deadlineNanoseconds < $1.deadlineNanoseconds }?.deadlineNanoseconds ?? .max
        for request in waiting { next = min(next, request.deadlineNanoseconds) }
        if next < .max { scheduleTimer(context, next) }
    }
}
