// What a step of the coordinator hands back: an answer, records to append, and effects. The core decides, the shell performs.
import KafkaMessages
import KafkaWire
import Primitives

/// A moment by both clocks: the wall clock goes into records, the monotonic one measures sessions and timeouts.
public struct CoordinatorInstant: Sendable, Equatable {
    /// Milliseconds since 1970.
    public var timestamp: Timestamp
    /// Milliseconds of a clock that never jumps.
    public var monotonicMilliseconds: Int64

    public init(timestamp: Timestamp, monotonicMilliseconds: Int64) {
        self.timestamp = timestamp
        self.monotonicMilliseconds = monotonicMilliseconds
    }
}

/// Stands for a request whose answer may come in a later step. The shell gives it out and never uses one twice.
public struct ReplyToken: RawRepresentable, Hashable, Sendable {
    public var rawValue: UInt64

    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }
}

/// The answers that a step may give to requests of earlier steps.
public enum GroupReply: Sendable, Equatable {
    case join(JoinGroupResponse)
    case sync(SyncGroupResponse)
}

/// The timers of one shard. A timer fires at most once; setting it again moves it.
public enum GroupTimer: Hashable, Sendable {
    /// A member's session, or the reservation of a member id that has been handed out but not used yet.
    case session(group: String, member: String)
    /// The end of the phase in which members join.
    case join(group: String)
    /// The end of the phase in which members fetch their assignment.
    case sync(group: String)
    /// The end of the time in which a member of a consumer group has to give partitions back.
    case revocation(group: String, member: String)
    /// The end of the time in which a classic member of a consumer group has to join or to sync.
    case classicMember(group: String, member: String)
    /// The end of the time in which a new streams group waits for more members.
    case streamsInitialRebalance(group: String)
    /// The next look for expired offsets.
    case offsetsRetention
}

/// Something for the shell to do at once, whether or not the step also writes records.
public enum CoordinatorEffect: Sendable, Equatable {
    case reply(ReplyToken, GroupReply)
    /// `deadline` is on the monotonic clock of ``CoordinatorInstant``, in milliseconds.
    case setTimer(GroupTimer, deadline: Int64)
    case cancelTimer(GroupTimer)
    /// A rebalance began: to be kept for those who ask why.
    case note(RebalanceReason)
    /// Something happened so many times.
    case count(GroupEvent, Int)
}

/// Records to append, and what the coordinator wants to know once they are committed or lost.
public struct CoordinatorWrite: Sendable {
    /// In the order in which they belong into the log; never empty.
    public var records: [CoordinatorRecord]
    /// Whether the records must become visible together, in one batch.
    public var isAtomic: Bool
    /// In whose transaction the records are; nil for plain ones.
    public var producer: TransactionalProducer?
    var continuation: WriteContinuation?

    /// Whether the records take effect as soon as they are in the log, and not only when they are committed.
    ///
    /// Heartbeats of a consumer or share group build on each other and cannot wait for a commit; whoever is answered is answered after it.
    public let appliesWhenAppended: Bool

    init(records: [CoordinatorRecord], isAtomic: Bool = true, continuation: WriteContinuation? = nil) {
        precondition(!records.isEmpty, "a write without records has nothing to commit")
        self.records = records
        self.isAtomic = isAtomic
        self.continuation = continuation
        appliesWhenAppended = records.contains { record in
            switch record {
            case .consumerGroup, .shareGroup, .streamsGroup: true
            default: false
            }
        }
    }
}

/// The outcome of a step.
///
/// The shell performs `effects` at once. If there is a `write` it appends it, says so with ``GroupCoordinator/appended(_:baseOffset:now:)``,
/// and passes it, when its fate is known, to
/// ``GroupCoordinator/committed(_:baseOffset:now:)`` or ``GroupCoordinator/failed(_:error:now:)``; `response` is valid only then.
public struct CoordinatorResult<Response: Sendable>: Sendable {
    public var response: Response
    public var write: CoordinatorWrite?
    public var effects: [CoordinatorEffect]

    public init(response: Response, write: CoordinatorWrite? = nil, effects: [CoordinatorEffect] = []) {
        self.response = response
        self.write = write
        self.effects = effects
    }
}

/// Who sends a request, as far as groups care.
public struct GroupRequestContext: Sendable {
    /// Version of the request, for the rules that changed between versions.
    public var apiVersion: Int16
    /// `client.id` of the request header, empty when absent.
    public var clientID: String
    /// The client's address as Kafka stores and shows it: a slash and the numeric address, `/127.0.0.1`.
    public var clientHost: String
    /// Whether the sender may know of a topic: regular expressions mean no others.
    public var isTopicVisible: @Sendable (String) -> Bool

    public init(
        apiVersion: Int16, clientID: String, clientHost: String, isTopicVisible: @escaping @Sendable (String) -> Bool = { _ in true }
    ) {
        self.apiVersion = apiVersion
        self.clientID = clientID
        self.clientHost = clientHost
        self.isTopicVisible = isTopicVisible
    }
}

