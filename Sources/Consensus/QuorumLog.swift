// What the quorum needs to know about the log: its bounds, where epochs begin, and which voters were set where (KIP-853: they take
// effect when appended, and truncation undoes them).
import KafkaRecords
import Primitives

/// Where an epoch begins in the log.
public struct EpochStart: Hashable, Sendable {
    public var epoch: LeaderEpoch
    public var startOffset: Offset

    public init(epoch: LeaderEpoch, startOffset: Offset) {
        self.epoch = epoch
        self.startOffset = startOffset
    }
}

/// What the log and its newest snapshot say when the node starts.
public struct QuorumLog: Sendable {
    /// The first offset that the log still holds; 0, or the end offset of a snapshot.
    public var startOffset: Offset = 0
    /// The offset after the last record.
    public var endOffset: Offset
    /// The leader epoch of the last record; 0 for an empty log.
    public var lastEpoch: LeaderEpoch
    /// Where epochs begin, in order; with the epoch of the snapshot at `startOffset` first. May be left empty by a sole voter.
    public var epochs: [EpochStart] = []
    /// The finished snapshots, oldest first.
    public var snapshots: [SnapshotID] = []
    /// True when the voters stand only in the snapshot that formatting wrote, so that the first leader must log them.
    public var votersAreOnlyInBootstrapSnapshot = false
    var history = VoterHistory()

    public init(endOffset: Offset, lastEpoch: LeaderEpoch) {
        self.endOffset = endOffset
        self.lastEpoch = lastEpoch
    }

    /// The level of kraft.version in the newest control record.
    public var kraftVersion: Int16 { history.kraftVersion }

    /// The voters in the newest control record.
    public var voters: VoterSet? { history.voters }

    /// Takes note of a control record, in log order.
    ///
    /// - Parameter offset: where it stands in the log; -1 for one of a snapshot.
    public mutating func replay(
        _ record: QuorumControlRecord, at offset: Offset = -1, inBootstrapSnapshot: Bool = false
    ) throws(QuorumError) {
        try history.replay(record, at: offset)
        if case .voters = record { votersAreOnlyInBootstrapSnapshot = inBootstrapSnapshot }
    }
}

/// Whether a follower's log is the beginning of this one.
enum LogPosition: Hashable, Sendable {
    case valid
    /// It is not: this log's epoch ends there, and the follower must cut its own to that.
    case diverging(LeaderEpoch, endOffset: Offset)
    /// This log begins later than the follower's end.
    case snapshot(SnapshotID)
}

extension QuorumLog {
    var endKey: (epoch: LeaderEpoch, offset: Offset) { (lastEpoch, endOffset) }

    /// Records were appended up to there, the last of them in `epoch`.
    mutating func append(endingAt offset: Offset, epoch: LeaderEpoch) {
        if epochs.last.map({ $0.epoch < epoch }) ?? true { epochs.append(EpochStart(epoch: epoch, startOffset: endOffset)) }
        lastEpoch = max(lastEpoch, epoch)
        endOffset = offset
    }

    mutating func truncate(to offset: Offset) {
        guard offset < endOffset else { return }
        while let last = epochs.last, last.startOffset >= offset { epochs.removeLast() }
        endOffset = offset
        lastEpoch = epochs.last?.epoch ?? snapshots.last { $0.endOffset <= offset }?.epoch ?? 0
        history.truncate(to: offset)
    }

    /// The log was replaced by a snapshot.
    mutating func restart(at id: SnapshotID, _ history: VoterHistory) {
        startOffset = id.endOffset
        endOffset = id.endOffset
        lastEpoch = id.epoch
        epochs = [EpochStart(epoch: id.epoch, startOffset: id.endOffset)]
        snapshots = [id]
        self.history = history
        votersAreOnlyInBootstrapSnapshot = false
    }

