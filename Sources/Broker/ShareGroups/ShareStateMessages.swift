// The messages of share coordinators for one share partition each, in both directions.
import KafkaMessages
import KafkaWire
import Primitives
import ShareCoordination

extension ReadShareGroupStateRequest {
    init(_ key: SharePartitionKey, leaderEpoch: LeaderEpoch) {
        self.init()
        groupId = key.group
        var topic = ReadStateData()
        topic.topicId = key.partition.topicID
        var partition = PartitionData()
        partition.partition = key.partition.partition
        partition.leaderEpoch = leaderEpoch
        topic.partitions = [partition]
        topics = [topic]
    }
}

extension WriteShareGroupStateRequest {
    init(_ key: SharePartitionKey, _ update: SharePartitionUpdate) {
        self.init()
        groupId = key.group
        var topic = WriteStateData()
        topic.topicId = key.partition.topicID
        var partition = PartitionData()
        partition.partition = key.partition.partition
        partition.stateEpoch = update.stateEpoch
        partition.leaderEpoch = update.leaderEpoch
        partition.startOffset = update.startOffset
        partition.deliveryCompleteCount = update.deliveryCompleteCount
        partition.stateBatches = update.batches.map { batch in
            var stored = StateBatch()
            stored.firstOffset = batch.firstOffset
            stored.lastOffset = batch.lastOffset
            stored.deliveryState = batch.deliveryState
            stored.deliveryCount = batch.deliveryCount
            return stored
        }
        topic.partitions = [partition]
        topics = [topic]
    }
}

extension WriteShareGroupStateRequest.PartitionData {
    var update: SharePartitionUpdate {
        SharePartitionUpdate(
            stateEpoch: stateEpoch, leaderEpoch: leaderEpoch, startOffset: startOffset, deliveryCompleteCount: deliveryCompleteCount,
            batches: stateBatches.map {
                ShareStateBatch(
                    firstOffset: $0.firstOffset, lastOffset: $0.lastOffset, deliveryState: $0.deliveryState,
                    deliveryCount: $0.deliveryCount)
            })
    }
}

extension InitializeShareGroupStateRequest {
    init(_ key: SharePartitionKey, stateEpoch: Int32, startOffset: Offset) {
        self.init()
        groupId = key.group
        var topic = InitializeStateData()
        topic.topicId = key.partition.topicID
        var partition = PartitionData()
        partition.partition = key.partition.partition
        partition.stateEpoch = stateEpoch
        partition.startOffset = startOffset
        topic.partitions = [partition]
        topics = [topic]
    }
}

extension DeleteShareGroupStateRequest {
    init(_ key: SharePartitionKey) {
        self.init()
        groupId = key.group
        var topic = DeleteStateData()
        topic.topicId = key.partition.topicID
        var partition = PartitionData()
        partition.partition = key.partition.partition
        topic.partitions = [partition]
        topics = [topic]
    }
}

extension ReadShareGroupStateSummaryRequest {
    init(_ key: SharePartitionKey) {
        self.init()
        groupId = key.group
        var topic = ReadStateSummaryData()
        topic.topicId = key.partition.topicID
        var partition = PartitionData()
        partition.partition = key.partition.partition
        topic.partitions = [partition]
        topics = [topic]
    }
}

// MARK: - Answers

extension WriteShareGroupStateResponse {
    /// Of the only partition; nil when there is none.
    var outcome: Result<Void, ShareStateRefusal>? {
        results.first?.partitions.first.map { ShareStateAnswer.outcome($0.errorCode, $0.errorMessage) }
    }
}

extension InitializeShareGroupStateResponse {
    var outcome: Result<Void, ShareStateRefusal>? {
        results.first?.partitions.first.map { ShareStateAnswer.outcome($0.errorCode, $0.errorMessage) }
    }
}

extension DeleteShareGroupStateResponse {
    var outcome: Result<Void, ShareStateRefusal>? {
        results.first?.partitions.first.map { ShareStateAnswer.outcome($0.errorCode, $0.errorMessage) }
    }
}

private enum ShareStateAnswer {
    static func outcome(_ code: ErrorCode, _ message: String?) -> Result<Void, ShareStateRefusal> {
        code == .none ? .success(()) : .failure(ShareStateRefusal(code, message))
    }
}

extension ReadShareGroupStateResponse {
    var state: Result<SharePartitionState, ShareStateRefusal>? {
        results.first?.partitions.first.map { partition in
            guard partition.errorCode == .none else {
                return .failure(ShareStateRefusal(partition.errorCode, partition.errorMessage))
            }
            return .success(
                SharePartitionState(
                    stateEpoch: partition.stateEpoch, leaderEpoch: 0, startOffset: partition.startOffset, deliveryCompleteCount: -1,
                    batches: partition.stateBatches.map {
                        ShareStateBatch(
                            firstOffset: $0.firstOffset, lastOffset: $0.lastOffset, deliveryState: $0.deliveryState,
                            deliveryCount: $0.deliveryCount)
                    }))
        }
    }
}

extension ReadShareGroupStateSummaryResponse {
    var state: Result<SharePartitionState, ShareStateRefusal>? {
        results.first?.partitions.first.map { partition in
            guard partition.errorCode == .none else {
                return .failure(ShareStateRefusal(partition.errorCode, partition.errorMessage))
            }
            return .success(
                SharePartitionState(
                    stateEpoch: partition.stateEpoch, leaderEpoch: partition.leaderEpoch, startOffset: partition.startOffset,
                    deliveryCompleteCount: partition.deliveryCompleteCount, batches: []))
        }
    }
}
