// What a definition says, once read. The compiler writes Swift from it; the JSON view of a message walks it at run time. One model
// for both, so that the two cannot drift apart.

/// A range of protocol versions, both ends included; open when `highest` is `Int16.max`.
public struct VersionRange: Hashable, Sendable, CustomStringConvertible {
    public var lowest: Int16
    public var highest: Int16

    public init(_ lowest: Int16, _ highest: Int16) {
        self.lowest = lowest
        self.highest = highest
    }

    /// Every version there can be.
    public static let all = VersionRange(0, .max)

    public func contains(_ version: Int16) -> Bool {
        version >= lowest && version <= highest
    }

    public func contains(_ other: VersionRange) -> Bool {
        other.lowest >= lowest && other.highest <= highest
    }

    /// The versions in both, nil when there are none.
    public func intersection(_ other: VersionRange) -> VersionRange? {
        let range = VersionRange(max(lowest, other.lowest), min(highest, other.highest))
        return range.lowest <= range.highest ? range : nil
    }

    /// `3+`, `3-5` or `3`.
    public var description: String {
        if highest == .max { return "\(lowest)+" }
        return lowest == highest ? "\(lowest)" : "\(lowest)-\(highest)"
    }
}

/// A field's type. Lengths are varints in flexible versions (KIP-482), fixed integers in earlier ones.
public indirect enum FieldType: Hashable, Sendable {
    case bool, int8, int16, int32, int64, uint16, uint32, float64, string, uuid, bytes, records
    case structure(String)
    case array(FieldType)

    static let simple: [String: FieldType] = [
        "bool": .bool, "int8": .int8, "int16": .int16, "int32": .int32, "int64": .int64, "uint16": .uint16, "uint32": .uint32,
        "float64": .float64, "string": .string, "uuid": .uuid, "bytes": .bytes, "records": .records,
    ]

    /// The structure that this type is or holds.
    public var structureName: String? {
        switch self {
        case .structure(let name): name
        case .array(let element): element.structureName
        default: nil
        }
    }

    /// Whether null can be told from empty on the wire.
    var canBeNull: Bool {
        switch self {
        case .string, .bytes, .records, .structure, .array: true
        default: false
        }
    }
}

/// One field of a message or structure.
public struct FieldDefinition: Hashable, Sendable {
    public var name: String
    public var type: FieldType
    /// The versions that have the field, never wider than those that have its structure.
    public var versions: VersionRange
    /// The versions in which the field may be null.
    public var nullable: VersionRange?
    /// Set for a tagged field (KIP-482): it is left out of the bytes when it holds its default.
    public var tag: UInt32?
    /// As written: an integer, `true`, `false` or `null`.
    public var defaultText: String?
    /// A value that differs from the default may be dropped silently when the version lacks the field.
    public var isIgnorable = false
    /// Part of what tells an element from its siblings; says nothing about the bytes.
    public var isKey = false
    /// The length stays fixed in flexible versions (only the client id of request headers).
    public var isInflexible = false
    /// What the value names (`topicName`, `brokerId`), for views of messages.
    public var entity: String?
    /// Java's way of handing out the bytes; kept because it marks values worth not copying.
    public var isZeroCopy = false
    /// Line in the definition, from 1.
    public var line: Int
}

/// A structure nested in a message. Used from several fields, it is described at the first.
public struct StructureDefinition: Hashable, Sendable {
    public var name: String
    /// The versions in which any field holds it.
    public var versions: VersionRange
    public var fields: [FieldDefinition]
}

/// One message: a request, response, header, record, record key or value, or piece of data.
public struct MessageDefinition: Hashable, Sendable {
    public var name: String
    public var versions: VersionRange
    /// The versions with compact lengths and tagged fields, nil if none.
    public var flexible: VersionRange?
    public var fields: [FieldDefinition] = []
    /// In the order of their first use.
    public var structures: [StructureDefinition] = []
    /// The definition by itself: a heading `message VERSIONS [flexible VERSIONS]` and the fields.
    public var text: String = ""

    public func structure(named name: String) -> StructureDefinition? {
        structures.first { $0.name == name }
    }

    public func isFlexible(_ version: Int16) -> Bool {
        flexible?.contains(version) ?? false
    }
}

/// What one file of definitions holds.
public enum Definition: Hashable, Sendable {
    case api(APIDefinition)
    case header(MessageDefinition)
    case metadata(id: Int16, MessageDefinition)
    case remoteLogMetadata(id: Int16, MessageDefinition)
    case coordinator(CoordinatorRecordDefinition)
    case data(MessageDefinition)

    public var messages: [MessageDefinition] {
        switch self {
        case .api(let api): [api.request, api.response]
        case .coordinator(let record): [record.key, record.value]
        case .header(let message), .metadata(_, let message), .remoteLogMetadata(_, let message), .data(let message): [message]
        }
    }
}

/// One API: a request and its response.
public struct APIDefinition: Hashable, Sendable {
    public var key: Int16
    public var name: String
    /// `broker`, `controller`.
    public var listeners: [String]
    public var isClusterAction: Bool
    public var isForwardable: Bool
    /// The versions advertised unless unstable ones are enabled, nil if all of them.
    public var stable: VersionRange?
    public var request: MessageDefinition
    public var response: MessageDefinition
}

/// One record of a coordinator's topic: its key and value.
public struct CoordinatorRecordDefinition: Hashable, Sendable {
    public var id: Int16
    public var name: String
    public var topic: String
    public var key: MessageDefinition
    public var value: MessageDefinition
}

/// One code of the error table.
public struct ErrorDefinition: Hashable, Sendable {
    public var code: Int16
    public var name: String
    public var isRetriable: Bool
    public var refreshesMetadata: Bool
    public var message: String?
}
