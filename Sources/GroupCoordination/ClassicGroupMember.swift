// One member of a classic group: what it told us when it joined, what it was assigned, and whether it waits for an answer.
import KafkaMessages
import NIOCore
import Primitives

struct ClassicGroupMember: Sendable {
    var memberID: String
    /// `group.instance.id` of a static member (KIP-345).
    var groupInstanceID: String?
    var clientID: String
    var clientHost: String
    var rebalanceTimeoutMilliseconds: Int32
    var sessionTimeoutMilliseconds: Int32
    var protocolType: String
    /// In the member's order of preference.
    var supportedProtocols: [JoinGroupRequest.JoinGroupRequestProtocol]
    var assignment = ByteBuffer()

    /// Set while the member's JoinGroup waits for the generation.
    var awaitingJoin: ReplyToken?
    /// Set while the member's SyncGroup waits for the leader's assignment.
    var awaitingSync: ReplyToken?
    /// A new member does not know its id yet, so it cannot send heartbeats.
    var isNew = false
    /// When the session ends, on the monotonic clock. Heartbeats move it without touching a timer.
    var sessionDeadline: Int64 = 0
    /// When the session's timer will fire; it then looks whether `sessionDeadline` has moved on.
    var armedDeadline: Int64?

    var isStatic: Bool { groupInstanceID != nil }

    /// Members that wait for us are alive by definition, unless they are new: those may have gone while waiting.
    var hasSatisfiedHeartbeat: Bool {
        !isNew && (awaitingJoin != nil || awaitingSync != nil)
    }

    /// What the member wants to say under `protocolName`; nil when it does not support that protocol.
    func metadata(for protocolName: String?) -> ByteBuffer? {
        guard let protocolName else { return nil }
        return supportedProtocols.first { $0.name == protocolName }?.metadata
    }

    /// The first of the member's protocols that `isCandidate` accepts.
    func vote(_ isCandidate: (String) -> Bool) -> String? {
        supportedProtocols.first { isCandidate($0.name) }?.name
    }
}
