// What a leader answers to those who follow it: batches, where their log diverges, or which snapshot to fetch first.
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

extension Quorum {
    mutating func handle(_ request: FetchRequest, _ context: QuorumRequestContext) {
        if let error = invalidity(ofCluster: request.clusterId) ?? (request.metadataPartition == nil ? .invalidRequest : nil) {
            var response = FetchResponse()
            response.errorCode = error
            effects.append(.reply(token: context.token, .fetch(response)))
            return
        }
        guard let partition = request.metadataPartition else { return }
        guard request.maxWaitMs >= 0, partition.fetchOffset >= 0, partition.lastFetchedEpoch >= 0,
            partition.lastFetchedEpoch <= partition.currentLeaderEpoch
        else {
            reply(fetchResponse(context, error: .invalidRequest), context)
            return
        }
        if let error = leaderOnlyError(partition.currentLeaderEpoch) {
            reply(fetchResponse(context, error: error), context)
            return
        }
        let key = ReplicaKey(id: request.followerID, directoryID: partition.replicaDirectoryId)
        guard key.id != configuration.localID || key.directoryID != configuration.localDirectoryID else {
            reply(fetchResponse(context, error: .unknownServerError), context)
            return
        }
        answer(request, partition, key, context, mayWait: true)
    }

    /// Answers with what there is, or lets the fetch wait.
    private mutating func answer(
        _ request: FetchRequest, _ partition: FetchRequest.FetchPartition, _ key: ReplicaKey, _ context: QuorumRequestContext, mayWait: Bool
    ) {
        let position = log.locate(offset: partition.fetchOffset, epoch: partition.lastFetchedEpoch)
        guard case .valid = position else {
            var response = fetchResponse(context, error: .none)
            response.place(position)
            reply(response, context)
            return
        }
        if key.id >= 0, key.id != configuration.localID,
            leading.fetched(key, at: partition.fetchOffset, leaderEnd: endOffset, now: now)
        {
            updateHighWatermark()
        }
        // Kafka before 4.1 lets a fetch wait though its sender has not heard what is committed: for half a second then a broker does not
        // know of a topic that is there.
        let mustHear = leading.hasHighWatermark && leading.knownHighWatermark(partition, key, version: context.version) < highWatermark
        let hasRecords = partition.fetchOffset < endOffset
        guard hasRecords || mustHear || !mayWait || request.maxWaitMs == 0 || leading.waiting.count >= configuration.maximumWaitingFetches
        else {
            leading.waiting.append(WaitingFetch(request: request, context: context, deadline: now + Int64(request.maxWaitMs)))
            return
        }
        let response = fetchResponse(context, error: .none)
        if leading.hasHighWatermark { leading.told(key, highWatermark: highWatermark) }
        if hasRecords {
            let limit = min(max(request.maxBytes, 1), configuration.maximumFetchBytes)
            effects.append(
                .replyWithRecords(
                    token: context.token, response, from: partition.fetchOffset, upTo: endOffset, maxBytes: Int(limit)))
        } else {
            reply(response, context)
        }
    }

    /// Answers fetches that wait: those for which there are records now, those that waited too long, or all of them.
    mutating func answerWaitingFetches(all: Bool = false) {
        guard !leading.waiting.isEmpty else { return }
        let waiting = leading.waiting
        leading.waiting = []
        for fetch in waiting {
            guard let partition = fetch.request.metadataPartition else { continue }
            if all || partition.fetchOffset < endOffset || fetch.deadline <= now {
                let key = ReplicaKey(id: fetch.request.followerID, directoryID: partition.replicaDirectoryId)
                answer(fetch.request, partition, key, fetch.context, mayWait: false)
            } else {
                leading.waiting.append(fetch)
            }
        }
    }

    /// This member leads no longer: followers must look for the new leader at once.
    mutating func failWaitingFetches() {
        let waiting = leading.waiting
        leading.waiting = []
        for fetch in waiting { reply(fetchResponse(fetch.context, error: .notLeaderOrFollower), fetch.context) }
    }

    private mutating func reply(_ response: FetchResponse, _ context: QuorumRequestContext) {
        effects.append(.reply(token: context.token, .fetch(response)))
    }

