// ListOffsets: where a log begins and ends, and which offset belongs to a time.
import KafkaMessages
import KafkaWire
import Primitives
import Storage

/// Timestamps with a meaning of their own, and the version from which each is understood.
private enum SpecialTimestamp {
    static let latest: Int64 = -1
    static let earliest: Int64 = -2
    /// The record with the largest timestamp (KIP-734), from version 7.
    static let maximum: Int64 = -3
    /// The first offset on local storage (KIP-405), from version 8.
    static let earliestLocal: Int64 = -4
    /// The last offset in remote storage (KIP-1005), from version 9.
    static let latestTiered: Int64 = -5
    /// The first offset that waits for upload (KIP-1023), from version 11.
    static let earliestPendingUpload: Int64 = -6

    static func isSupported(_ timestamp: Int64, version: Int16) -> Bool {
        switch timestamp {
        case maximum: version >= 7
        case earliestLocal: version >= 8
        case latestTiered: version >= 9
        case earliestPendingUpload: version >= 11
        default: timestamp >= earliest
        }
    }
}

extension BrokerServices {
    func listOffsets(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(ListOffsetsRequest.self)
        var response = ListOffsetsResponse()
        var seen: Set<TopicPartition> = []
        var duplicates: Set<TopicPartition> = []
        for topic in request.topics {
            for partition in topic.partitions {
                let name = TopicPartition(topic.name, partition.partitionIndex)
                if !seen.insert(name).inserted { duplicates.insert(name) }
            }
        }
        let access = access(context)
        response.topics = request.topics.map { topic in
            var answer = ListOffsetsResponse.ListOffsetsTopicResponse()
            answer.name = topic.name
            guard access.allows(.describe, .topic, topic.name) else {
                answer.partitions = topic.partitions.map { .failed(.topicAuthorizationFailed, $0.partitionIndex) }
                return answer
            }
            answer.partitions = topic.partitions.map { partition in
                if duplicates.contains(TopicPartition(topic.name, partition.partitionIndex)) {
                    return .failed(.invalidRequest, partition.partitionIndex)
                }
                return offset(
                    of: partition, topic: topic.name,
                    isolation: request.replicaId != -1 ? .logEnd : request.isolationLevel == 1 ? .lastStable : .highWatermark,
                    version: context.version)
            }
            return answer
        }
        context.responder.send(response)
    }

    private func offset(
        of asked: ListOffsetsRequest.ListOffsetsPartition, topic: String, isolation: ReadIsolation, version: Int16
    ) -> ListOffsetsResponse.ListOffsetsPartitionResponse {
        guard SpecialTimestamp.isSupported(asked.timestamp, version: version) else {
            return .failed(.unsupportedVersion, asked.partitionIndex)
        }
        let name = TopicPartition(topic, asked.partitionIndex)
        guard let partition = partitions.partition(name) else { return .failed(partitions.refusal(of: name), asked.partitionIndex) }
        var answer = ListOffsetsResponse.ListOffsetsPartitionResponse()
        answer.partitionIndex = asked.partitionIndex
        answer.timestamp = -1
        answer.offset = -1
        do throws(PartitionError) {
            let lookUp: (PartitionLog) throws(StorageError) -> LogOffset? = { log throws(StorageError) in
                try Self.lookUp(asked.timestamp, in: log, isolation: isolation)
            }
            // Only the start of the log is known to a new leader before it knows what is committed.
            let needsCommitted = isolation != .logEnd && asked.timestamp != SpecialTimestamp.earliest
            let found =
                needsCommitted
                ? try partition.withCommittedLog(currentLeaderEpoch: asked.currentLeaderEpoch, lookUp)
                : try partition.withLeaderLog(currentLeaderEpoch: asked.currentLeaderEpoch, lookUp)
            if let found {
                answer.timestamp = found.timestamp
                answer.offset = found.offset
                if version >= 4 { answer.leaderEpoch = found.leaderEpoch }
            }
        } catch {
            let code = error.errorCode
            return .failed(version < 5 && code == .offsetNotAvailable ? .leaderNotAvailable : code, asked.partitionIndex)
        }
        return answer
    }

    private static func lookUp(
        _ timestamp: Int64, in log: PartitionLog, isolation: ReadIsolation
    ) throws(StorageError) -> LogOffset? {
        let end =
            isolation == .logEnd ? log.logEndOffset : isolation == .lastStable ? log.lastStableOffset : log.highWatermark
        switch timestamp {
        case SpecialTimestamp.latest:
            return LogOffset(offset: end, leaderEpoch: log.latestLeaderEpoch ?? -1)
        case SpecialTimestamp.earliest, SpecialTimestamp.earliestLocal:
            return log.earliestOffset()
        case SpecialTimestamp.latestTiered, SpecialTimestamp.earliestPendingUpload:
            return nil  // nothing is ever in remote storage
        case SpecialTimestamp.maximum:
            guard let found = try log.offsetOfMaxTimestamp(), found.offset < end else { return nil }
            return found
        default:
            guard let found = try log.offset(forTimestamp: timestamp), found.offset < end else { return nil }
            return found
        }
    }
}

extension ListOffsetsResponse.ListOffsetsPartitionResponse {
    fileprivate static func failed(_ error: ErrorCode, _ index: Int32) -> Self {
        var answer = Self()
        answer.partitionIndex = index
        answer.errorCode = error
        answer.timestamp = -1
        answer.offset = -1
        return answer
    }
}
