// Where settings come from. Every entry remembers its place, so that a mistake can be pointed at.

/// The place of one setting.
public enum ConfigurationOrigin: Sendable, Hashable, CustomStringConvertible {
    case file(path: String, line: Int)
    case environment(variable: String)
    /// `--override`, with its text.
    case override(String)
    /// Nobody set it.
    case nowhere

    /// As it stands in front of a message: `server.properties:12`, `environment variable KAFKA_LOG_DIRS`.
    public var description: String {
        switch self {
        case .file(let path, let line): line > 0 ? "\(path):\(line)" : path
        case .environment(let variable): "environment variable \(variable)"
        case .override(let text): "--override \(text)"
        case .nowhere: "configuration"
        }
    }
}

/// One setting as it was found.
public struct SourceEntry: Sendable, Hashable {
    public var key: String
    public var value: String
    public var origin: ConfigurationOrigin

    public init(key: String, value: String, origin: ConfigurationOrigin) {
        self.key = key
        self.value = value
        self.origin = origin
    }
}

/// Something wrong, or worth knowing, about one setting.
public struct ConfigurationMistake: Sendable, Hashable, CustomStringConvertible {
    public enum Severity: Sendable, Hashable {
        case error
        case warning
    }

    public var severity: Severity
    public var origin: ConfigurationOrigin
    /// Empty when it is about a line or a file.
    public var key: String
    /// What is wrong, without key and place.
    public var message: String
    /// The known key that was probably meant.
    public var nearestKey: String?

    public init(_ severity: Severity, _ origin: ConfigurationOrigin, key: String, _ message: String, nearestKey: String? = nil) {
        self.severity = severity
        self.origin = origin
        self.key = key
        self.message = message
        self.nearestKey = nearestKey
    }

    /// One line: place, key, what is wrong, what was probably meant.
    public var description: String {
        let subject = key.isEmpty ? "" : "\(key): "
        let hint = nearestKey.map { "; did you mean \($0)?" } ?? ""
        return "\(origin): \(subject)\(message)\(hint)"
    }
}

/// Everything that is wrong with a configuration, not only the first thing.
public struct ConfigurationMistakes: Error, Sendable, CustomStringConvertible {
    /// The errors, in the order of the sources.
    public var errors: [ConfigurationMistake]
    /// What would only have been warned about.
    public var warnings: [ConfigurationMistake]

    /// One line per error.
    public var description: String { errors.map(\.description).joined(separator: "\n") }
}

/// What one source gave: entries in their order, and what could not be read.
public struct SourceContent: Sendable {
    public var entries: [SourceEntry] = []
    public var mistakes: [ConfigurationMistake] = []
    /// Nothing is known of what the source says.
    public var isUnreadable = false

    public init() {}
}
