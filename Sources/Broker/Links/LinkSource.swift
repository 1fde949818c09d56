// One link's other end as this broker sees it: who leads what there, and the fetchers of the mirrors that this broker leads. Leaders are
// looked up when an answer says that they moved, and now and then.
import KafkaWire
import Linking
import Logging
import MartletClient
import NIOCore
import Network
import Primitives
import Replication
import Synchronization

/// The source of one link.
final class LinkSource: Sendable {
    /// A mirror partition that this broker leads.
    private struct Followed {
        var partition: Partition
        var sourceName: String
        var sourceID: TopicID
        var leaderEpoch: LeaderEpoch
        /// Nil while the source's leader is not known.
        var fetcher: FetcherKey?

        /// By the topic's id, where the source has ids.
        var key: FetchSessionKey {
            FetchSessionKey(
                topicID: sourceID, topicName: sourceID == .zero ? sourceName : "", partition: partition.topicPartition.partition)
        }

        /// Whether a topic of the source is the one that is mirrored.
        func isSame(_ topic: TopicDescription?) -> Bool { topic.map { sourceID == .zero || $0.topicID == sourceID } ?? false }
    }

    private struct Start {
        var fetcher: MirrorFetcher
        var partition: Partition
        var key: FetchSessionKey
    }

    private struct FetcherKey: Hashable {
        var address: PeerAddress
        var number: Int
    }

    private struct State {
        var followed: [TopicPartition: Followed] = [:]
        var names: [FetchSessionKey: String] = [:]
        var fetchers: [FetcherKey: MirrorFetcher] = [:]
        var isLookingUp = false
        var lookupFailures = 0
        var isClosed = false
    }

    private static let lookupPauseMilliseconds: Int64 = 50
    private static let maximumLookupPauseMilliseconds: Int64 = 2_000

    let definition: LinkDefinition
    let settings: LinkSettings
    let cluster: ClusterClient
    let admin: AdminClient
    let board = MirrorBoard()
    let throttle = ReplicationThrottle(samples: 11, milliseconds: 1000)
    let markers = MirroredMarkers()
    private let reporter: SynchronousReporter
    private let events: any LinkEvents
    private let connections: [PeerConnections]
    private let loops: [any EventLoop]
    private let logger: Logger
    private let state = Mutex(State())

    /// - Throws: when the configuration names what cannot be used, such as a key store that is not there.
    init(
        _ definition: LinkDefinition, nodeID: NodeID, events: any LinkEvents, eventLoopGroup: any EventLoopGroup, clusterID: String,
        dialler: LinkDialler?, logger: Logger
    ) throws {
        self.definition = definition
        settings = try LinkSettings(definition.configuration)
        let configuration = try Self.clientConfiguration(
            settings, name: definition.name, nodeID: nodeID, logger: logger, dialler: dialler)
        admin = AdminClient(configuration)
        cluster = admin.cluster
        self.events = events
        self.logger = logger
        var options = PeerOptions(clientID: "\(configuration.clientID)-fetcher")
        options.maximumInFlight = 2
        options.maximumResponseBytes = max(64 << 20, Int(settings.fetchResponseMaxBytes) * 2)
        options.tls = configuration.security.peerTLS
        options.credentials = configuration.security.peerCredentials(on: eventLoopGroup)
        options.dialler = dialler
        connections = (0..<settings.fetchers).map { _ in PeerConnections(options: options, eventLoopGroup: eventLoopGroup) }
        reporter = SynchronousReporter(
            link: definition.name, ownCluster: clusterID, settings: settings, cluster: cluster, board: board, options: options,
            eventLoopGroup: eventLoopGroup)
        loops = Array(eventLoopGroup.makeIterator())
        throttle.update(bytesPerSecond: settings.bytesPerSecond)
    }

