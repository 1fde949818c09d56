// The numbers that decide about cleaning: what can be cleaned, how dirty it is, which segments become one.
import Primitives
import Testing

@testable import Storage

@Suite("Compaction: planning")
struct CompactionPlanTests {
    private let configuration = LogConfiguration.compacted

    /// Segments of 100 offsets each, the last one active.
    private func log(_ sizes: [Int], start: Offset = 0, stable: Offset? = nil) -> LogOutline {
        let segments = sizes.enumerated().map { SegmentOutline(baseOffset: Offset($0 * 100), size: $1) }
        let end = Offset(sizes.count * 100)
        return LogOutline(logStartOffset: start, logEndOffset: end, lastStableOffset: stable ?? end, segments: segments)
    }

    private func candidate(
        _ log: LogOutline, cleaned: Offset?, _ change: (inout LogConfiguration) -> Void = { _ in }, now: Timestamp = 10_000
    ) -> CleaningCandidate {
        var configuration = configuration
        change(&configuration)
        return CompactionPlan.candidate(log, cleanedOffset: cleaned, configuration: configuration, now: now)
    }

    @Test("All but the active segment is dirty at first")
    func first() {
        let found = candidate(log([10, 20, 30, 40]), cleaned: nil)
        #expect(found.firstDirtyOffset == 0 && found.firstUncleanableOffset == 300)
        #expect(found.cleanBytes == 0 && found.cleanableBytes == 60 && found.cleanableRatio == 1)
        #expect(!found.replacesCheckpoint)
    }

    @Test("The ratio is dirty bytes to all that can be cleaned")
    func ratio() {
        let found = candidate(log([10, 20, 30, 40]), cleaned: 200)
        #expect(found.cleanBytes == 30 && found.cleanableBytes == 30 && found.cleanableRatio == 0.5)
        #expect(!found.isDue(minCleanableDirtyRatio: 0.5), "it has to be more than the ratio")
        #expect(found.isDue(minCleanableDirtyRatio: 0.49))
        #expect(candidate(log([10, 20, 30, 40]), cleaned: 300).cleanableBytes == 0)
    }

    @Test("A segment that the map did not take in whole counts as clean and as dirty, as in Kafka")
    func partly() {
        let found = candidate(log([10, 20, 30, 40]), cleaned: 150)
        #expect(found.cleanBytes == 30 && found.cleanableBytes == 50)
    }

    @Test("Undecided transactions bound it at a segment")
    func lastStableOffset() {
        #expect(candidate(log([10, 20, 30, 40], stable: 150), cleaned: nil).firstUncleanableOffset == 100)
        #expect(candidate(log([10, 20, 30, 40], stable: 200), cleaned: nil).firstUncleanableOffset == 200)
        let behind = candidate(log([10, 20, 30, 40], stable: 150), cleaned: 170)
        #expect(behind.cleanableBytes == 0 && !behind.isDue(minCleanableDirtyRatio: 0))
    }

    @Test("min.compaction.lag.ms keeps young segments, and all behind them")
    func minimumLag() {
        var outline = log([10, 20, 30, 40])
        outline.segments[0].largestTimestamp = 5000
        outline.segments[1].largestTimestamp = 9500
        outline.segments[2].largestTimestamp = 100
        let found = candidate(outline, cleaned: nil) { $0.minCompactionLagMilliseconds = 1000 }
        #expect(found.firstUncleanableOffset == 100 && found.cleanableBytes == 10)
    }

    @Test("max.compaction.lag.ms makes a log due whatever its ratio")
    func maximumLag() {
        var outline = log([1000, 20, 30])
        outline.segments[1].firstTimestamp = 4000
        let found = candidate(outline, cleaned: 100) { $0.maxCompactionLagMilliseconds = 5000 }
        #expect(found.delayMilliseconds == 1000)
        #expect(found.isDue(minCleanableDirtyRatio: 1))
        let early = candidate(outline, cleaned: 100, { $0.maxCompactionLagMilliseconds = 5000 }, now: 8000)
        #expect(early.delayMilliseconds == 0 && !early.isDue(minCleanableDirtyRatio: 1))
    }

    @Test("A checkpoint outside of the log is replaced by the log's start", arguments: [50, 401])
    func impossibleCheckpoint(_ offset: Offset) {
        let found = candidate(log([10, 20, 30, 40], start: 100), cleaned: offset)
        #expect(found.replacesCheckpoint && found.firstDirtyOffset == 100)
    }

    // MARK: Groups

    private func groups(_ segments: [SegmentOutline], limit: Offset? = nil) -> [[Int]] {
        var configuration = configuration
        configuration.segmentBytes = 100
        configuration.segmentIndexBytes = 50
        let end = limit ?? (segments.last?.baseOffset ?? 0) + 100
        return CompactionPlan.groups(segments, configuration: configuration, firstUncleanableOffset: end).map(Array.init)
    }

    @Test("Neighbours become one as long as they fit")
    func grouping() {
        #expect(groups(log([40, 60, 1, 99, 100, 150, 10]).segments) == [[0, 1], [2, 3], [4], [5], [6]])
        #expect(groups([]) == [])
    }

    @Test("Indexes have to fit as well")
    func indexes() {
        var segments = log([10, 10, 10, 10]).segments
        segments[0].offsetIndexBytes = 30
        segments[1].offsetIndexBytes = 20
        segments[2].offsetIndexBytes = 1
        segments[2].timeIndexBytes = 30
        segments[3].timeIndexBytes = 30
        #expect(groups(segments) == [[0, 1], [2], [3]])
    }

    @Test("Offsets of a group fit 31 bits, but for empty segments")
    func offsetRange() {
        let far = Offset(Int32.max)
        let segments = [
            SegmentOutline(baseOffset: 0, size: 10), SegmentOutline(baseOffset: 100, size: 10),
            SegmentOutline(baseOffset: far, size: 10), SegmentOutline(baseOffset: far + 10, size: 0),
        ]
        #expect(groups(segments, limit: far + 20) == [[0, 1], [2, 3]])
        #expect(groups(Array(segments[..<3]), limit: far + 1) == [[0, 1, 2]], "the last offset is the largest that fits")
        #expect(groups([segments[0], SegmentOutline(baseOffset: far * 2, size: 0)], limit: far * 2 + 1) == [[0, 1]])
    }
}
