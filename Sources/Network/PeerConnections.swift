// Connections to other nodes: one for each peer and event loop, made when first needed and made again after it was lost. Whoever uses
// them stays on its event loop: the answer comes back where the request was sent from, without a task or a promise.
import KafkaWire
import NIOCore
import Primitives
import Synchronization

/// The outbound connections of one purpose: the quorum, the controller channel, a replica fetcher. Requests on a connection are answered
/// in order, so purposes that must not wait for each other have instances of their own.
public final class PeerConnections: Sendable {
    public typealias Completion = @Sendable (Result<PeerResponse, PeerFailure>) -> Void
    /// Writes a request in one of the versions that both sides know; nil if none can carry it.
    public typealias Encoder = @Sendable (_ versions: ClosedRange<Int16>) -> PeerRequest?

    private let options: PeerOptions
    /// Larger answers close the connection.
    public var maximumResponseBytes: Int { options.maximumResponseBytes }
    private let offers = PeerOffers()
    private let loops: [PeerLoop]
    private let loopsByIdentity: [ObjectIdentifier: PeerLoop]

    /// - Parameter eventLoopGroup: belongs to the caller and is not shut down here.
    public init(options: PeerOptions, eventLoopGroup: any EventLoopGroup) {
        self.options = options
        var loops: [PeerLoop] = []
        var byIdentity: [ObjectIdentifier: PeerLoop] = [:]
        for eventLoop in eventLoopGroup.makeIterator() {
            let loop = PeerLoop(eventLoop: eventLoop, options: options, offers: offers)
            loops.append(loop)
            byIdentity[ObjectIdentifier(eventLoop)] = loop
        }
        self.loops = loops
        loopsByIdentity = byIdentity
    }

    /// The versions that both sides know of each API, as of the last connection to `peer`; nil before the first.
    public func versions(of peer: PeerAddress) -> [Int16: ClosedRange<Int16>]? { offers.byPeer.withLock { $0[peer] } }

    /// The loop that requests to `peer` use unless another is asked for.
    public func eventLoop(for peer: PeerAddress) -> any EventLoop { state(for: peer, nil).eventLoop }

    /// Sends a request in a version chosen once the peer's are known.
    ///
    /// - Parameters:
    ///   - timeoutMilliseconds: from now to the answer, connecting included. A connection that is late with an answer is closed, for
    ///     nothing behind it could arrive.
    ///   - eventLoop: one of the group's; nil for the peer's own.
    ///   - encode: called on the event loop, once, before the request is written.
    ///   - completion: called once, on the event loop; never before this call returns.
    public func send(
        to peer: PeerAddress, api: Int16, timeoutMilliseconds: Int64, on eventLoop: (any EventLoop)? = nil, encode: @escaping Encoder,
        completion: @escaping Completion
    ) {
        let loop = state(for: peer, eventLoop)
        let pending = PendingRequest(
            api: api, deadlineNanoseconds: SystemClock.monotonicNanoseconds() + max(1, timeoutMilliseconds) * 1_000_000, encode: encode,
            completion: completion)
        // Also from the loop itself by way of its queue: a caller holds state of its own while it sends.
        loop.eventLoop.execute { loop.connection(to: peer)?.submit(pending) ?? completion(.failure(.closed)) }
    }

    /// Sends a request whose version is settled.
    public func send(
        to peer: PeerAddress, api: Int16, version: Int16, body: ByteBuffer, timeoutMilliseconds: Int64,
        on eventLoop: (any EventLoop)? = nil, completion: @escaping @Sendable (Result<ByteBuffer, PeerFailure>) -> Void
    ) {
        send(
            to: peer, api: api, timeoutMilliseconds: timeoutMilliseconds, on: eventLoop,
            encode: { $0.contains(version) ? PeerRequest(version: version, body: body) : nil },
            completion: { completion($0.map(\.body)) })
    }

