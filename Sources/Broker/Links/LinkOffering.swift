// The source's side of links whose source opens the connections: every broker keeps a few connections to each broker of the other cluster, and
// offers them. When one is taken, roles on it are turned round: this broker serves it, as somebody whom the link names, and offers another.
import Authorization
import KafkaMessages
import KafkaWire
import Linking
import Logging
import MartletClient
import NIOCore
import Network
import Primitives
import Synchronization

/// The links of this broker that offer connections.
final class LinkOffering: Sendable {
    private struct State {
        var offerers: [String: (LinkDefinition, ConnectionOfferer)] = [:]
        var isStopped = false
    }

    private let state = Mutex(State())

    /// The image of links changed.
    func imageChanged(_ image: LinkImage, _ links: LinkServices) {
        state.withLock { state in
            for (name, (definition, offerer)) in state.offerers where image.links[name] != definition {
                offerer.stop()
                state.offerers[name] = nil
            }
            guard !state.isStopped else { return }
            for link in image.links.values where state.offerers[link.name] == nil {
                guard let settings = try? LinkSettings(link.configuration), settings.offersConnections, !settings.isPaused else { continue }
                let offerer = ConnectionOfferer(link: link, settings: settings, links: links)
                state.offerers[link.name] = (link, offerer)
                offerer.start()
            }
        }
    }

    func stop() {
        state.withLock { state in
            state.isStopped = true
            for (_, offerer) in state.offerers.values { offerer.stop() }
            state.offerers = [:]
        }
    }

    /// For operators: what came of offering a link's connections; nil where none are offered.
    func description(ofLink link: String) -> JSONValue? { state.withLock { $0.offerers[link]?.1.description } }
}

/// The other side makes its connections by itself.
private struct OfferNotNeeded: Error {}

/// Offers the connections of one link.
final class ConnectionOfferer: Sendable {
    private struct Place: Hashable {
        var broker: NodeID
        var address: BrokerAddress
        var number: Int
    }

    private struct State {
        var finding: Task<Void, Never>?
        var places: [Place: Task<Void, Never>] = [:]
        /// Connections that wait to be taken, and that are served.
        var offered: [NodeID: Int] = [:]
        var inUse: [NodeID: Int] = [:]
        var served: [ObjectIdentifier: any Channel] = [:]
        /// Why the other cluster, or a broker of it, does not take connections; by its id, -1 for the cluster.
        var problems: [NodeID: String] = [:]
        var isStopped = false
    }

    /// Offers that wait at each broker of the other cluster.
    private static let spare = 2
    /// Connections with one broker of the other cluster that are served at a time.
    private static let maximumInUse = 256
    private static let uselessPause = Duration.seconds(30)
    private static let lookPause = Duration.seconds(5)
    private static let firstBackoffMilliseconds: Int64 = 100
    private static let maximumBackoffMilliseconds: Int64 = 5_000
    /// A broker that has not said within that time that an offer still stands is gone.
    private static let patience = Duration.seconds(60)

    private let link: LinkDefinition
    private let settings: LinkSettings
    private let links: LinkServices
    private let logger: Logger
    private let state = Mutex(State())

    init(link: LinkDefinition, settings: LinkSettings, links: LinkServices) {
        self.link = link
        self.settings = settings
        self.links = links
        logger = links.logger
    }

    func start() {
        let task = links.tasks.begin { [self] in await find() }
        state.withLock { $0.finding = task }
    }

    /// Offers nothing more, and closes what is served: the link is gone, or is another one now.
    func stop() {
        let served = state.withLock { state in
            state.isStopped = true
            state.finding?.cancel()
            for task in state.places.values { task.cancel() }
            state.places = [:]
            return Array(state.served.values)
        }
        for channel in served { channel.close(promise: nil) }
    }

    var description: JSONValue {
        state.withLock { state in
            let brokers = Set(state.offered.keys).union(state.inUse.keys).union(state.problems.keys.filter { $0 >= 0 })
            return [
                "problem": state.problems[-1].map { .string($0) } ?? .null,
                "brokers": .array(
                    brokers.sorted().map { broker in
                        [
                            "broker": .integer(Int64(broker)), "offered": .integer(Int64(state.offered[broker] ?? 0)),
                            "inUse": .integer(Int64(state.inUse[broker] ?? 0)),
                            "problem": state.problems[broker].map { .string($0) } ?? .null,
                        ]
                    }),
            ]
        }
    }

    // MARK: Brokers

    /// Keeps up with the brokers of the other cluster.
    private func find() async {
        let configuration: ClientConfiguration
        do {
            var known = try LinkSource.clientConfiguration(settings, name: link.name, nodeID: links.nodeID, logger: logger)
            guard let group = links.eventLoopGroup else { return }
            // Where connections can be served.
            known.eventLoopGroup = group
            configuration = known
        } catch {
            return note("\(error)", of: -1)
        }
        let admin = AdminClient(configuration)
        defer { admin.close() }
        while !Task.isCancelled {
            do throws(KafkaError) {
                let cluster = try await admin.describeCluster()
                note(nil, of: -1)
                keep(cluster.brokers, configuration)
            } catch {
                note(error.explanation, of: -1)
            }
            try? await Task.sleep(for: Self.lookPause)
        }
    }

