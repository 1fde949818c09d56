// The record formats before Kafka 0.11, magic 0 and 1. Brokers of today refuse to be sent them, but files of old clusters hold them.
import CZlib
import NIOCore
import Primitives

/// One entry of a message set: a record, or a wrapper whose value is a compressed message set.
public struct LegacyMessage: Hashable, Sendable {
    /// Offset and size, which the size does not count.
    static let logOverhead = RecordBatchHeader.logOverhead
    /// Checksum, magic, attributes, key length, value length.
    static let minimumSize = 14

    /// Of a wrapper: the last inner message's.
    public let offset: Offset
    /// 0 or 1.
    public let magic: Int8
    public let attributes: Int8
    /// Milliseconds (KIP-32); -1 in magic 0.
    public let timestamp: Timestamp
    public let key: ByteBuffer?
    public let value: ByteBuffer?
    /// CRC-32 (not CRC-32C) of everything behind it.
    public let crc: UInt32
    /// All of the entry, offset and size included.
    public let bytes: ByteBuffer

    public var sizeInBytes: Int { bytes.readableBytes }
    public var compressionIdentifier: Int { Int(attributes & 0x07) }
    public var isCompressed: Bool { compressionIdentifier != 0 }
    public var timestampType: TimestampType { magic > 0 && attributes & 0x08 != 0 ? .logAppendTime : .createTime }

    /// The entry at the reader index of `buffer`, which may go on behind it. The checksum is not looked at.
    public init(_ buffer: ByteBuffer) throws(RecordBatchError) {
        let start = buffer.readerIndex
        guard let offset = buffer.getInteger(at: start, as: Int64.self), let size = buffer.getInteger(at: start + 8, as: Int32.self),
            let magic = RecordBatchHeader.magic(in: buffer)
        else { throw .truncated(needed: Self.logOverhead + Self.minimumSize, available: buffer.readableBytes) }
        guard magic == 0 || magic == 1 else { throw .unsupportedMagic(magic) }
        guard size >= Self.minimumSize + (magic == 1 ? 8 : 0) else { throw .invalidLength(Int(size)) }
        guard var body = buffer.getSlice(at: start, length: Self.logOverhead + Int(size)) else {
            throw .truncated(needed: Self.logOverhead + Int(size), available: buffer.readableBytes)
        }
        bytes = body
        self.offset = offset
        self.magic = magic
        body.moveReaderIndex(forwardBy: Self.logOverhead)
        guard let crc = body.readInteger(as: UInt32.self), let (_, attributes) = body.readMultipleIntegers(as: (Int8, Int8).self),
            let timestamp = magic == 1 ? body.readInteger(as: Int64.self) : -1
        else { throw .invalidRecord(index: 0, "ends too early") }
        self.crc = crc
        self.attributes = attributes
        self.timestamp = timestamp
        key = try Self.readField(&body)
        value = try Self.readField(&body)
    }

    private static func readField(_ body: inout ByteBuffer) throws(RecordBatchError) -> ByteBuffer? {
        guard let length = body.readInteger(as: Int32.self) else { throw .invalidRecord(index: 0, "ends too early") }
        if length < 0 { return nil }
        guard let field = body.readSlice(length: Int(length)) else {
            throw .invalidRecord(index: 0, "field reaches beyond the message")
        }
        return field
    }

    /// Check the stored checksum against the bytes.
    public func verifyChecksum() throws(RecordBatchError) {
        let computed = bytes.withUnsafeReadableBytes { all in
            let covered = UnsafeRawBufferPointer(rebasing: all[(Self.logOverhead + 4)...])
            return UInt32(truncatingIfNeeded: crc32(0, covered.bindMemory(to: UInt8.self).baseAddress, UInt32(covered.count)))
        }
        guard computed == crc else { throw .checksumMismatch(stored: crc, computed: computed) }
    }

    /// The records of this entry with their final offsets and timestamps: itself, or what a wrapper holds.
    ///
    /// - Throws: also when a wrapper holds nothing, wraps another wrapper, or its offset cannot be true.
    public func records(
        maximumDecompressedSize: Int = RecordBatch.defaultMaximumDecompressedSize
    ) throws(RecordBatchError) -> [Record] {
        guard isCompressed else { return [Record(offset: offset, timestamp: timestamp, key: key, value: value)] }
        guard let type = CompressionType(rawValue: UInt8(compressionIdentifier)), type != .zstd else {
            throw .unknownCompression(compressionIdentifier)
        }
        guard let value else { throw .invalidRecord(index: 0, "wrapper message without a value") }
        let inner = try Compression.decompress(value, type: type, maximumSize: maximumDecompressedSize, ignoringHeaderChecksum: true)
        var messages: [LegacyMessage] = []
        var iterator = LegacyMessageIterator(inner)
        while let message = try iterator.next() {
            guard !message.isCompressed else { throw .invalidRecord(index: messages.count, "inner messages must not be compressed") }
            messages.append(message)
        }
        guard let last = messages.last else { throw .invalidRecord(index: 0, "wrapper message without inner messages") }
        let base = try baseOfInnerOffsets(last: last.offset)
        return messages.map { message in
            let timestamp = message.magic == 1 && timestampType == .logAppendTime ? self.timestamp : message.timestamp
            return Record(offset: base &+ message.offset, timestamp: timestamp, key: message.key, value: message.value)
        }
    }

    /// Inner offsets are absolute in magic 0 and relative in magic 1, where the wrapper has the last one's absolute offset (KIP-31).
    private func baseOfInnerOffsets(last: Offset) throws(RecordBatchError) -> Offset {
        // Some producers left the wrapper's offset at 0; their inner offsets start at 0 then.
        guard magic == 1, offset != 0 else { return 0 }
        guard offset >= last else { throw .invalidRecord(index: 0, "wrapper offset \(offset) lies before inner offset \(last)") }
        return offset &- last
    }
}

/// Reads the entries of a message set, wrappers unopened.
public struct LegacyMessageIterator: Sendable {
    /// What has not been read yet. After `next()` returned nil: an entry that was cut off, or nothing.
    public private(set) var rest: ByteBuffer

    public init(_ buffer: ByteBuffer) {
        rest = buffer
    }

    /// The next whole entry; nil at the end, or when only a part of one is left.
    public mutating func next() throws(RecordBatchError) -> LegacyMessage? {
        guard rest.readableBytes > RecordBatchHeader.Position.magic,
            let size = rest.getInteger(at: rest.readerIndex + 8, as: Int32.self),
            Int(size) + LegacyMessage.logOverhead <= rest.readableBytes
        else { return nil }
        let message = try LegacyMessage(rest)
        rest.moveReaderIndex(forwardBy: message.sizeInBytes)
        return message
    }
}
