// Tells the controller in which log directory each replica of this broker lies (KIP-858), so that it can tell what is lost when one
// fails. Many in one request, one request at a time, again until the controller has taken it or the metadata make it pointless.
import ClusterMetadata
import Collections
import KafkaMessages
import KafkaWire
import Logging
import NIOCore
import Primitives
import Synchronization

/// Sends AssignReplicasToDirs. Thread-safe.
///
/// An assignment stays in here until it is answered, also when its directory fails meanwhile: the controller then learns where the replica
/// was, and that it is gone, in one.
final class DirectoryAssignments: Sendable {
    private struct State {
        var waiting: OrderedDictionary<TopicIDPartition, KafkaUUID> = [:]
        var isBusy = false
        var isScheduled = false
        var isClosed = false
        /// Requests in a row that came to nothing.
        var failures = 0
    }

    /// Kafka's bound on one request.
    private static let maximumPerRequest = 2250
    /// Partitions that are created together are told together.
    private static let gatherMilliseconds: Int64 = 20
    private static let retryMilliseconds: ClosedRange<Int64> = 100...10_000
    private static let timeoutMilliseconds: Int64 = 60_000

    private let state = Mutex(State())
    private let nodeID: NodeID
    private let channel: ControllerChannel
    private let image: @Sendable () -> MetadataImage
    private let logger: Logger

    /// - Parameter image: the newest metadata that this node has replayed.
    init(nodeID: NodeID, channel: ControllerChannel, image: @escaping @Sendable () -> MetadataImage, logger: Logger) {
        self.nodeID = nodeID
        self.channel = channel
        self.image = image
        self.logger = logger
    }

    /// How many assignments the controller has not taken yet.
    var pendingCount: Int { state.withLock { $0.waiting.count } }

    /// The replica lies in the directory, whatever the metadata say.
    func submit(_ partition: TopicIDPartition, directory: KafkaUUID) {
        state.withLock { $0.waiting[partition] = directory }
        schedule(after: Self.gatherMilliseconds)
    }

    func close() {
        state.withLock { state in
            state.isClosed = true
            state.waiting = [:]
        }
    }

    private func schedule(after milliseconds: Int64) {
        let mustSchedule = state.withLock { state in
            guard !state.isScheduled, !state.isBusy, !state.isClosed, !state.waiting.isEmpty else { return false }
            state.isScheduled = true
            return true
        }
        guard mustSchedule else { return }
        channel.eventLoop.scheduleTask(in: .milliseconds(milliseconds)) { [weak self] in self?.sendNext() }
    }

    private func sendNext() {
        let image = image()
        guard let broker = image.cluster.broker(nodeID), image.features.metadataVersion?.supportsDirectoryAssignment == true else {
            state.withLock { $0.isScheduled = false }
            return schedule(after: Self.retryMilliseconds.upperBound)
        }
        let batch = state.withLock { state -> OrderedDictionary<TopicIDPartition, KafkaUUID> in
            state.isScheduled = false
            guard !state.isBusy, !state.isClosed else { return [:] }
            state.waiting = state.waiting.filter { isDue($0.key, $0.value, image) }
            let batch = OrderedDictionary(uniqueKeysWithValues: state.waiting.elements.prefix(Self.maximumPerRequest).map { ($0, $1) })
            state.isBusy = !batch.isEmpty
            return batch
        }
        if batch.isEmpty { return }
        channel.send(request(batch, brokerEpoch: broker.epoch), timeoutMilliseconds: Self.timeoutMilliseconds) { [weak self] outcome in
            self?.finish(batch, outcome)
        }
    }

    /// Whether the replica exists by the metadata, in another directory.
    private func isDue(_ key: TopicIDPartition, _ directory: KafkaUUID, _ image: MetadataImage) -> Bool {
        guard let known = image.topics.topic(id: key.topicID)?.partition(key.partition)?.directory(of: nodeID) else { return false }
        return known != directory
    }

    private func request(_ batch: OrderedDictionary<TopicIDPartition, KafkaUUID>, brokerEpoch: Int64) -> AssignReplicasToDirsRequest {
        var request = AssignReplicasToDirsRequest()
        request.brokerId = nodeID
        request.brokerEpoch = brokerEpoch
        var directories: OrderedDictionary<KafkaUUID, OrderedDictionary<TopicID, [Int32]>> = [:]
        for (key, directory) in batch { directories[directory, default: [:]][key.topicID, default: []].append(key.partition) }
        request.directories = directories.map { directory, topics in
            var data = AssignReplicasToDirsRequest.DirectoryData()
            data.id = directory
            data.topics = topics.map { topic, partitions in
                var data = AssignReplicasToDirsRequest.TopicData()
                data.topicId = topic
                data.partitions = partitions.map { index in
                    var data = AssignReplicasToDirsRequest.PartitionData()
                    data.partitionIndex = index
                    return data
                }
                return data
            }
            return data
        }
        return request
    }

    private func finish(
        _ batch: OrderedDictionary<TopicIDPartition, KafkaUUID>,
        _ outcome: Result<AssignReplicasToDirsResponse, ControllerChannelFailure>
    ) {
        var done: [TopicIDPartition] = []
        var problem: String?
        switch outcome {
        case .failure(let failure): problem = "\(failure)"
        case .success(let response) where response.errorCode != .none: problem = response.errorCode.name
        case .success(let response):
            for directory in response.directories {
                for topic in directory.topics {
                    for data in topic.partitions {
                        let key = TopicIDPartition(topic.topicId, data.partitionIndex)
                        if data.errorCode == .none { done.append(key) } else { problem = data.errorCode.name }
                    }
                }
            }
        }
        let pause = state.withLock { state -> Int64 in
            state.isBusy = false
            // Another directory may have been told of since.
            for key in done where state.waiting[key] == batch[key] { state.waiting[key] = nil }
            state.failures = done.isEmpty ? min(state.failures + 1, 10) : 0
            let retry = Self.retryMilliseconds
            return problem == nil ? Self.gatherMilliseconds : min(retry.upperBound, retry.lowerBound << Int64(state.failures))
        }
        if let problem {
            logger.warning(
                "the controller has not taken all directories of replicas; telling again",
                metadata: ["partitions": "\(batch.count - done.count)", "reason": "\(problem)"])
        } else {
            logger.info("the controller knows the directories of replicas", metadata: ["partitions": "\(done.count)"])
        }
        schedule(after: pause)
    }
}

extension BrokerServices {
    /// Tells the controller where replicas lie whose directory the metadata do not name rightly.
    func assignDirectories(_ topics: [TopicImage], _ image: MetadataImage) {
        guard image.features.metadataVersion?.supportsDirectoryAssignment == true else { return }
        for topic in topics {
            guard let local = partitions.topic(topic.id) else { continue }
            for partition in local.all {
                let future = partition.future
                if partition.isOffline, future == nil { continue }
                let index = partition.topicPartition.partition
                guard let actual = partition.logDirectory.properties?.directoryID,
                    let known = topic.partition(index)?.directory(of: nodeID), known != actual,
                    // Where it is about to be.
                    partition.isOffline || future?.directory.properties?.directoryID != known
                else { continue }
                directoryAssignments.submit(TopicIDPartition(topic.id, index), directory: actual)
            }
        }
    }
}
