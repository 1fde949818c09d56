// Walks over the batches of a segment file by their headers, reading little else.
import Primitives
import RecordBatches

/// A batch as it stands in a segment file. For message sets of magic 0 and 1 only what they have: offset, size, timestamp.
struct StoredBatch {
    var position: Int
    var size: Int
    var magic: Int8
    var header: RecordBatchHeader

    /// Beyond it arithmetic would overflow; no log comes near it.
    static let largestOffset = Offset.max - (1 << 33)

    var baseOffset: Offset { header.baseOffset }
    var lastOffset: Offset { header.lastOffset }
    var maxTimestamp: Timestamp { header.maxTimestamp }
    var end: Int { position + size }

    /// The batch at the start of `bytes`, of which at least the first 61 are there if the file has them. Nil for impossible bytes.
    init?(_ bytes: UnsafeRawBufferPointer, position: Int) {
        guard bytes.count > RecordBatchHeader.Position.magic else { return nil }
        self.position = position
        magic = bytes.load(fromByteOffset: RecordBatchHeader.Position.magic, as: Int8.self)
        if magic == 2 {
            guard let header = try? RecordBatchHeader(bytes), (0...Self.largestOffset).contains(header.baseOffset),
                header.lastOffsetDelta >= 0
            else { return nil }
            self.header = header
            size = header.sizeInBytes
            return
        }
        // Message sets: offset, size, CRC, magic, attributes, with magic 1 a timestamp, key, value.
        guard magic == 0 || magic == 1, bytes.count >= 26 else { return nil }
        header = RecordBatchHeader()
        header.baseOffset = Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: Int64.self))
        header.batchLength = Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: Int32.self))
        guard (0...Self.largestOffset).contains(header.baseOffset), header.batchLength >= 14 else { return nil }
        if magic == 1 { header.maxTimestamp = Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: 18, as: Int64.self)) }
        size = header.sizeInBytes
    }
}

/// Reads batch headers one after the other.
struct SegmentReader {
    let file: SegmentFile
    /// Where the next batch begins.
    private(set) var position: Int
    /// Where the log ends, which need not be where the file ends.
    let end: Int
    /// Nil while everything read made sense.
    private(set) var problem: String?
    private let readAhead: Int
    private var buffer: [UInt8] = []
    private var bufferStart = 0

    /// About what lies between two index entries where batches are small (index.interval.bytes).
    static let lookupReadAhead = 4096

    /// - Parameter readAhead: bytes to read at once; more than the default for a walk.
    init(file: SegmentFile, from position: Int, to end: Int, readAhead: Int = lookupReadAhead) {
        self.file = file
        self.position = position
        self.end = end
        self.readAhead = readAhead
    }

    /// The next batch, or nil at the end and before bytes that are no batch (`problem` tells which).
    mutating func next() throws(StorageError) -> StoredBatch? {
        guard position < end, problem == nil else { return nil }
        try fill(RecordBatchHeader.size)
        let batch = buffer.withUnsafeBytes { bytes in
            StoredBatch(UnsafeRawBufferPointer(rebasing: bytes[(position - bufferStart)...]), position: position)
        }
        guard let batch else {
            problem = "no batch header"
            return nil
        }
        guard batch.size <= end - position else {
            problem = "a batch of \(batch.size) bytes where only \(end - position) are left"
            return nil
        }
        position += batch.size
        return batch
    }

    /// Makes sure that `count` bytes from `position` on are in the buffer, as far as there are so many.
    private mutating func fill(_ count: Int) throws(StorageError) {
        let offset = position - bufferStart
        if offset >= 0, offset + count <= buffer.count || bufferStart + buffer.count >= end, offset <= buffer.count, !buffer.isEmpty {
            return
        }
        let wanted = min(max(count, readAhead), end - position)
        let start = position
        var failure: StorageError?
        buffer = [UInt8](unsafeUninitializedCapacity: wanted) { target, initialized in
            do throws(StorageError) {
                initialized = try FileSystem.read(
                    file.descriptor, into: UnsafeMutableRawBufferPointer(target), at: start, path: file.path)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        bufferStart = start
    }
}
