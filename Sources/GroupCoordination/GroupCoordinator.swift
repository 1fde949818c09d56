// The coordinator of the groups whose state is in one partition of __consumer_offsets: what it knows, and how it comes to know it.
import Collections
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives

/// One shard of group coordination: all groups of one partition of __consumer_offsets.
///
/// A core: it takes requests, timers and time, and returns records, answers and effects. Offsets and assignments change only by
/// replaying records, so what is loaded from the log is what was in force before. First replay the whole log, then call
/// ``loaded(now:)``, then everything else; ``unload(now:)`` ends the term.
public struct GroupCoordinator: Sendable {
    public let configuration: GroupCoordinatorConfiguration
    var classicGroups: OrderedDictionary<String, ClassicGroup> = [:]
    var consumerGroups: OrderedDictionary<String, ConsumerGroup> = [:]
    var shareGroups: OrderedDictionary<String, ShareGroup> = [:]
    var streamsGroups: OrderedDictionary<String, StreamsGroup> = [:]
    var offsets = CommittedOffsets()
    /// What it knows of topics; see ``metadataChanged(_:changedTopics:hasNewTopics:)``.
    var knowledge: TopicKnowledge
    /// Classic members of consumer groups whose answer waits for a commit.
    var classicJoins: OrderedSet<ReplyToken> = []
    private var isLoaded = false

    public init(configuration: GroupCoordinatorConfiguration, topics: any GroupTopics = NoGroupTopics()) {
        precondition(!configuration.consumer.assignors.isEmpty, "consumer groups need an assignor")
        self.configuration = configuration
        knowledge = TopicKnowledge(topics)
    }

    /// Takes in a record of the log.
    ///
    /// - Parameters:
    ///   - offset: the record's own offset.
    ///   - producer: the producer of a transactional batch, -1 for any other.
    ///   - now: for the age of groups that only committed offsets bring into being.
    public mutating func replay(_ record: CoordinatorRecord, offset: Offset, producer: ProducerID, now: CoordinatorInstant) {
        switch record {
        case .offsetCommit(let group, let topic, let partition, let value?):
            if classicGroups[group] == nil, consumerGroups[group] == nil, !hasGroupOfOtherProtocol(group) {
                classicGroups[group] = ClassicGroup(groupID: group, createdAt: now.timestamp)
            }
            offsets.replay(value, group: group, topic: topic, partition: partition, at: offset, by: producer)
        case .offsetCommit(let group, let topic, let partition, nil):
            offsets.replayTombstone(group: group, topic: topic, partition: partition)
        case .groupMetadata(let group, let value?):
            if isLoaded, classicGroups[group] != nil {
                classicGroups[group]?.replayCommitted(value)
            } else {
                classicGroups[group] = ClassicGroup(groupID: group, stored: value)
            }
        case .groupMetadata(let group, nil):
            // Somebody may have come in while the tombstone was on its way; the group's next record overrules it.
            if !isLoaded || classicGroups[group]?.isEmpty == true { classicGroups[group] = nil }
        case .consumerGroup(let record):
            replay(record)
        case .shareGroup(let record):
            replay(record, now: now)
        case .streamsGroup(let record):
            replay(record)
        }
    }

    private mutating func replay(_ record: ConsumerGroupRecord) {
        let group = record.group
        if consumerGroups[group] == nil {
            // Tombstones of a group that is gone, or of a former kind of a present one, say nothing.
            guard !record.isTombstone else { return }
            consumerGroups[group] = ConsumerGroup(groupID: group)
        }
        if !record.isTombstone, classicGroups[group]?.isEmpty == true { classicGroups[group] = nil }
        if case .metadata(_, nil) = record {
            consumerGroups[group] = nil
        } else if let index = consumerGroups.index(forKey: group) {
            consumerGroups.values[index].replay(record)
        }
    }

    /// Takes in the marker that ends a producer's transaction.
    public mutating func replayEndOfTransaction(producer: ProducerID, isCommitted: Bool) {
        offsets.endTransaction(of: producer, isCommitted: isCommitted)
    }

