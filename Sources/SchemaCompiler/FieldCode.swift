// The Swift of one field: its type, default, and the statements that read and write it.
import KafkaSchema

struct FieldCode {
    let field: FieldDefinition
    /// The field as errors name it, in quotes.
    let quoted: String

    init(_ field: FieldDefinition, in structure: String?) {
        self.field = field
        quoted = "\"\(structure.map { $0 + "." } ?? "")\(field.name)\""
    }

    private var isOptional: Bool { field.nullable != nil }
    private var isNullableAlways: Bool { field.nullable == field.versions }
    private var own: String { "self.\(field.name)" }
    private var isErrorCode: Bool {
        field.type == .int16 && (field.name == "errorCode" || field.name.hasSuffix("ErrorCode"))
    }

    /// The condition that `version` is within `range`, nil if it always is.
    static func condition(_ range: VersionRange, within whole: VersionRange) -> String? {
        let fromBelow = range.lowest <= whole.lowest
        let toAbove = range.highest >= whole.highest
        if fromBelow && toAbove { return nil }
        if range.lowest == range.highest || (toAbove && range.lowest == whole.highest) { return "version == \(range.lowest)" }
        if toAbove { return "version >= \(range.lowest)" }
        if fromBelow { return "version <= \(range.highest)" }
        return "version >= \(range.lowest) && version <= \(range.highest)"
    }

    var swiftType: String { Self.type(field.type, isErrorCode: isErrorCode) + (isOptional ? "?" : "") }

    private static func type(_ type: FieldType, isErrorCode: Bool = false) -> String {
        switch type {
        case .bool: "Bool"
        case .int8: "Int8"
        case .int16: isErrorCode ? "ErrorCode" : "Int16"
        case .int32: "Int32"
        case .int64: "Int64"
        case .uint16: "UInt16"
        case .uint32: "UInt32"
        case .float64: "Double"
        case .string: "String"
        case .uuid: "KafkaUUID"
        case .bytes, .records: "ByteBuffer"
        case .structure(let name): name
        case .array(let element): "[\(Self.type(element))]"
        }
    }

    var defaultValue: String {
        if isOptional, field.defaultText == "null" || field.type == .records { return "nil" }
        switch field.type {
        case .bool: return field.defaultText ?? "false"
        case .int8, .int16, .int32, .int64, .uint16, .uint32:
            if isErrorCode { return field.defaultText.map { "ErrorCode(rawValue: \($0))" } ?? ".none" }
            return field.defaultText ?? "0"
        case .float64: return "0"
        case .string: return "\"\""
        case .uuid: return ".zero"
        case .bytes, .records: return "ByteBuffer()"
        case .structure(let name): return "\(name)()"
        case .array: return "[]"
        }
    }

    /// An expression that tells whether the field holds its default.
    var isDefault: String {
        if defaultValue == "nil" { return "\(own) == nil" }
        switch field.type {
        case .bool: return defaultValue == "true" ? own : "!\(own)"
        case .string: return isOptional ? "\(own) == \"\"" : "\(own).isEmpty"
        case .bytes, .records: return isOptional ? "\(own)?.readableBytes == 0" : "\(own).readableBytes == 0"
        case .array: return isOptional ? "\(own)?.isEmpty == true" : "\(own).isEmpty"
        default: return "\(own) == \(defaultValue)"
        }
    }

    var requireDefault: String { "writer.requireDefault(\(isDefault), \(quoted))" }

    /// The part of a primitive's name that says what it reads or writes.
    private var primitive: String {
        switch field.type {
        case .bool: "bool"
        case .int8: "int8"
        case .int16: isErrorCode ? "errorCode" : "int16"
        case .int32: "int32"
        case .int64: "int64"
        case .uint16: "uint16"
        case .uint32: "uint32"
        case .float64: "float64"
        case .uuid: "uuid"
        case .string: "string"
        case .bytes, .records: "bytes"
        case .structure: "structure"
        case .array(.structure): "array"
        case .array(.uuid): "uuidArray"
        case .array(let element): Self.type(element).lowercased() + "Array"
        }
    }

