// Kafka's variable-length integers inside records: seven bits a byte, lowest first, zigzag so that small negatives stay short.
import NIOCore

/// Sizes and writing of zigzag variable-length integers (`VARINT` and `VARLONG` of the protocol guide).
public enum Varint {
    /// Bytes of `value`, 1 to 10; an Int32 takes at most 5.
    @inline(__always)
    public static func size(_ value: some BinaryInteger) -> Int {
        let bits = 64 - zigzag(Int64(truncatingIfNeeded: value)).leadingZeroBitCount
        return max(1, (bits + 6) / 7)
    }

    @inline(__always)
    static func zigzag(_ value: Int64) -> UInt64 {
        UInt64(bitPattern: (value << 1) ^ (value >> 63))
    }

    /// Write `value` at `pointer`, which has room for it, and move the pointer behind it.
    @inline(__always)
    static func write(_ value: some BinaryInteger, to pointer: inout UnsafeMutableRawPointer) {
        var rest = zigzag(Int64(truncatingIfNeeded: value))
        while rest >= 0x80 {
            pointer.storeBytes(of: UInt8(truncatingIfNeeded: rest) | 0x80, as: UInt8.self)
            pointer += 1
            rest >>= 7
        }
        pointer.storeBytes(of: UInt8(truncatingIfNeeded: rest), as: UInt8.self)
        pointer += 1
    }
}

/// Why a record cannot be read; becomes `RecordBatchError.invalidRecord` where its index is known.
struct MalformedRecord: Error {
    var reason: StaticString

    func error(at index: Int) -> RecordBatchError {
        .invalidRecord(index: index, "\(reason)")
    }
}

/// A bounded position in the bytes of records. Every read checks what is left.
struct RecordCursor {
    let bytes: UnsafeRawBufferPointer
    var position: Int
    let end: Int

    init(_ bytes: UnsafeRawBufferPointer, from position: Int = 0) {
        self.bytes = bytes
        self.position = position
        end = bytes.count
    }

    var remaining: Int { end - position }

    @inline(__always)
    mutating func readByte() throws(MalformedRecord) -> UInt8 {
        guard position < end else { throw MalformedRecord(reason: "ends too early") }
        defer { position += 1 }
        return bytes[position]
    }

    /// A 32-bit zigzag integer of at most five bytes.
    @inline(__always)
    mutating func readVarint() throws(MalformedRecord) -> Int {
        let first = try readByte()
        if first < 0x80 { return Int(first >> 1) ^ -Int(first & 1) }
        let value = UInt32(truncatingIfNeeded: try readRest(first, maximumBytes: 5))
        return Int(Int32(bitPattern: value >> 1) ^ -Int32(bitPattern: value & 1))
    }

    /// A 64-bit zigzag integer of at most ten bytes.
    @inline(__always)
    mutating func readVarlong() throws(MalformedRecord) -> Int64 {
        let first = try readByte()
        if first < 0x80 { return Int64(first >> 1) ^ -Int64(first & 1) }
        let value = try readRest(first, maximumBytes: 10)
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }

    private mutating func readRest(_ first: UInt8, maximumBytes: Int) throws(MalformedRecord) -> UInt64 {
        var value = UInt64(first & 0x7f)
        var shift: UInt64 = 7
        for _ in 1..<maximumBytes {
            let byte = try readByte()
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        throw MalformedRecord(reason: "variable-length integer is too long")
    }

    /// Step over a nullable field of `length` bytes (negative: null) and return where it begins.
    @inline(__always)
    mutating func skip(_ length: Int) throws(MalformedRecord) -> Int {
        let start = position
        guard length <= remaining else { throw MalformedRecord(reason: "field reaches beyond the record") }
        if length > 0 { position += length }
        return start
    }
}