    /// Begins the term after the whole log has been replayed: the sessions of all members begin.
    public mutating func loaded(now: CoordinatorInstant) -> CoordinatorResult<Void> {
        precondition(!isLoaded, "a coordinator is loaded once")
        isLoaded = true
        var step = GroupStep(now: now, configuration: configuration)
        for index in classicGroups.values.indices {
            for memberID in classicGroups.values[index].members.keys {
                classicGroups.values[index].extendSession(of: memberID, step: &step)
            }
            // The limit may have been lowered: a rebalance lets only so many in again.
            if classicGroups.values[index].members.count > configuration.maximumGroupSize {
                classicGroups.values[index].note(.sizeLimitLowered, of: nil, step: &step)
                classicGroups.values[index].prepareRebalance(step: &step)
            }
        }
        for index in consumerGroups.values.indices { consumerGroups.values[index].loaded(knowledge: knowledge, step: &step) }
        for index in shareGroups.values.indices { shareGroups.values[index].loaded(knowledge: knowledge, step: &step) }
        for index in streamsGroups.values.indices { streamsGroups.values[index].loaded(knowledge: knowledge, step: &step) }
        setRetentionTimer(step: &step)
        return step.result(())
    }

    /// Ends the term: everybody who waits is sent to look for the new coordinator.
    public consuming func unload(now: CoordinatorInstant) -> [CoordinatorEffect] {
        var step = GroupStep(now: now, configuration: configuration)
        for index in classicGroups.values.indices { classicGroups.values[index].abandon(step: &step) }
        for token in classicJoins { step.replyJoin(token, error: .notCoordinator, memberID: "") }
        return step.effects
    }

    /// A timer that an effect set has fired.
    public mutating func timerFired(_ timer: GroupTimer, now: CoordinatorInstant) -> CoordinatorResult<Void> {
        switch timer {
        case .session(let group, let member):
            if consumerGroups[group] != nil {
                return inConsumerGroup(group, now: now) { $0.sessionTimerFired(member, knowledge: &$1, step: &$2) }
            }
            if shareGroups[group] != nil {
                return inShareGroup(group, now: now) { $0.sessionTimerFired(member, knowledge: &$1, step: &$2) }
            }
            if streamsGroups[group] != nil {
                return inStreamsGroup(group, now: now) { group, _, step in group.sessionTimerFired(member, step: &step) }
            }
            return inGroup(group, now: now) { $0.sessionTimerFired(member, step: &$1) }
        case .revocation(let group, let member):
            if streamsGroups[group] != nil {
                return inStreamsGroup(group, now: now) { group, _, step in group.revocationTimerFired(member, step: &step) }
            }
            return inConsumerGroup(group, now: now) { $0.revocationTimerFired(member, knowledge: &$1, step: &$2) }
        case .classicMember(let group, let member):
            return inConsumerGroup(group, now: now) { $0.classicTimerFired(member, knowledge: &$1, step: &$2) }
        case .join(let group):
            return inGroup(group, now: now) { $0.joinTimerFired(step: &$1) }
        case .sync(let group):
            return inGroup(group, now: now) { $0.syncTimerFired(step: &$1) }
        case .streamsInitialRebalance(let group):
            return inStreamsGroup(group, now: now) { $0.initialDelayTimerFired(knowledge: $1, step: &$2) }
        case .offsetsRetention:
            return expireOffsets(now: now)
        }
    }

    mutating func replay(_ write: CoordinatorWrite, baseOffset: Offset, now: CoordinatorInstant) {
        for (index, record) in write.records.enumerated() {
            replay(record, offset: baseOffset + Offset(index), producer: write.producer?.id ?? -1, now: now)
        }
    }

