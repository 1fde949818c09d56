// The coordinator of the share partitions whose state is in one partition of __share_group_state: what it knows, and how it comes to know
// it. It stores what leaders of partitions tell it, and makes sure that only the present leader is heard (KIP-932).
import Collections
import KafkaRecords
import KafkaWire
import Primitives

/// Settings of share coordination. Each property names Kafka's key.
public struct ShareCoordinatorConfiguration: Sendable, Equatable {
    /// `share.coordinator.snapshot.update.records.per.snapshot`.
    public var updatesPerSnapshot = 500
    /// `share.coordinator.cold.partition.snapshot.interval.ms`.
    public var coldSnapshotIntervalMilliseconds: Int64 = 300_000

    public init() {}
}

/// A refusal, with the words of it where Kafka's own for the code say too little.
public struct ShareStateRefusal: Error, Equatable, Sendable {
    public var code: ErrorCode
    public var message: String?

    public init(_ code: ErrorCode, _ message: String? = nil) {
        self.code = code
        self.message = message
    }
}

/// What a step answers, and the records that have to be in the log before the answer leaves.
public struct ShareCoordinatorResult<Response: Sendable>: Sendable {
    public var response: Response
    public var records: [ShareStateRecord]

    public init(response: Response, records: [ShareStateRecord]) {
        self.response = response
        self.records = records
    }
}

/// What a share partition's leader reads back when it begins.
public struct SharePartitionState: Sendable, Equatable {
    public var stateEpoch: Int32
    public var leaderEpoch: LeaderEpoch
    /// -1 when the group has never read the partition: `share.auto.offset.reset` decides.
    public var startOffset: Offset
    /// Records from the start offset on that are done; -1 when that is not known.
    public var deliveryCompleteCount: Int32
    public var batches: [ShareStateBatch]

    public init(
        stateEpoch: Int32, leaderEpoch: LeaderEpoch, startOffset: Offset, deliveryCompleteCount: Int32, batches: [ShareStateBatch]
    ) {
        self.stateEpoch = stateEpoch
        self.leaderEpoch = leaderEpoch
        self.startOffset = startOffset
        self.deliveryCompleteCount = deliveryCompleteCount
        self.batches = batches
    }

    public static let uninitialized = SharePartitionState(
        stateEpoch: 0, leaderEpoch: 0, startOffset: -1, deliveryCompleteCount: -1, batches: [])
}

/// What a leader tells of its share partition.
public struct SharePartitionUpdate: Sendable, Equatable {
    public var stateEpoch: Int32
    public var leaderEpoch: LeaderEpoch
    public var startOffset: Offset
    public var deliveryCompleteCount: Int32
    public var batches: [ShareStateBatch]

    public init(
        stateEpoch: Int32, leaderEpoch: LeaderEpoch, startOffset: Offset, deliveryCompleteCount: Int32, batches: [ShareStateBatch]
    ) {
        self.stateEpoch = stateEpoch
        self.leaderEpoch = leaderEpoch
        self.startOffset = startOffset
        self.deliveryCompleteCount = deliveryCompleteCount
        self.batches = batches
    }
}

/// One shard of share coordination.
///
/// A core: requests and time in, records and answers out. State changes only by replaying records, which take effect when they are in the
/// log; whoever waits is answered when they are committed.
public struct ShareCoordinator: Sendable {
    struct Entry: Sendable, Equatable {
        var state = SharePartitionState.uninitialized
        var snapshotEpoch: Int32 = 0
        var createTimestamp: Timestamp = 0
        var writeTimestamp: Timestamp = 0
        var updateCount = 0
        /// Offset of the newest snapshot: the log is needed from the smallest of these on.
        var snapshotOffset: Offset = 0
    }

    public let configuration: ShareCoordinatorConfiguration
    var entries: OrderedDictionary<SharePartitionKey, Entry> = [:]

    public init(configuration: ShareCoordinatorConfiguration = ShareCoordinatorConfiguration()) {
        self.configuration = configuration
    }

    /// How many share partitions are kept.
    public var count: Int { entries.count }

    /// Takes in a record of the log.
    public mutating func replay(_ record: ShareStateRecord, offset: Offset) {
        switch record {
        case .snapshot(let key, nil):
            entries[key] = nil
        case .snapshot(let key, let value?):
            var entry = entries[key] ?? Entry()
            entry.state = SharePartitionState(
                stateEpoch: max(entry.state.stateEpoch, value.stateEpoch), leaderEpoch: max(entry.state.leaderEpoch, value.leaderEpoch),
                startOffset: value.startOffset, deliveryCompleteCount: value.deliveryCompleteCount,
                batches: value.stateBatches.map(ShareStateBatch.init))
            entry.snapshotEpoch = value.snapshotEpoch
            entry.createTimestamp = value.createTimestamp
            entry.writeTimestamp = value.writeTimestamp
            entry.updateCount = 0
            entry.snapshotOffset = offset
            entries[key] = entry
        case .update(let key, let value):
            var entry = entries[key] ?? Entry(snapshotOffset: offset)
            if value.startOffset != -1 { entry.state.startOffset = value.startOffset }
            entry.state.leaderEpoch = max(entry.state.leaderEpoch, value.leaderEpoch)
            entry.state.deliveryCompleteCount = value.deliveryCompleteCount
            entry.state.batches = (entry.state.batches + value.stateBatches.map(ShareStateBatch.init)).combined(
                from: entry.state.startOffset)
            entry.updateCount += 1
            entries[key] = entry
        }
    }

    /// Everything below is not needed any longer, given that the log is replayed up to `end`.
    public func redundantOffset(end: Offset) -> Offset {
        entries.values.reduce(end) { min($0, $1.snapshotOffset) }
    }
}

extension ShareStateBatch {
    init(_ batch: ShareSnapshotValue.StateBatch) {
        self.init(
            firstOffset: batch.firstOffset, lastOffset: batch.lastOffset, deliveryState: batch.deliveryState,
            deliveryCount: batch.deliveryCount)
    }

    init(_ batch: ShareUpdateValue.StateBatch) {
        self.init(
            firstOffset: batch.firstOffset, lastOffset: batch.lastOffset, deliveryState: batch.deliveryState,
            deliveryCount: batch.deliveryCount)
    }

    var snapshotBatch: ShareSnapshotValue.StateBatch {
        var batch = ShareSnapshotValue.StateBatch()
        batch.firstOffset = firstOffset
        batch.lastOffset = lastOffset
        batch.deliveryState = deliveryState
        batch.deliveryCount = deliveryCount
        return batch
    }

    var updateBatch: ShareUpdateValue.StateBatch {
        var batch = ShareUpdateValue.StateBatch()
        batch.firstOffset = firstOffset
        batch.lastOffset = lastOffset
        batch.deliveryState = deliveryState
        batch.deliveryCount = deliveryCount
        return batch
    }
}