    /// The client that speaks to a link's source about everything but records.
    static func clientConfiguration(
        _ settings: LinkSettings, name: String, nodeID: NodeID, logger: Logger, dialler: LinkDialler? = nil
    ) throws(KafkaError) -> ClientConfiguration {
        var configuration =
            dialler == nil
            ? try ClientConfiguration(bootstrapServers: settings.bootstrapServers)
            : ClientConfiguration(bootstrapServers: [BrokerAddress(host: OfferedConnections.anyBroker, port: 9092)])
        configuration.dialler = dialler
        configuration.clientID = "link-\(name)-broker-\(nodeID)"
        configuration.security = try ClientSecurity { settings.clientProperties[$0] }
        configuration.requestTimeout = .seconds(10)
        // So that a source that is gone is found to be so at the pace at which it is asked for.
        configuration.operationTimeout = .milliseconds(min(10_000, max(1_000, settings.availabilityCheckMilliseconds)))
        configuration.connectTimeout = .seconds(5)
        configuration.logger = logger
        return configuration
    }

    // MARK: Mirrors

    /// Mirrors a partition that this broker leads; again when it leads it under another epoch.
    func follow(_ partition: Partition, of mirror: MirrorTopic) {
        let epoch = partition.leadership.leaderEpoch
        let isNews = state.withLock { state -> Bool in
            guard !state.isClosed else { return false }
            let name = partition.topicPartition
            let former = state.followed[name]
            if let former {
                let isSame = former.leaderEpoch == epoch && former.sourceID == mirror.sourceID && former.partition === partition
                if isSame { return false }
                if let fetcher = former.fetcher { state.fetchers[fetcher]?.stop(source: former.key) }
            }
            let followed = Followed(partition: partition, sourceName: mirror.sourceName, sourceID: mirror.sourceID, leaderEpoch: epoch)
            state.followed[name] = followed
            state.names[followed.key] = mirror.sourceName
            return true
        }
        guard isNews else { return }
        // Where its source ends has to be found out anew: it may be another one, which is to be compared with first.
        board.forgetSource(of: partition.topicPartition)
        reporter.follow(partition, of: mirror)
        route([partition.topicPartition])
    }

    func stop(_ name: TopicPartition) {
        let stopped = state.withLock { state -> (MirrorFetcher?, FetchSessionKey)? in
            guard let followed = state.followed.removeValue(forKey: name) else { return nil }
            state.names[followed.key] = nil
            return (followed.fetcher.flatMap { state.fetchers[$0] }, followed.key)
        }
        guard let (fetcher, key) = stopped else { return }
        reporter.stop(name)
        fetcher?.stop(source: key)
        markers.forget(name)
        board.remove(name)
    }

    /// The partitions that are mirrored by this broker.
    var followed: [TopicPartition] { state.withLock { Array($0.followed.keys) } }

    func close() {
        let fetchers = state.withLock { state in
            state.isClosed = true
            defer { state.fetchers = [:] }
            return Array(state.fetchers.values)
        }
        for fetcher in fetchers { fetcher.close() }
        reporter.close()
        for connections in connections { connections.close() }
        admin.close()
    }

    // MARK: Leaders

    /// Gives partitions to the fetchers of their source's leaders; those without a known leader wait for a look-up.
    private func route(_ names: [TopicPartition]) {
        let view = cluster.view
        var needsLookup = false
        let starts = state.withLock { state -> [Start] in
            guard !state.isClosed else { return [] }
            var starts: [Start] = []
            for name in names {
                guard var followed = state.followed[name] else { continue }
                let source = TopicPartition(followed.sourceName, name.partition)
                guard let leader = view.leader(of: source), let node = view.brokers[leader],
                    followed.isSame(view.topics[followed.sourceName])
                else {
                    needsLookup = true
                    continue
                }
                let address = PeerAddress(id: leader, host: node.host, port: node.port)
                let number = Int(UInt32(bitPattern: name.partition) &+ UInt32(truncatingIfNeeded: followed.sourceID.leastSignificantBits))
                let key = FetcherKey(address: address, number: number % connections.count)
                if let former = followed.fetcher, former != key { state.fetchers[former]?.stop(source: followed.key) }
                let fetcher = state.fetchers[key] ?? makeFetcher(key)
                state.fetchers[key] = fetcher
                followed.fetcher = key
                state.followed[name] = followed
                starts.append(Start(fetcher: fetcher, partition: followed.partition, key: followed.key))
            }
            return starts
        }
        for start in starts { start.fetcher.follow(start.partition, source: start.key) }
        if needsLookup { lookUp() }
    }

