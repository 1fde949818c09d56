// What leaders and group coordinators ask of a share coordinator: read, write, initialize, delete. Only decides; what it decides is in the
// records of the result.
import Collections
import KafkaRecords
import KafkaWire
import Primitives

extension ShareCoordinator {
    /// InitializeShareGroupState: the group coordinator lets a partition's reading begin, or begin anew.
    ///
    /// - Parameter startOffset: -1 for where `share.auto.offset.reset` says.
    public func initialize(
        _ key: SharePartitionKey, stateEpoch: Int32, startOffset: Offset, now: Timestamp
    ) throws(ShareStateRefusal) -> ShareCoordinatorResult<Void> {
        try refuseIfInvalid(key, stateEpoch: stateEpoch)
        let entry = entries[key]
        if let entry, entry.state.stateEpoch > stateEpoch { throw ShareStateRefusal(.fencedStateEpoch) }
        if let entry, entry.state.stateEpoch == stateEpoch, entry.state.startOffset == startOffset {
            return ShareCoordinatorResult(response: (), records: [])
        }
        var value = ShareSnapshotValue()
        value.snapshotEpoch = entry.map { $0.snapshotEpoch &+ 1 } ?? 0
        value.stateEpoch = stateEpoch
        value.startOffset = startOffset
        value.deliveryCompleteCount = startOffset == -1 ? -1 : 0
        value.createTimestamp = now
        value.writeTimestamp = now
        return ShareCoordinatorResult(response: (), records: [.snapshot(key, value)])
    }

    /// ReadShareGroupState: a partition's leader begins. From then on leaders of earlier epochs are not heard any more.
    public func read(
        _ key: SharePartitionKey, leaderEpoch: LeaderEpoch, now: Timestamp
    ) throws(ShareStateRefusal) -> ShareCoordinatorResult<SharePartitionState> {
        try refuseIfInvalid(key, leaderEpoch: leaderEpoch)
        guard let entry = entries[key] else {
            throw ShareStateRefusal(.invalidRequest, "Read operation on uninitialized share partition not allowed.")
        }
        guard entry.state.leaderEpoch <= leaderEpoch else { throw ShareStateRefusal(.fencedLeaderEpoch) }
        guard entry.state.leaderEpoch != leaderEpoch else { return ShareCoordinatorResult(response: entry.state, records: []) }
        let update = SharePartitionUpdate(
            stateEpoch: entry.state.stateEpoch, leaderEpoch: leaderEpoch, startOffset: entry.state.startOffset,
            deliveryCompleteCount: entry.state.deliveryCompleteCount, batches: [])
        return ShareCoordinatorResult(response: entry.state, records: [record(key, entry, update, now: now)])
    }

    /// WriteShareGroupState: what became of some records.
    public func write(
        _ key: SharePartitionKey, _ update: SharePartitionUpdate, now: Timestamp
    ) throws(ShareStateRefusal) -> ShareCoordinatorResult<Void> {
        try refuseIfInvalid(key, leaderEpoch: update.leaderEpoch, stateEpoch: update.stateEpoch)
        guard let entry = entries[key] else {
            throw ShareStateRefusal(.invalidRequest, "Write operation on uninitialized share partition not allowed.")
        }
        guard entry.state.leaderEpoch <= update.leaderEpoch else { throw ShareStateRefusal(.fencedLeaderEpoch) }
        guard entry.state.stateEpoch <= update.stateEpoch else { throw ShareStateRefusal(.fencedStateEpoch) }
        var accepted = update
        // The start never goes back, and its count of what is done belongs to one start.
        if update.startOffset < entry.state.startOffset {
            accepted.startOffset = entry.state.startOffset
            accepted.deliveryCompleteCount = entry.state.deliveryCompleteCount
        } else if update.startOffset == entry.state.startOffset {
            accepted.deliveryCompleteCount = max(update.deliveryCompleteCount, entry.state.deliveryCompleteCount)
        }
        accepted.leaderEpoch = entry.state.leaderEpoch
        return ShareCoordinatorResult(response: (), records: [record(key, entry, accepted, now: now)])
    }

