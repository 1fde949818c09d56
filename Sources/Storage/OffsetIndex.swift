// Offsets to positions: `.index`, 8 bytes an entry (relative offset of a batch's last record, position of the batch).
import Primitives

/// Where an offset stands in a segment file.
struct OffsetPosition: Equatable {
    var offset: Offset
    var position: Int
}

final class OffsetIndex: IndexFile {
    static let entrySize = 8
    let baseOffset: Offset

    /// - Parameter storedCount: entries of the file to believe; all that its size has room for when nil.
    init(path: String, baseOffset: Offset, storedCount: Int? = nil) {
        self.baseOffset = baseOffset
        let stored = storedCount ?? Self.storedCount(path: path, entrySize: Self.entrySize)
        super.init(path: path, entrySize: Self.entrySize, storedCount: stored)
    }

    func entry(_ index: Int) -> OffsetPosition {
        OffsetPosition(offset: baseOffset + Offset(load(index, 0, as: Int32.self)), position: Int(load(index, 4, as: Int32.self)))
    }

    var lastEntry: OffsetPosition? { count == 0 ? nil : entry(count - 1) }

    /// The last entry at or below `offset`, or the segment's beginning.
    func lookup(_ offset: Offset) -> OffsetPosition {
        let relative = offset - baseOffset
        guard let index = last(where: { Offset(load($0, 0, as: Int32.self)) <= relative }) else {
            return OffsetPosition(offset: baseOffset, position: 0)
        }
        return entry(index)
    }

    /// The last entry at or below a position.
    func lookup(position: Int) -> OffsetPosition? {
        last(where: { Int(load($0, 4, as: Int32.self)) <= position }).map { entry($0) }
    }

    /// The first entry above a position.
    func firstEntry(above position: Int) -> OffsetPosition? { firstEntry(atOrAbove: position + 1) }

    /// The first entry at or above a position: its offset bounds what lies before.
    func firstEntry(atOrAbove position: Int) -> OffsetPosition? {
        let below = last(where: { Int(load($0, 4, as: Int32.self)) < position })
        let index = below.map { $0 + 1 } ?? 0
        return index < count ? entry(index) : nil
    }

    func append(_ offset: Offset, position: Int) {
        appendEntry { bytes in
            bytes.appendBigEndian(Int32(truncatingIfNeeded: offset - baseOffset))
            bytes.appendBigEndian(Int32(truncatingIfNeeded: position))
        }
    }

    /// Whether the next entry would go beyond `segment.index.bytes`.
    func isFull(limit: Int) -> Bool { count >= limit / Self.entrySize }

    /// Forgets entries at or above `offset`.
    func truncate(to offset: Offset) throws(StorageError) {
        let relative = offset - baseOffset
        try truncate(toCount: last(where: { Offset(load($0, 0, as: Int32.self)) < relative }).map { $0 + 1 } ?? 0)
    }

    /// How many of the first entries make sense: growing, and within a file of `size` bytes. A preallocated tail of zeros does not.
    func plausibleCount(logSize size: Int) -> Int {
        var previous = OffsetPosition(offset: baseOffset - 1, position: -1)
        for index in 0..<count {
            let next = entry(index)
            guard next.offset > previous.offset, next.position > previous.position, next.position < size else { return index }
            // A batch at the segment's very beginning never gets an entry.
            if next.position == 0 { return index }
            previous = next
        }
        return count
    }

    /// A cheap look at both ends, for segments that were closed properly.
    func looksPlausible(logSize size: Int) -> Bool {
        guard count > 0 else { return true }
        let first = entry(0)
        let last = entry(count - 1)
        return first.offset >= baseOffset && first.position > 0 && last.position < size && last.offset >= first.offset
            && last.position >= first.position
    }
}