    /// Sends a message in the highest version that both sides know, and reads the answer.
    ///
    /// - Parameter versions: those that will do; nil for all.
    public func send<Request: KafkaRequest>(
        _ request: Request, to peer: PeerAddress, versions: ClosedRange<Int16>? = nil, timeoutMilliseconds: Int64,
        on eventLoop: (any EventLoop)? = nil,
        completion: @escaping @Sendable (Result<Request.Response, PeerFailure>) -> Void
    ) {
        send(
            to: peer, api: Request.apiKey.rawValue, timeoutMilliseconds: timeoutMilliseconds, on: eventLoop,
            encode: { offered in
                let usable = versions.map { offered.clamped(to: $0) } ?? offered
                guard offered.contains(usable.upperBound), versions?.contains(usable.upperBound) ?? true else { return nil }
                do throws(WireError) {
                    return PeerRequest(version: usable.upperBound, body: try request.encoded(version: usable.upperBound))
                } catch {
                    // The peer's version has no room for what the request says.
                    return nil
                }
            },
            completion: { result in
                completion(
                    result.flatMap { answer in
                        do throws(WireError) {
                            return .success(try Request.Response(decoding: answer.body, version: answer.version))
                        } catch {
                            return .failure(.malformed("\(error)"))
                        }
                    })
            })
    }

    /// Closes the connections to a peer that moved or is gone. Requests to it fail; later ones connect anew.
    public func disconnect(from peer: PeerAddress) {
        for loop in loops {
            loop.eventLoop.execute { loop.disconnect(from: peer) }
        }
    }

    /// Closes everything; requests on their way and later ones fail with `closed`.
    public func close() {
        for loop in loops {
            loop.eventLoop.execute { loop.close() }
        }
    }

    private func state(for peer: PeerAddress, _ eventLoop: (any EventLoop)?) -> PeerLoop {
        guard let eventLoop else { return loops[Int(peer.id.magnitude) % loops.count] }
        guard let loop = loopsByIdentity[ObjectIdentifier(eventLoop)] else {
            preconditionFailure("the event loop belongs to another group")
        }
        return loop
    }
}

/// What peers offered when they were last connected to.
final class PeerOffers: Sendable {
    let byPeer = Mutex<[PeerAddress: [Int16: ClosedRange<Int16>]]>([:])
}

/// The connections of one event loop.
private final class PeerLoop: @unchecked Sendable {
    // Sound because all mutable state is confined to `eventLoop`.
    let eventLoop: any EventLoop
    private let options: PeerOptions
    private let offers: PeerOffers
    /// Room for whole answers to a follower's fetch (replica.fetch.response.max.bytes, 10 MiB): memory that is asked for anew for each of
    /// them costs a page fault for every 4 KiB.
    private let pool = BufferPool(largestPooled: 12_582_912, maximumPooledBytes: 25_165_824)
    private var trimming: RepeatedTask?
    private var connections: [PeerAddress: PeerConnection] = [:]
    private var isClosed = false

    init(eventLoop: any EventLoop, options: PeerOptions, offers: PeerOffers) {
        self.eventLoop = eventLoop
        self.options = options
        self.offers = offers
    }

    private func trimNowAndThen() {
        guard trimming == nil else { return }
        trimming = eventLoop.scheduleRepeatedTask(initialDelay: .seconds(10), delay: .seconds(10)) { [weak self] _ in self?.pool.trim() }
    }

    func connection(to peer: PeerAddress) -> PeerConnection? {
        guard !isClosed else { return nil }
        if let connection = connections[peer] { return connection }
        let connection = PeerConnection(to: peer, options: options, offers: offers, eventLoop: eventLoop, pool: pool)
        connections[peer] = connection
        trimNowAndThen()
        return connection
    }

    func disconnect(from peer: PeerAddress) {
        connections.removeValue(forKey: peer)?.close(.disconnected("the address is not used any longer"))
    }

    func close() {
        isClosed = true
        trimming?.cancel()
        let closing = connections.values
        connections = [:]
        for connection in closing { connection.close(.closed) }
    }
}
