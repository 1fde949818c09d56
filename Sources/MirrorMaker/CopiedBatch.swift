// What was fetched, made ready to be produced: batches as they are wherever the target can take them so, put together or taken apart where
// it cannot. Only then are records looked at.
import MartletClient
import NIOCore
import Primitives
import RecordBatches

/// A batch for the target, without a producer's identity yet.
struct CopiedBatch: Sendable {
    /// Records that follow one another on the source.
    struct Segment: Hashable, Sendable {
        var upstream: Int64
        var count: Int64
    }

    var bytes: ByteBuffer
    var count: Int
    var segments: [Segment]
    /// Milliseconds since 1970 of the newest record.
    var maximumTimestamp: Int64

    /// The bytes with a producer's identity, as they are sent.
    func bytes(
        producerID: ProducerID, epoch: Int16, sequence: Int32, isTransactional: Bool
    ) throws(RecordBatchError) -> ByteBuffer {
        var bytes = bytes
        let start = bytes.readerIndex
        var header = try RecordBatchHeader(from: bytes)
        header.baseOffset = 0
        header.partitionLeaderEpoch = -1
        header.producerId = producerID
        header.producerEpoch = epoch
        header.baseSequence = sequence
        header.attributes.isTransactional = isTransactional
        header.write(into: &bytes, at: start)
        let checksum = bytes.withUnsafeReadableBytes {
            CRC32C.checksum(UnsafeRawBufferPointer(rebasing: $0[RecordBatchHeader.Position.attributes...]))
        }
        bytes.setInteger(checksum, at: start + RecordBatchHeader.Position.crc)
        return bytes
    }

    /// Two halves, for a target that takes no batch so large; nil for a single record.
    func halves(_ compression: Compression?) throws(RecordBatchError) -> (CopiedBatch, CopiedBatch)? {
        guard count > 1 else { return nil }
        let batch = try RecordBatch(bytes)
        let stored = Compression(try batch.header.compression)
        let codec = compression ?? stored
        var parts = [RecordAssembly(codec), RecordAssembly(codec)]
        var offsets = segments.flatMap { segment in (0..<segment.count).map { segment.upstream + $0 } }.makeIterator()
        var iterator = try batch.records()
        var index = 0
        while var record = try iterator.next() {
            record.offset = offsets.next() ?? record.offset
            parts[index < count / 2 ? 0 : 1].append(record)
            index += 1
        }
        return (try parts[0].finish(), try parts[1].finish())
    }
}

/// Records that are put into a new batch.
struct RecordAssembly {
    private var builder: RecordBatchBuilder
    private var segments: [CopiedBatch.Segment] = []

    init(_ compression: Compression, capacity: Int = 2048) {
        builder = RecordBatchBuilder(compression: compression, capacity: capacity)
    }

    var isEmpty: Bool { builder.isEmpty }
    var size: Int { builder.uncompressedSize }

    mutating func append(_ record: Record) {
        builder.append(timestamp: record.timestamp, key: record.key, value: record.value, headers: record.headers)
        if let last = segments.last, last.upstream + last.count == record.offset {
            segments[segments.count - 1].count += 1
        } else {
            segments.append(CopiedBatch.Segment(upstream: record.offset, count: 1))
        }
    }

    mutating func finish() throws(RecordBatchError) -> CopiedBatch {
        let (count, newest) = (builder.count, builder.maxTimestamp)
        return CopiedBatch(bytes: try builder.finish(), count: count, segments: segments, maximumTimestamp: newest)
    }
}

/// Makes copies of one partition's batches.
struct BatchCopying {
    /// Batches of this size are not put together with others.
    static let largeBatch = 16 << 10

    let compression: Compression?
    let batchSize: Int
    /// Nil when records are copied as they are.
    private var rewriting: RecordRewriting?
    private var copies: [CopiedBatch] = []
    /// Small batches that wait to be put together.
    private var small: [ConsumerBatch] = []
    private var smallBytes = 0

    private init(_ settings: ProduceSettings, _ rewriting: RecordRewriting?) {
        self.rewriting = rewriting
        compression = settings.compression
        batchSize = settings.batchSize
    }

    /// Copies of batches in their order; markers and what was aborted are passed over.
    ///
    /// - Parameter rewriting: what becomes of the records; tells afterwards what was done.
    static func copies(
        of batches: [ConsumerBatch], _ settings: ProduceSettings, _ rewriting: inout RecordRewriting?
    ) throws(RecordBatchError) -> [CopiedBatch] {
        var copying = BatchCopying(settings, rewriting)
        for batch in batches where batch.batch != nil { try copying.add(batch) }
        try copying.flush()
        rewriting = copying.rewriting
        return copying.copies
    }

    private mutating func add(_ batch: ConsumerBatch) throws(RecordBatchError) {
        if rewriting == nil, batch.storedBytes >= Self.largeBatch, let whole = try whole(batch) {
            try flush()
            copies.append(whole)
            return
        }
        small.append(batch)
        smallBytes += batch.storedBytes
        if smallBytes >= batchSize { try flush() }
    }

    private mutating func flush() throws(RecordBatchError) {
        defer {
            small.removeAll(keepingCapacity: true)
            smallBytes = 0
        }
        guard let first = small.first, let stored = first.batch else { return }
        if rewriting == nil, small.count == 1, let whole = try whole(first) {
            copies.append(whole)
            return
        }
        let own = Compression(try stored.header.compression)
        let codec = compression ?? own
        var assembly = RecordAssembly(codec, capacity: smallBytes + RecordBatchHeader.size)
        for item in small {
            guard let batch = item.batch else { continue }
            var iterator = try batch.records()
            while let record = try iterator.next() {
                guard record.offset >= item.startOffset, let record = rewritten(record) else { continue }
                assembly.append(record)
                guard assembly.size >= max(batchSize, 1) else { continue }
                copies.append(try assembly.finish())
                assembly = RecordAssembly(codec)
            }
        }
        if !assembly.isEmpty { copies.append(try assembly.finish()) }
    }

    /// Nil for a record that is left out.
    private mutating func rewritten(_ record: Record) -> Record? {
        rewriting == nil ? record : rewriting?.rewrite(record)
    }

    /// The batch as it is, if the target takes it so: all of its records, none missing, with their own timestamps.
    private func whole(_ item: ConsumerBatch) throws(RecordBatchError) -> CopiedBatch? {
        guard let batch = item.batch else { return nil }
        let header = batch.header
        guard header.baseOffset >= item.startOffset, header.recordCount > 0, header.recordCount == header.lastOffsetDelta &+ 1,
            header.timestampType == .createTime, !header.attributes.hasDeleteHorizon
        else { return nil }
        if let compression, compression.type != (try header.compression) { return nil }
        return CopiedBatch(
            bytes: batch.bytes, count: Int(header.recordCount),
            segments: [CopiedBatch.Segment(upstream: header.baseOffset, count: Int64(header.recordCount))],
            maximumTimestamp: header.maxTimestamp)
    }
}
