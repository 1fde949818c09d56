// DescribeShareGroupOffsets: where share groups stand in their partitions, and how far they are behind (KIP-932, KIP-1226).
import KafkaMessages
import KafkaWire
import Primitives
import ShareCoordination

extension BrokerServices {
    private typealias Group = DescribeShareGroupOffsetsResponse.DescribeShareGroupOffsetsResponseGroup
    private typealias Topic = DescribeShareGroupOffsetsResponse.DescribeShareGroupOffsetsResponseTopic

    func describeShareGroupOffsets(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DescribeShareGroupOffsetsRequest.self)
        let responder = context.responder
        let access = access(context)
        let gathering = Gathering<Group>(request.groups.count) { groups in
            var response = DescribeShareGroupOffsetsResponse()
            response.groups = groups
            responder.send(response)
        }
        for (index, group) in request.groups.enumerated() {
            describe(group, access) { gathering.add(index, $0) }
        }
    }

    private func describe(
        _ request: DescribeShareGroupOffsetsRequest.DescribeShareGroupOffsetsRequestGroup, _ access: Access,
        completion: @escaping @Sendable (Group) -> Void
    ) {
        var group = Group()
        group.groupId = request.groupId
        func refuse(_ error: ErrorCode) {
            group.errorCode = error
            group.errorMessage = error.defaultMessage
            completion(group)
        }
        guard servesShareGroups else { return refuse(.unsupportedVersion) }
        guard access.allows(.describe, .group, request.groupId) else { return refuse(.groupAuthorizationFailed) }
        var asked: [(topic: Int, partition: TopicIDPartition)] = []
        func add(_ name: String, _ id: TopicID, _ partitions: [Int32]) {
            var topic = Topic()
            topic.topicName = name
            topic.topicId = id
            asked += partitions.map { (group.topics.count, TopicIDPartition(id, $0)) }
            group.topics.append(topic)
        }
        if let topics = request.topics {
            for topic in topics {
                guard access.allows(.describe, .topic, topic.topicName) else {
                    group.topics.append(.failed(topic.topicName, topic.partitions, .topicAuthorizationFailed))
                    continue
                }
                guard let known = image.topics.topic(named: topic.topicName) else {
                    group.topics.append(.failed(topic.topicName, topic.partitions, .unknownTopicOrPartition))
                    continue
                }
                add(topic.topicName, known.id, topic.partitions)
            }
        } else {
            switch groups.sharePartitions(of: request.groupId) {
            case .failure(let error): return refuse(error.code)
            case .success(let partitions):
                var byTopic: [TopicID: [Int32]] = [:]
                var order: [TopicID] = []
                for partition in partitions {
                    if byTopic[partition.topicID] == nil { order.append(partition.topicID) }
                    byTopic[partition.topicID, default: []].append(partition.partition)
                }
                for id in order {
                    // Clients are not told of topics that they must not see.
                    guard let topic = image.topics.topic(id: id), access.allows(.describe, .topic, topic.name, isLogged: false) else {
                        continue
                    }
                    add(topic.name, id, byTopic[id] ?? [])
                }
            }
        }
        readSummaries(request.groupId, group, asked, completion: completion)
    }

    private func readSummaries(
        _ groupID: String, _ group: Group, _ asked: [(topic: Int, partition: TopicIDPartition)],
        completion: @escaping @Sendable (Group) -> Void
    ) {
        let gathering = Gathering<Result<SharePartitionState, ShareStateRefusal>>(asked.count) { [self] states in
            // Only where the group has begun is there a distance to the end.
            let begun = zip(asked, states).compactMap { asked, state -> TopicIDPartition? in
                guard case .success(let state) = state, state.startOffset >= 0, state.deliveryCompleteCount >= 0 else { return nil }
                return asked.partition
            }
            latestOffsets(of: begun) { offsets in
                var group = group
                for ((topic, partition), state) in zip(asked, states) {
                    group.topics[topic].partitions.append(.init(partition, state, offsets[partition]))
                }
                completion(group)
            }
        }
        for (index, entry) in asked.enumerated() {
            shareGroups.persister.summary(SharePartitionKey(group: groupID, partition: entry.partition)) { gathering.add(index, $0) }
        }
    }
}

extension DescribeShareGroupOffsetsResponse.DescribeShareGroupOffsetsResponseTopic {
    fileprivate static func failed(_ name: String, _ partitions: [Int32], _ error: ErrorCode) -> Self {
        var topic = Self()
        topic.topicName = name
        topic.partitions = partitions.map { index in
            var partition = DescribeShareGroupOffsetsResponse.DescribeShareGroupOffsetsResponsePartition()
            partition.partitionIndex = index
            partition.startOffset = -1
            partition.errorCode = error
            partition.errorMessage = error.defaultMessage
            return partition
        }
        return topic
    }
}

extension DescribeShareGroupOffsetsResponse.DescribeShareGroupOffsetsResponsePartition {
    /// What cannot be had counts as nothing to tell, as in OffsetFetch.
    fileprivate init(
        _ partition: TopicIDPartition, _ state: Result<SharePartitionState, ShareStateRefusal>, _ latest: Result<Offset, ErrorCodeError>?
    ) {
        self.init()
        partitionIndex = partition.partition
        startOffset = -1
        lag = -1
        guard case .success(let state) = state else { return }
        startOffset = state.startOffset
        leaderEpoch = state.leaderEpoch
        switch latest {
        case nil: return
        case .success(let offset)?: lag = max(0, offset - state.startOffset - Offset(state.deliveryCompleteCount))
        case .failure(let error)?:
            startOffset = 0
            leaderEpoch = 0
            errorCode = error.code
            errorMessage = error.code.defaultMessage
        }
    }
}
