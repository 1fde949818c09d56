// A member's side of the classic group protocol as a state machine: responses in, next step out.
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives

/// What a member is to the group, and what follows from the coordinator's answers.
struct GroupMembership: Sendable {
    enum Step: Equatable, Sendable {
        /// Nothing to do: the member is well.
        case stay
        /// Distribute the assignments (empty unless this member leads) and learn the own one.
        case synchronize(isLeader: Bool)
        case assigned([TopicPartition])
        /// Join again. `losesPartitions`: the group has given them to others already, or soon will.
        case rejoin(losesPartitions: Bool)
        /// The same request again after a pause, of a coordinator looked up anew if asked to.
        case retry(findCoordinator: Bool)
        /// The group cannot be joined.
        case fail(KafkaError)
    }

    let group: String
    let groupInstanceID: String?
    let assignors: [ConsumerAssignor]
    var memberID = ""
    var generation: Int32 = -1
    private(set) var assignor: ConsumerAssignor?
    private var protocolName: String?
    /// Members and their subscriptions while this member leads.
    private(set) var members: [AssignmentMember] = []

    init(group: String, groupInstanceID: String?, assignors: [ConsumerAssignor]) {
        self.group = group
        self.groupInstanceID = groupInstanceID
        self.assignors = assignors
    }

    /// Whether partitions are kept while the group rebalances.
    var isCooperative: Bool { assignors.allSatisfy(\.isCooperative) }
    var identity: GroupIdentity { GroupIdentity(generation: generation, memberID: memberID, groupInstanceID: groupInstanceID) }
    var isMember: Bool { generation >= 0 && !memberID.isEmpty }

    /// Forget the generation, and the member id too when the coordinator does not know it.
    mutating func reset(forgetMemberID: Bool) {
        generation = -1
        members = []
        if forgetMemberID { memberID = "" }
    }

    // MARK: Requests

    func joinRequest(
        topics: [String], owned: [TopicPartition], sessionTimeoutMilliseconds: Int32, rebalanceTimeoutMilliseconds: Int32
    ) throws(WireError) -> JoinGroupRequest {
        var request = JoinGroupRequest()
        request.groupId = group
        request.memberId = memberID
        request.groupInstanceId = groupInstanceID
        request.protocolType = "consumer"
        request.sessionTimeoutMs = sessionTimeoutMilliseconds
        request.rebalanceTimeoutMs = rebalanceTimeoutMilliseconds
        for assignor in assignors {
            var subscription = ConsumerProtocolSubscription()
            subscription.topics = topics.sorted()
            subscription.userData = assignor == .cooperativeSticky ? ByteBuffer(integer: generation) : nil
            subscription.generationId = generation
            subscription.rackId = nil
            subscription.ownedPartitions = owned.sorted().byTopic().map { topic, partitions in
                var entry = ConsumerProtocolSubscription.TopicPartition()
                entry.topic = topic
                entry.partitions = partitions
                return entry
            }
            var offer = JoinGroupRequest.JoinGroupRequestProtocol()
            offer.name = assignor.rawValue
            offer.metadata = try subscription.encodedWithVersion(3)
            request.protocols.append(offer)
        }
        return request
    }

    func syncRequest(_ assignments: [String: [TopicPartition]]) throws(WireError) -> SyncGroupRequest {
        var request = SyncGroupRequest()
        request.groupId = group
        request.memberId = memberID
        request.generationId = generation
        request.groupInstanceId = groupInstanceID
        request.protocolType = "consumer"
        request.protocolName = protocolName
        for (member, partitions) in assignments.sorted(by: { $0.key < $1.key }) {
            var assignment = ConsumerProtocolAssignment()
            assignment.assignedPartitions = partitions.sorted().byTopic().map { topic, numbers in
                var entry = ConsumerProtocolAssignment.TopicPartition()
                entry.topic = topic
                entry.partitions = numbers
                return entry
            }
            var entry = SyncGroupRequest.SyncGroupRequestAssignment()
            entry.memberId = member
            entry.assignment = try assignment.encodedWithVersion(3)
            request.assignments.append(entry)
        }
        return request
    }

