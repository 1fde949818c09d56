// The rules a single value has to keep, as data: a table entry names its rule, the check lives here once.

/// What a key's value must look like beyond its type.
public enum ConfigValidator: Sendable, Equatable {
    case any
    /// Inclusive lower bound.
    case atLeast(Int64)
    /// Inclusive bounds.
    case between(Int64, Int64)
    /// A number from 0 up to the given one, inclusive.
    case fraction(upTo: Double)
    /// gzip's levels: 1 to 9, or -1 for the library's choice.
    case gzipLevel
    case oneOf([String])
    case oneOfIgnoringCase([String])
    /// A list without empty elements; `of` names the elements allowed, empty for any.
    case list(of: [String], mayBeEmpty: Bool)
    case nonEmptyString
    /// `*`, or `partition:broker` pairs.
    case throttledReplicas
    /// `id@host:port` elements.
    case quorumVoters
    /// `host:port` elements.
    case quorumBootstrapServers
    /// `earliest`, `latest` or `by_duration:<ISO 8601 duration>` (KIP-1106).
    case shareOffsetReset

    /// Lists under a list rule lose their duplicates before they are checked, as in Kafka.
    public func normalised(_ value: ConfigValue) -> ConfigValue {
        guard case .list = self, case .list(let elements) = value else { return value }
        var unique: [String] = []
        for element in elements where !unique.contains(element) { unique.append(element) }
        return .list(unique)
    }

    /// Throws Kafka's sentence when `value` (already normalised) breaks the rule.
    public func check(_ value: ConfigValue, key: String) throws(ConfigError) {
        switch self {
        case .any: return
        case .atLeast(let minimum):
            if let number = value.number, number < Double(minimum) {
                throw .invalidValue(value.text, key: key, "Value must be at least \(minimum)")
            }
        case .between(let minimum, let maximum):
            if let number = value.number, number < Double(minimum) {
                throw .invalidValue(value.text, key: key, "Value must be at least \(minimum)")
            }
            if let number = value.number, number > Double(maximum) {
                throw .invalidValue(value.text, key: key, "Value must be no more than \(maximum)")
            }
        case .fraction(let maximum):
            if let number = value.number, number < 0 { throw .invalidValue(value.text, key: key, "Value must be at least 0") }
            if let number = value.number, number > maximum {
                throw .invalidValue(value.text, key: key, "Value must be no more than \(ConfigValue.javaText(maximum))")
            }
        case .gzipLevel:
            if let level = value.integer, level != -1, level < 1 || level > 9 {
                throw .invalidValue(value.text, key: key, "Value must be between 1 and 9 or equal to -1")
            }
        case .oneOf(let allowed):
            try Self.check(value.text, isOneOf: allowed, key: key)
        case .oneOfIgnoringCase(let allowed):
            let lowered = value.text.lowercased()
            if !allowed.contains(where: { $0.lowercased() == lowered }) {
                throw .invalidValue(
                    value.text, key: key, "String must be one of (case insensitive): \(allowed.joined(separator: ", "))")
            }
        case .list(let allowed, let mayBeEmpty): try Self.checkList(value.list ?? [], allowed, mayBeEmpty, key)
        case .nonEmptyString:
            if value.text.isEmpty { throw .invalidValue(value.text, key: key, "String must be non-empty") }
        case .throttledReplicas: try Self.checkThrottledReplicas(value.list ?? [], key)
        case .quorumVoters:
            for entry in value.list ?? [] where QuorumVoter(entry) == nil {
                throw .invalidValue(entry, key: key, "Each entry must have the form {id}@{host}:{port}")
            }
        case .quorumBootstrapServers:
            for entry in value.list ?? [] where HostAndPort(entry) == nil {
                throw .invalidValue(entry, key: key, "Each entry must have the form {host}:{port}")
            }
        case .shareOffsetReset:
            let text = value.text.lowercased()
            if text != "earliest" && text != "latest" && !(text.hasPrefix("by_duration:p") && text.utf8.count > 14) {
                throw .invalidValue(
                    value.text, key: key, "The value must be earliest, latest or of the form by_duration:<PnDTnHnMn.nS>")
            }
        }
    }

    private static func check(_ text: String, isOneOf allowed: [String], key: String) throws(ConfigError) {
        if !allowed.contains(text) {
            throw .invalidValue(text, key: key, "String must be one of: \(allowed.joined(separator: ", "))")
        }
    }

    private static func checkList(_ elements: [String], _ allowed: [String], _ mayBeEmpty: Bool, _ key: String) throws(ConfigError) {
        if elements.isEmpty && !mayBeEmpty {
            let choice = allowed.isEmpty ? "any non-empty value" : "[\(allowed.joined(separator: ", "))]"
            throw ConfigError(.invalidValue, key: key, "Configuration '\(key)' must not be empty. Valid values include: \(choice)")
        }
        for element in elements {
            if element.isEmpty {
                throw ConfigError(.invalidValue, key: key, "Configuration '\(key)' values must not be empty.")
            }
            if !allowed.isEmpty { try check(element, isOneOf: allowed, key: key) }
        }
    }

    private static func checkThrottledReplicas(_ elements: [String], _ key: String) throws(ConfigError) {
        if elements.joined() == "*" { return }
        for element in elements where !element.isEmpty {
            let parts = element.split(separator: ":", omittingEmptySubsequences: false)
            let areNumbers = parts.allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }
            if parts.count != 2 || !areNumbers {
                throw .invalidValue(
                    elements.joined(separator: ","), key: key,
                    "\(key) must be '*' or a list of replicas as [partitionId]:[brokerId],[partitionId]:[brokerId],...")
            }
        }
    }

    /// The rule in Kafka's notation for the reference table; empty for `any`.
    public var summary: String {
        switch self {
        case .any: ""
        case .atLeast(let minimum): "[\(minimum),...]"
        case .between(let minimum, let maximum): "[\(minimum),...,\(maximum)]"
        case .fraction(let maximum): "[0,...,\(ConfigValue.javaText(maximum))]"
        case .gzipLevel: "[1,...,9] or -1"
        case .oneOf(let allowed): "[\(allowed.joined(separator: ", "))]"
        case .oneOfIgnoringCase(let allowed): "(case insensitive) [\(allowed.joined(separator: ", "))]"
        case .list(let allowed, let mayBeEmpty):
            allowed.isEmpty ? (mayBeEmpty ? "" : "non-empty list") : "[\(allowed.joined(separator: ", "))]"
        case .nonEmptyString: "non-empty string"
        case .throttledReplicas: "* or [partition]:[broker],..."
        case .quorumVoters: "{id}@{host}:{port},..."
        case .quorumBootstrapServers: "{host}:{port},..."
        case .shareOffsetReset: "[earliest, latest, by_duration:PnDTnHnMn.nS]"
        }
    }
}
