// The little JSON that a server has to write itself: log lines and health. No parser, no Foundation.

/// Builds one flat or nested JSON text piece by piece.
public struct JSONText: Sendable {
    /// The text so far.
    public private(set) var text = ""
    private var needsComma = false

    public init() {}

    public mutating func beginObject(_ key: String? = nil) {
        separate(key)
        text += "{"
        needsComma = false
    }

    public mutating func endObject() {
        text += "}"
        needsComma = true
    }

    public mutating func beginArray(_ key: String? = nil) {
        separate(key)
        text += "["
        needsComma = false
    }

    public mutating func endArray() {
        text += "]"
        needsComma = true
    }

    public mutating func field(_ key: String?, _ value: String) {
        separate(key)
        Self.appendQuoted(value, to: &text)
    }

    public mutating func field(_ key: String?, _ value: Int64) {
        separate(key)
        text += String(value)
    }

    public mutating func field(_ key: String?, _ value: Bool) {
        separate(key)
        text += value ? "true" : "false"
    }

    private mutating func separate(_ key: String?) {
        if needsComma { text += "," }
        needsComma = true
        if let key {
            Self.appendQuoted(key, to: &text)
            text += ":"
        }
    }

    /// Appends `value` as a JSON string (RFC 8259: quotes, backslashes and control characters escaped).
    public static func appendQuoted(_ value: String, to text: inout String) {
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
