// Which replica a consumer should read from (KIP-392).
import Primitives

/// A replica that has what the consumer wants.
public struct ReadableReplica: Sendable, Hashable {
    public var id: NodeID
    public var rack: String?
    public var logEndOffset: Offset
    public var lastCaughtUpAt: Int64

    public init(id: NodeID, rack: String?, logEndOffset: Offset, lastCaughtUpAt: Int64) {
        self.id = id
        self.rack = rack
        self.logEndOffset = logEndOffset
        self.lastCaughtUpAt = lastCaughtUpAt
    }
}

/// `org.apache.kafka.common.replica.RackAwareReplicaSelector`: a replica in the client's rack, the leader before others, else the one
/// that is furthest; the leader when there is none.
public func rackAwareReplica(clientRack: String, leader: ReadableReplica, followers: [ReadableReplica]) -> NodeID {
    if clientRack.isEmpty || leader.rack == clientRack { return leader.id }
    var best: ReadableReplica?
    for replica in followers where replica.rack == clientRack {
        guard let current = best else {
            best = replica
            continue
        }
        let isBetter =
            (replica.logEndOffset, replica.lastCaughtUpAt, replica.id) > (current.logEndOffset, current.lastCaughtUpAt, current.id)
        if isBetter { best = replica }
    }
    return best?.id ?? leader.id
}
