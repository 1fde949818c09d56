// Partitions: offsets, records to delete, directories, producers, leaders, reassignments.
import KafkaMessages
import KafkaWire
import Primitives

/// A data directory of a broker.
public struct LogDirectoryDescription: Hashable, Sendable {
    /// A replica in a directory.
    public struct Replica: Hashable, Sendable {
        public var partition: TopicPartition
        /// Bytes.
        public var size: Int64
        /// How far the log end is behind the high watermark (or behind the current replica, for a future one).
        public var offsetLag: Int64
        /// Being moved into this directory.
        public var isFuture: Bool
    }

    public var broker: Int32
    public var path: String
    /// Nil unless the directory failed.
    public var error: KafkaError?
    public var replicas: [Replica]
    /// Bytes; -1 where the broker does not say.
    public var totalBytes: Int64
    public var usableBytes: Int64
}

/// A producer that wrote to a partition lately.
public struct ProducerDescription: Hashable, Sendable {
    public var producerID: Int64
    public var producerEpoch: Int32
    public var lastSequence: Int32
    public var lastTimestamp: Int64
    /// -1 for producers without transactions.
    public var coordinatorEpoch: Int32
    /// Nil outside of a transaction.
    public var transactionStartOffset: Int64?
}

extension AdminClient {
    /// Offsets of partitions: the first, the next, by time.
    public func listOffsets(
        _ queries: [(partition: TopicPartition, query: OffsetQuery)], isolation: IsolationLevel = .readUncommitted
    ) async throws(KafkaError) -> [Outcome<TopicPartition, ListedOffset>] {
        guard !queries.isEmpty else { return [] }
        return try await retryingOutcomes { () throws(KafkaError) in
            try await self.cluster.listOffsets(queries, isolation: isolation)
        }
    }

    /// Deletes the records before an offset (-1: all that are there). Returns the first offset left.
    @discardableResult
    public func deleteRecords(
        _ offsets: [(partition: TopicPartition, before: Int64)]
    ) async throws(KafkaError) -> [Outcome<TopicPartition, Int64>] {
        try await retryingOutcomes { () throws(KafkaError) in
            var byLeader: [NodeID: [TopicPartition]] = [:]
            for (partition, _) in offsets { byLeader[try await self.cluster.leader(of: partition), default: []].append(partition) }
            var outcomes: [Outcome<TopicPartition, Int64>] = []
            for (leader, partitions) in byLeader.sorted(by: { $0.key < $1.key }) {
                var request = DeleteRecordsRequest()
                request.timeoutMs = self.timeoutMilliseconds
                request.topics = partitions.byTopic().map { name, numbers in
                    var topic = DeleteRecordsRequest.DeleteRecordsTopic()
                    topic.name = name
                    topic.partitions = numbers.map { number in
                        var partition = DeleteRecordsRequest.DeleteRecordsPartition()
                        partition.partitionIndex = number
                        partition.offset = offsets.first { $0.partition == TopicPartition(name, number) }?.before ?? 0
                        return partition
                    }
                    return topic
                }
                let response = try await self.cluster.send(request, to: .node(leader))
                for topic in response.topics {
                    for partition in topic.partitions {
                        let item = TopicPartition(topic.name, partition.partitionIndex)
                        outcomes.append(
                            Outcome(item: item, result: partition.errorCode.result(partition.lowWatermark, about: "\(item)")))
                    }
                }
            }
            return outcomes
        }
    }

    /// The data directories of brokers.
    ///
    /// - Parameters:
    ///   - brokers: all for nil.
    ///   - partitions: only these replicas; all for nil.
    public func describeLogDirectories(
        brokers: [Int32]? = nil, partitions: [TopicPartition]? = nil
    ) async throws(KafkaError) -> [LogDirectoryDescription] {
        var request = DescribeLogDirsRequest()
        request.topics = partitions?.byTopic().map { name, numbers in
            var topic = DescribeLogDirsRequest.DescribableLogDirTopic()
            topic.topic = name
            topic.partitions = numbers
            return topic
        }
        var nodes = brokers ?? []
        if brokers == nil { nodes = try await describeCluster().brokers.map(\.id) }
        var directories: [LogDirectoryDescription] = []
        for node in nodes {
            let response = try await cluster.retrying { [request] () throws(KafkaError) in
                let response = try await self.cluster.send(request, to: .node(node))
                try response.errorCode.check(about: "log directories of broker \(node)")
                return response
            }
            directories += response.results.map { result in
                LogDirectoryDescription(
                    broker: node, path: result.logDir,
                    error: result.errorCode == .none ? nil : KafkaError(result.errorCode, about: result.logDir),
                    replicas: result.topics.flatMap { topic in
                        topic.partitions.map {
                            LogDirectoryDescription.Replica(
                                partition: TopicPartition(topic.name, $0.partitionIndex), size: $0.partitionSize, offsetLag: $0.offsetLag,
                                isFuture: $0.isFutureKey)
                        }
                    },
                    totalBytes: result.totalBytes, usableBytes: result.usableBytes)
            }
        }
        return directories
    }

    /// The producers that a partition's leader remembers.
    public func describeProducers(_ partition: TopicPartition) async throws(KafkaError) -> [ProducerDescription] {
        var topic = DescribeProducersRequest.TopicRequest()
        topic.name = partition.topic
        topic.partitionIndexes = [partition.partition]
        var request = DescribeProducersRequest()
        request.topics = [topic]
        return try await cluster.retrying { [request] () throws(KafkaError) in
            let leader = try await self.cluster.leader(of: partition)
            let response = try await self.cluster.send(request, to: .node(leader))
            guard let found = response.topics.first?.partitions.first else {
                throw KafkaError(.protocolViolation, "the answer to DescribeProducers is empty")
            }
            try found.errorCode.check(found.errorMessage, about: "\(partition)")
            return found.activeProducers.map {
                ProducerDescription(
                    producerID: $0.producerId, producerEpoch: $0.producerEpoch, lastSequence: $0.lastSequence,
                    lastTimestamp: $0.lastTimestamp, coordinatorEpoch: $0.coordinatorEpoch,
                    transactionStartOffset: $0.currentTxnStartOffset >= 0 ? $0.currentTxnStartOffset : nil)
            }
        }
    }
}
