// Reads the batches of a closed segment one after the other, whole and checked, through a buffer of a fixed size that grows only for a
// batch that is larger.
import NIOCore
import Primitives
import RecordBatches

struct BatchSource: ~Copyable {
    private let file: SegmentFile
    /// Where the segment ends.
    private let end: Int
    private let control: CleaningControl
    private(set) var position: Int
    private let capacity: Int
    private var buffer: UnsafeMutableRawBufferPointer
    private var bufferStart = 0
    private var bufferCount = 0

    init(_ file: SegmentFile, from position: Int, to end: Int, bufferBytes: Int, control: CleaningControl) {
        self.file = file
        self.position = position
        self.end = end
        self.control = control
        capacity = max(4096, bufferBytes)
        buffer = .allocate(byteCount: min(capacity, max(RecordBatchHeader.size, end - position)), alignment: 16)
    }

    deinit {
        buffer.deallocate()
    }

    /// Hands the next batch to `body`; its bytes are valid during the call. Returns nil at the segment's end.
    /// - Throws: `corruptFile` for bytes that are no valid batch.
    mutating func next<Result>(
        _ body: (StoredBatch, UnsafeRawBufferPointer) throws(CleaningFailure) -> Result
    ) throws(CleaningFailure) -> Result? {
        guard position < end else { return nil }
        let left = end - position
        try fill(min(RecordBatchHeader.size, left))
        guard let batch = StoredBatch(bytes(left), position: position) else { throw corrupt("no batch header") }
        guard batch.size <= left else { throw corrupt("a batch of \(batch.size) bytes where only \(left) are left") }
        try fill(batch.size)
        let whole = bytes(batch.size)
        do throws(RecordBatchError) {
            if batch.magic == 2 {
                _ = try RecordBatchHeader.verify(whole)
            } else {
                try LegacyMessage(ByteBuffer(bytes: whole)).verifyChecksum()
            }
        } catch {
            throw corrupt("\(error)")
        }
        position += batch.size
        return try body(batch, whole)
    }

    func corrupt(_ reason: String) -> CleaningFailure {
        if control.isAborted { return .aborted }
        return .storage(.corruptFile(path: file.path, reason: "\(reason) at position \(position)"))
    }

    /// What is in the buffer from `position` on.
    private func bytes(_ limit: Int) -> UnsafeRawBufferPointer {
        let offset = position - bufferStart
        return UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[offset..<min(bufferCount, offset + limit)])
    }

    /// Makes sure that `count` bytes from `position` on are in the buffer.
    private mutating func fill(_ count: Int) throws(CleaningFailure) {
        if position >= bufferStart, position + count <= bufferStart + bufferCount { return }
        // Back to the usual size after a large batch.
        let wantedCapacity = min(max(count, capacity), max(RecordBatchHeader.size, end - position))
        if buffer.count < count || buffer.count > max(capacity, count) {
            buffer.deallocate()
            buffer = .allocate(byteCount: wantedCapacity, alignment: 16)
        }
        let start = position
        let target = UnsafeMutableRawBufferPointer(rebasing: buffer[..<min(buffer.count, end - position)])
        bufferStart = start
        bufferCount = 0
        bufferCount = try control.attempt { () throws(StorageError) in
            try FileSystem.read(file.descriptor, into: target, at: start, path: file.path)
        }
        try control.pace(bufferCount)
        guard bufferCount >= count else { throw corrupt("the file became shorter while it was read") }
    }
}
