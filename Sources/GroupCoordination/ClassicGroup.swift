// A classic group: its members, its generation and who waits for what. The steps that requests take are in the extensions.
import Collections
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

/// One group of the classic (client-side assignment) protocol.
///
/// What the log knows of a group is its generation, protocol, leader and the members with their assignment at the last completed
/// rebalance; everything else here is volatile and ends with the coordinator's term.
struct ClassicGroup: Sendable {
    let groupID: String
    private(set) var state: ClassicGroupState
    private(set) var previousState: ClassicGroupState = .dead
    /// When the group came into its state, by the wall clock; nil in groups stored by old versions.
    var stateTimestamp: Timestamp?
    /// Nil in a group that only stores offsets.
    var protocolType: String?
    /// The protocol that the current generation agreed on.
    var protocolName: String?
    var generationID: Int32
    var leaderID: String?

    private(set) var members: OrderedDictionary<String, ClassicGroupMember> = [:]
    /// Member id by group instance id. Looked up only, never iterated.
    private var staticMembers: [String: String] = [:]
    /// Members that were given an id and have not joined with it yet (KIP-394).
    var pendingJoinMembers: OrderedSet<String> = []
    /// Members of a new generation that have not asked for their assignment yet.
    var pendingSyncMembers: OrderedSet<String> = []
    private(set) var awaitingJoinCount = 0
    /// How many members support each protocol. Looked up only, never iterated.
    private var protocolCounts: [String: Int] = [:]
    /// The topics all members read, or nil when the group does not say. Looked up only.
    private(set) var subscribedTopics: Set<String>?

    /// Whether somebody joined since the initial delay was last extended.
    var newMemberAdded = false
    var joinPhase: JoinPhase?
    /// The generation whose members must sync, and until when.
    var syncPhase: SyncPhase?

    /// What ends the phase in which members join.
    struct JoinPhase: Sendable, Equatable {
        /// On the monotonic clock.
        var deadline: Int64
        /// Set while an empty group waits for its first members: this delay, and what may still be added to it.
        var initialDelay: InitialDelay?
    }

    struct InitialDelay: Sendable, Equatable {
        var delayMilliseconds: Int32
        var remainingMilliseconds: Int32
    }

    struct SyncPhase: Sendable, Equatable {
        var generationID: Int32
        var deadline: Int64
    }

    init(groupID: String, createdAt timestamp: Timestamp) {
        self.init(groupID: groupID, state: .empty, generationID: 0, stateTimestamp: timestamp)
    }

    init(groupID: String, state: ClassicGroupState, generationID: Int32, stateTimestamp: Timestamp?) {
        self.groupID = groupID
        self.state = state
        self.generationID = generationID
        self.stateTimestamp = stateTimestamp
    }

    var isEmpty: Bool { state == .empty }

    /// A group that nobody ever joined: it only holds offsets.
    var isSimple: Bool { protocolType == nil && isEmpty && pendingJoinMembers.isEmpty }

    var usesConsumerProtocol: Bool { protocolType == EmbeddedConsumerProtocol.protocolType }

    var hasAllMembersJoined: Bool { members.count == awaitingJoinCount && pendingJoinMembers.isEmpty }

    /// The longest rebalance timeout of the members: how long a rebalance may take.
    var rebalanceTimeoutMilliseconds: Int32 {
        members.values.reduce(0) { max($0, $1.rebalanceTimeoutMilliseconds) }
    }

    func isLeader(_ memberID: String) -> Bool { leaderID == memberID }

    func staticMemberID(_ groupInstanceID: String) -> String? { staticMembers[groupInstanceID] }

    func isSubscribed(to topic: String) -> Bool {
        subscribedTopics.map { $0.contains(topic) } ?? usesConsumerProtocol
    }

    mutating func transition(to next: ClassicGroupState, at timestamp: Timestamp) {
        precondition(next.mayFollow(state), "group \(groupID) cannot go from \(state.rawValue) to \(next.rawValue)")
        previousState = state
        state = next
        stateTimestamp = timestamp
    }

    /// Why a request that names a member must be refused, or nil when it is that member's.
    func refusal(memberID: String, groupInstanceID: String?) -> ErrorCode? {
        if let groupInstanceID {
            guard let current = staticMembers[groupInstanceID] else { return .unknownMemberId }
            guard current == memberID else { return .fencedInstanceId }
        }
        return members[memberID] == nil ? .unknownMemberId : nil
    }
}

