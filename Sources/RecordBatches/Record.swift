// One record as applications see it: slices of its batch, nothing copied.
import NIOCore
import Primitives

/// A record of a partition. Key, value and headers are slices that keep the batch's bytes alive.
public struct Record: Hashable, Sendable {
    public var offset: Offset
    /// Milliseconds; the batch's append time when the broker sets timestamps; -1 for none.
    public var timestamp: Timestamp
    public var key: ByteBuffer?
    /// Nil is a tombstone in a compacted topic.
    public var value: ByteBuffer?
    public var headers: RecordHeaders
    /// The record's own attribute byte, of which no bit is in use.
    public var attributes: Int8 = 0

    public init(
        offset: Offset, timestamp: Timestamp, key: ByteBuffer?, value: ByteBuffer?, headers: RecordHeaders = RecordHeaders()
    ) {
        self.offset = offset
        self.timestamp = timestamp
        self.key = key
        self.value = value
        self.headers = headers
    }
}

/// A name and a value attached to a record (KIP-82). Names may repeat.
public struct RecordHeader: Hashable, Sendable {
    public var key: String
    public var value: ByteBuffer?

    public init(_ key: String, _ value: ByteBuffer?) {
        self.key = key
        self.value = value
    }

    public init(_ key: String, _ value: String) {
        self.init(key, ByteBuffer(string: value))
    }
}

/// A record's headers in their order, kept encoded: reading a record does not pay for headers nobody looks at.
public struct RecordHeaders: Sequence, Hashable, Sendable, ExpressibleByArrayLiteral {
    public let count: Int
    /// The headers as they stand in a record, after their count. Complete and within bounds.
    let encoded: ByteBuffer

    public init() {
        count = 0
        encoded = ByteBuffer()
    }

    /// `encoded` holds exactly `count` well-formed headers.
    init(count: Int, encoded: ByteBuffer) {
        self.count = count
        self.encoded = encoded
    }

    public init(_ headers: some Collection<RecordHeader>) {
        var buffer = ByteBuffer()
        for header in headers {
            let keyLength = header.key.utf8.count
            buffer.writeVarint(keyLength)
            buffer.writeString(header.key)
            buffer.writeVarint(header.value?.readableBytes ?? -1)
            if let value = header.value { buffer.writeImmutableBuffer(value) }
        }
        self.init(count: headers.count, encoded: buffer)
    }

    public init(arrayLiteral elements: RecordHeader...) {
        self.init(elements)
    }

    public var isEmpty: Bool { count == 0 }
    public var underestimatedCount: Int { count }

    /// The value of the last header of that name, as Kafka's `lastHeader`: nil when there is none, `.some(nil)` when it is null.
    public func last(_ key: String) -> ByteBuffer?? {
        var found: ByteBuffer??
        for header in self where header.key == key { found = .some(header.value) }
        return found
    }

    public func makeIterator() -> Iterator {
        Iterator(rest: encoded)
    }

    public struct Iterator: IteratorProtocol {
        fileprivate var rest: ByteBuffer

        public mutating func next() -> RecordHeader? {
            guard rest.readableBytes > 0, let keyLength = rest.readVarint(), let key = rest.readString(length: keyLength),
                let valueLength = rest.readVarint()
            else { return nil }
            return RecordHeader(key, valueLength < 0 ? nil : rest.readSlice(length: valueLength))
        }
    }
}

extension ByteBuffer {
    /// Append a zigzag variable-length integer.
    mutating func writeVarint(_ value: Int) {
        writeWithUnsafeMutableBytes(minimumWritableBytes: 10) { bytes in
            guard let start = bytes.baseAddress else { return 0 }
            var pointer = start
            Varint.write(value, to: &pointer)
            return pointer - start
        }
    }

    /// Read a 32-bit zigzag variable-length integer; nil when it is malformed.
    mutating func readVarint() -> Int? {
        readWithUnsafeReadableBytes { bytes in
            var cursor = RecordCursor(bytes)
            guard let value = try? cursor.readVarint() else { return (0, nil) }
            return (cursor.position, value)
        }
    }
}
