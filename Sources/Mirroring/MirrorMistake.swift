// What is wrong with a MirrorMaker file, or worth knowing: key, value and what to write instead.

/// One setting as it stands in the file.
public struct MirrorEntry: Hashable, Sendable {
    public var key: String
    public var value: String
    /// Counted from 1; 0 when it is not known.
    public var line: Int

    public init(key: String, value: String, line: Int) {
        self.key = key
        self.value = value
        self.line = line
    }
}

/// A mistake in the file.
public struct MirrorMistake: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Severity: Hashable, Sendable {
        case error
        case warning
    }

    public var severity: Severity
    public var line: Int
    public var key: String
    /// What is wrong and what to do about it.
    public var message: String

    public init(severity: Severity, line: Int, key: String, message: String) {
        self.severity = severity
        self.line = line
        self.key = key
        self.message = message
    }

    /// `line 12: key: what is wrong`.
    public var description: String { "\(line > 0 ? "line \(line): " : "")\(key): \(message)" }
}

/// Everything that is wrong with a file, not only the first thing.
public struct MirrorMistakes: Error, Sendable, CustomStringConvertible {
    public var errors: [MirrorMistake]

    public init(errors: [MirrorMistake]) {
        self.errors = errors
    }

    public var description: String { errors.map(\.description).joined(separator: "\n") }
}
