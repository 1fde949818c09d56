// Why bytes could not be read or written, with enough to find the place: message, field, offset.

/// A message that cannot be decoded, or a value that its version cannot carry.
public struct WireError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What went wrong, apart from where.
    public enum Reason: Hashable, Sendable {
        /// The bytes end within a value.
        case truncated(needed: Int, remaining: Int)
        /// A length or count that the bytes left cannot hold.
        case invalidLength(length: Int, remaining: Int)
        /// A null where the version allows none.
        case unexpectedNull
        /// A varint of more bytes than its type has.
        case invalidVarint
        /// A tagged field whose value does not have the size that its tag announces.
        case tagSizeMismatch(tag: UInt32, size: Int, used: Int)
        /// An unknown tagged field under the tag of a known one.
        case conflictingTag(UInt32)
        /// The message does not exist in this version.
        case unsupportedVersion(Int16)
        /// A value that differs from its default in a version without the field.
        case fieldNotInVersion(Int16)
        /// A value too long for its length prefix.
        case tooLong(Int)
        /// Bytes behind the end of the message.
        case trailingBytes(Int)
        /// A record type, or frame version, that is not known.
        case unknownRecordType(Int)
        /// JSON that does not fit the field.
        case unexpectedValue(String)
    }

    // On the heap, so that a thrown error is one word: errors are rare, functions that can throw them are not.
    private final class Storage: Sendable {
        let message: String
        let field: String
        let offset: Int
        let reason: Reason

        init(message: String, field: String, offset: Int, reason: Reason) {
            self.message = message
            self.field = field
            self.offset = offset
            self.reason = reason
        }
    }

    private let storage: Storage

    public init(message: String, field: String, offset: Int, reason: Reason) {
        storage = Storage(message: message, field: field, offset: offset, reason: reason)
    }

    /// The message, such as `ProduceRequest`.
    public var message: String { storage.message }
    /// The field, with its structure's name when it is nested: `TopicProduceData.name`.
    public var field: String { storage.field }
    /// Position in bytes from the message's start.
    public var offset: Int { storage.offset }
    public var reason: Reason { storage.reason }

    public var description: String {
        "\(message).\(field) at byte \(offset): \(reasonText)"
    }

    private var reasonText: String {
        switch reason {
        case .truncated(let needed, let remaining): "needs \(needed) bytes, \(remaining) are left"
        case .invalidLength(let length, let remaining): "length \(length) does not fit \(remaining) bytes left"
        case .unexpectedNull: "null is not allowed in this version"
        case .invalidVarint: "varint is too long"
        case .tagSizeMismatch(let tag, let size, let used): "tag \(tag) announces \(size) bytes, its value takes \(used)"
        case .conflictingTag(let tag): "unknown field has the known tag \(tag)"
        case .unsupportedVersion(let version): "version \(version) is not supported"
        case .fieldNotInVersion(let version): "version \(version) cannot carry a value other than the default"
        case .tooLong(let length): "length \(length) exceeds the length prefix"
        case .trailingBytes(let count): "\(count) bytes follow the end"
        case .unknownRecordType(let type): "record type or frame version \(type) is not known"
        case .unexpectedValue(let value): "\(value) does not fit"
        }
    }

    public static func == (left: WireError, right: WireError) -> Bool {
        left.message == right.message && left.field == right.field && left.offset == right.offset && left.reason == right.reason
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(message)
        hasher.combine(field)
        hasher.combine(offset)
        hasher.combine(reason)
    }
}
