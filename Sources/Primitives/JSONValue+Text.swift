// JSON as text, out and in. The parser bounds its depth: it reads what comes over the network, too.

extension JSONValue: CustomStringConvertible {
    /// On one line, without spaces.
    public var description: String { text() }

    /// The value as JSON text.
    ///
    /// - Parameter indentation: spaces a level, over several lines; 0 for one line without spaces.
    public func text(indentation: Int = 0) -> String {
        var text = ""
        write(to: &text, indentation: indentation, depth: 0)
        return text
    }

    private func write(to text: inout String, indentation: Int, depth: Int) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .integer(let value): text += String(value)
        // JSON has no infinities: as Kafka's own tools do, they are written as strings.
        case .number(let value): text += value.isFinite ? "\(value)" : "\"\(value)\""
        case .string(let value): Self.writeString(value, to: &text)
        case .array(let values):
            Self.writeList(values, "[", "]", to: &text, indentation, depth) { value, text in
                value.write(to: &text, indentation: indentation, depth: depth + 1)
            }
        case .object(let object):
            Self.writeList(object.members, "{", "}", to: &text, indentation, depth) { member, text in
                Self.writeString(member.name, to: &text)
                text += indentation > 0 ? ": " : ":"
                member.value.write(to: &text, indentation: indentation, depth: depth + 1)
            }
        }
    }

    private static func writeList<Element>(
        _ elements: [Element], _ opening: String, _ closing: String, to text: inout String, _ indentation: Int, _ depth: Int,
        _ write: (Element, inout String) -> Void
    ) {
        text += opening
        for (index, element) in elements.enumerated() {
            if index > 0 { text += "," }
            if indentation > 0 { text += "\n" + String(repeating: " ", count: indentation * (depth + 1)) }
            write(element, &text)
        }
        if indentation > 0, !elements.isEmpty { text += "\n" + String(repeating: " ", count: indentation * depth) }
        text += closing
    }

    private static func writeString(_ value: String, to text: inout String) {
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\u{8}": text += "\\b"
            case "\u{c}": text += "\\f"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}

/// Text that is not JSON, and where.
public struct JSONError: Error, Hashable, CustomStringConvertible {
    /// Position in bytes.
    public var offset: Int
    public var reason: String

    public var description: String { "not JSON at byte \(offset): \(reason)" }
}

extension JSONValue {
    /// Reads JSON text.
    public init(parsing text: String) throws(JSONError) {
        try self.init(parsing: Array(text.utf8))
    }

    /// Reads JSON in UTF-8.
    ///
    /// - Parameter maximumDepth: how many objects and lists may stand one inside another.
    public init(parsing bytes: [UInt8], maximumDepth: Int = 128) throws(JSONError) {
        var parser = JSONParser(bytes: bytes, maximumDepth: maximumDepth)
        self = try parser.document()
    }
}

private struct JSONParser {
    let bytes: [UInt8]
    let maximumDepth: Int
    var index = 0
    var depth = 0

    init(bytes: [UInt8], maximumDepth: Int) {
        self.bytes = bytes
        self.maximumDepth = maximumDepth
    }

    mutating func document() throws(JSONError) -> JSONValue {
        let value = try value()
        skipSpace()
        guard index == bytes.count else { throw failure("something follows the value") }
        return value
    }

    private func failure(_ reason: String) -> JSONError { JSONError(offset: index, reason: reason) }

    private var current: UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func skipSpace() {
        while let byte = current, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { index += 1 }
    }

    private mutating func accept(_ byte: UInt8) -> Bool {
        skipSpace()
        guard current == byte else { return false }
        index += 1
        return true
    }

