// Offsets: those that groups commit, and those that partitions' logs have. Consumer and admin client share these.
import KafkaMessages
import KafkaWire
import Primitives

/// Who commits: a member of a group, or nobody (an administrator, or a consumer with partitions assigned by hand).
struct GroupIdentity: Hashable, Sendable {
    var generation: Int32 = -1
    var memberID = ""
    var groupInstanceID: String?
}

/// Which offset of a partition is asked for.
public enum OffsetQuery: Hashable, Sendable {
    /// The first record's.
    case earliest
    /// After the last record that may be read.
    case latest
    /// The record with the largest timestamp (KIP-734).
    case maximumTimestamp
    /// The first record with at least this timestamp, in milliseconds since 1970.
    case timestamp(Int64)

    var wireValue: Int64 {
        switch self {
        case .latest: -1
        case .earliest: -2
        case .maximumTimestamp: -3
        case .timestamp(let time): max(0, time)
        }
    }
}

/// An offset found in a partition.
public struct ListedOffset: Hashable, Sendable {
    /// -1 when no record fits, such as none with a timestamp late enough.
    public var offset: Int64
    /// -1 unless a timestamp was asked for.
    public var timestamp: Int64
    public var leaderEpoch: Int32
}

/// Whether records of open and aborted transactions are read.
public enum IsolationLevel: Int8, Sendable {
    case readUncommitted = 0
    case readCommitted = 1
}

extension ClusterClient {
    /// Asks the leaders for offsets; errors per partition.
    package func listOffsets(
        _ queries: [(partition: TopicPartition, query: OffsetQuery)], isolation: IsolationLevel = .readUncommitted
    ) async throws(KafkaError) -> [Outcome<TopicPartition, ListedOffset>] {
        var byLeader: [NodeID: [(TopicPartition, OffsetQuery)]] = [:]
        var outcomes: [Outcome<TopicPartition, ListedOffset>] = []
        for (partition, query) in queries {
            do throws(KafkaError) {
                byLeader[try await leader(of: partition), default: []].append((partition, query))
            } catch {
                if error.kind != .broker { throw error }
                outcomes.append(Outcome(item: partition, result: .failure(error)))
            }
        }
        for (leader, wanted) in byLeader.sorted(by: { $0.key < $1.key }) {
            outcomes += try await listOffsets(of: leader, wanted, isolation)
        }
        return outcomes
    }

    private func listOffsets(
        of leader: NodeID, _ wanted: [(TopicPartition, OffsetQuery)], _ isolation: IsolationLevel
    ) async throws(KafkaError) -> [Outcome<TopicPartition, ListedOffset>] {
        var request = ListOffsetsRequest()
        request.replicaId = -1
        request.isolationLevel = isolation.rawValue
        request.timeoutMs = configuration.requestTimeout.clampedMilliseconds
        request.topics = wanted.map(\.0).byTopic().map { name, numbers in
            var topic = ListOffsetsRequest.ListOffsetsTopic()
            topic.name = name
            topic.partitions = numbers.map { number in
                let item = TopicPartition(name, number)
                var partition = ListOffsetsRequest.ListOffsetsPartition()
                partition.partitionIndex = number
                partition.timestamp = wanted.first { $0.0 == item }?.1.wireValue ?? -1
                return partition
            }
            return topic
        }
        let needsMaximum = wanted.contains { $0.1 == .maximumTimestamp }
        let lowest: Int16 = needsMaximum ? 7 : isolation == .readCommitted ? 2 : 1
        let response = try await send(request, to: .node(leader), allowed: lowest...11)
        return response.topics.flatMap { topic in
            topic.partitions.map { partition in
                let item = TopicPartition(topic.name, partition.partitionIndex)
                let found = ListedOffset(offset: partition.offset, timestamp: partition.timestamp, leaderEpoch: partition.leaderEpoch)
                return Outcome(item: item, result: partition.errorCode.result(found, about: "\(item)"))
            }
        }
    }

    /// The offsets of all given partitions, tried again until every leader has answered.
    ///
    /// - Throws: the first error that is not retriable.
    package func offsets(
        _ queries: [(partition: TopicPartition, query: OffsetQuery)], isolation: IsolationLevel = .readUncommitted,
        timeout: Duration? = nil
    ) async throws(KafkaError) -> [TopicPartition: ListedOffset] {
        guard !queries.isEmpty else { return [:] }
        return try await retrying(timeout: timeout) { () throws(KafkaError) in
            var found: [TopicPartition: ListedOffset] = [:]
            for outcome in try await self.listOffsets(queries, isolation: isolation) {
                found[outcome.item] = try outcome.result.get()
            }
            return found
        }
    }

    // MARK: Committed offsets

    /// What a group has committed; partitions without an offset are left out.
    package func committedOffsets(
        group: String, partitions: [TopicPartition]? = nil, requireStable: Bool = false, timeout: Duration? = nil
    ) async throws(KafkaError) -> [TopicPartition: CommittedOffset] {
        let target = RequestTarget.coordinator(group: group)
        return try await retrying(timeout: timeout, coordinator: target) { () throws(KafkaError) in
            let connection = try await self.connection(to: target, purpose: .general)
            // Version 10 names topics by their ids (KIP-848), which must be known, and cannot be when all topics are asked for.
            let ids = partitions.flatMap { self.topicIDs(of: $0) }
            let version = try connection.versions.version(of: .offsetFetch, allowed: 2...(ids == nil ? 9 : 10))
            let request = Self.offsetFetch(
                group, partitions, ids ?? [:], requireStable: requireStable && version >= 7, grouped: version >= 8)
            let response = try await connection.send(request, timeout: self.configuration.requestTimeout, allowed: version...version)
            return try Self.read(response, ids ?? [:], about: group)
        }
    }

