// Timestamps to offsets: `.timeindex`, 12 bytes an entry (largest timestamp so far, relative offset of its batch's last record).
import Primitives

/// A timestamp and the last offset of the batch that has it.
struct TimestampOffset: Equatable {
    var timestamp: Timestamp
    var offset: Offset
}

final class TimeIndex: IndexFile {
    static let entrySize = 12
    let baseOffset: Offset
    private var cachedLast: TimestampOffset?

    /// - Parameter storedCount: entries of the file to believe; all that its size has room for when nil.
    init(path: String, baseOffset: Offset, storedCount: Int? = nil) {
        self.baseOffset = baseOffset
        let stored = storedCount ?? Self.storedCount(path: path, entrySize: Self.entrySize)
        super.init(path: path, entrySize: Self.entrySize, storedCount: stored)
    }

    func entry(_ index: Int) -> TimestampOffset {
        TimestampOffset(timestamp: load(index, 0, as: Int64.self), offset: baseOffset + Offset(load(index, 8, as: Int32.self)))
    }

    /// The newest entry, or no timestamp at the segment's beginning.
    var lastEntry: TimestampOffset {
        if let cachedLast { return cachedLast }
        let last = count == 0 ? TimestampOffset(timestamp: -1, offset: baseOffset) : entry(count - 1)
        cachedLast = last
        return last
    }

    /// The last entry at or below `timestamp`, or no timestamp at the segment's beginning.
    func lookup(_ timestamp: Timestamp) -> TimestampOffset {
        guard let index = last(where: { load($0, 0, as: Int64.self) <= timestamp }) else {
            return TimestampOffset(timestamp: -1, offset: baseOffset)
        }
        return entry(index)
    }

    /// Appends unless the timestamp is not larger than the newest one.
    func appendIfLarger(_ next: TimestampOffset) {
        let last = lastEntry
        guard next.timestamp > last.timestamp, next.offset >= last.offset || count == 0 else { return }
        appendEntry { bytes in
            bytes.appendBigEndian(next.timestamp)
            bytes.appendBigEndian(Int32(truncatingIfNeeded: next.offset - baseOffset))
        }
        cachedLast = next
    }

    /// One entry is kept free for the one that closing appends.
    func isFull(limit: Int) -> Bool { count >= limit / Self.entrySize - 1 }

    /// Forgets entries at or above `offset`.
    func truncate(to offset: Offset) throws(StorageError) {
        let relative = offset - baseOffset
        cachedLast = nil
        try truncate(toCount: last(where: { Offset(load($0, 8, as: Int32.self)) < relative }).map { $0 + 1 } ?? 0)
    }

    func removeAll() throws(StorageError) {
        cachedLast = nil
        try truncate(toCount: 0)
    }

    /// How many of the first entries make sense: growing in time and offset.
    func plausibleCount() -> Int {
        var previous = TimestampOffset(timestamp: -1, offset: baseOffset - 1)
        for index in 0..<count {
            let next = entry(index)
            guard next.timestamp > previous.timestamp, next.offset >= max(previous.offset, baseOffset) else { return index }
            previous = next
        }
        return count
    }

    /// A cheap look at both ends, for segments that were closed properly.
    func looksPlausible(nextOffset: Offset?) -> Bool {
        guard count > 0 else { return true }
        let first = entry(0)
        let last = entry(count - 1)
        guard first.offset >= baseOffset, last.offset >= first.offset, last.timestamp >= first.timestamp else { return false }
        return nextOffset.map { last.offset < $0 } ?? true
    }
}
