// A change of the voters that the leader is making: one at a time (KIP-853).
import KafkaMessages
import KafkaWire
import Primitives

/// One change of the voters under way.
struct VoterChange: Sendable {
    enum Kind: Sendable {
        case add(Voter, acknowledgesWhenCommitted: Bool)
        case remove(ReplicaKey)
        case update(Voter)
    }

    var kind: Kind
    /// Whose request it is; nil when that has been answered.
    var context: QuorumRequestContext?
    /// Where the voters were appended; nil while the new voter is still asked what it can do.
    var offset: Offset?
    var deadline: Int64
}
