// Keeping some of a batch's records and dropping the others, as compaction does: offsets stay, the rest is packed anew.
//
// Records are never decoded into values of their own. What is kept of each is a range of bytes; only its length, timestamp delta and
// offset delta are written again.
import NIOCore
import Primitives

/// One stored record, as far as compaction looks at it.
public struct StoredRecord {
    public var offset: Offset
    /// Nil without a key. Valid only during the call that the record is handed to.
    public var key: UnsafeRawBufferPointer?
    /// Whether it has a value; a record with a key and no value is a tombstone.
    public var hasValue: Bool
}

extension RecordBatchHeader {
    /// Calls `body` with the encoded records of the batch in `bytes`, decompressed if need be, never more than `maximumSize` of them.
    public func withRecords<Result>(
        of bytes: UnsafeRawBufferPointer, maximumSize: Int = RecordBatch.defaultMaximumDecompressedSize,
        _ body: (UnsafeRawBufferPointer) throws(RecordBatchError) -> Result
    ) throws(RecordBatchError) -> Result {
        guard recordCount >= 0 else { throw .invalidHeader("record count \(recordCount)") }
        let stored = UnsafeRawBufferPointer(rebasing: bytes[Self.size..<sizeInBytes])
        let type = try compression
        if type == .none || recordCount == 0 { return try body(stored) }
        let section = try Compression.decompress(ByteBuffer(bytes: stored), type: type, maximumSize: maximumSize)
        return try section.withUnsafeReadableBytes { section throws(RecordBatchError) in try body(section) }
    }

    /// Calls `body` with each of the encoded records in `section`; stops when it returns false.
    public func forEachRecord(
        in section: UnsafeRawBufferPointer, _ body: (StoredRecord) throws(RecordBatchError) -> Bool
    ) throws(RecordBatchError) {
        var position = 0
        for index in 0..<max(0, Int(recordCount)) {
            let layout = try RecordLayout(section, at: position, index: index)
            position = layout.end
            guard try body(StoredRecord(layout, section, self)) else { return }
        }
        guard position == section.count else {
            throw .invalidRecord(index: Int(recordCount) - 1, "bytes are left behind the last record")
        }
    }

    /// An empty batch in place of one whose records are all gone, kept for what its header says: the producer's last sequence number, or
    /// the log's last offset. Neither compressed nor with a delete horizon, as Kafka writes it.
    public func writeEmptied(into output: inout ByteBuffer) {
        var header = self
        header.batchLength = Int32(Self.size - Self.logOverhead)
        header.attributes = RecordBatchAttributes(timestampType: timestampType, isTransactional: isTransactional, isControl: isControl)
        header.baseTimestamp = -1
        header.recordCount = 0
        let start = output.writerIndex
        output.writeRepeatingByte(0, count: Self.size)
        header.write(into: &output, at: start)
        Self.updateChecksum(of: Self.size, in: &output, at: start)
    }
}

extension RecordLayout {
    fileprivate init(_ section: UnsafeRawBufferPointer, at position: Int, index: Int) throws(RecordBatchError) {
        do throws(MalformedRecord) {
            self = try RecordLayout(section, at: position)
        } catch {
            throw error.error(at: index)
        }
    }
}

extension StoredRecord {
    fileprivate init(_ layout: RecordLayout, _ section: UnsafeRawBufferPointer, _ header: RecordBatchHeader) {
        offset = header.baseOffset &+ Offset(layout.offsetDelta)
        key =
            layout.keyLength < 0
            ? nil : UnsafeRawBufferPointer(rebasing: section[layout.keyStart..<layout.keyStart + layout.keyLength])
        hasValue = layout.valueLength >= 0
    }
}

/// The records of one batch that are to be kept. Made once and used for one batch after the other, so that its memory is kept too.
public struct RecordSelection: Sendable {
    private struct Part {
        var timestampDelta: Int64
        var offsetDelta: Int32
        var fieldsStart: Int
        var end: Int
    }

    private var parts: [Part] = []
    /// How many records the batch has.
    public private(set) var recordCount = 0
    /// Whether one of the retained records has no value.
    public private(set) var hasTombstone = false

    public init() {}

