// Where replicas lie and who leads: reassignments (KIP-455) and elections of leaders (KIP-460).
import KafkaMessages
import KafkaWire
import Primitives

/// A reassignment that is under way.
public struct OngoingReassignment: Hashable, Sendable {
    public var partition: TopicPartition
    /// All replicas at the moment, those that come and those that go among them.
    public var replicas: [Int32]
    public var addingReplicas: [Int32]
    public var removingReplicas: [Int32]

    /// The replicas once it is done.
    public var targetReplicas: [Int32] { replicas.filter { !removingReplicas.contains($0) } }
}

/// Who may become leader.
public enum LeaderElection: Int8, Sendable {
    /// The first replica in the list, when it is in sync.
    case preferred = 0
    /// Any replica that is alive, for partitions without a leader: records that only others had are lost.
    case unclean = 1
}

extension AdminClient {
    /// Begins to move partitions to other brokers.
    ///
    /// - Parameters:
    ///   - targets: the replicas that each partition is to have, the preferred leader first; nil cancels what is under way.
    ///   - allowReplicationFactorChange: whether a partition may have another number of replicas than before.
    @discardableResult
    public func alterPartitionReassignments(
        _ targets: [(partition: TopicPartition, replicas: [Int32]?)], allowReplicationFactorChange: Bool = true
    ) async throws(KafkaError) -> [Outcome<TopicPartition, Void>] {
        guard !targets.isEmpty else { return [] }
        let request = Self.reassignmentRequest(
            targets, timeout: timeoutMilliseconds, allowReplicationFactorChange: allowReplicationFactorChange)
        return try await retryingOutcomes { () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: .controller)
            try response.errorCode.check(response.errorMessage, about: "AlterPartitionReassignments")
            return response.responses.flatMap { topic in
                topic.partitions.map { partition in
                    let item = TopicPartition(topic.name, partition.partitionIndex)
                    return Outcome(item: item, result: partition.errorCode.result((), partition.errorMessage, about: "\(item)"))
                }
            }
        }
    }

    static func reassignmentRequest(
        _ targets: [(partition: TopicPartition, replicas: [Int32]?)], timeout: Int32, allowReplicationFactorChange: Bool
    ) -> AlterPartitionReassignmentsRequest {
        let replicas = Dictionary(targets.map { ($0.partition, $0.replicas) }, uniquingKeysWith: { _, last in last })
        var request = AlterPartitionReassignmentsRequest()
        request.timeoutMs = timeout
        request.allowReplicationFactorChange = allowReplicationFactorChange
        request.topics = Array(replicas.keys).byTopic().map { name, numbers in
            var topic = AlterPartitionReassignmentsRequest.ReassignableTopic()
            topic.name = name
            topic.partitions = numbers.sorted().map { number in
                var partition = AlterPartitionReassignmentsRequest.ReassignablePartition()
                partition.partitionIndex = number
                partition.replicas = replicas[TopicPartition(name, number)] ?? nil
                return partition
            }
            return topic
        }
        return request
    }

    /// The reassignments that are under way.
    ///
    /// - Parameter partitions: only these; all for nil.
    public func listPartitionReassignments(_ partitions: [TopicPartition]? = nil) async throws(KafkaError) -> [OngoingReassignment] {
        var request = ListPartitionReassignmentsRequest()
        request.timeoutMs = timeoutMilliseconds
        request.topics = partitions?.byTopic().map { name, numbers in
            var topic = ListPartitionReassignmentsRequest.ListPartitionReassignmentsTopics()
            topic.name = name
            topic.partitionIndexes = numbers
            return topic
        }
        return try await cluster.retrying { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: .controller)
            try response.errorCode.check(response.errorMessage, about: "ListPartitionReassignments")
            return response.topics.flatMap { topic in
                topic.partitions.map {
                    OngoingReassignment(
                        partition: TopicPartition(topic.name, $0.partitionIndex), replicas: $0.replicas,
                        addingReplicas: $0.addingReplicas, removingReplicas: $0.removingReplicas)
                }
            }.sorted { $0.partition < $1.partition }
        }
    }

    /// Has leaders elected anew.
    ///
    /// - Parameter partitions: only these; all partitions of the cluster for nil.
    /// - Returns: whether the leader changed, by partition. With nil only partitions where it did, or failed to.
    @discardableResult
    public func electLeaders(
        _ election: LeaderElection, _ partitions: [TopicPartition]? = nil
    ) async throws(KafkaError) -> [Outcome<TopicPartition, Bool>] {
        var request = ElectLeadersRequest()
        request.electionType = election.rawValue
        request.timeoutMs = timeoutMilliseconds
        request.topicPartitions = partitions?.byTopic().map { name, numbers in
            var topic = ElectLeadersRequest.TopicPartitions()
            topic.topic = name
            topic.partitions = numbers
            return topic
        }
        // Version 0 knows no kind of election but the preferred one.
        let allowed: ClosedRange<Int16>? = election == .preferred ? nil : 1...ApiKey.electLeaders.validVersions.upperBound
        return try await cluster.retrying { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: .controller, allowed: allowed)
            try response.errorCode.check(about: "ElectLeaders")
            return response.replicaElectionResults.flatMap { topic in topic.partitionResult.map { Self.outcome($0, of: topic.topic) } }
        }
    }

    static func outcome(
        _ result: ElectLeadersResponse.PartitionResult, of topic: String
    ) -> Outcome<TopicPartition, Bool> {
        let item = TopicPartition(topic, result.partitionId)
        // Whoever was to be elected leads already: nothing is wrong.
        if result.errorCode == .electionNotNeeded { return Outcome(item: item, result: .success(false)) }
        return Outcome(item: item, result: result.errorCode.result(true, result.errorMessage, about: "\(item)"))
    }
}
