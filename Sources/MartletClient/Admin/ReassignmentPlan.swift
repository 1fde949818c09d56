// Which replicas to move where, so that little is moved, brokers carry alike and a partition's replicas lie in different racks.
import Primitives

/// Partitions' replicas before and after, worked out without asking anybody.
public struct ReassignmentPlan: Sendable {
    /// A partition that is to change.
    public struct Move: Hashable, Sendable {
        public var partition: TopicPartition
        public var before: [Int32]
        public var after: [Int32]

        public init(partition: TopicPartition, before: [Int32], after: [Int32]) {
            self.partition = partition
            self.before = before
            self.after = after
        }

        /// Brokers that have to copy the partition.
        public var adding: [Int32] { after.filter { !before.contains($0) } }
    }

    /// Only partitions that change, in order.
    public private(set) var moves: [Move] = []

    private let racks: [Int32: String]
    private let brokers: [Int32]
    private var placements: [TopicPartition: [Int32]] = [:]
    private var load: [Int32: Int] = [:]

    /// Works out a plan.
    ///
    /// - Parameters:
    ///   - partitions: what lies where now.
    ///   - brokers: who may hold replicas from now on, with racks.
    ///   - replicationFactor: for all of the partitions; each one's own when nil. Never more than there are brokers.
    ///   - balances: also moves what might stay, until the brokers carry alike.
    public init(
        _ partitions: [(partition: TopicPartition, replicas: [Int32])], brokers: [(id: Int32, rack: String?)],
        replicationFactor: Int? = nil, balances: Bool
    ) {
        self.brokers = brokers.map(\.id).sorted()
        racks = Dictionary(brokers.compactMap { broker in broker.rack.map { (broker.id, $0) } }, uniquingKeysWith: { first, _ in first })
        for broker in self.brokers { load[broker] = 0 }
        let ordered = partitions.sorted { $0.partition < $1.partition }
        for (partition, replicas) in ordered {
            let wanted = min(replicationFactor ?? replicas.count, self.brokers.count)
            let kept = Array(replicas.filter { load[$0] != nil }.prefix(wanted))
            placements[partition] = kept
            for broker in kept { load[broker, default: 0] += 1 }
        }
        for (partition, replicas) in ordered {
            let wanted = min(replicationFactor ?? replicas.count, self.brokers.count)
            while let broker = additional(to: partition, wanted: wanted) {
                placements[partition, default: []].append(broker)
                load[broker, default: 0] += 1
            }
        }
        if balances { balance(ordered.map(\.partition)) }
        balanceLeaders(ordered)
        moves = ordered.compactMap { partition, before in
            let after = placements[partition] ?? before
            return after == before ? nil : Move(partition: partition, before: before, after: after)
        }
    }

    /// The best broker for one more replica; nil when there are enough.
    private func additional(to partition: TopicPartition, wanted: Int) -> Int32? {
        let present = placements[partition] ?? []
        guard present.count < wanted else { return nil }
        return brokers.filter { !present.contains($0) }
            .min { (crowding($0, present), load[$0] ?? 0, $0) < (crowding($1, present), load[$1] ?? 0, $1) }
    }

    /// How many of the replicas share the broker's rack.
    private func crowding(_ broker: Int32, _ replicas: [Int32]) -> Int {
        guard let rack = racks[broker] else { return 0 }
        return replicas.count { racks[$0] == rack }
    }

    /// Moves single replicas from the fullest broker to the emptiest, as long as that evens them out and crowds no rack.
    private mutating func balance(_ partitions: [TopicPartition]) {
        var isStuck = false
        while !isStuck {
            isStuck = true
            let byLoad = brokers.sorted { (load[$0] ?? 0, $0) < (load[$1] ?? 0, $1) }
            search: for full in byLoad.reversed() {
                for empty in byLoad {
                    guard (load[full] ?? 0) - (load[empty] ?? 0) > 1 else { break }
                    if moveOne(of: partitions, from: full, to: empty) {
                        isStuck = false
                        break search
                    }
                }
            }
        }
    }

    private mutating func moveOne(of partitions: [TopicPartition], from full: Int32, to empty: Int32) -> Bool {
        for partition in partitions {
            guard let replicas = placements[partition], let index = replicas.firstIndex(of: full), !replicas.contains(empty) else {
                continue
            }
            var others = replicas
            others.remove(at: index)
            guard crowding(empty, others) <= crowding(full, others) else { continue }
            placements[partition]?[index] = empty
            load[full, default: 0] -= 1
            load[empty, default: 0] += 1
            return true
        }
        return false
    }

    /// Among partitions that move anyway, lets brokers that are first in few lists be first. The order of others is left alone.
    private mutating func balanceLeaders(_ partitions: [(partition: TopicPartition, replicas: [Int32])]) {
        var leaders: [Int32: Int] = [:]
        let moving = partitions.filter { Set(placements[$0.partition] ?? []) != Set($0.replicas) }.map(\.partition)
        let unmoved = Set(partitions.map(\.partition)).subtracting(moving)
        for partition in unmoved { if let first = placements[partition]?.first { leaders[first, default: 0] += 1 } }
        for partition in moving {
            guard var replicas = placements[partition],
                let index = replicas.indices.min(by: { leaders[replicas[$0], default: 0] < leaders[replicas[$1], default: 0] })
            else { continue }
            replicas.swapAt(0, index)
            placements[partition] = replicas
            leaders[replicas[0], default: 0] += 1
        }
    }
}
