// What tests of consumer groups ask a coordinator, in short.
import GroupCoordination
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

/// A member of a consumer group that does what it is told, as clients do.
struct ConsumerMember {
    var name: String
    var epoch: Int32 = 0
    var owned: [TopicIDPartition] = []
    var topics: [String]? = ["t"]
    var expression: String?
    var instanceID: String?
    var assignor: String?
    var rebalanceTimeout: Int32 = 60_000
    var lastError = ErrorCode.none

    init(_ name: String, topics: [String]? = ["t"]) {
        self.name = name
        self.topics = topics
    }

    var partitions: [Int32] { owned.map(\.partition).sorted() }
}

extension GroupHarness {
    /// One heartbeat. Takes over epoch and assignment from the answer; gives back what is not in it.
    @discardableResult
    func beat(_ member: inout ConsumerMember) -> ConsumerGroupHeartbeatResponse {
        let response = consumerHeartbeat(
            member.name, epoch: member.epoch, topics: member.topics, expression: member.expression, instanceID: member.instanceID,
            owned: member.epoch == 0 ? [] : member.owned, assignor: member.assignor, rebalanceTimeout: member.rebalanceTimeout)
        member.lastError = response.errorCode
        guard response.errorCode == .none else {
            if response.errorCode == .fencedMemberEpoch || response.errorCode == .unknownMemberId {
                member.epoch = 0
                member.owned = []
            }
            return response
        }
        member.epoch = response.memberEpoch
        if let assignment = response.assignment {
            member.owned = assignment.topicPartitions.flatMap { topic in topic.partitions.map { TopicIDPartition(topic.topicId, $0) } }
        }
        return response
    }

    func consumerHeartbeat(
        _ name: String, epoch: Int32, topics: [String]? = nil, expression: String? = nil, instanceID: String? = nil,
        owned: [TopicIDPartition]? = [], assignor: String? = nil, rebalanceTimeout: Int32 = 60_000, version: Int16 = 1,
        isTopicVisible: @escaping @Sendable (String) -> Bool = { _ in true }
    ) -> ConsumerGroupHeartbeatResponse {
        var request = ConsumerGroupHeartbeatRequest()
        request.groupId = GroupHarness.group
        request.memberId = name
        request.memberEpoch = epoch
        request.instanceId = instanceID
        request.rebalanceTimeoutMs = rebalanceTimeout
        request.subscribedTopicNames = topics
        request.subscribedTopicRegex = expression
        request.serverAssignor = assignor
        request.topicPartitions = owned.map { owned in
            var topics: [ConsumerGroupHeartbeatRequest.TopicPartitions] = []
            for partition in owned {
                if let index = topics.firstIndex(where: { $0.topicId == partition.topicID }) {
                    topics[index].partitions.append(partition.partition)
                } else {
                    var topic = ConsumerGroupHeartbeatRequest.TopicPartitions()
                    topic.topicId = partition.topicID
                    topic.partitions = [partition.partition]
                    topics.append(topic)
                }
            }
            return topics
        }
        let context = GroupRequestContext(
            apiVersion: version, clientID: "client-\(name)", clientHost: "/127.0.0.1", isTopicVisible: isTopicVisible)
        return take(core.consumerGroupHeartbeat(request, context: context, uuid: TestTopics.id(7), now: now))
    }

    /// Beats for all members in turn until nobody's epoch or share changes any more.
    func settle(_ members: inout [ConsumerMember], rounds: Int = 20) {
        for _ in 0..<rounds {
            let before = members.map { "\($0.epoch) \($0.owned)" }
            for index in members.indices { beat(&members[index]) }
            if members.map({ "\($0.epoch) \($0.owned)" }) == before { return }
        }
    }

    func setTopics(_ change: (inout TestTopics) -> Void, changed: [String], hasNew: Bool = false) {
        change(&topics)
        core.metadataChanged(topics, changedTopics: changed, hasNewTopics: hasNew)
    }

    /// A group whose topic `t` has some partitions, without waiting between assignments.
    static func consumers(partitions: Int32 = 6, _ configure: (inout GroupCoordinatorConfiguration) -> Void = { _ in }) -> GroupHarness {
        let harness = GroupHarness {
            $0.consumer.assignmentIntervalMilliseconds = 0
            configure(&$0)
        }
        harness.setTopics({ $0.add("t", partitions: partitions) }, changed: ["t"], hasNew: true)
        return harness
    }

    var groupState: String { core.describeConsumerGroup(GroupHarness.group).groupState }
}
