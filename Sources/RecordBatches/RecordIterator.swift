// Walking through a batch's records one by one.
import NIOCore
import Primitives

/// Reads the records of one batch in order. `next()` allocates nothing: what it returns are slices.
public struct RecordIterator: Sendable {
    private let header: RecordBatchHeader
    /// The decompressed records section.
    private let section: ByteBuffer
    private var position = 0
    private var index = 0

    init(header: RecordBatchHeader, section: ByteBuffer) {
        self.header = header
        self.section = section
    }

    /// Records not read yet, going by the header.
    public var remaining: Int { Int(header.recordCount) - index }

    /// The next record, or nil after the last.
    ///
    /// - Throws: `invalidRecord` when a record is malformed, or the section goes on behind the last one that the header counts.
    public mutating func next() throws(RecordBatchError) -> Record? {
        guard let layout = try nextLayout() else { return nil }
        let start = section.readerIndex
        let headers =
            layout.headerCount == 0
            ? RecordHeaders()
            : RecordHeaders(
                count: layout.headerCount,
                encoded: slice(start + layout.headersStart, layout.end - layout.headersStart) ?? ByteBuffer())
        var record = Record(
            offset: header.baseOffset &+ Offset(layout.offsetDelta),
            timestamp: header.timestampType == .logAppendTime ? header.maxTimestamp : header.baseTimestamp &+ layout.timestampDelta,
            key: slice(start + layout.keyStart, layout.keyLength),
            value: slice(start + layout.valueStart, layout.valueLength),
            headers: headers)
        record.attributes = layout.attributes
        return record
    }

    /// The next record's positions, for those who need no slices.
    mutating func nextLayout() throws(RecordBatchError) -> RecordLayout? {
        guard index < header.recordCount else { return nil }
        let layout = try section.withUnsafeReadableBytes { bytes throws(RecordBatchError) in
            do throws(MalformedRecord) {
                return try RecordLayout(bytes, at: position)
            } catch {
                throw error.error(at: index)
            }
        }
        position = layout.end
        index += 1
        if index == header.recordCount, position != section.readableBytes {
            throw .invalidRecord(index: index, "bytes are left behind the last record")
        }
        return layout
    }

    private func slice(_ index: Int, _ length: Int) -> ByteBuffer? {
        length < 0 ? nil : section.getSlice(at: index, length: length)
    }
}
