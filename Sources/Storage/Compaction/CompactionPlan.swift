// What of a log can be cleaned, how dirty it is, and which segments become one: decided from numbers alone, by Kafka's rules.
import Primitives

/// A segment as planning sees it.
struct SegmentOutline: Equatable {
    var baseOffset: Offset
    var size: Int
    var offsetIndexBytes = 0
    var timeIndexBytes = 0
    /// What its age counts from for `min.compaction.lag.ms`; looked up only where that is set.
    var largestTimestamp: Timestamp = 0
    /// Of its first batch, for `max.compaction.lag.ms`; looked up only where that is set. 0 or less when it has none.
    var firstTimestamp: Timestamp = 0
}

/// A log as planning sees it.
struct LogOutline: Equatable {
    var logStartOffset: Offset
    var logEndOffset: Offset
    var lastStableOffset: Offset
    /// Ascending; the last one is the active one.
    var segments: [SegmentOutline]
}

/// What can be cleaned of a log, and how much it needs it.
public struct CleaningCandidate: Sendable, Equatable {
    /// Everything below it was cleaned before.
    public var firstDirtyOffset: Offset
    /// Cleaning ends here, at a segment's beginning: the active segment, undecided transactions and what is younger than
    /// `min.compaction.lag.ms` stay as they are.
    public var firstUncleanableOffset: Offset
    public var cleanBytes: Int
    public var cleanableBytes: Int
    /// How long ago records should have been compacted according to `max.compaction.lag.ms`; 0 when none are late.
    public var delayMilliseconds: Int64
    /// The checkpoint that was found cannot be true and has to be replaced by `firstDirtyOffset`.
    public var replacesCheckpoint: Bool

    public var totalBytes: Int { cleanBytes + cleanableBytes }
    /// The dirty part of what can be cleaned, 0 to 1.
    public var cleanableRatio: Double { totalBytes == 0 ? 0 : Double(cleanableBytes) / Double(totalBytes) }

    /// Whether the log is to be cleaned now (KIP-354 for logs that are late).
    public func isDue(minCleanableDirtyRatio: Double) -> Bool {
        guard totalBytes > 0 else { return false }
        return delayMilliseconds > 0 && cleanableBytes > 0 || cleanableRatio > minCleanableDirtyRatio
    }
}

enum CompactionPlan {
    /// What can be cleaned.
    /// - Parameter cleanedOffset: of the checkpoint; nil when the log was never cleaned.
    static func candidate(
        _ log: LogOutline, cleanedOffset: Offset?, configuration: LogConfiguration, now: Timestamp
    ) -> CleaningCandidate {
        let checkpoint = cleanedOffset ?? log.logStartOffset
        let isValid = (log.logStartOffset...max(log.logStartOffset, log.logEndOffset)).contains(checkpoint)
        let firstDirty = isValid ? checkpoint : log.logStartOffset
        let dirty = closed(log, from: firstDirty)
        var limit = log.lastStableOffset
        let minimumLag = max(configuration.minCompactionLagMilliseconds, 0)
        if minimumLag > 0, let young = dirty.first(where: { $0.largestTimestamp > now - minimumLag }) {
            limit = min(limit, young.baseOffset)
        }
        // A segment is cleaned whole or not at all: from the one that the limit falls into on nothing is.
        let active = log.segments[log.segments.count - 1].baseOffset
        let firstUncleanable = closed(log, from: max(limit, firstDirty)).first?.baseOffset ?? active
        let cleanable = closed(log, from: min(firstDirty, firstUncleanable)).prefix { $0.baseOffset < firstUncleanable }
        return CleaningCandidate(
            firstDirtyOffset: firstDirty, firstUncleanableOffset: firstUncleanable,
            cleanBytes: log.segments.prefix { $0.baseOffset < firstDirty }.reduce(0) { $0 + $1.size },
            cleanableBytes: cleanable.reduce(0) { $0 + $1.size },
            delayMilliseconds: delay(dirty, configuration: configuration, now: now), replacesCheckpoint: !isValid)
    }

    /// The segments behind which others follow, from the one on that holds `offset`.
    private static func closed(_ log: LogOutline, from offset: Offset) -> ArraySlice<SegmentOutline> {
        let closed = log.segments.dropLast()
        if offset >= log.segments[log.segments.count - 1].baseOffset { return [] }
        return closed.dropFirst(max(0, closed.prefix { $0.baseOffset <= offset }.count - 1))
    }

    private static func delay(_ dirty: ArraySlice<SegmentOutline>, configuration: LogConfiguration, now: Timestamp) -> Int64 {
        guard configuration.maxCompactionLagMilliseconds < .max else { return 0 }
        guard let earliest = dirty.map(\.firstTimestamp).filter({ $0 > 0 }).min() else { return 0 }
        let (limit, overflow) = now.subtractingReportingOverflow(max(configuration.maxCompactionLagMilliseconds, 0))
        return overflow || earliest >= limit ? 0 : limit - earliest
    }

    /// Which segments are cleaned into one: neighbours that together stay below the limits of one, so that segments do not get ever
    /// smaller, and whose offsets fit the index of one.
    /// - Parameters:
    ///   - segments: all that are cleaned, ascending.
    ///   - firstUncleanableOffset: where the last one ends at the latest.
    static func groups(
        _ segments: [SegmentOutline], configuration: LogConfiguration, firstUncleanableOffset: Offset
    ) -> [Range<Int>] {
        var groups: [Range<Int>] = []
        var index = 0
        while index < segments.count {
            let start = index
            var total = segments[start]
            index += 1
            while index < segments.count {
                let next = segments[index]
                let end = index + 1 < segments.count ? segments[index + 1].baseOffset : firstUncleanableOffset
                guard total.size + next.size <= configuration.segmentBytes,
                    total.offsetIndexBytes + next.offsetIndexBytes <= configuration.segmentIndexBytes,
                    total.timeIndexBytes + next.timeIndexBytes <= configuration.segmentIndexBytes,
                    // An empty one is taken in whatever its offsets, or empty segments would stay for ever.
                    next.size == 0 || end - 1 - segments[start].baseOffset <= Offset(Int32.max)
                else { break }
                total.size += next.size
                total.offsetIndexBytes += next.offsetIndexBytes
                total.timeIndexBytes += next.timeIndexBytes
                index += 1
            }
            groups.append(start..<index)
        }
        return groups
    }
}
