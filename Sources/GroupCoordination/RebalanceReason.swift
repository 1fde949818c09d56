// Why groups rebalance. Not in the log: whoever asks is told what the present coordinator has seen.
import Primitives

/// The beginning of a rebalance and what caused it.
public struct RebalanceReason: Sendable, Equatable {
    public enum Kind: String, Sendable {
        case memberJoined = "member joined"
        case memberLeft = "member left"
        case memberReturned = "static member returned"
        case sessionTimedOut = "session timed out"
        /// It did not give partitions back, join or sync in time.
        case rebalanceTimedOut = "rebalance timed out"
        case subscriptionChanged = "subscription changed"
        case assignorChanged = "assignor changed"
        /// Topics were created or deleted, or their partitions or racks changed.
        case topicsChanged = "topics changed"
        /// The leader of a classic group joined again, for reasons that only it can see.
        case leaderRejoined = "leader joined again"
        /// The leader's assignment could not be stored.
        case assignmentLost = "assignment could not be stored"
        /// A member of a streams group said something else of itself, such as its endpoint.
        case memberChanged = "member changed"
        /// The settings that the assignment depends on are others.
        case settingsChanged = "settings changed"
        case upgraded = "became a consumer group"
        case downgraded = "became a classic group"
        case sizeLimitLowered = "group is larger than its limit"
    }

    public var group: String
    public var type: GroupType
    /// Epoch of a consumer group, generation of a classic one, that the rebalance leads to.
    public var epoch: Int32
    public var timestamp: Timestamp
    public var kind: Kind
    /// Who caused it; empty when nobody did.
    public var memberID: String
    public var instanceID: String?
    public var clientID: String
    public var clientHost: String
    /// What else there is to say, such as what the client itself said when it left.
    public var detail: String
}
