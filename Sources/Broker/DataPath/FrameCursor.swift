// Reads the two requests of the data path in place. Generated structs would cost an allocation per topic and partition, which is
// more than the rest of a small request; these cursors cost none. All other requests use the generated structs.
import NIOCore
import Primitives

/// Why a frame of the data path cannot be read: the field, and its offset in the request's body.
struct FrameCursorError: Error {
    var field: StaticString
    var offset: Int
}

/// A bounds-checked position in a request.
struct FrameCursor: ~Escapable {
    private let span: RawSpan
    private(set) var position: Int

    @_lifetime(copy span)
    init(_ span: RawSpan, at position: Int = 0) {
        self.span = span
        self.position = position
    }

    var remaining: Int { span.byteCount - position }

    @inline(__always)
    private mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(_ field: StaticString, as type: T.Type) throws(FrameCursorError)
        -> T
    {
        guard remaining >= MemoryLayout<T>.size else { throw FrameCursorError(field: field, offset: position) }
        let value = unsafe span.unsafeLoadUnaligned(fromByteOffset: position, as: T.self)
        position += MemoryLayout<T>.size
        return T(bigEndian: value)
    }

    mutating func int8(_ field: StaticString) throws(FrameCursorError) -> Int8 { try integer(field, as: Int8.self) }
    mutating func int16(_ field: StaticString) throws(FrameCursorError) -> Int16 { try integer(field, as: Int16.self) }
    mutating func int32(_ field: StaticString) throws(FrameCursorError) -> Int32 { try integer(field, as: Int32.self) }
    mutating func int64(_ field: StaticString) throws(FrameCursorError) -> Int64 { try integer(field, as: Int64.self) }

    mutating func uuid(_ field: StaticString) throws(FrameCursorError) -> KafkaUUID {
        let high = try integer(field, as: UInt64.self)
        let low = try integer(field, as: UInt64.self)
        return KafkaUUID(mostSignificantBits: high, leastSignificantBits: low)
    }

    mutating func unsignedVarint(_ field: StaticString) throws(FrameCursorError) -> Int {
        var value: UInt32 = 0
        for shift in stride(from: UInt32(0), through: 28, by: 7) {
            let byte = try integer(field, as: UInt8.self)
            value |= UInt32(byte & 0x7f) << shift
            if byte & 0x80 == 0 { return Int(value) }
        }
        throw FrameCursorError(field: field, offset: position)
    }

    /// An array's element count, nil for null. Refused when the elements could not fit into what is left.
    mutating func count(_ field: StaticString, flexible: Bool, minimumElementSize: Int) throws(FrameCursorError) -> Int? {
        let start = position
        let count = flexible ? try unsignedVarint(field) - 1 : Int(try int32(field))
        if count == -1 { return nil }
        guard count >= 0, count <= remaining / minimumElementSize else { throw FrameCursorError(field: field, offset: start) }
        return count
    }

    /// Where a string's bytes are, nil for null; the cursor moves behind it.
    mutating func string(_ field: StaticString, flexible: Bool) throws(FrameCursorError) -> Range<Int>? {
        let start = position
        let length = flexible ? try unsignedVarint(field) - 1 : Int(try int16(field))
        return try range(field, length: length, start: start)
    }

    /// Where a bytes or records field's content is, nil for null; the cursor moves behind it.
    mutating func bytes(_ field: StaticString, flexible: Bool) throws(FrameCursorError) -> Range<Int>? {
        let start = position
        let length = flexible ? try unsignedVarint(field) - 1 : Int(try int32(field))
        return try range(field, length: length, start: start)
    }

    private mutating func range(_ field: StaticString, length: Int, start: Int) throws(FrameCursorError) -> Range<Int>? {
        if length == -1 { return nil }
        guard length >= 0, length <= remaining else { throw FrameCursorError(field: field, offset: start) }
        defer { position += length }
        return position..<(position + length)
    }

    /// Passes over a tagged section of which no tag matters.
    mutating func skipTags() throws(FrameCursorError) {
        try tags { (_, _, _) throws(FrameCursorError) in }
    }

    /// Calls `body` with tag, the content's start and length, for every tagged field.
    mutating func tags(_ body: (Int, Int, Int) throws(FrameCursorError) -> Void) throws(FrameCursorError) {
        let count = try unsignedVarint("tagged fields")
        guard count <= remaining / 2 else { throw FrameCursorError(field: "tagged fields", offset: position) }
        for _ in 0..<count {
            let tag = try unsignedVarint("tag")
            let size = try unsignedVarint("tag size")
            guard size <= remaining else { throw FrameCursorError(field: "tag size", offset: position) }
            try body(tag, position, size)
            position += size
        }
    }
}
