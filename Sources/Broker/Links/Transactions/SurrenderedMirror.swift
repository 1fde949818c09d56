// What the fetcher of a mirror that stops had fetched and not appended: transactions in it may be recorded as committed.
import NIOCore
import Primitives
import RecordBatches

/// A commit marker that a mirror was still to get.
struct ReleasedMarker: Sendable {
    var producer: ProducerID
    /// The marker's.
    var epoch: Int16
    var offset: Offset
}

/// Fetched batches that begin with a held marker.
struct SurrenderedMirror: Sendable {
    private let records: ByteBuffer
    let sourceStart: Offset

    init(_ fetched: FetchedMirror) {
        records = fetched.records
        sourceStart = fetched.sourceStart
    }

    /// The batches up to the last released marker among them; nil when there is none, or when they do not go on where the mirror ends. No
    /// other commit marker is before it: transactions are released in the order of their markers.
    func records(upTo released: [ReleasedMarker], from end: Offset) -> ByteBuffer? {
        let offsets = Set(released.map(\.offset))
        guard let first = try? RecordBatchHeader(from: records), first.baseOffset == end else { return nil }
        guard let last = FetchedBatches(records).commits.last(where: { offsets.contains($0.offset) }) else { return nil }
        return records.getSlice(at: records.readerIndex, length: last.position + last.size - records.readerIndex)
    }
}