    private func makeFetcher(_ key: FetcherKey) -> MirrorFetcher {
        let index = Int(key.address.id.magnitude) &+ key.number
        return MirrorFetcher(
            link: definition.name, address: key.address, settings: settings, connections: connections[key.number],
            eventLoop: loops[index % loops.count], board: board, throttle: throttle, owner: self, logger: logger)
    }

    /// Asks the source for its leaders, once at a time and ever more slowly while that fails or does not help.
    func lookUp() {
        let pause = state.withLock { state -> Int64? in
            guard !state.isClosed, !state.isLookingUp else { return nil }
            state.isLookingUp = true
            return min(Self.maximumLookupPauseMilliseconds, Self.lookupPauseMilliseconds << Int64(min(state.lookupFailures, 10)))
        }
        guard let pause else { return }
        Task { [weak self] in
            try? await Task.sleep(for: .milliseconds(pause))
            await self?.performLookUp()
        }
    }

    private func performLookUp() async {
        let topics = state.withLock { state in Set(state.followed.values.map(\.sourceName)) }
        var problem: String?
        do throws(KafkaError) {
            try await cluster.refreshMetadata(topics: topics)
        } catch {
            problem = "\(error)"
        }
        let view = cluster.view
        let (names, isUseless) = state.withLock { state -> ([TopicPartition], Bool) in
            state.isLookingUp = false
            var wanted: [TopicPartition] = []
            var missing = 0
            for (name, followed) in state.followed {
                let leader = view.leader(of: TopicPartition(followed.sourceName, name.partition))
                if leader == nil || !followed.isSame(view.topics[followed.sourceName]) { missing += 1 }
                if followed.fetcher == nil || followed.fetcher?.address.id != leader { wanted.append(name) }
            }
            let isUseless = problem != nil || missing > 0
            state.lookupFailures = isUseless ? state.lookupFailures + 1 : 0
            return (wanted, isUseless)
        }
        if let problem {
            for name in names {
                board.update(name, link: definition.name) { $0.problem = "the source's leaders cannot be found: \(problem)" }
            }
        }
        if !names.isEmpty || isUseless { route(names) }
    }
}

extension LinkSource: MirrorFetcherOwner {
    func lostLeader(_ partition: Partition, _ reason: String) { lookUp() }

    func needsNewEpoch(_ partition: Partition, _ leaderEpoch: LeaderEpoch) { events.needsNewEpoch(partition, leaderEpoch) }

    func failed(_ partition: Partition, _ reason: String) { events.mirrorFailed(partition.topicPartition, reason) }

    func willCut(_ partition: Partition, to offset: Offset, end: Offset, done: @escaping @Sendable (Bool) -> Void) {
        events.willCut(partition, to: offset, end: end, done: done)
    }

    func appended(_ ended: [MirroredMarker], to partition: Partition, leaderEpoch: LeaderEpoch, from: Offset, upTo: Offset) {
        markers.appended(ended, to: partition.topicPartition, leaderEpoch: leaderEpoch, from: from, upTo: upTo)
    }

    func sourceName(_ key: FetchSessionKey) -> String? { state.withLock { $0.names[key] } }
}

/// What a link's source tells the rest of the broker.
protocol LinkEvents: AnyObject, Sendable {
    func needsNewEpoch(_ partition: Partition, _ leaderEpoch: LeaderEpoch)
    /// A mirror topic cannot go on by itself.
    func mirrorFailed(_ partition: TopicPartition, _ reason: String)
    func willCut(_ partition: Partition, to offset: Offset, end: Offset, done: @escaping @Sendable (Bool) -> Void)
}
