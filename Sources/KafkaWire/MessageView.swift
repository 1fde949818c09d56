// Any message as JSON, in the shape of Kafka's own JSON converters, and back. Driven by the definition instead of generated code: views
// are for people and tests, where the size of the program matters more than speed.
import KafkaSchema
import NIOCore
import Primitives
import Synchronization

/// Reads and writes one kind of message by its definition.
///
/// Field names are Kafka's; bytes are base64, ids URL-safe base64, and a tagged field at its default is absent.
public struct MessageView: Sendable {
    let name: String
    let definition: MessageDefinition

    public init(_ type: any KafkaMessage.Type) {
        name = type.messageName
        definition = Self.definitions.withLock { definitions in
            if let definition = definitions[type.messageName] { return definition }
            let definition = Self.parse(type)
            definitions[type.messageName] = definition
            return definition
        }
    }

    private static let definitions = Mutex<[String: MessageDefinition]>([:])

    private static func parse(_ type: any KafkaMessage.Type) -> MessageDefinition {
        do {
            var parser = try DefinitionParser(type.definitionText, file: type.messageName)
            return try parser.message(named: type.messageName)
        } catch {
            preconditionFailure("generated definition: \(error)")
        }
    }

    /// The message in `buffer`, which must hold nothing else.
    public func json(decoding buffer: ByteBuffer, version: Int16) throws(WireError) -> JSONValue {
        var reader = WireReader(buffer)
        reader.begin(name, version: version, isFlexible: definition.isFlexible(version))
        try checkVersion(version)
        let value = read(definition.fields, "", &reader)
        try reader.finish()
        return value
    }

    /// The bytes of a message given as JSON. Members that are missing have their defaults; names that the version does not know fail.
    public func encode(_ json: JSONValue, version: Int16) throws(WireError) -> ByteBuffer {
        var writer = WireWriter()
        writer.begin(name, version: version, isFlexible: definition.isFlexible(version))
        try checkVersion(version)
        write(json, definition.fields, "", &writer)
        try writer.check()
        return writer.buffer
    }

    private func checkVersion(_ version: Int16) throws(WireError) {
        guard definition.versions.contains(version) else {
            throw WireError(message: name, field: "version", offset: 0, reason: .unsupportedVersion(version))
        }
    }

    func fields(of structure: String) -> [FieldDefinition] {
        definition.structure(named: structure)?.fields ?? []
    }
}

extension KafkaMessage {
    /// The message as JSON, as a reader of `version` would see it.
    public func json(version: Int16) throws(WireError) -> JSONValue {
        try MessageView(Self.self).json(decoding: encoded(version: version), version: version)
    }
}

// Reading.
extension MessageView {
    private func read(_ fields: [FieldDefinition], _ prefix: String, _ reader: inout WireReader) -> JSONValue {
        var object = JSONObject()
        let version = reader.version
        for field in fields where field.tag == nil && field.versions.contains(version) {
            object.append(field.name, read(field, prefix, &reader))
        }
        guard reader.isFlexible else { return .object(object) }
        var unknown: [JSONValue] = []
        var tags = reader.taggedFields()
        while reader.nextTaggedField(&tags) {
            if let field = fields.first(where: { $0.tag == tags.tag && $0.versions.contains(version) }) {
                object.append(field.name, read(field, prefix, &reader))
            } else {
                let field = reader.unknownTaggedField(tags)
                unknown.append(["tag": .integer(Int64(field.tag)), "data": .string(Base64.encode(field.data.readableBytesView))])
            }
            reader.endTaggedField(tags, prefix + "tagged fields")
        }
        if !unknown.isEmpty { object.append("_unknownTaggedFields", .array(unknown)) }
        return .object(object)
    }

    private func read(_ field: FieldDefinition, _ prefix: String, _ reader: inout WireReader) -> JSONValue {
        let name = prefix + field.name
        let isNullable = field.nullable?.contains(reader.version) ?? false
        let value: JSONValue
        switch field.type {
        case .string where field.isInflexible: value = reader.inflexibleNullableString(name).map { .string($0) } ?? .null
        case .string: value = reader.nullableString(name).map { .string($0) } ?? .null
        case .bytes, .records: value = reader.nullableBytes(name).map { .string(Base64.encode($0.readableBytesView)) } ?? .null
        case .structure(let structure):
            if isNullable {
                guard field.tag == nil ? reader.isPresent(name) : reader.isPresentInTag(name) else { return .null }
            }
            value = read(fields(of: structure), structure + ".", &reader)
        case .array(let element):
            guard let count = reader.arrayCount(name, minimum: 1) else {
                value = .null
                break
            }
            var values: [JSONValue] = []
            for _ in 0..<count {
                values.append(readElement(element, name, &reader))
                if reader.hasFailed { break }
            }
            value = .array(values)
        default: value = readElement(field.type, name, &reader)
        }
        if value.isNull, !isNullable { reader.fail(name, .unexpectedNull) }
        return value
    }

    private func readElement(_ type: FieldType, _ name: String, _ reader: inout WireReader) -> JSONValue {
        switch type {
        case .bool: .bool(reader.bool(name))
        case .int8: .integer(Int64(reader.int8(name)))
        case .int16: .integer(Int64(reader.int16(name)))
        case .int32: .integer(Int64(reader.int32(name)))
        case .int64: .integer(reader.int64(name))
        case .uint16: .integer(Int64(reader.uint16(name)))
        case .uint32: .integer(Int64(reader.uint32(name)))
        case .float64: .number(reader.float64(name))
        case .uuid: .string(reader.uuid(name).description)
        case .string: .string(reader.string(name))
        case .bytes, .records: .string(Base64.encode(reader.bytes(name).readableBytesView))
        case .structure(let structure): read(fields(of: structure), structure + ".", &reader)
        case .array: .null
        }
    }
}
