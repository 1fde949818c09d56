// The cursor that every decoder reads through. Each read checks its bounds; the first failure sticks, and later reads return empty
// values, so that generated code needs no error path per field: `check()` at the end tells. Lengths are compared with the bytes left
// before anything is allocated.
import NIOCore
import Primitives

/// A bounds-checked cursor over the readable bytes of a `ByteBuffer`.
///
/// Reads never trap and never go past the end. After a failure every read returns an empty value; call ``check()`` before using what was
/// read. Byte fields are slices that share the buffer's storage.
public struct WireReader {
    /// The bytes read from.
    public let buffer: ByteBuffer
    /// The message's name, for errors.
    public var message: String
    /// The version being read.
    public internal(set) var version: Int16 = 0
    /// Whether lengths are varints and structures end with tagged fields (KIP-482). Set by ``begin(_:version:isFlexible:)``.
    public internal(set) var isFlexible = false
    /// The first failure, nil while all is well.
    public internal(set) var failure: WireError?

    var index: Int
    var end: Int
    private let start: Int

    /// Reads the buffer's readable bytes.
    public init(_ buffer: ByteBuffer, message: String = "message") {
        self.buffer = buffer
        self.message = message
        index = buffer.readerIndex
        start = buffer.readerIndex
        end = buffer.writerIndex
    }

    /// Bytes read so far.
    public var position: Int { index - start }
    /// Bytes left.
    public var remaining: Int { end - index }
    /// Whether a read has failed.
    public var hasFailed: Bool { failure != nil }

    /// Says which message follows, in which version.
    public mutating func begin(_ message: String, version: Int16, isFlexible: Bool) {
        self.message = message
        self.version = version
        self.isFlexible = isFlexible
    }

    /// Throws the first failure, if there was one.
    public func check() throws(WireError) {
        if let failure { throw failure }
    }

    /// Throws the first failure, or one about bytes left over.
    public func finish() throws(WireError) {
        try check()
        if remaining > 0 {
            throw WireError(message: message, field: "end", offset: position, reason: .trailingBytes(remaining))
        }
    }

    /// Records a failure unless there is one already; no bytes are left afterwards.
    public mutating func fail(_ field: String, _ reason: WireError.Reason) {
        if failure == nil { failure = WireError(message: message, field: field, offset: position, reason: reason) }
        end = index
    }

    /// Takes `count` bytes: their index in the buffer, nil (and a failure) when they are not there.
    mutating func take(_ count: Int, _ field: String) -> Int? {
        guard count >= 0, count <= end - index else {
            fail(field, .truncated(needed: count, remaining: end - index))
            return nil
        }
        let taken = index
        index += count
        return taken
    }

    /// Reads a big-endian integer.
    @inline(__always)
    mutating func integer<Value: FixedWidthInteger>(_ field: String, as: Value.Type) -> Value {
        let size = MemoryLayout<Value>.size
        guard size <= end - index, let value = buffer.getInteger(at: index, as: Value.self) else {
            fail(field, .truncated(needed: size, remaining: end - index))
            return 0
        }
        index += size
        return value
    }

    /// Reads an unsigned varint of at most five bytes.
    public mutating func unsignedVarint(_ field: String) -> UInt32 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while shift <= 28 {
            let byte = integer(field, as: UInt8.self)
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 {
                guard value <= UInt64(UInt32.max) else { break }
                return UInt32(value)
            }
            shift += 7
        }
        fail(field, .invalidVarint)
        return 0
    }

    /// Passes over bytes.
    public mutating func skip(_ count: Int, _ field: String) {
        _ = take(count, field)
    }
}

extension WireReader {
    public mutating func bool(_ field: String) -> Bool { integer(field, as: UInt8.self) != 0 }
    public mutating func int8(_ field: String) -> Int8 { integer(field, as: Int8.self) }
    public mutating func int16(_ field: String) -> Int16 { integer(field, as: Int16.self) }
    public mutating func int32(_ field: String) -> Int32 { integer(field, as: Int32.self) }
    public mutating func int64(_ field: String) -> Int64 { integer(field, as: Int64.self) }
    public mutating func uint16(_ field: String) -> UInt16 { integer(field, as: UInt16.self) }
    public mutating func uint32(_ field: String) -> UInt32 { integer(field, as: UInt32.self) }
    public mutating func float64(_ field: String) -> Double { Double(bitPattern: integer(field, as: UInt64.self)) }
    public mutating func errorCode(_ field: String) -> ErrorCode { ErrorCode(rawValue: integer(field, as: Int16.self)) }

    public mutating func uuid(_ field: String) -> KafkaUUID {
        let high = integer(field, as: UInt64.self)
        let low = integer(field, as: UInt64.self)
        return KafkaUUID(mostSignificantBits: high, leastSignificantBits: low)
    }

    /// Reads the length before a string, bytes or array: nil for null.
    ///
    /// - Parameter fixed: reads the length that versions without varints have.
    @inline(__always)
    mutating func length(_ field: String, _ fixed: (inout WireReader) -> Int) -> Int? {
        let length = isFlexible ? Int(unsignedVarint(field)) - 1 : fixed(&self)
        return length < 0 || failure != nil ? nil : length
    }

    /// Reads a string that may be null. Bytes that are not UTF-8 become replacement characters, as they do in Kafka.
    public mutating func nullableString(_ field: String) -> String? {
        guard let length = length(field, { Int($0.integer(field, as: Int16.self)) }) else { return nil }
        guard let start = take(length, field) else { return nil }
        return buffer.getString(at: start, length: length)
    }

    /// Reads a string; null is a failure.
    public mutating func string(_ field: String) -> String {
        if let value = nullableString(field) { return value }
        fail(field, .unexpectedNull)
        return ""
    }

    /// Reads bytes or records that may be null, as a slice that shares the buffer's storage.
    public mutating func nullableBytes(_ field: String) -> ByteBuffer? {
        guard let length = length(field, { Int($0.integer(field, as: Int32.self)) }) else { return nil }
        guard let start = take(length, field) else { return nil }
        return buffer.getSlice(at: start, length: length)
    }

    /// Reads bytes or records as a slice; null is a failure.
    public mutating func bytes(_ field: String) -> ByteBuffer {
        if let value = nullableBytes(field) { return value }
        fail(field, .unexpectedNull)
        return ByteBuffer()
    }

    /// Reads a string whose length is an int16 in every version (the client id of request headers).
    public mutating func inflexibleNullableString(_ field: String) -> String? {
        let flexible = isFlexible
        isFlexible = false
        defer { isFlexible = flexible }
        return nullableString(field)
    }

    /// Reads the marker before a structure that may be null: whether the structure follows.
    public mutating func isPresent(_ field: String) -> Bool {
        int8(field) >= 0 && failure == nil
    }

    /// Reads the marker before a tagged structure that may be null: whether the structure follows.
    public mutating func isPresentInTag(_ field: String) -> Bool {
        unsignedVarint(field) != 0 && failure == nil
    }
}