// MARK: - Membership

extension ClassicGroup {
    mutating func add(_ member: ClassicGroupMember) {
        if let groupInstanceID = member.groupInstanceID {
            precondition(staticMembers[groupInstanceID] == nil, "static member \(groupInstanceID) is in group \(groupID) already")
            staticMembers[groupInstanceID] = member.memberID
        }
        if members.isEmpty { protocolType = member.protocolType }
        if leaderID == nil { leaderID = member.memberID }
        count(member.supportedProtocols, by: 1)
        if member.awaitingJoin != nil { awaitingJoinCount += 1 }
        members[member.memberID] = member
        pendingJoinMembers.remove(member.memberID)
    }

    /// Removes a member, answering whatever it waits for: an unanswered request would hold up its connection for ever.
    mutating func remove(_ memberID: String, step: inout GroupStep) {
        if let member = members.removeValue(forKey: memberID) {
            count(member.supportedProtocols, by: -1)
            if let token = member.awaitingJoin {
                awaitingJoinCount -= 1
                step.replyJoin(token, error: .unknownMemberId, memberID: "")
            }
            if let token = member.awaitingSync { step.replySync(token, error: .unknownMemberId) }
            if let groupInstanceID = member.groupInstanceID { staticMembers[groupInstanceID] = nil }
        }
        if isLeader(memberID) { leaderID = members.keys.first }
        pendingJoinMembers.remove(memberID)
        pendingSyncMembers.remove(memberID)
        step.effects.append(.cancelTimer(.session(group: groupID, member: memberID)))
    }

    /// Gives a static member a new id and keeps everything else of it; whoever waits under the old id is fenced.
    mutating func replaceStaticMember(_ groupInstanceID: String, from oldMemberID: String, to newMemberID: String, step: inout GroupStep) {
        guard var member = members.removeValue(forKey: oldMemberID) else {
            preconditionFailure("no member \(oldMemberID) to replace in group \(groupID)")
        }
        if let token = member.awaitingJoin {
            awaitingJoinCount -= 1
            step.replyJoin(token, error: .fencedInstanceId, memberID: oldMemberID)
        }
        if let token = member.awaitingSync { step.replySync(token, error: .fencedInstanceId) }
        step.effects.append(.cancelTimer(.session(group: groupID, member: oldMemberID)))
        member.memberID = newMemberID
        member.awaitingJoin = nil
        member.awaitingSync = nil
        member.isNew = false
        member.armedDeadline = nil
        members[newMemberID] = member
        if isLeader(oldMemberID) { leaderID = newMemberID }
        staticMembers[groupInstanceID] = newMemberID
        pendingSyncMembers.remove(oldMemberID)
    }

    /// Takes over what a member says in a new JoinGroup.
    mutating func update(_ memberID: String, with request: JoinGroupRequest, token: ReplyToken, step: inout GroupStep) {
        setTerms(
            memberID, protocols: request.protocols.map(\.owned), rebalanceTimeout: request.rebalanceTimeoutMs,
            sessionTimeout: request.sessionTimeoutMs)
        // A client that gave up on its first join and sent another: the first must still be answered, responses go out in order.
        if let earlier = setAwaitingJoin(token, for: memberID) {
            step.replyJoin(earlier, error: .rebalanceInProgress, memberID: memberID)
        }
    }

    mutating func setTerms(
        _ memberID: String, protocols: [JoinGroupRequest.JoinGroupRequestProtocol], rebalanceTimeout: Int32, sessionTimeout: Int32
    ) {
        withMember(memberID) { member, group in
            group.count(member.supportedProtocols, by: -1)
            group.count(protocols, by: 1)
            member.supportedProtocols = protocols
            member.rebalanceTimeoutMilliseconds = rebalanceTimeout
            member.sessionTimeoutMilliseconds = sessionTimeout
        }
    }