    private func keep(_ brokers: [BrokerNode], _ configuration: ClientConfiguration) {
        let wanted = Set(
            brokers.flatMap { broker in
                (0..<Self.spare).map { Place(broker: broker.id, address: broker.address, number: $0) }
            })
        state.withLock { state in
            guard !state.isStopped else { return }
            for (place, task) in state.places where !wanted.contains(place) {
                task.cancel()
                state.places[place] = nil
                state.problems[place.broker] = nil
            }
            for place in wanted where state.places[place] == nil {
                state.places[place] = links.tasks.begin { [self] in await offerAgainAndAgain(place, configuration) }
            }
        }
    }

    private func note(_ problem: String?, of broker: NodeID) {
        let isNews = state.withLock { state in
            defer { state.problems[broker] = problem }
            return state.problems[broker] != problem
        }
        guard isNews, let problem else { return }
        logger.warning(
            "connections of a link are not taken",
            metadata: ["link": "\(link.name)", "by": broker < 0 ? "the other cluster" : "its broker \(broker)", "reason": "\(problem)"])
    }

    // MARK: Offers

    private func offerAgainAndAgain(_ place: Place, _ configuration: ClientConfiguration) async {
        var failures: Int64 = 0
        while !Task.isCancelled {
            do {
                let isFull = state.withLock { $0.inUse[place.broker] ?? 0 >= Self.maximumInUse }
                guard !isFull else {
                    throw LinkCallFailure(description: "it uses \(Self.maximumInUse) connections already")
                }
                try await offer(place, configuration)
                failures = 0
                note(nil, of: place.broker)
            } catch is OfferNotNeeded {
                failures = 0
                note(nil, of: place.broker)
                try? await Task.sleep(for: Self.uselessPause)
            } catch {
                if Task.isCancelled { return }
                failures += 1
                note((error as? KafkaError)?.explanation ?? "\(error)", of: place.broker)
                let pause = min(Self.maximumBackoffMilliseconds, Self.firstBackoffMilliseconds << min(failures - 1, 10))
                try? await Task.sleep(for: .milliseconds(pause))
            }
        }
    }

    /// Offers a connection until it is taken, and has it served then.
    private func offer(_ place: Place, _ configuration: ClientConfiguration) async throws {
        guard let services = links.services, let network = links.network,
            let own = services.image.cluster.broker(links.nodeID)?.endpoint(listener: services.configuration.interBrokerListenerName)
        else { throw LinkCallFailure(description: "this broker is not part of its cluster at the moment") }
        let request = ManageLinksRequest(
            .offer,
            [
                "link": .string(link.name), "cluster": .string(services.clusterID), "broker": .integer(Int64(links.nodeID)),
                "host": .string(own.host), "port": .integer(Int64(own.port)),
            ])
        let connection = try await BrokerConnection.connect(to: place.address, configuration: configuration)
        count(\.offered, place.broker, 1)
        defer { count(\.offered, place.broker, -1) }
        do {
            var response = try await connection.send(request, timeout: Self.patience)
            while response.errorCode == .requestTimedOut {
                note(nil, of: place.broker)
                response = try await connection.send(request, timeout: Self.patience)
            }
            // The other side of a bidirectional link may connect by itself, which is no failure.
            if response.errorCode == .invalidRequest, settings.mode == .bidirectional { throw OfferNotNeeded() }
            guard response.errorCode == .none else {
                throw LinkCallFailure(description: response.errorMessage ?? response.errorCode.name)
            }
        } catch {
            connection.close()
            throw error
        }
        let channel = try await connection.release()
        let principal = KafkaPrincipal(settings.localPrincipal) ?? .anonymous
        try await channel.eventLoop.submit { [self] in
            let isServed = network.adopt(channel, listener: services.configuration.interBrokerListenerName) { connection in
                connection.limitFrames(to: nil)
                connection.context = ConnectionState(ConnectionAuthentication(principal: principal))
            }
            guard isServed else { throw LinkCallFailure(description: "this broker takes no more connections (max.connections.per.ip)") }
            noteServed(channel, place.broker)
        }.get()
    }

    private func noteServed(_ channel: any Channel, _ broker: NodeID) {
        count(\.inUse, broker, 1)
        let isStopped = state.withLock { state in
            state.served[ObjectIdentifier(channel)] = channel
            return state.isStopped
        }
        if isStopped { channel.close(promise: nil) }
        channel.closeFuture.whenComplete { [self] _ in
            count(\.inUse, broker, -1)
            state.withLock { $0.served[ObjectIdentifier(channel)] = nil }
        }
    }

    private func count(_ counter: WritableKeyPath<State, [NodeID: Int]> & Sendable, _ broker: NodeID, _ change: Int) {
        state.withLock { state in
            let count = (state[keyPath: counter][broker] ?? 0) + change
            state[keyPath: counter][broker] = count > 0 ? count : nil
        }
    }
}