    private mutating func value() throws(JSONError) -> JSONValue {
        skipSpace()
        switch current {
        case nil: throw failure("a value is missing")
        case UInt8(ascii: "{"): return try nested { parser throws(JSONError) in try parser.object() }
        case UInt8(ascii: "["): return try nested { parser throws(JSONError) in try parser.array() }
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func nested(_ body: (inout JSONParser) throws(JSONError) -> JSONValue) throws(JSONError) -> JSONValue {
        guard depth < maximumDepth else { throw failure("nested too deeply") }
        depth += 1
        index += 1
        let value = try body(&self)
        depth -= 1
        return value
    }

    private mutating func word(_ word: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
        for offset in 0..<word.utf8CodeUnitCount {
            guard index + offset < bytes.count, bytes[index + offset] == word.utf8Start[offset] else { throw failure("unknown word") }
        }
        index += word.utf8CodeUnitCount
        return value
    }

    private mutating func array() throws(JSONError) -> JSONValue {
        var values: [JSONValue] = []
        if accept(UInt8(ascii: "]")) { return .array(values) }
        repeat { values.append(try value()) } while accept(UInt8(ascii: ","))
        guard accept(UInt8(ascii: "]")) else { throw failure("',' or ']' is missing") }
        return .array(values)
    }

    private mutating func object() throws(JSONError) -> JSONValue {
        var object = JSONObject()
        if accept(UInt8(ascii: "}")) { return .object(object) }
        repeat {
            skipSpace()
            guard current == UInt8(ascii: "\"") else { throw failure("a member's name is missing") }
            let name = try string()
            guard accept(UInt8(ascii: ":")) else { throw failure("':' is missing") }
            object.append(name, try value())
        } while accept(UInt8(ascii: ","))
        guard accept(UInt8(ascii: "}")) else { throw failure("',' or '}' is missing") }
        return .object(object)
    }

    private mutating func number() throws(JSONError) -> JSONValue {
        let start = index
        while let byte = current {
            let isPart = (0x30...0x39).contains(byte) || [0x2b, 0x2d, 0x2e, 0x45, 0x65].contains(byte)
            if !isPart { break }
            index += 1
        }
        let text = String(decoding: bytes[start..<index], as: UTF8.self)
        let digits = text.drop { $0 == "-" }
        let hasForm = digits.first?.isNumber ?? false && (digits.first != "0" || !(digits.dropFirst().first?.isNumber ?? false))
        if hasForm, !text.hasPrefix("--") {
            if let value = Int64(text) { return .integer(value) }
            if let value = Double(text), value.isFinite, text.last?.isNumber ?? false { return .number(value) }
        }
        index = start
        throw failure("'\(text)' is no value")
    }

    private mutating func string() throws(JSONError) -> String {
        index += 1
        var content: [UInt8] = []
        while true {
            guard let byte = current else { throw failure("the closing quote is missing") }
            index += 1
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: content, as: UTF8.self)
            case UInt8(ascii: "\\"): content += Array(String(try escape()).utf8)
            case 0..<0x20:
                index -= 1
                throw failure("a control character in a string")
            default: content.append(byte)
            }
        }
    }

    private mutating func escape() throws(JSONError) -> Unicode.Scalar {
        guard let byte = current else { throw failure("the closing quote is missing") }
        index += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): return try unicodeEscape()
        default:
            index -= 1
            throw failure("unknown escape")
        }
    }

    /// Four hexadecimal digits, or two times four for a pair of surrogates; half a pair becomes the replacement character.
    private mutating func unicodeEscape() throws(JSONError) -> Unicode.Scalar {
        let first = try codeUnit()
        if let scalar = Unicode.Scalar(UInt32(first)) { return scalar }
        guard (0xd800..<0xdc00).contains(first), index + 1 < bytes.count, bytes[index] == UInt8(ascii: "\\"),
            bytes[index + 1] == UInt8(ascii: "u")
        else { return "\u{fffd}" }
        let back = index
        index += 2
        let second = try codeUnit()
        guard (0xdc00..<0xe000).contains(second) else {
            index = back
            return "\u{fffd}"
        }
        let value = 0x10000 + (UInt32(first - 0xd800) << 10) + UInt32(second - 0xdc00)
        return Unicode.Scalar(value) ?? "\u{fffd}"
    }

    private mutating func codeUnit() throws(JSONError) -> UInt16 {
        guard index + 4 <= bytes.count else { throw failure("four hexadecimal digits are missing") }
        var value: UInt16 = 0
        for _ in 0..<4 {
            guard let digit = Character(Unicode.Scalar(bytes[index])).hexDigitValue else {
                throw failure("four hexadecimal digits are missing")
            }
            value = value << 4 | UInt16(digit)
            index += 1
        }
        return value
    }
}