    /// The ids of all topics of some partitions; nil unless every one of them is known.
    func topicIDs(of partitions: some Sequence<TopicPartition>) -> [String: KafkaUUID]? {
        let view = view
        var ids: [String: KafkaUUID] = [:]
        for partition in partitions where ids[partition.topic] == nil {
            guard let id = view.topics[partition.topic]?.topicID, id != .zero else { return nil }
            ids[partition.topic] = id
        }
        return ids
    }

    /// The name that goes with an id in an answer; the answer's own name in versions that have one.
    private static func name(
        _ name: String, _ id: KafkaUUID, _ names: [KafkaUUID: String]
    ) throws(KafkaError) -> String {
        if !name.isEmpty || id == .zero { return name }
        guard let known = names[id] else { throw KafkaError(.protocolViolation, "the answer names topic id \(id), which nobody asked for") }
        return known
    }

    private static func offsetFetch(
        _ group: String, _ partitions: [TopicPartition]?, _ ids: [String: KafkaUUID], requireStable: Bool, grouped: Bool
    ) -> OffsetFetchRequest {
        var request = OffsetFetchRequest()
        request.requireStable = requireStable
        let topics = partitions?.byTopic()
        if grouped {
            var wanted = OffsetFetchRequest.OffsetFetchRequestGroup()
            wanted.groupId = group
            wanted.topics = topics?.map { name, numbers in
                var topic = OffsetFetchRequest.OffsetFetchRequestTopics()
                topic.name = name
                topic.topicId = ids[name] ?? .zero
                topic.partitionIndexes = numbers
                return topic
            }
            request.groups = [wanted]
        } else {
            request.groupId = group
            request.topics = topics?.map { name, numbers in
                var topic = OffsetFetchRequest.OffsetFetchRequestTopic()
                topic.name = name
                topic.partitionIndexes = numbers
                return topic
            }
        }
        return request
    }

    private static func read(
        _ response: OffsetFetchResponse, _ ids: [String: KafkaUUID], about group: String
    ) throws(KafkaError) -> [TopicPartition: CommittedOffset] {
        try response.errorCode.check(about: "group '\(group)'")
        let names = Dictionary(ids.map { ($0.value, $0.key) }, uniquingKeysWith: { first, _ in first })
        var offsets: [TopicPartition: CommittedOffset] = [:]
        func add(_ item: TopicPartition, _ error: ErrorCode, _ offset: Int64, _ epoch: Int32, _ metadata: String?) throws(KafkaError) {
            try error.check(about: "\(item)")
            if offset >= 0 { offsets[item] = CommittedOffset(offset, leaderEpoch: epoch, metadata: metadata ?? "") }
        }
        for topic in response.topics {
            for found in topic.partitions {
                let item = TopicPartition(topic.name, found.partitionIndex)
                try add(item, found.errorCode, found.committedOffset, found.committedLeaderEpoch, found.metadata)
            }
        }
        for answer in response.groups {
            try answer.errorCode.check(about: "group '\(group)'")
            for topic in answer.topics {
                let name = try name(topic.name, topic.topicId, names)
                for found in topic.partitions {
                    let item = TopicPartition(name, found.partitionIndex)
                    try add(item, found.errorCode, found.committedOffset, found.committedLeaderEpoch, found.metadata)
                }
            }
        }
        return offsets
    }

    /// Commits offsets once; returns the errors of partitions that failed.
    ///
    /// - Throws: an error that all partitions have in common, so that it can be retried as a whole.
    func commit(
        _ offsets: [TopicPartition: CommittedOffset], group: String, identity: GroupIdentity
    ) async throws(KafkaError) -> [TopicPartition: ErrorCode] {
        guard !offsets.isEmpty else { return [:] }
        let ids = topicIDs(of: offsets.keys)
        var request = OffsetCommitRequest()
        request.groupId = group
        request.generationIdOrMemberEpoch = identity.generation
        request.memberId = identity.memberID
        request.groupInstanceId = identity.groupInstanceID
        request.topics = offsets.keys.sorted().byTopic().map { name, numbers in
            var topic = OffsetCommitRequest.OffsetCommitRequestTopic()
            topic.name = name
            topic.topicId = ids?[name] ?? .zero
            topic.partitions = numbers.map { number in
                var partition = OffsetCommitRequest.OffsetCommitRequestPartition()
                partition.partitionIndex = number
                if let offset = offsets[TopicPartition(name, number)] {
                    partition.committedOffset = offset.offset
                    partition.committedLeaderEpoch = offset.leaderEpoch
                    partition.committedMetadata = offset.metadata
                }
                return partition
            }
            return topic
        }
        let lowest: Int16 = identity.groupInstanceID == nil ? 2 : 7
        let response = try await send(request, to: .coordinator(group: group), allowed: lowest...(ids == nil ? 9 : 10))
        let names = Dictionary((ids ?? [:]).map { ($0.value, $0.key) }, uniquingKeysWith: { first, _ in first })
        var errors: [TopicPartition: ErrorCode] = [:]
        for topic in response.topics {
            let name = try Self.name(topic.name, topic.topicId, names)
            for partition in topic.partitions where partition.errorCode != .none {
                errors[TopicPartition(name, partition.partitionIndex)] = partition.errorCode
            }
        }
        if errors.count == offsets.count, let first = errors.values.first, errors.values.allSatisfy({ $0 == first }) {
            throw KafkaError(first, about: "commit of group '\(group)'")
        }
        return errors
    }
}