    var heartbeatRequest: HeartbeatRequest {
        var request = HeartbeatRequest()
        request.groupId = group
        request.memberId = memberID
        request.generationId = generation
        request.groupInstanceId = groupInstanceID
        return request
    }

    // MARK: Responses

    mutating func joined(_ response: JoinGroupResponse) -> Step {
        switch response.errorCode {
        case .none: break
        case .memberIdRequired:
            // KIP-394: the id is handed out before the member counts.
            memberID = response.memberId
            return .rejoin(losesPartitions: false)
        case .unknownMemberId, .illegalGeneration:
            reset(forgetMemberID: response.errorCode == .unknownMemberId)
            return .rejoin(losesPartitions: true)
        default: return common(response.errorCode)
        }
        memberID = response.memberId
        generation = response.generationId
        protocolName = response.protocolName
        guard let name = response.protocolName, let chosen = assignors.first(where: { $0.rawValue == name }) else {
            return .fail(KafkaError(.inconsistentGroupProtocol, "the group chose the assignor '\(response.protocolName ?? "")'"))
        }
        assignor = chosen
        let isLeader = response.leader == response.memberId
        members = isLeader ? response.members.map(Self.member) : []
        // A static leader that comes back is told to leave the assignment as it is (KIP-814).
        return .synchronize(isLeader: isLeader && !response.skipAssignment)
    }

    private static func member(_ member: JoinGroupResponse.JoinGroupResponseMember) -> AssignmentMember {
        var result = AssignmentMember(id: member.memberId, groupInstanceID: member.groupInstanceId, topics: [])
        guard let subscription = try? ConsumerProtocolSubscription(decodingWithVersion: member.metadata, acceptingNewer: true) else {
            return result
        }
        result.topics = Set(subscription.topics)
        result.owned = subscription.ownedPartitions.flatMap { topic in topic.partitions.map { TopicPartition(topic.topic, $0) } }
        result.generation = subscription.generationId
        if result.generation < 0, let data = subscription.userData, let told = data.getInteger(at: data.readerIndex, as: Int32.self) {
            result.generation = told
        }
        return result
    }

    mutating func synchronized(_ response: SyncGroupResponse) -> Step {
        switch response.errorCode {
        case .none: break
        case .rebalanceInProgress: return .rejoin(losesPartitions: false)
        case .unknownMemberId, .illegalGeneration:
            reset(forgetMemberID: response.errorCode == .unknownMemberId)
            return .rejoin(losesPartitions: true)
        default: return common(response.errorCode)
        }
        guard response.assignment.readableBytes > 0 else { return .assigned([]) }
        do throws(WireError) {
            let assignment = try ConsumerProtocolAssignment(decodingWithVersion: response.assignment, acceptingNewer: true)
            return .assigned(
                assignment.assignedPartitions.flatMap { topic in topic.partitions.map { TopicPartition(topic.topic, $0) } }.sorted())
        } catch {
            return .fail(KafkaError(error))
        }
    }

    mutating func heartbeat(_ code: ErrorCode) -> Step {
        switch code {
        case .none: return .stay
        case .rebalanceInProgress: return .rejoin(losesPartitions: false)
        case .illegalGeneration:
            reset(forgetMemberID: false)
            return .rejoin(losesPartitions: true)
        case .unknownMemberId:
            reset(forgetMemberID: true)
            return .rejoin(losesPartitions: true)
        default: return common(code)
        }
    }

    private func common(_ code: ErrorCode) -> Step {
        switch code {
        case .coordinatorNotAvailable, .notCoordinator: .retry(findCoordinator: true)
        case .coordinatorLoadInProgress, .rebalanceInProgress: .retry(findCoordinator: false)
        default: code.isRetriable ? .retry(findCoordinator: false) : .fail(KafkaError(code, about: "group '\(group)'"))
        }
    }
}
