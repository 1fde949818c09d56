// Values for any message and version from a seed, by its definition: what property tests feed on, and where the committed vectors
// come from.
import KafkaSchema
import KafkaWire
import NIOCore
import Primitives

struct RandomMessage {
    private let definition: MessageDefinition
    private let version: Int16
    private var random: SeededRandom

    init(_ type: any KafkaMessage.Type, version: Int16, seed: UInt64) throws {
        var parser = try DefinitionParser(type.definitionText, file: type.messageName)
        definition = try parser.message(named: type.messageName)
        self.version = version
        var hash = seed &* 0x9e37_79b9_7f4a_7c15 &+ UInt64(version)
        for byte in type.messageName.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        random = SeededRandom(seed: hash)
    }

    /// The message as JSON, as ``MessageView`` writes it.
    mutating func json() -> JSONValue {
        object(definition.fields, depth: 0)
    }

    private mutating func oneIn(_ count: Int) -> Bool { Int.random(in: 0..<count, using: &random) == 0 }

    private mutating func object(_ fields: [FieldDefinition], depth: Int) -> JSONValue {
        var object = JSONObject()
        for field in fields where field.versions.contains(version) {
            if field.tag != nil, oneIn(2) { continue }
            object.append(field.name, value(field, depth: depth))
        }
        if definition.isFlexible(version), oneIn(4) {
            // Known tags stay below 16; 131 takes two bytes.
            let tags = [UInt32(20), 131].filter { _ in oneIn(2) }
            let unknown = tags.map { tag -> JSONValue in ["tag": .integer(Int64(tag)), "data": bytes()] }
            if !unknown.isEmpty { object.append("_unknownTaggedFields", .array(unknown)) }
        }
        return .object(object)
    }

    private mutating func value(_ field: FieldDefinition, depth: Int) -> JSONValue {
        if field.nullable?.contains(version) ?? false, oneIn(4) { return .null }
        guard case .array(let element) = field.type else { return value(field.type, depth: depth) }
        let count = Int.random(in: 0...(depth > 1 ? 1 : 2), using: &random)
        return .array((0..<count).map { _ in value(element, depth: depth) })
    }

    private mutating func value(_ type: FieldType, depth: Int) -> JSONValue {
        switch type {
        case .bool: .bool(oneIn(2))
        case .int8: integer(Int8.self)
        case .int16: integer(Int16.self)
        case .int32: integer(Int32.self)
        case .int64: integer(Int64.self)
        case .uint16: integer(UInt16.self)
        case .uint32: integer(UInt32.self)
        case .float64: .number([0, -0.5, 1e21, 1.0 / 3, 12345][Int.random(in: 0..<5, using: &random)])
        case .uuid: .string(KafkaUUID(mostSignificantBits: random.next(), leastSignificantBits: random.next()).description)
        case .string: .string(["", "a", "topic-1", "Grüße", "日本", "x.y_z"][Int.random(in: 0..<6, using: &random)])
        case .bytes, .records: bytes()
        case .structure(let name): object(definition.structure(named: name)?.fields ?? [], depth: depth + 1)
        case .array: []
        }
    }

    private mutating func integer<Value: FixedWidthInteger>(_: Value.Type) -> JSONValue {
        let values = [
            Value.min, Value.max, 0, 1, Value(truncatingIfNeeded: random.next()), Value(truncatingIfNeeded: random.next() & 0xff),
        ]
        return .integer(Int64(values[Int.random(in: 0..<values.count, using: &random)]))
    }

    private mutating func bytes() -> JSONValue {
        let count = Int.random(in: 0...6, using: &random)
        return .string(Base64.encode((0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }))
    }
}