    private func fetchResponse(_ context: QuorumRequestContext, error: ErrorCode) -> FetchResponse {
        var partition = FetchResponse.PartitionData()
        partition.errorCode = error
        partition.highWatermark = role == .leader && leading.hasHighWatermark && error == .none ? highWatermark : -1
        partition.logStartOffset = log.startOffset
        partition.currentLeader.leaderId = leader?.id ?? -1
        partition.currentLeader.leaderEpoch = epoch
        partition.records = ByteBuffer()
        var topic = FetchResponse.FetchableTopicResponse()
        topic.topic = Self.topicName
        topic.topicId = Self.topicID
        topic.partitions = [partition]
        var response = FetchResponse()
        response.responses = [topic]
        if context.version >= 17, let leader, let endpoint = leaderEndpoint(for: context) {
            var node = FetchResponse.NodeEndpoint()
            node.nodeId = leader.id
            node.host = endpoint.host
            node.port = Int32(endpoint.port)
            response.nodeEndpoints = [node]
        }
        return response
    }

    mutating func handle(_ request: FetchSnapshotRequest, _ context: QuorumRequestContext) {
        var response = FetchSnapshotResponse()
        if let error = invalidity(ofCluster: request.clusterId) ?? (request.topics.count == 1 ? nil : .invalidRequest) {
            response.errorCode = error
            effects.append(.reply(token: context.token, .fetchSnapshot(response)))
            return
        }
        guard let asked = request.topics.first?.partitions.first, request.topics[0].partitions.count == 1 else {
            response.errorCode = .invalidRequest
            effects.append(.reply(token: context.token, .fetchSnapshot(response)))
            return
        }
        let id = SnapshotID(endOffset: asked.snapshotId.endOffset, epoch: asked.snapshotId.epoch)
        var partition = FetchSnapshotResponse.PartitionSnapshot()
        partition.index = asked.partition
        partition.currentLeader.leaderId = leader?.id ?? -1
        partition.currentLeader.leaderEpoch = epoch
        if request.topics[0].name != Self.topicName || asked.partition != 0 {
            partition.errorCode = .unknownTopicOrPartition
        } else if let error = leaderOnlyError(asked.currentLeaderEpoch) {
            partition.errorCode = error
        } else if id == .bootstrap || !log.snapshots.contains(id) {
            partition.errorCode = .snapshotNotFound
        } else if asked.position < 0 {
            partition.errorCode = .positionOutOfRange
        } else {
            partition.snapshotId.endOffset = id.endOffset
            partition.snapshotId.epoch = id.epoch
            partition.position = asked.position
        }
        var topic = FetchSnapshotResponse.TopicSnapshot()
        topic.name = request.topics[0].name
        topic.partitions = [partition]
        response.topics = [topic]
        if context.version >= 1, let leader, let endpoint = leaderEndpoint(for: context) {
            var node = FetchSnapshotResponse.NodeEndpoint()
            node.nodeId = leader.id
            node.host = endpoint.host
            node.port = endpoint.port
            response.nodeEndpoints = [node]
        }
        guard partition.errorCode == .none else {
            effects.append(.reply(token: context.token, .fetchSnapshot(response)))
            return
        }
        leading.heard(from: ReplicaKey(id: request.replicaId, directoryID: asked.replicaDirectoryId), now: now)
        let limit = min(max(request.maxBytes, 1), configuration.maximumFetchBytes)
        effects.append(
            .replyWithSnapshot(token: context.token, response, id, position: asked.position, maxBytes: Int(limit)))
    }
}

extension FetchRequest {
    /// The request's only partition, if it is the metadata log's.
    var metadataPartition: FetchPartition? {
        guard topics.count == 1, topics[0].topic == Quorum.topicName || topics[0].topicId == Quorum.topicID,
            topics[0].partitions.count == 1, topics[0].partitions[0].partition == 0
        else { return nil }
        return topics[0].partitions[0]
    }

    var followerID: NodeID { replicaState.replicaId >= 0 ? replicaState.replicaId : replicaId }
}

extension FetchResponse {
    /// Tells the follower where to go on.
    mutating func place(_ position: LogPosition) {
        guard !responses.isEmpty, !responses[0].partitions.isEmpty else { return }
        switch position {
        case .valid: break
        case .diverging(let epoch, let endOffset):
            responses[0].partitions[0].divergingEpoch.epoch = epoch
            responses[0].partitions[0].divergingEpoch.endOffset = endOffset
        case .snapshot(let id):
            responses[0].partitions[0].snapshotId.endOffset = id.endOffset
            responses[0].partitions[0].snapshotId.epoch = id.epoch
        }
    }
}