    mutating func add(_ id: SnapshotID, startOffset: Offset) {
        if !snapshots.contains(id) {
            snapshots.append(id)
            snapshots.sort()
        }
        guard startOffset > self.startOffset else { return }
        self.startOffset = startOffset
        snapshots.removeAll { $0.endOffset < startOffset }
        while epochs.count > 1, epochs[1].startOffset <= startOffset { epochs.removeFirst() }
        if !epochs.isEmpty, epochs[0].startOffset < startOffset { epochs[0].startOffset = startOffset }
        history.trim(before: startOffset)
    }

    /// Where the records of the newest epoch that is not above `epoch` end.
    func end(of epoch: LeaderEpoch) -> (epoch: LeaderEpoch, offset: Offset) {
        guard let last = epochs.last, epoch <= last.epoch else { return endKey }
        if epoch == last.epoch { return (epoch, endOffset) }
        guard let above = epochs.firstIndex(where: { $0.epoch > epoch }) else { return endKey }
        return (above == 0 ? epoch : epochs[above - 1].epoch, epochs[above].startOffset)
    }

    /// Where a follower stands whose log ends at `offset` with a record of `epoch`.
    func locate(offset: Offset, epoch: LeaderEpoch) -> LogPosition {
        if offset == 0, let newest = snapshots.last, newest != .bootstrap { return .snapshot(newest) }
        if startOffset == 0, offset == 0 { return .valid }
        if let oldest = snapshots.first, let newest = snapshots.last,
            offset < startOffset || (offset == startOffset && epoch != oldest.epoch) || epoch < oldest.epoch
        {
            return .snapshot(newest)
        }
        let end = end(of: epoch)
        return end.epoch != epoch || end.offset < offset ? .diverging(end.epoch, endOffset: end.offset) : .valid
    }

    /// Where this log has to be cut if the leader's records of `epoch` end at `offset`.
    func truncationOffset(leaderEpoch epoch: LeaderEpoch, endOffset offset: Offset) -> Offset {
        if epoch == 0 { return min(offset, endOffset) }
        let own = end(of: epoch)
        return own.epoch == epoch ? min(own.offset, offset) : own.offset
    }
}

/// The voters and the level of kraft.version, by the offset of the record that set them.
struct VoterHistory: Hashable, Sendable {
    struct Entry<Value: Hashable & Sendable>: Hashable, Sendable {
        var offset: Offset
        var value: Value
    }

    private(set) var voterSets: [Entry<VoterSet>] = []
    private(set) var kraftVersions: [Entry<Int16>] = []

    var voters: VoterSet? { voterSets.last?.value }
    var kraftVersion: Int16 { kraftVersions.last?.value ?? 0 }
    /// Where the newest voters were set; -1 when by a snapshot or not at all.
    var votersOffset: Offset { voterSets.last?.offset ?? -1 }
    var kraftVersionOffset: Offset { kraftVersions.last?.offset ?? -1 }

    mutating func replay(_ record: QuorumControlRecord, at offset: Offset) throws(QuorumError) {
        switch record {
        case .kraftVersion(let message): kraftVersions.append(Entry(offset: offset, value: message.kRaftVersion))
        case .voters(let message): voterSets.append(Entry(offset: offset, value: try VoterSet(message)))
        case .leaderChange, .snapshotHeader, .snapshotFooter: break
        }
    }

    /// Forgets what was set at `offset` or behind it.
    mutating func truncate(to offset: Offset) {
        voterSets.removeAll { $0.offset >= offset }
        kraftVersions.removeAll { $0.offset >= offset }
    }

    /// Forgets what was replaced before `offset`.
    mutating func trim(before offset: Offset) {
        while voterSets.count > 1, voterSets[1].offset < offset { voterSets.removeFirst() }
        while kraftVersions.count > 1, kraftVersions[1].offset < offset { kraftVersions.removeFirst() }
    }

    /// What was in force for a snapshot that ends at `offset`.
    func state(before offset: Offset) -> (kraftVersion: Int16, voters: VoterSet?) {
        (kraftVersions.last { $0.offset < offset }?.value ?? 0, voterSets.last { $0.offset < offset }?.value)
    }
}