    /// Sets or clears who is answered when the join phase ends; returns who was to be answered before.
    @discardableResult
    mutating func setAwaitingJoin(_ token: ReplyToken?, for memberID: String) -> ReplyToken? {
        withMember(memberID) { member, group in
            let earlier = member.awaitingJoin
            if earlier == nil, token != nil { group.awaitingJoinCount += 1 }
            if earlier != nil, token == nil { group.awaitingJoinCount -= 1 }
            member.awaitingJoin = token
            return earlier
        }
    }

    /// Sets or clears who is answered when the assignment is there; returns who was to be answered before.
    @discardableResult
    mutating func setAwaitingSync(_ token: ReplyToken?, for memberID: String) -> ReplyToken? {
        withMember(memberID) { member, _ in
            let earlier = member.awaitingSync
            member.awaitingSync = token
            return earlier
        }
    }

    mutating func setAssignment(_ assignment: ByteBuffer, for memberID: String) {
        withMember(memberID) { member, _ in member.assignment = assignment }
    }

    mutating func markAsKnown(_ memberID: String) {
        withMember(memberID) { member, _ in member.isNew = false }
    }

    /// Begins a member's session anew. The timer is only set when it is not already going to fire early enough to look.
    mutating func extendSession(of memberID: String, by milliseconds: Int32? = nil, step: inout GroupStep) {
        let groupID = groupID
        withMember(memberID) { member, _ in
            let deadline = step.deadline(after: milliseconds ?? member.sessionTimeoutMilliseconds)
            member.sessionDeadline = deadline
            if let armed = member.armedDeadline, armed <= deadline { return }
            member.armedDeadline = deadline
            step.effects.append(.setTimer(.session(group: groupID, member: memberID), deadline: deadline))
        }
    }

    /// Arms the session's timer again for the deadline as it stands, or notes that it is not armed.
    mutating func rearmSession(of memberID: String, isArmed: Bool) {
        withMember(memberID) { member, _ in member.armedDeadline = isArmed ? member.sessionDeadline : nil }
    }

    private mutating func withMember<Value>(_ memberID: String, _ body: (inout ClassicGroupMember, inout ClassicGroup) -> Value) -> Value {
        guard let index = members.index(forKey: memberID) else {
            preconditionFailure("no member \(memberID) in group \(groupID)")
        }
        var member = members.values[index]
        let value = body(&member, &self)
        members.values[index] = member
        return value
    }
}

// MARK: - Protocols

extension ClassicGroup {
    private mutating func count(_ protocols: [JoinGroupRequest.JoinGroupRequestProtocol], by amount: Int) {
        for candidate in protocols {
            let count = (protocolCounts[candidate.name] ?? 0) + amount
            protocolCounts[candidate.name] = count > 0 ? count : nil
        }
    }

    /// Whether a member with these protocols can be in the group together with those who are.
    func supports(protocolType type: String, protocols: [JoinGroupRequest.JoinGroupRequestProtocol]) -> Bool {
        if state == .empty { return !type.isEmpty && !protocols.isEmpty }
        return protocolType == type && protocols.contains { (protocolCounts[$0.name] ?? 0) == members.count }
    }

    /// The protocol that all members support and most of them would choose; the first voted for among equals.
    func selectProtocol() -> String? {
        var votes: OrderedDictionary<String, Int> = [:]
        for member in members.values {
            guard let choice = member.vote({ protocolCounts[$0] == members.count }) else { continue }
            votes[choice, default: 0] += 1
        }
        var best: (name: String, votes: Int)?
        for (name, count) in votes where count > (best?.votes ?? 0) {
            best = (name, count)
        }
        return best?.name
    }

    /// Reads which topics the members of this generation subscribe to, if they say so in a way we understand.
    mutating func computeSubscribedTopics() {
        guard usesConsumerProtocol else {
            subscribedTopics = nil
            return
        }
        var topics: Set<String> = []
        for member in members.values {
            guard let metadata = member.metadata(for: protocolName), let names = EmbeddedConsumerProtocol.topics(in: metadata) else {
                subscribedTopics = nil
                return
            }
            topics.formUnion(names)
        }
        subscribedTopics = topics
    }
}

extension JoinGroupRequest.JoinGroupRequestProtocol {
    /// The same with metadata of its own, so that keeping it does not keep the whole request.
    var owned: Self {
        var copy = self
        copy.metadata = ByteBuffer(buffer: metadata)
        return copy
    }
}
