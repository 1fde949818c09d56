// Which partitions are read, from where, and what is fetched already: the consumer's bookkeeping, without network or clock.
import DequeModule
import OrderedCollections
import Primitives

/// Where one partition's reading stands.
struct PartitionConsumption: Sendable {
    /// The offset after the last record that was handed out; nil until it is known where to begin.
    var position: Offset?
    /// The offset to fetch next, ahead of the position by what is buffered.
    var fetchOffset: Offset?
    /// Where to look for a position; nil when it is known.
    var pendingQuery: PendingPosition? = .committed
    var isPaused = false
    var isFetching = false
    var bufferedBytes = 0
    /// Changes when what is on its way or buffered no longer fits: after a seek, a pause, a new assignment.
    var generation: UInt64 = 0
    var highWatermark: Offset = -1
    /// What was last committed, so that commits which change nothing are left out.
    var committed: Offset?
    /// The offset after the last record that counts as read; nil before the first.
    var consumed: Offset?
    var consumedEpoch: LeaderEpoch = -1
}

enum PendingPosition: Hashable, Sendable {
    /// The group's committed offset, or else the reset policy.
    case committed
    case query(OffsetQuery)
    /// As the reset policy says.
    case reset
}

struct ConsumptionState: Sendable {
    var partitions: OrderedDictionary<TopicPartition, PartitionConsumption> = [:]
    /// Batches in the order in which they are handed out, with the generation they were fetched for.
    private(set) var buffer = Deque<(batch: ConsumerBatch, generation: UInt64)>()
    private(set) var bufferedBytes = 0
    private var nextGeneration: UInt64 = 1

    private mutating func makeGeneration() -> UInt64 {
        defer { nextGeneration += 1 }
        return nextGeneration
    }

    /// Makes `assignment` what is read. Partitions that stay keep everything.
    mutating func assign(_ assignment: [TopicPartition]) {
        let wanted = Set(assignment)
        for gone in partitions.keys where !wanted.contains(gone) { dropBuffer(of: gone) }
        partitions.removeAll { !wanted.contains($0.key) }
        for partition in assignment where partitions[partition] == nil {
            var state = PartitionConsumption()
            state.generation = makeGeneration()
            partitions[partition] = state
        }
    }

    mutating func seek(_ partition: TopicPartition, to offset: Offset) -> Bool {
        guard partitions[partition] != nil else { return false }
        dropBuffer(of: partition)
        partitions[partition]?.position = offset
        partitions[partition]?.fetchOffset = offset
        partitions[partition]?.pendingQuery = nil
        partitions[partition]?.consumed = offset
        return true
    }

    mutating func request(_ query: PendingPosition, for partition: TopicPartition) -> Bool {
        guard partitions[partition] != nil else { return false }
        dropBuffer(of: partition)
        partitions[partition]?.position = nil
        partitions[partition]?.fetchOffset = nil
        partitions[partition]?.pendingQuery = query
        return true
    }

    /// Sets a position found for a query, unless something else was asked for meanwhile.
    mutating func found(_ offset: Offset, for partition: TopicPartition, query: PendingPosition, isCommitted: Bool = false) {
        guard partitions[partition]?.pendingQuery == query else { return }
        partitions[partition]?.position = offset
        partitions[partition]?.fetchOffset = offset
        partitions[partition]?.pendingQuery = nil
        if isCommitted { partitions[partition]?.committed = offset }
    }

    mutating func setPaused(_ isPaused: Bool, _ partition: TopicPartition) -> Bool {
        guard let state = partitions[partition] else { return false }
        if isPaused, !state.isPaused {
            dropBuffer(of: partition)
            partitions[partition]?.fetchOffset = state.position
        }
        partitions[partition]?.isPaused = isPaused
        return true
    }

    /// Everything fetched of a partition is void, also what is still on its way.
    private mutating func dropBuffer(of partition: TopicPartition) {
        buffer.removeAll { item in
            guard item.batch.partition == partition else { return false }
            bufferedBytes -= item.batch.storedBytes
            return true
        }
        let generation = makeGeneration()
        partitions[partition]?.bufferedBytes = 0
        partitions[partition]?.isFetching = false
        partitions[partition]?.generation = generation
    }

    /// Takes in what was fetched. Void when the partition has another generation by now.
    mutating func fetched(_ batches: [ConsumerBatch], partition: TopicPartition, generation: UInt64, highWatermark: Offset) {
        guard let index = partitions.index(forKey: partition), partitions.values[index].generation == generation else { return }
        partitions.values[index].highWatermark = highWatermark
        for batch in batches {
            buffer.append((batch, generation))
            bufferedBytes += batch.storedBytes
            partitions.values[index].bufferedBytes += batch.storedBytes
            partitions.values[index].fetchOffset = batch.nextOffset
        }
    }

    mutating func fetchEnded(_ partition: TopicPartition, generation: UInt64) {
        if partitions[partition]?.generation == generation { partitions[partition]?.isFetching = false }
    }

    /// The next batch to hand out. Batches that only move the position are passed over.
    mutating func popBatch() -> ConsumerBatch? {
        while let (batch, generation) = buffer.popFirst() {
            bufferedBytes -= batch.storedBytes
            guard let index = partitions.index(forKey: batch.partition), partitions.values[index].generation == generation else { continue }
            partitions.values[index].bufferedBytes -= batch.storedBytes
            if batch.batch == nil {
                partitions.values[index].position = batch.nextOffset
                partitions.values[index].consumed = batch.nextOffset
                continue
            }
            return batch
        }
        return nil
    }

    /// Partitions to fetch next, with the offset and the generation.
    mutating func takeFetchable(
        limit: Int, memory: Int, where isWanted: (TopicPartition) -> Bool
    ) -> [(partition: TopicPartition, offset: Offset, generation: UInt64)] {
        guard bufferedBytes < memory else { return [] }
        var taken: [(partition: TopicPartition, offset: Offset, generation: UInt64)] = []
        for index in partitions.values.indices {
            let state = partitions.values[index]
            guard let offset = state.fetchOffset, !state.isPaused, !state.isFetching, state.bufferedBytes < limit else { continue }
            let partition = partitions.keys[index]
            guard isWanted(partition) else { continue }
            partitions.values[index].isFetching = true
            taken.append((partition, offset, state.generation))
        }
        return taken
    }

    /// What counts as read and was not committed yet.
    func uncommitted() -> [TopicPartition: CommittedOffset] {
        var offsets: [TopicPartition: CommittedOffset] = [:]
        for (partition, state) in partitions {
            guard let consumed = state.consumed, consumed != state.committed else { continue }
            offsets[partition] = CommittedOffset(consumed, leaderEpoch: state.consumedEpoch)
        }
        return offsets
    }
}