/// What has to happen to volatile state once a write is committed or lost.
enum WriteContinuation: Sendable {
    /// The leader's assignment for a generation.
    case assignment(group: String, generation: Int32)
    /// A static member took the place of its former self while the group was stable (KIP-345).
    case staticMember(group: String, StaticMemberReplacement)
    /// The first record of a group that a join created.
    case newGroup(group: String)
    /// A consumer group was changed, perhaps made.
    case consumerGroup(group: String)
    /// A share group was changed, perhaps made.
    case shareGroup(group: String)
    /// A streams group was changed, perhaps made.
    case streamsGroup(group: String)
    /// A classic member of a consumer group waits for its answer.
    case classicJoin(ReplyToken, JoinGroupResponse)
    /// A group changed between the protocols.
    case conversion(GroupConversion)
}

/// All that is needed to finish or to undo the replacement of a static member.
struct StaticMemberReplacement: Sendable {
    var groupInstanceID: String
    var oldMemberID: String
    var newMemberID: String
    var previousLeaderID: String?
    var previousProtocols: [JoinGroupRequest.JoinGroupRequestProtocol]
    var previousRebalanceTimeoutMilliseconds: Int32
    var previousSessionTimeoutMilliseconds: Int32
    var apiVersion: Int16
    var token: ReplyToken
}

/// Gathers what a step produces while it runs through a group.
struct GroupStep {
    let now: CoordinatorInstant
    let configuration: GroupCoordinatorConfiguration
    var effects: [CoordinatorEffect] = []
    var records: [CoordinatorRecord] = []
    var continuation: WriteContinuation?

    init(now: CoordinatorInstant, configuration: GroupCoordinatorConfiguration) {
        self.now = now
        self.configuration = configuration
    }

    /// The assignor that is used when most members ask for `name`.
    func assignor(named name: String?) -> PartitionAssignor {
        name.flatMap { name in configuration.consumer.assignors.first { $0.rawValue == name } } ?? configuration.consumer.assignors[0]
    }

    /// The broker's settings with those of the group over them.
    func settings(of group: String, _ knowledge: TopicKnowledge) -> ConsumerGroupConfiguration {
        let overrides = knowledge.topics.overrides(of: group)
        var settings = configuration.consumer
        if let value = overrides.sessionTimeoutMilliseconds { settings.sessionTimeoutMilliseconds = value }
        if let value = overrides.heartbeatIntervalMilliseconds { settings.heartbeatIntervalMilliseconds = value }
        if let value = overrides.assignmentIntervalMilliseconds { settings.assignmentIntervalMilliseconds = value }
        return settings
    }

    /// The same for share groups.
    func shareSettings(of group: String, _ knowledge: TopicKnowledge) -> ShareGroupConfiguration {
        let overrides = knowledge.topics.shareOverrides(of: group)
        var settings = configuration.share
        if let value = overrides.sessionTimeoutMilliseconds { settings.sessionTimeoutMilliseconds = value }
        if let value = overrides.heartbeatIntervalMilliseconds { settings.heartbeatIntervalMilliseconds = value }
        if let value = overrides.assignmentIntervalMilliseconds { settings.assignmentIntervalMilliseconds = value }
        return settings
    }

    /// The broker's settings of streams groups with those of the group over them.
    func streamsSettings(of group: String, _ knowledge: TopicKnowledge) -> StreamsGroupConfiguration {
        configuration.streams.with(knowledge.topics.streamsOverrides(of: group))
    }

    /// A point on the monotonic clock, `milliseconds` from now.
    func deadline(after milliseconds: Int32) -> Int64 {
        now.monotonicMilliseconds + Int64(max(milliseconds, 0))
    }

    mutating func count(_ event: GroupEvent, _ times: Int = 1) {
        if times > 0 { effects.append(.count(event, times)) }
    }

    mutating func reply(_ token: ReplyToken, _ response: JoinGroupResponse) {
        effects.append(.reply(token, .join(response)))
    }

    mutating func reply(_ token: ReplyToken, _ response: SyncGroupResponse) {
        effects.append(.reply(token, .sync(response)))
    }

    mutating func replyJoin(_ token: ReplyToken, error: ErrorCode, memberID: String) {
        var response = JoinGroupResponse()
        response.errorCode = error
        response.memberId = memberID
        reply(token, response)
    }

    mutating func replySync(_ token: ReplyToken, error: ErrorCode) {
        var response = SyncGroupResponse()
        response.errorCode = error
        reply(token, response)
    }

    consuming func result<Response>(_ response: Response, isAtomic: Bool = true) -> CoordinatorResult<Response> {
        let write = records.isEmpty ? nil : CoordinatorWrite(records: records, isAtomic: isAtomic, continuation: continuation)
        return CoordinatorResult(response: response, write: write, effects: effects)
    }
}
