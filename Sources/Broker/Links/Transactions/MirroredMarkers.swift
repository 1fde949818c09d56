// The transaction markers in the mirrors that this broker leads: noted as they are appended, found in the log where they were appended
// before.
import Linking
import NIOCore
import Primitives
import RecordBatches
import Storage
import Synchronization

extension MirroredMarker {
    /// Reads a control batch; nil when it ends no transaction.
    init?(_ header: RecordBatchHeader, in buffer: ByteBuffer, at position: Int) {
        guard header.isControl, header.hasProducerId, let bytes = buffer.getSlice(at: position, length: header.sizeInBytes),
            var records = try? RecordBatch(bytes).records(), let record = try? records.next(),
            let marker = try? EndTransactionMarker(record)
        else { return nil }
        self.init(
            offset: header.baseOffset, producer: TransactionProducer(id: header.producerId, epoch: header.producerEpoch),
            isCommit: marker.outcome == .commit, timestamp: header.maxTimestamp)
    }
}

/// Markers of one link's mirrors.
final class MirroredMarkers: Sendable {
    /// All markers between two offsets of a mirror.
    private struct Stretch {
        var leaderEpoch: LeaderEpoch
        var from: Offset
        var upTo: Offset
        var markers: [MirroredMarker] = []
    }

    /// Most that is read of a log to answer one question.
    private static let maximumReadBytes = 8 << 20
    private static let chunkBytes = 1 << 20
    /// Most that is noted of a mirror; what is before is found in the log again.
    private static let maximumMarkers = 100_000

    private let stretches = Mutex<[TopicPartition: Stretch]>([:])

    /// Batches were appended that begin where the log ended.
    func appended(
        _ markers: [MirroredMarker], to partition: TopicPartition, leaderEpoch: LeaderEpoch, from: Offset, upTo: Offset
    ) {
        stretches.withLock { stretches in
            var stretch = stretches[partition] ?? Stretch(leaderEpoch: leaderEpoch, from: from, upTo: from)
            if stretch.leaderEpoch != leaderEpoch || stretch.upTo != from || stretch.markers.count > Self.maximumMarkers {
                stretch = Stretch(leaderEpoch: leaderEpoch, from: from, upTo: from)
            }
            stretches[partition] = nil
            stretch.markers += markers
            stretch.upTo = upTo
            stretches[partition] = stretch
        }
    }

    /// Lets go of markers that have been settled.
    func settled(_ partition: TopicPartition, before end: Offset) {
        stretches.withLock { stretches in
            guard var stretch = stretches[partition], let first = stretch.markers.first, first.offset < end else { return }
            stretches[partition] = nil
            stretch.markers.removeAll { $0.offset < end }
            stretch.from = max(stretch.from, min(end, stretch.upTo))
            stretches[partition] = stretch
        }
    }

    func forget(_ partition: TopicPartition) { stretches.withLock { $0[partition] = nil } }

    /// The markers from an offset on, in what is committed. May read the log: not for event loops.
    ///
    /// - Returns: and where what was looked at ends; nil when some may have been deleted before anybody knew of them.
    func markers(
        of partition: Partition, from offset: Offset, upTo end: Offset, leaderEpoch: LeaderEpoch
    ) throws(StorageError) -> (markers: [MirroredMarker], upTo: Offset)? {
        let noted = stretches.withLock { stretches -> Stretch? in
            guard let stretch = stretches[partition.topicPartition], stretch.leaderEpoch == leaderEpoch, stretch.from <= offset else {
                return nil
            }
            return stretch
        }
        if let noted {
            let upTo = max(offset, min(end, noted.upTo))
            return (noted.markers.filter { $0.offset >= offset && $0.offset < upTo }, upTo)
        }
        var found: [MirroredMarker] = []
        var (next, read) = (offset, 0)
        while next < end, read < Self.maximumReadBytes {
            let batches = try Self.batches(in: partition, from: next)
            // Nothing there, or not any more.
            guard let behind = batches.nextOffset, behind > next else {
                next = end
                break
            }
            found += batches.markers.filter { $0.offset >= offset && $0.offset < end }
            next = behind
            read += batches.bytes
        }
        let start = try partition.withLog { log throws(StorageError) in log.logStartOffset }
        return start > offset ? nil : (found, min(next, end))
    }

    /// The first commit that is not settled, of a transaction of which something is there: readers have not seen that, and may have seen
    /// what is around the marker of one whose records were all deleted. Takes as long as it takes to read on from where such transactions
    /// begin.
    ///
    /// - Returns: nil when there is none.
    static func firstCommit(in partition: Partition, behind settled: SettledMirror) throws(StorageError) -> Offset? {
        var open: Set<ProducerID> = []
        var next = min(settled.stable, settled.end)
        while true {
            let bytes = try bytes(in: partition, from: next)
            var position = bytes.readerIndex
            let former = next
            while let header = try? RecordBatchHeader(from: bytes, at: position), position + header.sizeInBytes <= bytes.writerIndex {
                defer { position += header.sizeInBytes }
                next = header.nextOffset
                guard header.hasProducerId, header.isTransactional else { continue }
                guard header.isControl else {
                    open.insert(header.producerId)
                    continue
                }
                if open.remove(header.producerId) != nil, header.baseOffset >= settled.end,
                    MirroredMarker(header, in: bytes, at: position)?.isCommit == true
                {
                    return header.baseOffset
                }
            }
            if next == former { return nil }
        }
    }

    private static func batches(in partition: Partition, from offset: Offset) throws(StorageError) -> FetchedBatches {
        FetchedBatches(try bytes(in: partition, from: offset), readingMarkers: true)
    }

    private static func bytes(in partition: Partition, from offset: Offset) throws(StorageError) -> ByteBuffer {
        try partition.withLog { log throws(StorageError) in
            let start = max(offset, log.logStartOffset)
            return start < log.logEndOffset
                ? try log.readBytes(from: start, maxBytes: chunkBytes, minOneBatch: true, isolation: .logEnd) : ByteBuffer()
        }
    }
}
