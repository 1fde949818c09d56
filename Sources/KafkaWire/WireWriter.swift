// The other direction of WireReader: appends values to a ByteBuffer. A value that the version cannot carry is a failure that sticks
// until `check()`, as it is in the reader.
import NIOCore
import Primitives

/// Appends values in Kafka's encoding to a `ByteBuffer`.
public struct WireWriter {
    /// What was written so far.
    public var buffer: ByteBuffer
    /// The message's name, for errors.
    public var message = "message"
    /// The version being written.
    public internal(set) var version: Int16 = 0
    /// Whether lengths are varints and structures end with tagged fields (KIP-482).
    public internal(set) var isFlexible = false
    /// The first failure, nil while all is well.
    public internal(set) var failure: WireError?

    /// Appends to `buffer`.
    public init(_ buffer: ByteBuffer = ByteBuffer()) {
        self.buffer = buffer
    }

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

    /// Records a failure unless there is one already.
    public mutating func fail(_ field: String, _ reason: WireError.Reason) {
        if failure == nil {
            failure = WireError(message: message, field: field, offset: buffer.readableBytes, reason: reason)
        }
    }

    /// A failure unless `isDefault`: the version lacks the field, and dropping the value would change the message's meaning.
    public mutating func requireDefault(_ isDefault: Bool, _ field: String) {
        if !isDefault { fail(field, .fieldNotInVersion(version)) }
    }

    public mutating func unsignedVarint(_ value: UInt32) {
        var rest = value
        while rest >= 0x80 {
            buffer.writeInteger(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        buffer.writeInteger(UInt8(rest))
    }

    /// A place where a varint goes once it is known.
    struct Mark {
        let index: Int
    }

    /// Leaves one byte for a varint, the size that almost all of them have.
    mutating func mark() -> Mark {
        let mark = Mark(index: buffer.writerIndex)
        buffer.writeInteger(UInt8(0))
        return mark
    }

    /// Sets the varint at `mark` to the count of bytes written since.
    mutating func setLength(at mark: Mark) {
        setVarint(UInt32(clamping: buffer.writerIndex - mark.index - 1), at: mark)
    }

    /// Sets the varint at `mark`, moving what follows when it needs more than one byte.
    mutating func setVarint(_ value: UInt32, at mark: Mark) {
        if value < 0x80 {
            buffer.setInteger(UInt8(value), at: mark.index)
            return
        }
        let start = mark.index + 1
        let tail = buffer.getSlice(at: start, length: buffer.writerIndex - start) ?? ByteBuffer()
        buffer.moveWriterIndex(to: mark.index)
        unsignedVarint(value)
        buffer.writeImmutableBuffer(tail)
    }
}

extension WireWriter {
    public mutating func bool(_ value: Bool) { buffer.writeInteger(value ? 1 as UInt8 : 0) }
    public mutating func int8(_ value: Int8) { buffer.writeInteger(value) }
    public mutating func int16(_ value: Int16) { buffer.writeInteger(value) }
    public mutating func int32(_ value: Int32) { buffer.writeInteger(value) }
    public mutating func int64(_ value: Int64) { buffer.writeInteger(value) }
    public mutating func uint16(_ value: UInt16) { buffer.writeInteger(value) }
    public mutating func uint32(_ value: UInt32) { buffer.writeInteger(value) }
    public mutating func float64(_ value: Double) { buffer.writeInteger(value.bitPattern) }
    public mutating func errorCode(_ value: ErrorCode) { buffer.writeInteger(value.rawValue) }

    public mutating func uuid(_ value: KafkaUUID) {
        buffer.writeInteger(value.mostSignificantBits)
        buffer.writeInteger(value.leastSignificantBits)
    }

    /// Writes the length before bytes or an array, nil for null.
    public mutating func length(_ length: Int?, _ field: String) {
        let length = length ?? -1
        guard length < Int(Int32.max) else {
            fail(field, .tooLong(length))
            return
        }
        if isFlexible { unsignedVarint(UInt32(length + 1)) } else { int32(Int32(length)) }
    }

    public mutating func nullableString(_ value: String?, _ field: String) {
        guard var value else {
            if isFlexible { int8(0) } else { int16(-1) }
            return
        }
        let length = value.withUTF8 { $0.count }
        guard length <= Int(Int16.max) else {
            fail(field, .tooLong(length))
            return
        }
        if isFlexible { unsignedVarint(UInt32(length + 1)) } else { int16(Int16(length)) }
        buffer.writeString(value)
    }

    public mutating func string(_ value: String, _ field: String) { nullableString(value, field) }

    /// Writes a string in a version that allows no null.
    public mutating func presentString(_ value: String?, _ field: String) {
        if value == nil { fail(field, .unexpectedNull) }
        nullableString(value, field)
    }

    /// Writes a string whose length is an int16 in every version (the client id of request headers).
    public mutating func inflexibleNullableString(_ value: String?, _ field: String) {
        let flexible = isFlexible
        isFlexible = false
        nullableString(value, field)
        isFlexible = flexible
    }

    public mutating func nullableBytes(_ value: ByteBuffer?, _ field: String) {
        length(value?.readableBytes, field)
        if let value { buffer.writeImmutableBuffer(value) }
    }

    public mutating func bytes(_ value: ByteBuffer, _ field: String) { nullableBytes(value, field) }

    /// Writes bytes in a version that allows no null.
    public mutating func presentBytes(_ value: ByteBuffer?, _ field: String) {
        if value == nil { fail(field, .unexpectedNull) }
        nullableBytes(value, field)
    }
}
