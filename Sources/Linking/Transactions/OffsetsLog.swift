// One partition of the source's `__consumer_offsets`, as far as transactions commit offsets there: to the gate it is one more mirror, whose
// markers bring the offsets with them.
import Collections
import Primitives

/// What has been read of one partition.
public struct OffsetsLog: Sendable {
    public static let topic = "__consumer_offsets"

    private struct Open {
        var first: Offset
        var offsets: [SourceGroupOffset] = []
    }

    private struct Ended {
        var first: Offset
        var marker: Offset
    }

    /// The next offset to be read.
    public private(set) var next: Offset
    private var open: [ProducerID: Open] = [:]
    /// Transactions that may not be settled yet.
    private var ended: Deque<Ended> = []
    private var markers: [MirroredMarker] = []
    /// Markers from here on have not been reported.
    private var reported: Offset

    /// - Parameter settled: markers before its end are known.
    public init(_ settled: SettledMirror) {
        next = min(settled.stable, settled.end)
        reported = settled.end
    }

    /// Offsets that a transaction commits, if it is committed.
    public mutating func commit(_ offsets: [SourceGroupOffset], by producer: ProducerID, at offset: Offset) {
        open[producer, default: Open(first: offset)].offsets += offsets
    }

    /// A transaction's end.
    public mutating func end(_ marker: MirroredMarker) {
        let transaction = open.removeValue(forKey: marker.producer.id)
        guard marker.offset >= reported else { return }
        var marker = marker
        if marker.isCommit { marker.groupOffsets = transaction?.offsets ?? [] }
        markers.append(marker)
        ended.append(Ended(first: transaction?.first ?? marker.offset, marker: marker.offset))
    }

    /// Everything before an offset has been read.
    public mutating func pass(before offset: Offset) { next = max(next, offset) }

    /// What is new, for the gate.
    ///
    /// - Parameters:
    ///   - settledEnd: how far the partition is settled, or was.
    ///   - coveredAt: monotonic milliseconds: what was there then has been read; nil if that is not known of any time.
    /// - Returns: nil as long as what is known has not been come to.
    public mutating func takeReport(settledEnd: Offset, coveredAt: Int64?) -> MirrorReport? {
        while let first = ended.first, first.marker < settledEnd { ended.removeFirst() }
        guard next >= reported else { return nil }
        let begins = [open.values.map(\.first).min(), ended.map(\.first).min()].compactMap { $0 }
        defer {
            markers = []
            reported = next
        }
        return MirrorReport(
            leaderEpoch: 0, from: reported, upTo: next, markers: markers, stableOffset: min(next, begins.min() ?? next),
            coveredAt: coveredAt)
    }
}
