// Tagged fields (KIP-482): optional fields at the end of every structure of a flexible version. Fields that we do not know are kept
// and written again, so that a message passes through an older Martlet unharmed.
import NIOCore

/// A tagged field whose tag this version of Martlet does not know.
public struct UnknownTaggedField: Hashable, Sendable {
    public var tag: UInt32
    public var data: ByteBuffer

    public init(tag: UInt32, data: ByteBuffer) {
        self.tag = tag
        self.data = data
    }
}

/// Where the reading of a structure's tagged fields stands.
public struct TaggedFieldCursor {
    var left: Int
    /// The tag of the current field.
    public internal(set) var tag: UInt32 = 0
    var size = 0
    var outerEnd = 0
}

extension WireReader {
    /// Starts on a structure's tagged fields; there are none in versions that are not flexible.
    public mutating func taggedFields() -> TaggedFieldCursor {
        guard isFlexible else { return TaggedFieldCursor(left: 0) }
        let count = Int(unsignedVarint("tagged fields"))
        guard count <= remaining / 2 else {
            fail("tagged fields", .invalidLength(length: count, remaining: remaining))
            return TaggedFieldCursor(left: 0)
        }
        return TaggedFieldCursor(left: count)
    }

    /// Moves to the next tagged field and confines reads to it; false at the end.
    public mutating func nextTaggedField(_ cursor: inout TaggedFieldCursor) -> Bool {
        guard cursor.left > 0, failure == nil else { return false }
        cursor.left -= 1
        cursor.tag = unsignedVarint("tag")
        let size = Int(unsignedVarint("tag size"))
        guard size <= remaining else {
            fail("tag size", .truncated(needed: size, remaining: remaining))
            return false
        }
        cursor.size = size
        cursor.outerEnd = end
        end = index + size
        return failure == nil
    }

    /// Ends the current tagged field, which must have been read to its end.
    public mutating func endTaggedField(_ cursor: TaggedFieldCursor, _ field: String) {
        guard failure == nil else { return }
        if index != end {
            fail(field, .tagSizeMismatch(tag: cursor.tag, size: cursor.size, used: cursor.size - remaining))
            return
        }
        end = cursor.outerEnd
    }

    /// The rest of the current tagged field, which nobody knows.
    public mutating func unknownTaggedField(_ cursor: TaggedFieldCursor) -> UnknownTaggedField {
        let data = buffer.getSlice(at: index, length: remaining) ?? ByteBuffer()
        index = end
        return UnknownTaggedField(tag: cursor.tag, data: data)
    }

    /// Reads all tagged fields of a structure that defines none.
    public mutating func unknownTaggedFields() -> [UnknownTaggedField] {
        var cursor = taggedFields()
        var fields: [UnknownTaggedField] = []
        while nextTaggedField(&cursor) {
            fields.append(unknownTaggedField(cursor))
            endTaggedField(cursor, "tagged fields")
        }
        return fields
    }
}

/// Where the writing of a structure's tagged fields stands.
public struct TaggedFieldWriting {
    let countMark: WireWriter.Mark
    var unknown: ArraySlice<UnknownTaggedField>
    var count: UInt32 = 0
    var fieldMark: WireWriter.Mark?
}

extension WireWriter {
    /// Starts a structure's tagged fields. Call only in flexible versions.
    public mutating func beginTaggedFields(_ unknown: [UnknownTaggedField]) -> TaggedFieldWriting {
        var sorted = unknown
        if sorted.count > 1 { sorted.sort { $0.tag < $1.tag } }
        return TaggedFieldWriting(countMark: mark(), unknown: sorted[...])
    }

    /// Starts a known tagged field. Tags come in ascending order, unknown ones in between.
    public mutating func beginTaggedField(_ tag: UInt32, _ writing: inout TaggedFieldWriting) {
        writeUnknown(&writing, below: tag)
        if writing.unknown.first?.tag == tag { fail("tagged fields", .conflictingTag(tag)) }
        unsignedVarint(tag)
        writing.count += 1
        writing.fieldMark = mark()
    }

    public mutating func endTaggedField(_ writing: inout TaggedFieldWriting) {
        if let fieldMark = writing.fieldMark { setLength(at: fieldMark) }
        writing.fieldMark = nil
    }

    public mutating func endTaggedFields(_ writing: inout TaggedFieldWriting) {
        writeUnknown(&writing, below: nil)
        setVarint(writing.count, at: writing.countMark)
    }

    /// Writes all tagged fields of a structure that defines none; nothing in versions that are not flexible.
    public mutating func unknownTaggedFields(_ unknown: [UnknownTaggedField], _ field: String) {
        guard isFlexible else {
            requireDefault(unknown.isEmpty, field)
            return
        }
        if unknown.isEmpty {
            int8(0)
            return
        }
        var writing = beginTaggedFields(unknown)
        endTaggedFields(&writing)
    }

    private mutating func writeUnknown(_ writing: inout TaggedFieldWriting, below limit: UInt32?) {
        while let field = writing.unknown.first {
            if let limit, field.tag >= limit { return }
            unsignedVarint(field.tag)
            unsignedVarint(UInt32(clamping: field.data.readableBytes))
            buffer.writeImmutableBuffer(field.data)
            writing.count += 1
            writing.unknown.removeFirst()
        }
    }
}
