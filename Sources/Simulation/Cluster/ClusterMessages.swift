// What travels between controllers, brokers and clients of a simulated cluster. Requests to the controller are Kafka's own messages, for
// the core decides on them; those of the data path carry batches as values, for their bytes are Storage's business.
import Controlling
import KafkaMessages
import KafkaWire
import Primitives
import Replication

/// A request to the active controller.
enum ControllerCall {
    case register(BrokerRegistrationRequest)
    case heartbeat(BrokerHeartbeatRequest)
    case alterPartition(AlterPartitionRequest)

    var summary: String {
        switch self {
        case .register(let request): "BrokerRegistration \(request.brokerId) after epoch \(request.previousBrokerEpoch)"
        case .heartbeat(let request):
            "BrokerHeartbeat \(request.brokerId) epoch \(request.brokerEpoch) at \(request.currentMetadataOffset)"
                + (request.wantFence ? " wants fence" : "") + (request.wantShutDown ? " wants to stop" : "")
        case .alterPartition(let request):
            "AlterPartition of \(request.brokerId): "
                + request.topics.flatMap(\.partitions).map { part in
                    "\(part.partitionIndex)@\(part.leaderEpoch)/\(part.partitionEpoch) isr \(part.newIsrWithEpochs.map(\.brokerId))"
                }.joined(separator: ", ")
        }
    }
}

/// The controller's answer.
enum ControllerAnswer {
    case register(BrokerRegistrationResponse)
    case heartbeat(BrokerHeartbeatResponse)
    case alterPartition(AlterPartitionResponse)
    /// Refused as a whole.
    case failed(ErrorCode)

    var summary: String {
        switch self {
        case .register(let response): "BrokerRegistration: epoch \(response.brokerEpoch)"
        case .heartbeat(let response):
            "BrokerHeartbeat: \(response.isFenced ? "fenced" : "unfenced")\(response.shouldShutDown ? ", may go" : "")"
        case .alterPartition(let response):
            "AlterPartition: "
                + response.topics.flatMap(\.partitions).map { part in
                    part.errorCode == .none ? "\(part.partitionIndex)/\(part.partitionEpoch) isr \(part.isr)" : "\(part.errorCode)"
                }.joined(separator: ", ")
        case .failed(let error): "\(error)"
        }
    }
}

/// A batch of records in a partition's log.
struct ReplicaBatch: Equatable {
    var baseOffset: Offset
    var epoch: LeaderEpoch
    /// -1 for a producer that does not number what it sends.
    var producer: ProducerID
    /// Of the first record.
    var sequence: Int32
    var values: [UInt64]

    var nextOffset: Offset { baseOffset + Offset(values.count) }
}

/// A fetch, of a follower or of a consumer.
struct FetchCall {
    /// -1 for consumers.
    var replica: NodeID = -1
    var replicaEpoch: Int64 = -1
    var sessionID: Int32 = 0
    var sessionEpoch: Int32 = FetchSessionCache.finalEpoch
    var partitions: [(key: FetchSessionKey, position: FetchPosition)] = []
    var forgotten: [FetchSessionKey] = []
    var maxWait: Int64
    /// Batches of each partition in one answer, at most.
    var maxBatches: Int
}

/// One partition's part of an answer to a fetch.
struct FetchedPartition {
    var key: FetchSessionKey
    var error = ErrorCode.none
    var highWatermark: Offset = -1
    var logStartOffset: Offset = -1
    var diverging: EpochEnd?
    var batches: [ReplicaBatch] = []
    /// The epoch in which the answerer was.
    var leaderEpoch: LeaderEpoch = -1
}

/// A request to a broker.
enum BrokerCall {
    case metadata
    case fetch(FetchCall)
    case produce(TopicIDPartition, epoch: LeaderEpoch, batch: ReplicaBatch, acks: Int)
    /// Where the log begins (-2) or what is readable ends (-1).
    case listOffset(TopicIDPartition, epoch: LeaderEpoch, timestamp: Int64, replica: NodeID)
    case commitOffset(TopicIDPartition, UInt64)
    case fetchOffset(TopicIDPartition)

    var summary: String {
        switch self {
        case .metadata: "Metadata"
        case .fetch(let call):
            "Fetch\(call.replica >= 0 ? " of replica \(call.replica)@\(call.replicaEpoch)" : "") session \(call.sessionID)/\(call.sessionEpoch): "
                + call.partitions.map {
                    "\($0.key.topicID.short)-\($0.key.partition) \($0.position.fetchOffset)@\($0.position.lastFetchedEpoch) epoch "
                        + "\($0.position.currentLeaderEpoch)"
                }.joined(separator: ", ")
        case .produce(let partition, _, let batch, let acks):
            "Produce \(partition.short) acks \(acks) producer \(batch.producer) sequence \(batch.sequence) \(batch.values)"
        case .listOffset(let partition, let epoch, let timestamp, _): "ListOffsets \(partition.short) epoch \(epoch) at \(timestamp)"
        case .commitOffset(let partition, let value): "OffsetCommit \(partition.short) \(value)"
        case .fetchOffset(let partition): "OffsetFetch \(partition.short)"
        }
    }
}

/// Who leads a partition, as a client learns it.
struct KnownLeader {
    var leader: NodeID
    var epoch: LeaderEpoch
    var replicas: [NodeID]
}

/// A broker's answer.
enum BrokerAnswer {
    case metadata([(TopicIDPartition, KnownLeader)])
    case fetch(sessionID: Int32, error: ErrorCode, [FetchedPartition])
    case produce(ErrorCode, offset: Offset)
    case listOffset(ErrorCode, offset: Offset, epoch: LeaderEpoch)
    case commitOffset(ErrorCode)
    case fetchOffset(ErrorCode, UInt64, epoch: LeaderEpoch)

    var summary: String {
        switch self {
        case .metadata(let partitions):
            "Metadata: \(partitions.map { "\($0.0.short) \($0.1.leader)@\($0.1.epoch)" }.joined(separator: ", "))"
        case .fetch(let session, let error, let partitions):
            "Fetch: session \(session)\(error == .none ? "" : " \(error)") "
                + partitions.map { part in
                    "\(part.key.topicID.short)-\(part.key.partition) "
                        + (part.error != .none
                            ? "\(part.error)"
                            : part.diverging.map { "diverges \($0.endOffset)@\($0.epoch)" }
                                ?? "\(part.batches.first.map { "\($0.baseOffset)" } ?? "")..\(part.batches.last?.nextOffset ?? -1) "
                                + "high watermark \(part.highWatermark)")
                }.joined(separator: ", ")
        case .produce(let error, let offset): "Produce: \(error) at \(offset)"
        case .listOffset(let error, let offset, _): "ListOffsets: \(error) \(offset)"
        case .commitOffset(let error): "OffsetCommit: \(error)"
        case .fetchOffset(let error, let value, let epoch): "OffsetFetch: \(error) \(value) in epoch \(epoch)"
        }
    }
}

extension KafkaUUID {
    /// Enough to tell topics of one trace apart.
    var short: String { String(leastSignificantBits & 0xfff, radix: 16) }
}

extension TopicIDPartition {
    var short: String { "\(topicID.short)-\(partition)" }

    init(_ key: FetchSessionKey) { self.init(key.topicID, key.partition) }

    var key: FetchSessionKey { FetchSessionKey(topicID: topicID, topicName: "", partition: partition) }
}
