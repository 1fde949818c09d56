// The controller: decides what happens to the cluster. A decision reads the image and yields records and an answer; only replaying
// records changes the image, so what happens live and what is read back from the log are one path.
import ClusterMetadata
import ConfigDefinitions
import KafkaRecords
import OrderedCollections
import Primitives

/// What the controller is told at the start.
public struct ControllerConfiguration: Sendable {
    public var nodeID: NodeID
    /// The cluster's id, which registrations must name.
    public var clusterID: String
    /// What was configured at the start (server.properties and the like), by broker key.
    public var fixed: OrderedDictionary<String, String>

    public init(nodeID: NodeID, clusterID: String, fixed: OrderedDictionary<String, String> = [:]) {
        self.nodeID = nodeID
        self.clusterID = clusterID
        self.fixed = fixed
    }

    /// Partitions per request, over all its topics; more would make records too many for one atomic batch.
    public static let maximumPartitionsPerRequest = 10_000
    /// Records per request (Kafka's bound on one user operation).
    public static let maximumRecordsPerRequest = 10_000

    /// - Throws: `RequestFailure` when a request wants more records than one may; all of it is refused then, as by Kafka.
    static func checkRecordCount(_ count: Int) throws(RequestFailure) {
        if count > maximumRecordsPerRequest {
            throw RequestFailure(.policyViolation, "Unable to perform excessively large batch operation.")
        }
    }
}

/// The state of the active controller.
public struct Controller: Sendable {
    public let configuration: ControllerConfiguration
    /// The newest state, which may be ahead of what is committed.
    public private(set) var image: MetadataImage
    private var replayed: MetadataReplay
    var random: SeededRandom
    /// Which partitions each broker has a part in, kept along with the image.
    private(set) var partitions: PartitionIndex
    /// Where each broker's registration lies in the log, as far as this controller saw it.
    private(set) var registrationOffsets: [NodeID: Offset] = [:]
    /// The epochs of brokers that were unregistered under this controller and have not registered again.
    private(set) var unregisteredEpochs: [NodeID: Int64] = [:]
    /// Up to where the image that this controller started from reaches.
    let startOffset: Offset
    /// What brokers were heard of since this controller became active; not in the log.
    var sessions = BrokerSessions()
    /// Made when it is first asked for.
    var tokenIDs: TokenIDs?
    /// What is due by the clock since this controller became active.
    var schedule = ControllerSchedule()

    /// - Parameters:
    ///   - image: everything up to the end of the log.
    ///   - seed: for topic ids and for where placements begin.
    public init(_ configuration: ControllerConfiguration, image: MetadataImage, seed: UInt64) {
        self.configuration = configuration
        self.image = image
        replayed = MetadataReplay(from: image)
        random = SeededRandom(seed: seed)
        partitions = PartitionIndex(image.topics)
        startOffset = image.provenance.offset
    }

    /// Continues a replay that a reader of the log began, an open metadata transaction included.
    public init(_ configuration: ControllerConfiguration, continuing replay: MetadataReplay, seed: UInt64) {
        self.configuration = configuration
        image = replay.image
        replayed = replay
        random = SeededRandom(seed: seed)
        partitions = PartitionIndex(replay.image.topics)
        startOffset = replay.image.provenance.offset
    }

    /// The offset at which a metadata transaction began that is still open.
    public var transactionStart: Offset? { replayed.transactionStart }

    /// Replays the records of one decision or batch, which lie at consecutive offsets.
    ///
    /// - Returns: the new image and its changes; nil while a metadata transaction is open.
    /// - Throws: `MetadataError`; the controller must not go on then.
    public mutating func replay(
        _ records: some Collection<MetadataRecord>, at baseOffset: Offset, epoch: LeaderEpoch, timestamp: Timestamp
    ) throws(MetadataError) -> MetadataPublication? {
        var offset = baseOffset
        for record in records {
            try replayed.replay(record, offset: offset, epoch: epoch, timestamp: timestamp)
            note(record, at: offset)
            offset += 1
        }
        return publish()
    }

    private mutating func note(_ record: MetadataRecord, at offset: Offset) {
        switch record {
        case .registerBroker(let registration):
            registrationOffsets[registration.brokerId] = offset
            unregisteredEpochs[registration.brokerId] = nil
            sessions.registered(registration.brokerId, epoch: registration.brokerEpoch)
        case .unregisterBroker(let registration):
            registrationOffsets[registration.brokerId] = nil
            unregisteredEpochs[registration.brokerId] = registration.brokerEpoch
            sessions.remove(registration.brokerId)
        case .delegationToken(let token): tokenIDs?.insert(token.tokenId)
        case .removeDelegationToken(let token): tokenIDs?.remove(token.tokenId)
        default: return
        }
    }

    private mutating func publish() -> MetadataPublication? {
        guard let publication = replayed.publish() else { return nil }
        image = publication.image
        partitions.apply(publication.changes)
        return publication
    }

    /// Moves past an offset that holds a control record.
    public mutating func skip(to offset: Offset, epoch: LeaderEpoch, timestamp: Timestamp) -> MetadataPublication? {
        replayed.skip(to: offset, epoch: epoch, timestamp: timestamp)
        return publish()
    }

    /// The finalised metadata.version. There is one whenever requests are served: activation writes it first.
    var version: MetadataVersion { image.features.metadataVersion ?? .minimum }

    /// This node's configuration as the dynamic layers leave it.
    var layers: BrokerConfigLayers {
        BrokerConfigLayers(
            fixed: configuration.fixed, dynamicDefault: image.configurations.values(of: .clusterDefault),
            dynamicBroker: image.configurations.values(of: ConfigResource(.broker, String(configuration.nodeID))))
    }

    /// A topic's configuration with everything it inherits.
    ///
    /// - Parameter inherited: what topics without overrides have; work it out once where many topics are concerned.
    func topicConfiguration(_ topic: String, inherited: TopicConfiguration? = nil) -> TopicConfiguration {
        (inherited ?? TopicConfiguration(layers: layers)).applying(image.configurations.values(of: ConfigResource(.topic, topic)))
    }
}
