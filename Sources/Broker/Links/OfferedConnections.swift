// Connections that the brokers of links' sources offer, where they cannot be reached from here: each is a request that waits to be answered. The
// answer turns the roles on its connection round, and from then on this broker sends requests over it as over one that it made itself.
import KafkaMessages
import KafkaWire
import Linking
import NIOCore
import Network
import Primitives
import Synchronization

/// The offers that wait on this broker, and those who wait for offers.
final class OfferedConnections: Sendable {
    /// A host that no broker has: stands for any broker of the source.
    static let anyBroker = "any-broker.invalid"

    /// An offer that waits.
    private struct Offer {
        let id: UInt64
        let source: SourceBroker
        let responder: Responder
        let expiry: Scheduled<Void>
    }

    /// A broker of the source, as it calls itself on its own cluster.
    struct SourceBroker: Hashable, Sendable {
        var cluster: String
        var id: NodeID
        var host: String
        var port: Int
    }

    /// Somebody who waits for a connection.
    private struct Demand {
        let id: UInt64
        let host: String
        let port: Int
        let promise: EventLoopPromise<any Channel>
        let deadline: Scheduled<Void>

        func fits(_ source: SourceBroker) -> Bool {
            host == OfferedConnections.anyBroker || host == source.host && port == source.port
        }
    }

    private struct LinkState {
        var offers: [Offer] = []
        var demands: [Demand] = []
        /// Connections that were turned round and are open, by source broker.
        var inUse: [SourceBroker: Int] = [:]
    }

    /// Offers of one source broker that may wait.
    private static let maximumOffers = 16
    private static let maximumDemands = 1_000
    /// A source hears so often that its offer still stands, and offers anew.
    private static let renewal = TimeAmount.seconds(20)
    private static let patience = TimeAmount.seconds(4)

    private let links = Mutex<[String: LinkState]>([:])
    private let lastID = Atomic<UInt64>(0)

    private func nextID() -> UInt64 { lastID.wrappingAdd(1, ordering: .relaxed).newValue }

    // MARK: Offers

    /// Takes an offer, whose request is answered when the connection is needed, or after a while to be made anew.
    ///
    /// - Returns: what undoes it once its connection is gone; nil when there are enough.
    func add(_ source: SourceBroker, link: String, _ responder: Responder) -> (@Sendable () -> Void)? {
        let id = nextID()
        let expiry = responder.connection.eventLoop.scheduleTask(in: Self.renewal) { [weak self] () -> Void in self?.expire(id, link: link)
        }
        let offer = Offer(id: id, source: source, responder: responder, expiry: expiry)
        enum Outcome {
            case waits
            case used(Demand)
            case tooMany
        }
        let outcome = links.withLock { links -> Outcome in
            var state = links[link] ?? LinkState()
            defer { links[link] = state }
            if let index = state.demands.firstIndex(where: { $0.fits(source) }) { return .used(state.demands.remove(at: index)) }
            guard state.offers.count(where: { $0.source == source }) < Self.maximumOffers else { return .tooMany }
            state.offers.append(offer)
            return .waits
        }
        switch outcome {
        case .waits: break
        case .tooMany:
            expiry.cancel()
            return nil
        case .used(let demand):
            demand.deadline.cancel()
            turn(offer, link: link).cascade(to: demand.promise)
        }
        return { [weak self] in _ = self?.remove(id, link: link) }
    }

    private func remove(_ id: UInt64, link: String) -> Offer? {
        links.withLock { links in
            guard let index = links[link]?.offers.firstIndex(where: { $0.id == id }) else { return nil }
            let offer = links[link]?.offers.remove(at: index)
            offer?.expiry.cancel()
            return offer
        }
    }

    private func expire(_ id: UInt64, link: String) {
        remove(id, link: link)?.responder.send(ManageLinksResponse(.requestTimedOut, "the connection is not needed yet"))
    }

    // MARK: Demands

