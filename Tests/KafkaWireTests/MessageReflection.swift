// A second opinion on decoded structs: their stored properties read by reflection, to be compared with a vector's JSON. Bytes that come
// out as they went in do not prove that each landed in its own field.
import KafkaWire
import NIOCore
import Primitives

enum MessageReflection {
    /// Where `value` differs from `json`, nil if every member of the JSON is found in it.
    static func difference(_ value: Any, _ json: JSONValue, path: String) -> String? {
        let mirror = Mirror(reflecting: value)
        if mirror.displayStyle == .optional {
            guard let child = mirror.children.first else { return json.isNull ? nil : "\(path): nil, not \(json)" }
            return difference(child.value, json, path: path)
        }
        if let scalar = scalar(value) { return scalar == json ? nil : "\(path): \(scalar), not \(json)" }
        if let fields = value as? [UnknownTaggedField] {
            let found = fields.map {
                ["tag": .integer(Int64($0.tag)), "data": .string(Base64.encode($0.data.readableBytesView))] as JSONValue
            }
            return JSONValue.array(found).sortedByName == json.sortedByName ? nil : "\(path): other tagged fields"
        }
        if mirror.displayStyle == .collection {
            guard let elements = json.arrayValue, elements.count == mirror.children.count else { return "\(path): other count" }
            for (index, child) in mirror.children.enumerated() {
                if let difference = difference(child.value, elements[index], path: "\(path)[\(index)]") { return difference }
            }
            return nil
        }
        guard let object = json.objectValue else { return "\(path): no object" }
        var children: [String: Any] = [:]
        for child in mirror.children { children[child.label ?? ""] = child.value }
        for member in object.members {
            let name = member.name == "_unknownTaggedFields" ? "unknownTaggedFields" : member.name
            guard let child = children[name] else { return "\(path).\(name): no such property" }
            if let difference = difference(child, member.value, path: "\(path).\(name)") { return difference }
        }
        return nil
    }

    private static func scalar(_ value: Any) -> JSONValue? {
        switch value {
        case let value as Bool: .bool(value)
        case let value as any FixedWidthInteger: .integer(Int64(value))
        case let value as Double: .number(value)
        case let value as String: .string(value)
        case let value as ErrorCode: .integer(Int64(value.rawValue))
        case let value as KafkaUUID: .string(value.description)
        case let value as ByteBuffer: .string(Base64.encode(value.readableBytesView))
        default: nil
        }
    }
}
