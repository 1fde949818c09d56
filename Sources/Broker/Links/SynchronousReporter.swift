// The destination's side of synchronous mirrors: their leaders here tell the source's leaders how far they are, whenever more is committed, and
// now and then so that a leader which has just come hears of them.
import KafkaMessages
import KafkaWire
import Linking
import MartletClient
import NIOCore
import Network
import Primitives
import Synchronization

/// Reports the mirrors of one link that this broker leads.
final class SynchronousReporter: Sendable {
    private struct Entry {
        var partition: Partition
        var sourceName: String
        var sourceID: TopicID
        /// Monotonic milliseconds since when it is followed; answers from before say nothing about what the source's log and this one share.
        var since: Int64
    }

    private struct State {
        var entries: [TopicPartition: Entry] = [:]
        var names: [FetchedPartition: TopicPartition] = [:]
        /// Those with news.
        var dirty: Set<TopicPartition> = []
        /// Leaders that have not answered yet: one request at a time.
        var busy: Set<NodeID> = []
        var heartbeat: RepeatedTask?
        var isClosed = false
    }

    private struct FetchedPartition: Hashable {
        var topic: TopicID
        var partition: Int32
    }

    private static let heartbeat = TimeAmount.milliseconds(500)
    private static let timeoutMilliseconds: Int64 = 5_000

    private let link: String
    private let ownCluster: String
    private let settings: LinkSettings
    private let cluster: ClusterClient
    private let board: MirrorBoard
    private let connections: PeerConnections
    private let eventLoop: any EventLoop
    private let state = Mutex(State())

    init(
        link: String, ownCluster: String, settings: LinkSettings, cluster: ClusterClient, board: MirrorBoard, options: PeerOptions,
        eventLoopGroup: any EventLoopGroup
    ) {
        self.link = link
        self.ownCluster = ownCluster
        self.settings = settings
        self.cluster = cluster
        self.board = board
        connections = PeerConnections(options: options, eventLoopGroup: eventLoopGroup)
        eventLoop = eventLoopGroup.next()
    }

    func follow(_ partition: Partition, of mirror: MirrorTopic) {
        guard settings.isSynchronous, settings.synchronousFilter.admits(mirror.sourceName) else { return }
        let name = partition.topicPartition
        let isFirst = state.withLock { state -> Bool in
            guard !state.isClosed else { return false }
            state.entries[name] = Entry(
                partition: partition, sourceName: mirror.sourceName, sourceID: mirror.sourceID, since: SystemClock.monotonicMilliseconds())
            state.names[FetchedPartition(topic: mirror.sourceID, partition: name.partition)] = name
            return state.heartbeat == nil
        }
        partition.onHighWatermark { [weak self] _ in self?.moved(name) }
        if isFirst { beat() }
    }

    func stop(_ name: TopicPartition) {
        let entry = state.withLock { state -> Entry? in
            guard let entry = state.entries.removeValue(forKey: name) else { return nil }
            state.names[FetchedPartition(topic: entry.sourceID, partition: name.partition)] = nil
            state.dirty.remove(name)
            return entry
        }
        entry?.partition.onHighWatermark(nil)
    }

    func close() {
        let entries = state.withLock { state in
            state.isClosed = true
            state.heartbeat?.cancel()
            state.heartbeat = nil
            defer { state.entries = [:] }
            return Array(state.entries.values)
        }
        for entry in entries { entry.partition.onHighWatermark(nil) }
        connections.close()
    }

    private func beat() {
        let task = eventLoop.scheduleRepeatedTask(initialDelay: Self.heartbeat, delay: Self.heartbeat) { [weak self] _ in
            guard let self else { return }
            state.withLock { state in state.dirty.formUnion(state.entries.keys) }
            send()
        }
        state.withLock { state in
            if state.isClosed { task.cancel() } else { state.heartbeat = task }
        }
    }

    private func moved(_ name: TopicPartition) {
        _ = state.withLock { $0.dirty.insert(name) }
        send()
    }

    // MARK: Requests

    /// Tells every leader that is not being told just now what there is to tell.
    private func send() {
        let view = cluster.view
        let due = state.withLock { state -> [(node: BrokerNode, entries: [Entry])] in
            guard !state.isClosed else { return [] }
            var due: [NodeID: [Entry]] = [:]
            for name in state.dirty {
                guard let entry = state.entries[name] else {
                    state.dirty.remove(name)
                    continue
                }
                guard let leader = view.leader(of: TopicPartition(entry.sourceName, name.partition)), view.brokers[leader] != nil,
                    !state.busy.contains(leader)
                else { continue }
                state.dirty.remove(name)
                due[leader, default: []].append(entry)
            }
            for leader in due.keys { state.busy.insert(leader) }
            return due.compactMap { leader, entries in view.brokers[leader].map { ($0, entries) } }
        }
        for (node, entries) in due { send(entries, to: node) }
    }

    private func send(_ entries: [Entry], to node: BrokerNode) {
        let partitions = entries.compactMap(position)
        guard !partitions.isEmpty else { return finished(node.id) }
        let body: JSONValue = ["cluster": .string(ownCluster), "link": .string(link), "partitions": .array(partitions)]
        connections.send(
            ManageLinksRequest(.positions, body), to: PeerAddress(id: node.id, host: node.host, port: node.port),
            timeoutMilliseconds: Self.timeoutMilliseconds
        ) { [weak self] result in
            guard let self else { return }
            if case .success(let response) = result, response.errorCode == .none { take(response.json) }
            finished(node.id)
        }
    }

    /// How far a mirror is on all of its replicas in sync; nil while it is not settled that it has what the source has.
    private func position(_ entry: Entry) -> JSONValue? {
        let name = entry.partition.topicPartition
        guard let answeredAt = board.entry(name)?.answeredAt, answeredAt >= entry.since, entry.partition.mirrorPosition != nil,
            let offset = try? entry.partition.withLog({ $0.highWatermark })
        else { return nil }
        return [
            "topicId": .string("\(entry.sourceID)"), "partition": .integer(Int64(name.partition)), "offset": .integer(offset),
        ]
    }

    private func finished(_ leader: NodeID) {
        let hasMore = state.withLock { state in
            state.busy.remove(leader)
            return !state.dirty.isEmpty
        }
        if hasMore { eventLoop.execute { [weak self] in self?.send() } }
    }

    private func take(_ answer: JSONValue?) {
        for value in answer?["partitions"]?.arrayValue ?? [] {
            guard let id = value["topicId"]?.stringValue.flatMap({ KafkaUUID($0) }), let number = value["partition"]?.integerValue,
                let word = value["state"]?.stringValue
            else { continue }
            let key = FetchedPartition(topic: id, partition: Int32(clamping: number))
            guard let name = state.withLock({ $0.names[key] }) else { continue }
            board.update(name, link: link) { $0.synchronous = word }
        }
    }
}
