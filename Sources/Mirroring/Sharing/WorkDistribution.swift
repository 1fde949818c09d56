// Which worker copies which partition: by load, and so that a new topic or partition disturbs no other.
import OrderedCollections
import Primitives

/// Partitions by worker. A partition stays with its worker for as long as it is replicated.
public struct WorkDistribution: Sendable {
    public let workers: Int
    /// Whether the worker follows from the partition alone, so that several processes agree on it.
    private let isByName: Bool
    private var owners: OrderedDictionary<TopicPartition, Int> = [:]

    public init(workers: Int, isByName: Bool = false) {
        precondition(workers > 0, "somebody has to do it")
        (self.workers, self.isByName) = (workers, isByName)
    }

    /// The worker that follows from a partition alone: those of a topic are spread evenly.
    public func namedWorker(of partition: TopicPartition) -> Int {
        var hash: UInt32 = 2_166_136_261
        for byte in partition.topic.utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        return Int((hash &+ UInt32(bitPattern: partition.partition)) % UInt32(workers))
    }

    /// Partitions with the worker that has each, in the order in which they came.
    public var assignments: OrderedDictionary<TopicPartition, Int> { owners }

    public func worker(of partition: TopicPartition) -> Int? { owners[partition] }

    /// Takes over what is to be replicated now: what is new goes to the workers with the least load, what is gone is taken away, and
    /// nothing else moves.
    ///
    /// - Parameters:
    ///   - partitions: all of them, in an order that does not change.
    ///   - load: bytes per second of partitions that were measured; others count as the average.
    public mutating func update(_ partitions: [TopicPartition], load: (TopicPartition) -> Double?) {
        let wanted = OrderedSet(partitions)
        for partition in owners.keys where !wanted.contains(partition) { owners[partition] = nil }
        if isByName {
            for partition in wanted where owners[partition] == nil { owners[partition] = namedWorker(of: partition) }
            return
        }
        var loads = [Double](repeating: 0, count: workers)
        var counts = [Int](repeating: 0, count: workers)
        let measured = owners.keys.compactMap(load)
        // A partition costs something even when nothing is written to it.
        let average = max(1, measured.isEmpty ? 1 : measured.reduce(0, +) / Double(measured.count))
        for (partition, worker) in owners {
            loads[worker] += load(partition) ?? average
            counts[worker] += 1
        }
        for partition in wanted where owners[partition] == nil {
            let least = (0..<workers).min { (loads[$0], counts[$0], $0) < (loads[$1], counts[$1], $1) } ?? 0
            owners[partition] = least
            loads[least] += average
            counts[least] += 1
        }
    }
}