    /// ReadShareGroupStateSummary: where a group stands, for those who administer it.
    public func summary(_ key: SharePartitionKey) throws(ShareStateRefusal) -> SharePartitionState {
        try refuseIfInvalid(key)
        var state = entries[key]?.state ?? .uninitialized
        state.batches = []
        return state
    }

    /// DeleteShareGroupState. What is not there counts as deleted.
    public func delete(_ key: SharePartitionKey) throws(ShareStateRefusal) -> ShareCoordinatorResult<Void> {
        try refuseIfInvalid(key)
        return ShareCoordinatorResult(response: (), records: entries[key] == nil ? [] : [.snapshot(key, nil)])
    }

    /// Topics are gone: so is what groups did with them.
    public func topicsDeleted(_ ids: [TopicID]) -> ShareCoordinatorResult<Void> {
        let ids = Set(ids)
        return ShareCoordinatorResult(
            response: (), records: entries.keys.filter { ids.contains($0.partition.topicID) }.map { .snapshot($0, nil) })
    }

    /// New snapshots of what has not been written for long while others were, so that the beginning of the log can go.
    public func coldSnapshots(now: Timestamp) -> ShareCoordinatorResult<Void> {
        guard entries.values.contains(where: { $0.createTimestamp == $0.writeTimestamp }) else {
            return ShareCoordinatorResult(response: (), records: [])
        }
        var records: [ShareStateRecord] = []
        for (key, entry) in entries where now &- entry.writeTimestamp >= configuration.coldSnapshotIntervalMilliseconds {
            var value = snapshot(entry, entry.state, now: now)
            value.createTimestamp = entry.createTimestamp
            records.append(.snapshot(key, value))
        }
        return ShareCoordinatorResult(response: (), records: records)
    }

    // MARK: Records

    /// An update, or a snapshot after as many updates as are permitted.
    private func record(_ key: SharePartitionKey, _ entry: Entry, _ update: SharePartitionUpdate, now: Timestamp) -> ShareStateRecord {
        guard entry.updateCount >= configuration.updatesPerSnapshot else {
            var value = ShareUpdateValue()
            value.snapshotEpoch = entry.snapshotEpoch
            value.leaderEpoch = update.leaderEpoch
            value.startOffset = update.startOffset
            value.deliveryCompleteCount = update.deliveryCompleteCount
            value.stateBatches = update.batches.combined(from: update.startOffset).map(\.updateBatch)
            return .update(key, value)
        }
        var state = entry.state
        state.leaderEpoch = update.leaderEpoch
        state.startOffset = update.startOffset
        state.deliveryCompleteCount = update.deliveryCompleteCount
        state.batches = (entry.state.batches + update.batches).combined(from: update.startOffset)
        return .snapshot(key, snapshot(entry, state, now: now))
    }

    private func snapshot(_ entry: Entry, _ state: SharePartitionState, now: Timestamp) -> ShareSnapshotValue {
        var value = ShareSnapshotValue()
        value.snapshotEpoch = entry.snapshotEpoch &+ 1
        value.stateEpoch = state.stateEpoch
        value.leaderEpoch = state.leaderEpoch
        value.startOffset = state.startOffset
        value.deliveryCompleteCount = state.deliveryCompleteCount
        value.createTimestamp = now
        value.writeTimestamp = now
        value.stateBatches = state.batches.map(\.snapshotBatch)
        return value
    }

    private func refuseIfInvalid(
        _ key: SharePartitionKey, leaderEpoch: LeaderEpoch = 0, stateEpoch: Int32 = 0
    ) throws(ShareStateRefusal) {
        func require(_ condition: Bool, _ message: String) throws(ShareStateRefusal) {
            guard condition else { throw ShareStateRefusal(.invalidRequest, message) }
        }
        try require(key.partition.topicID != .zero, "The topic id cannot be null.")
        try require(key.partition.partition >= 0, "The partition id cannot be a negative number.")
        try require(leaderEpoch >= 0, "The leader epoch cannot be a negative number.")
        try require(stateEpoch >= 0, "The state epoch cannot be a negative number.")
    }
}
