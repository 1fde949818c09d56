// JSON to bytes: the other half of MessageView.
import KafkaSchema
import NIOCore
import Primitives

extension MessageView {
    func write(_ json: JSONValue, _ fields: [FieldDefinition], _ prefix: String, _ writer: inout WireWriter) {
        guard case .object(let object) = json else { return unexpected(json, prefix, &writer) }
        let version = writer.version
        let present = fields.filter { $0.versions.contains(version) }
        for member in object.members where !present.contains(where: { $0.name == member.name }) {
            if member.name == "_unknownTaggedFields", writer.isFlexible { continue }
            writer.fail(prefix + member.name, .fieldNotInVersion(version))
        }
        for field in present where field.tag == nil {
            write(object[field.name] ?? defaultValue(of: field), field, prefix, &writer)
        }
        guard writer.isFlexible else { return }
        var tags = writer.beginTaggedFields(unknownTaggedFields(object["_unknownTaggedFields"], prefix, &writer))
        for field in present.filter({ $0.tag != nil }).sorted(by: { ($0.tag ?? 0) < ($1.tag ?? 0) }) {
            guard let tag = field.tag, let value = object[field.name], !isDefault(value, of: field, version) else { continue }
            writer.beginTaggedField(tag, &tags)
            write(value, field, prefix, &writer)
            writer.endTaggedField(&tags)
        }
        writer.endTaggedFields(&tags)
    }

    private func unexpected(_ json: JSONValue, _ name: String, _ writer: inout WireWriter) {
        writer.fail(name, .unexpectedValue(String(json.description.prefix(40))))
    }

    private func unknownTaggedFields(_ json: JSONValue?, _ prefix: String, _ writer: inout WireWriter) -> [UnknownTaggedField] {
        guard let json else { return [] }
        var fields: [UnknownTaggedField] = []
        for element in json.arrayValue ?? [] {
            guard let tag = element["tag"]?.integerValue.flatMap({ UInt32(exactly: $0) }),
                let data = element["data"]?.stringValue.flatMap({ Base64.decode($0) })
            else {
                unexpected(element, prefix + "_unknownTaggedFields", &writer)
                return []
            }
            fields.append(UnknownTaggedField(tag: tag, data: ByteBuffer(bytes: data)))
        }
        return fields
    }

    private func write(_ json: JSONValue, _ field: FieldDefinition, _ prefix: String, _ writer: inout WireWriter) {
        let name = prefix + field.name
        let isNullable = field.nullable?.contains(writer.version) ?? false
        if json.isNull, !isNullable { return writer.fail(name, .unexpectedNull) }
        switch field.type {
        case .string:
            guard json.isNull || json.stringValue != nil else { return unexpected(json, name, &writer) }
            if field.isInflexible {
                writer.inflexibleNullableString(json.stringValue, name)
            } else {
                writer.nullableString(json.stringValue, name)
            }
        case .bytes, .records:
            guard !json.isNull else { return writer.nullableBytes(nil, name) }
            writeElement(json, field.type, name, &writer)
        case .structure:
            if isNullable { writer.int8(json.isNull ? (field.tag == nil ? -1 : 0) : 1) }
            if !json.isNull { writeElement(json, field.type, name, &writer) }
        case .array(let element):
            guard json.isNull || json.arrayValue != nil else { return unexpected(json, name, &writer) }
            writer.length(json.arrayValue?.count, name)
            for value in json.arrayValue ?? [] { writeElement(value, element, name, &writer) }
        default: writeElement(json, field.type, name, &writer)
        }
    }

    private func writeElement(_ json: JSONValue, _ type: FieldType, _ name: String, _ writer: inout WireWriter) {
        func integer<Value: FixedWidthInteger>(_: Value.Type) -> Value {
            if let value = json.integerValue.flatMap({ Value(exactly: $0) }) { return value }
            unexpected(json, name, &writer)
            return 0
        }
        switch type {
        case .bool:
            guard let value = json.boolValue else { return unexpected(json, name, &writer) }
            writer.bool(value)
        case .int8: writer.int8(integer(Int8.self))
        case .int16: writer.int16(integer(Int16.self))
        case .int32: writer.int32(integer(Int32.self))
        case .int64: writer.int64(integer(Int64.self))
        case .uint16: writer.uint16(integer(UInt16.self))
        case .uint32: writer.uint32(integer(UInt32.self))
        case .float64:
            guard let value = json.numberValue ?? json.stringValue.flatMap({ Double($0) }) else { return unexpected(json, name, &writer) }
            writer.float64(value)
        case .uuid:
            guard let value = json.stringValue.flatMap({ KafkaUUID($0) }) else { return unexpected(json, name, &writer) }
            writer.uuid(value)
        case .string:
            guard let value = json.stringValue else { return unexpected(json, name, &writer) }
            writer.string(value, name)
        case .bytes, .records:
            guard let value = json.stringValue.flatMap({ Base64.decode($0) }) else { return unexpected(json, name, &writer) }
            writer.bytes(ByteBuffer(bytes: value), name)
        case .structure(let structure): write(json, fields(of: structure), structure + ".", &writer)
        case .array: unexpected(json, name, &writer)
        }
    }

    /// Whether a tagged field stays out of the bytes. A structure is at its default when all of its fields are.
    private func isDefault(_ value: JSONValue, of field: FieldDefinition, _ version: Int16) -> Bool {
        guard case .structure(let structure) = field.type, case .object(let object) = value, field.defaultText == nil else {
            return value == defaultValue(of: field)
        }
        if object["_unknownTaggedFields"] != nil { return false }
        return fields(of: structure).allSatisfy { inner in
            guard inner.versions.contains(version), let value = object[inner.name] else { return true }
            return isDefault(value, of: inner, version)
        }
    }

    /// A field's default as JSON; a structure's is an object without members.
    private func defaultValue(of field: FieldDefinition) -> JSONValue {
        if field.defaultText == "null" || (field.type == .records && field.nullable != nil) { return .null }
        switch field.type {
        case .bool: return .bool(field.defaultText == "true")
        case .int8, .int16, .int32, .int64, .uint16, .uint32:
            return .integer(field.defaultText.flatMap { DefaultValue.integer($0, as: Int64.self) } ?? 0)
        case .float64: return .number(0)
        case .string, .bytes, .records: return ""
        case .uuid: return .string(KafkaUUID.zero.description)
        case .array: return []
        case .structure: return .object([])
        }
    }
}