    /// A write is committed: its records take effect, and whoever waited for that is answered.
    ///
    /// - Parameter baseOffset: the offset of the write's first record.
    public mutating func committed(_ write: CoordinatorWrite, baseOffset: Offset, now: CoordinatorInstant) -> CoordinatorResult<Void> {
        if !write.appliesWhenAppended { replay(write, baseOffset: baseOffset, now: now) }
        switch write.continuation {
        case .classicJoin(let token, let response):
            return answerClassicJoin(token, response, now: now)
        case .consumerGroup, .shareGroup, .streamsGroup, .conversion:
            return CoordinatorResult(response: ())
        case .assignment(let group, let generation):
            return inGroup(group, now: now) { $0.completeAssignment(of: generation, step: &$1) }
        case .staticMember(let group, let replacement):
            return inGroup(group, now: now) { $0.completeStaticReplacement(replacement, step: &$1) }
        case .newGroup, nil:
            return CoordinatorResult(response: ())
        }
    }

    /// A write is lost: what waited for it is undone.
    ///
    /// - Parameter error: what the members are told; see ``ErrorCode/coordinatorError(for:)``.
    public mutating func failed(_ write: CoordinatorWrite, error: ErrorCode, now: CoordinatorInstant) -> CoordinatorResult<Void> {
        switch write.continuation {
        case .classicJoin(let token, var response):
            let memberID = response.memberId
            response = JoinGroupResponse()
            response.memberId = memberID
            response.errorCode = error
            return answerClassicJoin(token, response, now: now)
        case .consumerGroup(let group):
            if consumerGroups[group]?.isBlank == true { consumerGroups[group] = nil }
            return rearmed(group, now: now)
        case .shareGroup(let group):
            var step = GroupStep(now: now, configuration: configuration)
            if shareGroups[group]?.isBlank == true { shareGroups[group] = nil }
            if let index = shareGroups.index(forKey: group) { shareGroups.values[index].writeFailed(step: &step) }
            return step.result(())
        case .streamsGroup(let group):
            return streamsWriteFailed(group, now: now)
        case .conversion(let conversion):
            var step = GroupStep(now: now, configuration: configuration)
            if let joining = conversion.joining { step.replyJoin(joining.token, error: error, memberID: joining.request.memberId) }
            step.effects += rearmed(conversion.group, now: now).effects
            return step.result(())
        case .assignment(let group, let generation):
            return inGroup(group, now: now) { $0.revertAssignment(of: generation, error: error, step: &$1) }
        case .staticMember(let group, let replacement):
            return inGroup(group, now: now) { $0.revertStaticReplacement(replacement, error: error, step: &$1) }
        case .newGroup, nil:
            // A new group lives on in memory: its first generation has a record of its own, which tries again.
            return CoordinatorResult(response: ())
        }
    }

    /// Runs a step in a group, if it exists.
    mutating func inGroup(
        _ group: String, now: CoordinatorInstant, _ body: (inout ClassicGroup, inout GroupStep) -> Void
    ) -> CoordinatorResult<Void> {
        var step = GroupStep(now: now, configuration: configuration)
        guard let index = classicGroups.index(forKey: group) else { return step.result(()) }
        body(&classicGroups.values[index], &step)
        return step.result(())
    }

    /// Whether nobody is in the group and nobody is about to be.
    func isAbandoned(_ group: String) -> Bool {
        guard let group = classicGroups[group] else { return true }
        return group.isEmpty && group.pendingJoinMembers.isEmpty
    }

    func setRetentionTimer(step: inout GroupStep) {
        step.effects.append(
            .setTimer(
                .offsetsRetention,
                deadline: step.now.monotonicMilliseconds + configuration.offsetsRetentionCheckIntervalMilliseconds))
    }
}

extension ErrorCode {
    /// What group clients are told when a coordinator's write fails: storage errors as such would confuse them.
    public static func coordinatorError(for error: ErrorCode) -> ErrorCode {
        switch error {
        case .unknownTopicOrPartition, .notEnoughReplicas, .requestTimedOut: .coordinatorNotAvailable
        case .notLeaderOrFollower, .kafkaStorageError: .notCoordinator
        case .messageTooLarge, .recordListTooLarge, .invalidFetchSize: .unknownServerError
        default: error
        }
    }
}
