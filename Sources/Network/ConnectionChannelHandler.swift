// Where SwiftNIO ends. One of these per connection: takes bytes off the channel, hands out one frame at a time, writes the answers
// at the end of the read cycle. The answer to a frame usually comes while the frame is being delivered; then the loop below simply
// goes on to the next one, and all answers leave together.
import Logging
import NIOCore
import NIOTLS
import Primitives
import TransportSecurity

final class ConnectionChannelHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = IOData

    /// Answers are sent on before so many bytes of them have gathered; the next frame waits for them if the client does not read.
    static let outboundThreshold = 65_536
    /// How often a connection that sends large frames may be read from again before its answers leave and others get their turn.
    static let readsPerCycle = 4

    let listenerIndex: Int
    /// Position in the loop's list.
    var loopIndex = 0
    private(set) var lastActiveTick = 0

    private let server: NetworkServer.Shared
    private let loop: LoopState
    private let assembler: FrameAssembler
    private let listener: ListenerEndpoint
    /// Whether TLS is between this and the socket: then everything goes through NIO, as bytes.
    private let isSecured: Bool
    private var attached: Attached?
    var outbound = OutboundQueue()
    /// Requests that are open though later ones have been taken.
    private var deferred = DeferredAnswers()
    private var requestInProgress = false
    // Bytes taken from the request memory for the request being received, and for the one in progress.
    private var reservedForNext = 0
    private var reservedInProgress = 0
    private var isDelivering = false
    // An answer's last byte left while frames were being delivered.
    private var deliverAgain = false
    var isOutputBlocked = false
    private var isWaitingForMemory = false
    /// Until when no frame is delivered because the client is over a quota.
    private var throttle: ConnectionThrottle?
    private var hasSeenFirstBytes = false
    private var closeReasonAfterFlush: String?
    private var countedAddress: String?

    /// What exists from the moment the channel is active.
    private struct Attached {
        let connection: Connection
        let context: ChannelHandlerContext
        let socket: Int32?
    }

    init(server: NetworkServer.Shared, loop: LoopState, listenerIndex: Int, isSecured: Bool = false) {
        self.isSecured = isSecured
        self.server = server
        self.loop = loop
        self.listenerIndex = listenerIndex
        listener = server.listeners[listenerIndex]
        assembler = FrameAssembler(pool: loop.pool, maximumFrameBytes: server.limits.maximumRequestBytes)
    }

    /// The allocator to be installed in the channel.
    var receiveAllocator: any RecvByteBufferAllocator { assembler }

    // MARK: NIO's events

    func channelActive(context: ChannelHandlerContext) {
        let connection = Connection(
            id: server.nextConnectionID(), listenerName: listener.name, remoteAddress: context.remoteAddress,
            localAddress: context.localAddress, eventLoop: context.eventLoop, transport: self)
        let address = connection.remoteHost
        guard isAdmitted(address, context) else { return }
        countedAddress = address
        // Absent for transports without a socket of their own, and not to be touched below TLS; everything then goes through NIO.
        let socket =
            isSecured
            ? nil : try? context.channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { $0 }
        attached = Attached(connection: connection, context: context, socket: socket ?? nil)
        if let socket { server.congestionControl.adopt(connection: socket, isLocal: connection.isLocal) }
        lastActiveTick = loop.tick
        loop.add(self)
        server.delegate.connectionOpened(connection)
        if loop.isDraining { closeIfDone() }
        guard connection.isOpen else { return }
        context.read()
    }

    /// Whether an address may have another connection; one that is refused is closed here.
    private func isAdmitted(_ address: String, _ context: ChannelHandlerContext) -> Bool {
        switch server.admission.admit(address: address, listener: listenerIndex, now: SystemClock.monotonicMilliseconds()) {
        case .admitted: return true
        case .tooMany:
            LoopCounters.add(1, to: loop.counters.connectionsRejected)
            server.warn(
                .tooManyConnectionsFromAddress,
                "too many connections from \(address) (max.connections.per.ip): a connection to listener \(listener.name) was closed")
            context.close(promise: nil)
        case .tooFast(let milliseconds):
            LoopCounters.add(1, to: loop.counters.connectionsRejected)
            server.warn(
                .tooFastFromAddress,
                "\(address) connects too often (connection_creation_rate): a connection to listener \(listener.name) was closed")
            // Held open meanwhile, so that a client which connects again at once waits as well.
            let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
            context.eventLoop.scheduleTask(in: .milliseconds(milliseconds)) { bound.value.close(promise: nil) }
        }
        return false
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let count: Int
        if isSecured {
            let bytes = unwrapInboundIn(data)
            count = bytes.readableBytes
            assembler.append(bytes)
        } else {
            count = assembler.received(unwrapInboundIn(data))
        }
        LoopCounters.add(count, to: loop.counters.bytesReceived)
        lastActiveTick = loop.tick
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        guard !assembler.hasLostBytes else {
            close(reason: "the connection ended within a request")
            return
        }
        deliver()
    }

    func channelInactive(context: ChannelHandlerContext) { leave() }

    /// The connection as its delegate has it; nil before and after its life.
    var connection: Connection? { attached?.connection }

    /// Lets go of a channel with a request in progress and nothing else under way: what comes on it is somebody else's from now on.
    ///
    /// - Returns: nil when there is more under way, or nothing any more.
    func release() -> ChannelHandlerContext? {
        guard let attached, attached.connection.isOpen, requestInProgress, deferred.isEmpty, outbound.isEmpty, !isOutputBlocked,
            !assembler.hasBytes
        else { return nil }
        leave()
        return attached.context
    }

    private func leave() {
        if let address = countedAddress {
            server.admission.release(address: address)
            countedAddress = nil
        }
        assembler.release()
        outbound.removeAll()
        deferred.removeAll()
        releaseMemory(reservedForNext + reservedInProgress)
        reservedForNext = 0
        reservedInProgress = 0
        throttle?.task.cancel()
        throttle = nil
        guard let connection = attached?.connection else { return }
        attached = nil
        connection.isOpen = false
        loop.remove(self)
        server.delegate.connectionClosed(connection)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted? = event as? TLSUserEvent {
            attached?.connection.peerDistinguishedName = TLSPeer.distinguishedName(in: context.channel)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if isSecured, let connection = attached?.connection, connection.isOpen,
            let explanation = TLSPeer.explain(error, isServer: true, in: context.channel)
        {
            server.warn(
                handshake: explanation, "listener \(listener.name): \(explanation)",
                ["listener": "\(listener.name)", "client": "\(connection.remoteHost)"])
        }
        // A reset by the peer; the channel closes itself after most errors, but not after all.
        attached?.connection.isOpen = false
        context.close(promise: nil)
    }

    // MARK: frames

    /// Hands out frames until one stays unanswered, the bytes are used up, or the client does not take its answers.
    private func deliver() {
        guard let attached else { return }
        guard !isDelivering else {
            deliverAgain = true
            return
        }
        isDelivering = true
        var readsLeft = Self.readsPerCycle
        repeat {
            deliverAgain = false
            repeat {
                deliverFrames(to: attached.connection)
            } while receiveMore(attached, &readsLeft)
            flush()
        } while deliverAgain
        isDelivering = false
        guard attached.connection.isOpen else { return }
        readMore(attached.context)
    }

    private func deliverFrames(to connection: Connection) {
        while connection.isOpen, !isOccupied, closeReasonAfterFlush == nil, let frame = nextFrame() {
            requestInProgress = true
            LoopCounters.add(1, to: loop.counters.requests)
            server.delegate.received(frame: frame, on: connection)
            if outbound.byteCount >= Self.outboundThreshold { flush() }
        }
    }

    /// Whether the next frame has to wait.
    private var isOccupied: Bool { requestInProgress || isOutputBlocked || throttle != nil || deferred.isFull }

    /// Where the size of a further large frame has come, so have its bytes as a rule: reading them now lets the answers to several
    /// frames leave with one call.
    private func receiveMore(_ attached: Attached, _ readsLeft: inout Int) -> Bool {
        let mustWait = isOccupied || isWaitingForMemory || loop.isDraining || closeReasonAfterFlush != nil
        guard readsLeft > 0, !mustWait, attached.connection.isOpen, let socket = attached.socket else { return false }
        readsLeft -= 1
        let count = assembler.receive(from: socket)
        LoopCounters.add(count, to: loop.counters.bytesReceived)
        return count > 0
    }

    /// One read is always under way while the client may send, which is also how its leaving is noticed; but bytes beyond that stay
    /// in the kernel while a request is in progress.
    private func readMore(_ context: ChannelHandlerContext) {
        if isOccupied || isWaitingForMemory, assembler.hasBytes {
            assembler.prepareForWaiting()
            return
        }
        if loop.isDraining || closeReasonAfterFlush != nil {
            closeIfDone()
            return
        }
        assembler.prepareForReading()
        context.read()
    }

    private func nextFrame() -> ByteBuffer? {
        guard !isWaitingForMemory, !loop.isDraining, recognizesFirstBytes() else { return nil }
        if let size = assembler.readPrefix() {
            reject(size)
            return nil
        }
        if server.memory.isBounded, reservedForNext == 0, assembler.expected > 0 {
            guard server.memory.reserve(assembler.expected, waitingOn: loop) else {
                isWaitingForMemory = true
                loop.waitForMemory(self)
                return nil
            }
            reservedForNext = assembler.expected
        }
        guard case .complete(let frame) = assembler.nextFrame() else { return nil }
        reservedInProgress = reservedForNext
        reservedForNext = 0
        return frame
    }

    func resumeAfterMemoryWait() {
        guard isWaitingForMemory else { return }
        isWaitingForMemory = false
        deliver()
    }

    private func recognizesFirstBytes() -> Bool {
        guard !hasSeenFirstBytes, !isSecured, let bytes = assembler.firstBytes else { return true }
        hasSeenFirstBytes = true
        guard let foreign = ForeignProtocol(firstBytes: bytes), let connection = attached?.connection else { return true }
        server.warn(
            foreign == .tls ? .tlsClient : .httpClient, foreign.remedy(listener: listener.name),
            ["listener": "\(listener.name)", "client": "\(connection.remoteHost)"])
        close(reason: "\(foreign.rawValue) spoken to a plaintext listener")
        return false
    }

    private func reject(_ size: Int) {
        guard let connection = attached?.connection else { return }
        let explanation =
            size < 0
            ? "a request announced the impossible size \(size): this is not a Kafka client, or its stream is broken"
            : assembler.maximumFrameBytes < server.limits.maximumRequestBytes
                ? "a request of \(size) bytes before the client has logged in exceeds \(assembler.maximumFrameBytes) "
                    + "(sasl.server.max.receive.size)"
                : "a request of \(size) bytes exceeds socket.request.max.bytes=\(server.limits.maximumRequestBytes)"
        server.warn(
            .oversizedRequest, "\(explanation); the connection was closed",
            ["listener": "\(listener.name)", "client": "\(connection.remoteHost)"])
        close(reason: explanation)
    }

    // MARK: answers

    func send(_ frame: OutboundFrame, closingAfterwards reason: String?) {
        precondition(requestInProgress, "an answer without a request")
        let frame = completed(frame)
        if deferred.isEmpty { outbound.append(frame) } else { deferred.add(frame) }
        closeReasonAfterFlush = closeReasonAfterFlush ?? reason
        complete()
    }

    func deferAnswer() -> DeferredAnswer {
        precondition(requestInProgress, "a place without a request")
        let answer = deferred.add()
        complete()
        return answer
    }

    func send(_ frame: OutboundFrame, as answer: DeferredAnswer) {
        lastActiveTick = loop.tick
        deferred.fill(answer, with: completed(frame), into: &outbound)
        if !isDelivering { deliver() }
    }

    /// The frame with its size in front, counted as sent.
    private func completed(_ frame: OutboundFrame) -> OutboundFrame {
        var frame = frame
        frame.fillInSize()
        LoopCounters.add(frame.totalLength, to: loop.counters.bytesSent)
        return frame
    }

    func completeWithoutResponse() {
        precondition(requestInProgress, "a request completed twice")
        complete()
    }

    private func complete() {
        requestInProgress = false
        lastActiveTick = loop.tick
        releaseMemory(reservedInProgress)
        reservedInProgress = 0
        // From within `received` the loop in `deliver` goes on by itself.
        if !isDelivering { deliver() }
    }

    func throttle(milliseconds: Int64) {
        guard let attached else { return }
        let end = NIODeadline.now() + .milliseconds(milliseconds)
        if let throttle, throttle.end >= end { return }
        throttle?.task.cancel()
        throttle = ConnectionThrottle(
            end: end,
            task: attached.context.eventLoop.assumeIsolated().scheduleTask(deadline: end) { [weak self] in self?.endThrottle() })
    }

    private func endThrottle() {
        throttle = nil
        lastActiveTick = loop.tick
        deliver()
    }

    private func releaseMemory(_ count: Int) {
        if count > 0 { server.memory.release(count) }
    }

    /// Writes what has gathered, unless NIO or a storage thread still works on an earlier piece of it.
    private func flush() {
        guard !outbound.isEmpty, !isOutputBlocked, let attached, attached.connection.isOpen else { return }
        if isSecured { return writeSecured(attached.context) }
        guard let socket = attached.socket, attached.context.channel.isActive else {
            writeThroughChannel(attached.context, all: true)
            return
        }
        switch outbound.write(to: socket, gathering: loop) {
        case .done:
            break
        case .blocked:
            writeThroughChannel(attached.context, all: false)
        case .cold(let piece):
            readCold(piece, on: attached.context.eventLoop)
        case .failed(let reason):
            close(reason: reason)
        }
    }

    /// Waits for a storage thread to bring the next piece into memory.
    func readCold(_ piece: FileSlice, on eventLoop: any EventLoop) {
        isOutputBlocked = true
        LoopCounters.add(1, to: loop.counters.coldReads)
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        ColdRead.start(piece, on: eventLoop) { bound.value.resumeAfterColdRead(piece) }
    }

    private func resumeAfterColdRead(_ piece: FileSlice) {
        // An empty queue: the connection ended meanwhile.
        guard !outbound.isEmpty else { return }
        outbound.noteRead(piece)
        continueOutput()
    }

    func continueOutput() {
        isOutputBlocked = false
        lastActiveTick = loop.tick
        flush()
        deliver()
    }

    private func writeThroughChannel(_ context: ChannelHandlerContext, all: Bool) {
        isOutputBlocked = true
        let segments = outbound.takeWritable(all: all)
        let written = context.eventLoop.makePromise(of: Void.self)
        for (index, segment) in segments.enumerated() {
            let promise = index == segments.count - 1 ? written : nil
            switch segment {
            case .bytes(let buffer):
                context.write(wrapOutboundOut(.byteBuffer(buffer)), promise: promise)
            case .file(let slice):
                write(slice, through: context, promise)
            }
        }
        context.flush()
        written.futureResult.assumeIsolated().whenComplete { [self] result in
            if case .success = result { continueOutput() }
        }
    }

    private func write(_ slice: FileSlice, through context: ChannelHandlerContext, _ promise: EventLoopPromise<Void>?) {
        // NIO's handle insists on being closed or relieved of its descriptor; the file belongs to the slice's owner.
        let handle = NIOFileHandle(_deprecatedTakingOwnershipOfDescriptor: slice.descriptor)
        let region = FileRegion(fileHandle: handle, readerIndex: slice.offset, endIndex: slice.offset + slice.length)
        let promise = promise ?? context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.whenComplete { _ in
            _ = try? handle.takeDescriptorOwnership()
            withExtendedLifetime(slice.owner) {}
        }
        context.write(wrapOutboundOut(.fileRegion(region)), promise: promise)
    }

    func limitFrames(to bytes: Int?) {
        assembler.maximumFrameBytes = bytes.map { min($0, server.limits.maximumRequestBytes) } ?? server.limits.maximumRequestBytes
    }

    // MARK: closing

    /// True if nothing keeps an idle connection alive. A client that does not take its answer for so long counts as idle too.
    var mayBeIdle: Bool { !requestInProgress && deferred.isEmpty && throttle == nil }

    /// Closes if no request is in progress and no answer is under way; otherwise that happens when both are done.
    func closeIfDone() {
        guard !requestInProgress, deferred.isEmpty, !isOutputBlocked, outbound.isEmpty else { return }
        close(reason: closeReasonAfterFlush ?? "the broker is stopping")
    }

    func close(reason: String) {
        guard let attached, attached.connection.isOpen else { return }
        attached.connection.isOpen = false
        server.logger.debug(
            "closing connection",
            metadata: ["connection": "\(attached.connection.id)", "client": "\(attached.connection.remoteHost)", "reason": "\(reason)"])
        attached.context.close(promise: nil)
    }
}

/// A client that is held back.
private struct ConnectionThrottle {
    var end: NIODeadline
    var task: Scheduled<Void>
}
