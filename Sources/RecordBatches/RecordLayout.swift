// Where the parts of an encoded record are: the one parser of magic 2 records, shared by iteration and validation.
import Primitives

/// The positions of one record's parts, relative to the records section it was read from.
struct RecordLayout {
    var attributes: Int8
    var timestampDelta: Int64
    var offsetDelta: Int32
    /// Where the key's length stands: everything from here to the end is the same wherever the record is stored.
    var fieldsStart: Int
    var keyStart: Int
    /// -1 for null.
    var keyLength: Int
    var valueStart: Int
    /// -1 for null.
    var valueLength: Int
    var headerCount: Int
    var headersStart: Int
    /// Where the next record begins.
    var end: Int

    /// Read the record at `position`, every part of it: its lengths must add up exactly to the length in front.
    init(_ section: UnsafeRawBufferPointer, at position: Int) throws(MalformedRecord) {
        var outer = RecordCursor(section, from: position)
        let length = try outer.readVarint()
        guard length >= 0, length <= outer.remaining else { throw MalformedRecord(reason: "length reaches beyond the batch") }
        end = outer.position + length
        var cursor = RecordCursor(UnsafeRawBufferPointer(start: section.baseAddress, count: end), from: outer.position)
        attributes = Int8(bitPattern: try cursor.readByte())
        timestampDelta = try cursor.readVarlong()
        offsetDelta = Int32(truncatingIfNeeded: try cursor.readVarint())
        fieldsStart = cursor.position
        keyLength = max(-1, try cursor.readVarint())
        keyStart = try cursor.skip(keyLength)
        valueLength = max(-1, try cursor.readVarint())
        valueStart = try cursor.skip(valueLength)
        headerCount = try cursor.readVarint()
        headersStart = cursor.position
        // A header takes two bytes at least, so a count beyond that cannot be true and is not worth walking.
        guard headerCount >= 0, headerCount <= cursor.remaining / 2 else { throw MalformedRecord(reason: "invalid number of headers") }
        for _ in 0..<headerCount {
            let headerKeyLength = try cursor.readVarint()
            guard headerKeyLength >= 0 else { throw MalformedRecord(reason: "header without a key") }
            _ = try cursor.skip(headerKeyLength)
            _ = try cursor.skip(try cursor.readVarint())
        }
        guard cursor.remaining == 0 else { throw MalformedRecord(reason: "has bytes left over") }
    }
}
