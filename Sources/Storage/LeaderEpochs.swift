// Which leader wrote which part of the log: the entries of `leader-epoch-checkpoint` (KIP-101).
import Primitives

/// One leader epoch and the first offset written in it.
public struct LeaderEpochEntry: Sendable, Hashable {
    public var epoch: LeaderEpoch
    public var startOffset: Offset

    public init(epoch: LeaderEpoch, startOffset: Offset) {
        self.epoch = epoch
        self.startOffset = startOffset
    }
}

/// The epochs of one partition, ascending in epoch and offset.
///
/// Kept in memory and written when the log is flushed, rolled or closed: whatever a crash takes away stands in the batches behind
/// the recovery point.
public struct LeaderEpochs: Sendable, Equatable {
    public private(set) var entries: [LeaderEpochEntry] = []
    /// What the file holds.
    private var saved: [LeaderEpochEntry] = []

    public init() {}

    public var latest: LeaderEpochEntry? { entries.last }

    /// Notes that `epoch` begins at `startOffset`, and forgets entries that contradict it.
    public mutating func assign(_ epoch: LeaderEpoch, startOffset: Offset) {
        if let latest = entries.last, latest.epoch == epoch, startOffset >= latest.startOffset { return }
        guard epoch >= 0, startOffset >= 0 else { return }
        while let last = entries.last, last.epoch >= epoch || last.startOffset >= startOffset { entries.removeLast() }
        entries.append(LeaderEpochEntry(epoch: epoch, startOffset: startOffset))
    }

    /// Where the largest epoch not above `epoch` ends.
    public func endOffset(for epoch: LeaderEpoch, logEndOffset: Offset) -> EpochEndOffset {
        guard epoch >= 0, let latest = entries.last else { return .undefined }
        if latest.epoch == epoch { return EpochEndOffset(leaderEpoch: epoch, endOffset: logEndOffset) }
        guard let higher = entries.firstIndex(where: { $0.epoch > epoch }) else { return .undefined }
        let floor = higher > 0 ? entries[higher - 1].epoch : epoch
        return EpochEndOffset(leaderEpoch: floor, endOffset: entries[higher].startOffset)
    }

    /// The epoch in which `offset` was written; nil when it lies before the first entry.
    public func epoch(at offset: Offset) -> LeaderEpoch? {
        entries.last { $0.startOffset <= offset }?.epoch
    }

    /// Forgets epochs that begin at or after `offset`.
    public mutating func truncate(fromEnd offset: Offset) {
        while let last = entries.last, last.startOffset >= offset { entries.removeLast() }
    }

    /// Forgets epochs that end before `offset`; the one that spans it then begins there.
    mutating func truncate(fromStart offset: Offset) {
        guard let last = entries.lastIndex(where: { $0.startOffset <= offset }) else { return }
        if last == 0, entries[0].startOffset == offset { return }
        entries.removeFirst(last)
        entries[0].startOffset = offset
    }

    mutating func removeAll() {
        entries = []
    }

    // MARK: File

    static let fileName = "leader-epoch-checkpoint"

    /// No entries when there is no file.
    init(path: String) throws(StorageError) {
        for line in try CheckpointFile.lines(of: path) ?? [] {
            let fields = line.split(separator: " ", omittingEmptySubsequences: false)
            guard fields.count == 2, let epoch = LeaderEpoch(fields[0]), let offset = Offset(fields[1]) else {
                throw .corruptFile(path: path, reason: "\"\(line)\" is not epoch and offset")
            }
            assign(epoch, startOffset: offset)
        }
        saved = entries
    }

    /// Writes the file if it differs from what is here.
    mutating func writeIfChanged(to path: String, sync: Bool = true) throws(StorageError) {
        guard entries != saved else { return }
        try CheckpointFile.write(entries.map { "\($0.epoch) \($0.startOffset)" }, to: path, sync: sync)
        saved = entries
    }
}