    public var retainedCount: Int { parts.count }
    public var isEmpty: Bool { parts.isEmpty }
    /// Whether nothing is dropped.
    public var isWhole: Bool { parts.count == recordCount }

    /// Looks at each of the batch's encoded records and notes those that `isRetained` holds for.
    /// - Throws: `invalidRecord` when a record is malformed.
    public mutating func select(
        _ header: RecordBatchHeader, _ section: UnsafeRawBufferPointer, where isRetained: (StoredRecord) -> Bool
    ) throws(RecordBatchError) {
        parts.removeAll(keepingCapacity: true)
        hasTombstone = false
        recordCount = max(0, Int(header.recordCount))
        var position = 0
        for index in 0..<recordCount {
            let layout = try RecordLayout(section, at: position, index: index)
            position = layout.end
            let record = StoredRecord(layout, section, header)
            guard isRetained(record) else { continue }
            if !record.hasValue { hasTombstone = true }
            parts.append(
                Part(
                    timestampDelta: layout.timestampDelta, offsetDelta: layout.offsetDelta, fieldsStart: layout.fieldsStart,
                    end: layout.end))
        }
        guard position == section.count else { throw .invalidRecord(index: recordCount - 1, "bytes are left behind the last record") }
    }

    /// Appends a batch with the retained records, at least one, to `output`: same offsets and last offset, same producer fields, same
    /// compression, timestamps counted from the first of them, or from the delete horizon (KIP-534).
    /// - Throws: `compressionFailed`.
    public func encode(
        _ header: RecordBatchHeader, _ section: UnsafeRawBufferPointer, deleteHorizon: Timestamp?, into output: inout ByteBuffer
    ) throws(RecordBatchError) {
        precondition(!parts.isEmpty, "an empty batch is written by writeEmptied")
        let type = try header.compression
        var header = header
        let first = timestamp(of: parts[0], header)
        let base = deleteHorizon ?? first
        var maximum: Timestamp = -1
        for part in parts { maximum = max(maximum, timestamp(of: part, header)) }
        let original = header
        header.attributes = RecordBatchAttributes(
            compression: type, timestampType: header.timestampType, isTransactional: header.isTransactional, isControl: header.isControl,
            hasDeleteHorizon: deleteHorizon != nil)
        header.baseTimestamp = base
        if header.timestampType == .createTime { header.maxTimestamp = maximum }
        header.recordCount = Int32(parts.count)
        guard type == .none else {
            var records = ByteBufferAllocator().buffer(capacity: section.count)
            write(original, section, base: base, to: &records)
            output.writeImmutableBuffer(try RecordBatch.assemble(header, section: records, compression: Compression(type)))
            return
        }
        let start = output.writerIndex
        output.writeRepeatingByte(0, count: RecordBatchHeader.size)
        write(original, section, base: base, to: &output)
        let size = output.writerIndex - start
        header.batchLength = Int32(size - RecordBatchHeader.logOverhead)
        header.write(into: &output, at: start)
        RecordBatchHeader.updateChecksum(of: size, in: &output, at: start)
    }

    private func timestamp(of part: Part, _ header: RecordBatchHeader) -> Timestamp {
        header.timestampType == .logAppendTime ? header.maxTimestamp : header.baseTimestamp &+ part.timestampDelta
    }

    private func write(
        _ header: RecordBatchHeader, _ section: UnsafeRawBufferPointer, base: Timestamp, to output: inout ByteBuffer
    ) {
        for part in parts {
            let delta = timestamp(of: part, header) &- base
            let fields = UnsafeRawBufferPointer(rebasing: section[part.fieldsStart..<part.end])
            let size = 1 + Varint.size(delta) + Varint.size(part.offsetDelta) + fields.count
            output.writeWithUnsafeMutableBytes(minimumWritableBytes: Varint.size(size) + size) { bytes in
                guard let start = bytes.baseAddress, let source = fields.baseAddress else { return 0 }
                var pointer = start
                Varint.write(size, to: &pointer)
                pointer.storeBytes(of: 0, as: UInt8.self)
                pointer += 1
                Varint.write(delta, to: &pointer)
                Varint.write(part.offsetDelta, to: &pointer)
                pointer.copyMemory(from: source, byteCount: fields.count)
                return pointer + fields.count - start
            }
        }
    }
}
