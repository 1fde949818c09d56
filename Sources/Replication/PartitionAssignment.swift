// What a replica learns from outside before it decides: the partition as the metadata log has it, where its own log stands, and which
// brokers are alive. Plain values, so that a broker and the simulator hand in the same.
import Primitives

/// A partition's place in the cluster, as published by the metadata log.
public struct PartitionAssignment: Hashable, Sendable {
    public var replicas: [NodeID]
    /// The in-sync replicas as the controller committed them.
    public var isr: [NodeID]
    /// -1 when nobody leads.
    public var leader: NodeID
    public var leaderEpoch: LeaderEpoch
    public var partitionEpoch: Int32

    public init(replicas: [NodeID], isr: [NodeID], leader: NodeID, leaderEpoch: LeaderEpoch, partitionEpoch: Int32) {
        self.replicas = replicas
        self.isr = isr
        self.leader = leader
        self.leaderEpoch = leaderEpoch
        self.partitionEpoch = partitionEpoch
    }
}

/// Where a replica's own log stands.
public struct ReplicaLogOffsets: Hashable, Sendable {
    public var startOffset: Offset
    public var endOffset: Offset
    public var highWatermark: Offset

    public init(startOffset: Offset, endOffset: Offset, highWatermark: Offset) {
        self.startOffset = startOffset
        self.endOffset = endOffset
        self.highWatermark = highWatermark
    }
}

/// Brokers that may be in sync: registered, not fenced, not shutting down; each with the epoch of its registration.
public struct LiveBrokers: Sendable {
    private var epochs: [NodeID: Int64]

    public init(_ epochs: [NodeID: Int64] = [:]) {
        self.epochs = epochs
    }

    public subscript(id: NodeID) -> Int64? {
        get { epochs[id] }
        set { epochs[id] = newValue }
    }

    /// Whether the replica on `id` may join the in-sync replicas (KIP-841, KIP-903): its fetches must come from the registration that is
    /// alive now. A fetch with epoch -1 comes from an older version and is not checked.
    func isEligible(_ id: NodeID, brokerEpoch: Int64?) -> Bool {
        guard let current = epochs[id], let brokerEpoch else { return false }
        return brokerEpoch == -1 || brokerEpoch == current
    }
}
