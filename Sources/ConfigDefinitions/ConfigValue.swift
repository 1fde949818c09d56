// Values of configuration keys: from the text of a file or a request to a typed value and back to the text that Kafka's admin
// clients expect. Follows the parsing rules of Kafka's ConfigDef, Java's number syntax included.

/// A parsed value.
public enum ConfigValue: Sendable, Equatable {
    case boolean(Bool)
    case string(String)
    case int(Int32)
    case short(Int16)
    case long(Int64)
    case double(Double)
    case list([String])
    case className(String)
    case password(String)

    /// Parses `text` as `type`. Throws `ConfigError` with Kafka's sentence when it is not of that type.
    public init(parsing text: String, as type: ConfigType, key: String) throws(ConfigError) {
        let trimmed = text.trimmedOfControls
        switch type {
        case .boolean:
            switch trimmed.lowercased() {
            case "true": self = .boolean(true)
            case "false": self = .boolean(false)
            default: throw .invalidValue(text, key: key, "Expected value to be either true or false")
            }
        case .string, .unknown: self = .string(trimmed)
        case .className: self = .className(trimmed)
        case .password: self = .password(trimmed)
        case .int: self = .int(try Self.number(trimmed, text, key, "INT"))
        case .short: self = .short(try Self.number(trimmed, text, key, "SHORT"))
        case .long: self = .long(try Self.number(trimmed, text, key, "LONG"))
        case .double:
            guard let number = Double(trimmed) else { throw .invalidValue(text, key: key, "Not a number of type DOUBLE") }
            self = .double(number)
        case .list: self = .list(Self.splitList(trimmed))
        }
    }

    private static func number<Number: FixedWidthInteger>(
        _ trimmed: String, _ text: String, _ key: String, _ typeName: String
    ) throws(ConfigError) -> Number {
        guard let number = Number(trimmed) else { throw .invalidValue(text, key: key, "Not a number of type \(typeName)") }
        return number
    }

    /// Splits a comma separated list, dropping the space around the commas; empty elements stay, an empty text is no element.
    public static func splitList(_ text: String) -> [String] {
        let trimmed = text.trimmedOfControls
        if trimmed.isEmpty { return [] }
        return trimmed.split(separator: ",", omittingEmptySubsequences: false).map { String($0).trimmedOfControls }
    }

    /// The value as Kafka writes it back; a password in the clear, so ask `isSensitive` of its definition first.
    public var text: String {
        switch self {
        case .boolean(let value): value ? "true" : "false"
        case .string(let value), .className(let value), .password(let value): value
        case .int(let value): String(value)
        case .short(let value): String(value)
        case .long(let value): String(value)
        case .double(let value): Self.javaText(value)
        case .list(let elements): elements.joined(separator: ",")
        }
    }

    /// Java's `Double.toString`: plain between 10^-3 and 10^7, otherwise with an exponent as in `1.7976931348623157E308`.
    static func javaText(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Infinity" : "Infinity" }
        let magnitude = value.magnitude
        if value == 0 || (magnitude >= 1e-3 && magnitude < 1e7) { return "\(value)" }
        // Swift prints the same shortest digits; only the place of the point and the exponent's letter differ.
        let digits = "\(magnitude)".lowercased()
        let parts = digits.split(separator: "e")
        var exponent = parts.count == 2 ? (Int(parts[1]) ?? 0) : 0
        let mantissa = parts[0].split(separator: ".", omittingEmptySubsequences: false)
        let whole = String(mantissa[0])
        let fraction = mantissa.count == 2 ? String(mantissa[1]) : ""
        var significant = whole + fraction
        exponent += whole.count - 1
        while significant.hasPrefix("0") && significant.count > 1 {
            significant.removeFirst()
            exponent -= 1
        }
        while significant.hasSuffix("0") && significant.count > 1 { significant.removeLast() }
        let rest = significant.dropFirst()
        return "\(value < 0 ? "-" : "")\(significant.prefix(1)).\(rest.isEmpty ? "0" : String(rest))E\(exponent)"
    }
}

extension ConfigValue {
    /// Any of the integer types, widened.
    public var integer: Int64? {
        switch self {
        case .int(let value): Int64(value)
        case .short(let value): Int64(value)
        case .long(let value): value
        default: nil
        }
    }

    /// Any number, as Kafka's range validators compare it.
    public var number: Double? {
        if case .double(let value) = self { return value }
        return integer.map(Double.init)
    }

    public var boolean: Bool? {
        if case .boolean(let value) = self { return value }
        return nil
    }

    public var list: [String]? {
        if case .list(let value) = self { return value }
        return nil
    }

    /// The text of strings, class names and passwords.
    public var string: String? {
        switch self {
        case .string(let value), .className(let value), .password(let value): value
        default: nil
        }
    }
}

extension String {
    /// Java's `trim()`: everything up to U+0020 goes from both ends.
    public var trimmedOfControls: String {
        let scalars = unicodeScalars
        guard let first = scalars.firstIndex(where: { $0.value > 0x20 }), let last = scalars.lastIndex(where: { $0.value > 0x20 }) else {
            return ""
        }
        return String(scalars[first...last])
    }
}

/// A value that a key does not take, a key that nobody knows, or values that contradict each other.
public struct ConfigError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Kind: Sendable, Equatable {
        case invalidValue, unknownKey, missing, conflict, notDynamic
    }

    public let kind: Kind
    /// The key at fault; empty when it is several.
    public let key: String
    /// A whole sentence for people, fit for an error message on the wire.
    public let message: String
    /// What is wrong with the value, for places where key and value are shown anyway; the message for the other kinds.
    public let reason: String

    public init(_ kind: Kind, key: String, _ message: String, reason: String? = nil) {
        self.kind = kind
        self.key = key
        self.message = message
        self.reason = reason ?? message
    }

    public var description: String { message }

    /// `Invalid value X for configuration Y: Z`, the form that Kafka's clients and their users know.
    public static func invalidValue(_ value: String?, key: String, _ reason: String) -> ConfigError {
        ConfigError(
            .invalidValue, key: key, "Invalid value \(value ?? "null") for configuration \(key): \(reason)",
            reason: "invalid value '\(value ?? "null")': \(reason)")
    }
}