    /// A connection to a broker of a link's source, as soon as one is offered.
    ///
    /// - Parameter host: where the broker listens for its own cluster, or `anyBroker`.
    func take(link: String, host: String, port: Int, on eventLoop: any EventLoop) -> EventLoopFuture<any Channel> {
        let promise = eventLoop.makePromise(of: (any Channel).self)
        let id = nextID()
        let deadline = eventLoop.scheduleTask(in: Self.patience) { [weak self] () -> Void in self?.giveUp(id, link: link) }
        let demand = Demand(id: id, host: host, port: port, promise: promise, deadline: deadline)
        var isWaiting = false
        let offer = links.withLock { links -> Offer? in
            var state = links[link] ?? LinkState()
            defer { links[link] = state }
            // The newest is the least likely to be dead.
            if let index = state.offers.lastIndex(where: { demand.fits($0.source) }) { return state.offers.remove(at: index) }
            isWaiting = state.demands.count < Self.maximumDemands
            if isWaiting { state.demands.append(demand) }
            return nil
        }
        if let offer {
            deadline.cancel()
            turn(offer, link: link).cascade(to: promise)
        } else if !isWaiting {
            deadline.cancel()
            promise.fail(LinkCallFailure(description: "too many wait for the source to connect"))
        }
        return promise.futureResult
    }

    private func giveUp(_ id: UInt64, link: String) {
        let demand = links.withLock { links -> Demand? in
            guard let index = links[link]?.demands.firstIndex(where: { $0.id == id }) else { return nil }
            return links[link]?.demands.remove(at: index)
        }
        demand?.promise.fail(LinkCallFailure(description: "waiting for the source to connect"))
    }

    private func turn(_ offer: Offer, link: String) -> EventLoopFuture<any Channel> {
        offer.expiry.cancel()
        let connection = offer.responder.connection
        let promise = connection.eventLoop.makePromise(of: (any Channel).self)
        let source = offer.source
        connection.withConnection { open in
            do throws(WireError) {
                let frame = try offer.responder.frame(ManageLinksResponse(.object([])))
                open.turnRound(answering: frame).cascade(to: promise)
            } catch {
                promise.fail(error)
            }
        }
        promise.futureResult.whenSuccess { [weak self] channel in
            self?.count(source, link: link, 1)
            channel.closeFuture.whenComplete { [weak self] _ in self?.count(source, link: link, -1) }
        }
        return promise.futureResult
    }

    private func count(_ source: SourceBroker, link: String, _ change: Int) {
        links.withLock { links in
            let count = (links[link]?.inUse[source] ?? 0) + change
            links[link]?.inUse[source] = count > 0 ? count : nil
        }
    }

    /// Ends what waits for links that are gone.
    ///
    /// - Parameter reason: what those who wait are told.
    func retain(_ names: Set<String>, _ reason: String = "the link is gone") {
        let gone = links.withLock { links -> [LinkState] in
            let gone = links.filter { !names.contains($0.key) }
            for name in gone.keys { links[name] = nil }
            return Array(gone.values)
        }
        for state in gone {
            for offer in state.offers {
                offer.expiry.cancel()
                offer.responder.send(ManageLinksResponse(.resourceNotFound, reason))
            }
            for demand in state.demands {
                demand.deadline.cancel()
                demand.promise.fail(LinkCallFailure(description: reason))
            }
        }
    }

    // MARK: Looking

    /// For operators: which brokers of a link's source have connected here.
    func description(ofLink link: String) -> JSONValue {
        let brokers = links.withLock { links -> [SourceBroker: (waiting: Int, inUse: Int)] in
            var brokers: [SourceBroker: (waiting: Int, inUse: Int)] = [:]
            for offer in links[link]?.offers ?? [] { brokers[offer.source, default: (0, 0)].waiting += 1 }
            for (source, count) in links[link]?.inUse ?? [:] { brokers[source, default: (0, 0)].inUse += count }
            return brokers
        }
        return .array(
            brokers.sorted { $0.key.id < $1.key.id }.map { source, counts in
                [
                    "cluster": .string(source.cluster), "broker": .integer(Int64(source.id)), "offered": .integer(Int64(counts.waiting)),
                    "inUse": .integer(Int64(counts.inUse)),
                ]
            })
    }
}

extension Responder {
    /// An answer's frame with its size.
    fileprivate func frame(_ response: some KafkaResponse) throws(WireError) -> ByteBuffer {
        try Frame.response(response, version: version, correlationId: correlationID, withSize: true)
    }
}