    private func prefixed(_ prefix: String) -> String {
        if primitive == "uuidArray" { return prefix + "UUIDArray" }
        return prefix + primitive.prefix(1).uppercased() + primitive.dropFirst()
    }

    private var structureArgument: String {
        guard case .array(.structure(let name)) = field.type else { return "" }
        return ", of: \(name).self"
    }

    /// The statement that reads the field.
    var read: String {
        if case .structure(let name) = field.type {
            guard isOptional else { return "\(own).read(from: &reader)" }
            let present = field.tag == nil ? "isPresent" : "isPresentInTag"
            return "\(own) = reader.\(present)(\(quoted)) ? reader.structure(of: \(name).self) : nil"
        }
        if field.isInflexible { return "\(own) = reader.inflexibleNullableString(\(quoted))" }
        let plain = "reader.\(primitive)(\(quoted)\(structureArgument))"
        let nullable = "reader.\(prefixed("nullable"))(\(quoted)\(structureArgument))"
        guard let versions = field.nullable else { return "\(own) = \(plain)" }
        if isNullableAlways { return "\(own) = \(nullable)" }
        guard let condition = Self.condition(versions, within: field.versions) else { return "\(own) = \(nullable)" }
        return "\(own) = \(condition) ? \(nullable) : \(plain)"
    }

    /// The statement that writes the field.
    func write(structureVersions: VersionRange) -> String {
        switch field.type {
        case .structure:
            guard isOptional else { return "\(own).write(to: &writer)" }
            return "writer.\(field.tag == nil ? "nullableStructure" : "nullableStructureInTag")(\(own))"
        case .string, .bytes, .records, .array:
            if field.isInflexible { return "writer.inflexibleNullableString(\(own), \(quoted))" }
            guard let versions = field.nullable else { return "writer.\(primitive)(\(own), \(quoted))" }
            let nullable = "writer.\(prefixed("nullable"))(\(own), \(quoted))"
            guard !isNullableAlways, let condition = Self.condition(versions, within: field.versions) else { return nullable }
            return "if \(condition) { \(nullable) } else { writer.\(prefixed("present"))(\(own), \(quoted)) }"
        default:
            return "writer.\(primitive)(\(own))"
        }
    }
}

/// The fewest bytes that a structure takes in any version: what bounds an array's count.
struct MinimumSize {
    private let message: MessageDefinition

    init(_ message: MessageDefinition) {
        self.message = message
    }

    func of(_ fields: [FieldDefinition], versions: VersionRange) -> Int {
        let highest = min(versions.highest, message.versions.highest)
        let lowest = max(versions.lowest, message.versions.lowest)
        let sizes = (lowest...highest).map { size(of: fields, in: $0) }
        return max(1, sizes.min() ?? 1)
    }

    private func size(of fields: [FieldDefinition], in version: Int16) -> Int {
        let isFlexible = message.isFlexible(version)
        var total = isFlexible ? 1 : 0
        for field in fields where field.tag == nil && field.versions.contains(version) {
            total += size(of: field, in: version, isFlexible: isFlexible)
        }
        return total
    }

    private func size(of field: FieldDefinition, in version: Int16, isFlexible: Bool) -> Int {
        switch field.type {
        case .bool, .int8: return 1
        case .int16, .uint16: return 2
        case .int32, .uint32: return 4
        case .int64, .float64: return 8
        case .uuid: return 16
        case .string: return isFlexible && !field.isInflexible ? 1 : 2
        case .bytes, .records, .array: return isFlexible ? 1 : 4
        case .structure(let name):
            if field.nullable != nil { return 1 }
            return message.structure(named: name).map { size(of: $0.fields, in: version) } ?? 0
        }
    }
}
