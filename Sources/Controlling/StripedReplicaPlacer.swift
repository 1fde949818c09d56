// Where the replicas of new partitions go: striped over racks and brokers, leaders and load evenly spread, fenced brokers last.
import KafkaWire
import OrderedCollections
import Primitives

/// A broker that may get replicas.
public struct UsableBroker: Hashable, Sendable {
    public var id: NodeID
    public var rack: String?
    public var isFenced: Bool

    public init(id: NodeID, rack: String?, isFenced: Bool) {
        self.id = id
        self.rack = rack
        self.isFenced = isFenced
    }
}

/// Kafka's striped placement (KIP-631): each partition begins one rack and, within racks, one broker further than the one before, so
/// that a rack holds a second replica of a partition only when there are more replicas than racks.
public struct StripedReplicaPlacer {
    /// Brokers of one kind in one rack, read round and round.
    private struct BrokerRing {
        var brokers: [NodeID] = []
        var index = 0
        var offset = 0
        var epoch = 0

        mutating func next(epoch: Int) -> NodeID? {
            guard !brokers.isEmpty else { return nil }
            if self.epoch != epoch {
                self.epoch = epoch
                index = 0
                offset = (offset + 1) % brokers.count
            }
            guard index < brokers.count else { return nil }
            defer { index += 1 }
            return brokers[(index + offset) % brokers.count]
        }
    }

    private struct Rack {
        var unfenced = BrokerRing()
        var fenced = BrokerRing()

        mutating func next(epoch: Int) -> NodeID? { unfenced.next(epoch: epoch) ?? fenced.next(epoch: epoch) }
    }

    private var racks: [Rack] = []
    /// Positions in `racks`, in the order in which they are visited.
    private var order: [Int] = []
    private let brokerCount: Int
    private let unfencedCount: Int
    private var epoch = 0
    private var offset = 0

    /// - Parameter random: decides where the stripes begin.
    public init(brokers: [UsableBroker], random: inout some RandomNumberGenerator) {
        var byRack: OrderedDictionary<String?, Rack> = [:]
        for broker in brokers.sorted(by: { $0.id < $1.id }) {
            if broker.isFenced {
                byRack[broker.rack, default: Rack()].fenced.brokers.append(broker.id)
            } else {
                byRack[broker.rack, default: Rack()].unfenced.brokers.append(broker.id)
            }
        }
        brokerCount = brokers.count
        unfencedCount = brokers.count { !$0.isFenced }
        // Brokers without a rack are a rack of their own, the first.
        for name in byRack.keys.sorted(by: { ($0 == nil ? 0 : 1, $0 ?? "") < ($1 == nil ? 0 : 1, $1 ?? "") }) {
            guard var rack = byRack[name] else { continue }
            if !rack.fenced.brokers.isEmpty { rack.fenced.offset = Int.random(in: 0..<rack.fenced.brokers.count, using: &random) }
            if !rack.unfenced.brokers.isEmpty { rack.unfenced.offset = Int.random(in: 0..<rack.unfenced.brokers.count, using: &random) }
            racks.append(rack)
        }
        order = Array(racks.indices)
        if !racks.isEmpty { offset = Int.random(in: 0..<racks.count, using: &random) }
    }

    /// Places `partitions` partitions of `replicationFactor` replicas each.
    ///
    /// - Throws: INVALID_REPLICATION_FACTOR when there are too few brokers or none is unfenced.
    public mutating func place(
        partitions: Int, replicationFactor: Int, random: inout some RandomNumberGenerator
    ) throws(RequestFailure) -> [[NodeID]] {
        if replicationFactor <= 0 {
            throw RequestFailure(
                .invalidReplicationFactor,
                "Invalid replication factor \(replicationFactor): the replication factor must be positive.")
        }
        if unfencedCount == 0 {
            throw RequestFailure(
                .invalidReplicationFactor, "All brokers are currently fenced, or have all their log directories cordoned.")
        }
        if replicationFactor > brokerCount {
            throw RequestFailure(
                .invalidReplicationFactor,
                "The target replication factor of \(replicationFactor) cannot be reached because only \(brokerCount) broker(s) are "
                    + "registered or some brokers have all their log directories cordoned.")
        }
        var placements: [[NodeID]] = []
        placements.reserveCapacity(partitions)
        for _ in 0..<partitions { placements.append(placeOne(replicationFactor, random: &random)) }
        return placements
    }

    private mutating func placeOne(_ replicationFactor: Int, random: inout some RandomNumberGenerator) -> [NodeID] {
        // As many assignments as unfenced brokers: the same ones would come again.
        if epoch == unfencedCount && unfencedCount > 1 {
            order.shuffle(using: &random)
            for index in racks.indices {
                racks[index].fenced.brokers.shuffle(using: &random)
                racks[index].unfenced.brokers.shuffle(using: &random)
            }
            epoch = 0
        }
        if offset == order.count { offset = 0 }
        var replicas: [NodeID] = []
        // The leader: the next rack that has an unfenced broker.
        var leaderRack = offset
        while replicas.isEmpty {
            if let broker = racks[order[leaderRack]].unfenced.next(epoch: epoch) {
                replicas.append(broker)
            } else {
                leaderRack = (leaderRack + 1) % order.count
            }
        }
        // The others: rack by rack; the leader's rack is passed over once.
        var rack = offset
        var skipped = false
        while replicas.count < replicationFactor {
            if rack == leaderRack && !skipped {
                skipped = true
            } else if let broker = racks[order[rack]].next(epoch: epoch) {
                replicas.append(broker)
            }
            rack = (rack + 1) % order.count
        }
        epoch += 1
        offset += 1
        return replicas
    }
}
