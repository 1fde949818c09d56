// One client quota as links see it: whom it is for, and which key.
import Primitives

/// A client quota's entity and key.
public struct QuotaName: Sendable, Hashable {
    public struct Part: Sendable, Hashable {
        /// `user`, `client-id` or `ip`.
        public var type: String
        /// Nil for the default of that type.
        public var name: String?

        public init(type: String, name: String?) {
            self.type = type
            self.name = name
        }
    }

    /// By type.
    public var parts: [Part]
    public var key: String

    public init(_ parts: [Part], key: String) {
        self.parts = parts.sorted { $0.type < $1.type }
        self.key = key
    }

    /// What filters go by: `user:alice`, `client-id:<default>`.
    public var filterNames: [String] { parts.map { "\($0.type):\($0.name ?? "<default>")" } }

    /// The name among what a link has put here.
    public var name: String {
        var words: [JSONValue] = [.string(key)]
        for part in parts { words += [.string(part.type), part.name.map { .string($0) } ?? .null] }
        return JSONValue.array(words).description
    }

    public init?(name: String) {
        guard let words = (try? JSONValue(parsing: name))?.arrayValue, words.count % 2 == 1, let key = words[0].stringValue else {
            return nil
        }
        var parts: [Part] = []
        for index in stride(from: 1, to: words.count, by: 2) {
            guard let type = words[index].stringValue else { return nil }
            parts.append(Part(type: type, name: words[index + 1].stringValue))
        }
        self.init(parts, key: key)
    }

    /// A value as text, whole numbers without a point.
    public static func text(_ value: Double) -> String {
        value == value.rounded() && value.magnitude < 1e15 ? "\(Int64(value))" : "\(value)"
    }
}

/// A user's password for one mechanism as links see it.
public struct CredentialName: Sendable, Hashable {
    public var user: String
    /// `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    public var mechanism: String

    public init(user: String, mechanism: String) {
        self.user = user
        self.mechanism = mechanism
    }

    /// The name among what a link has put here.
    public var name: String { JSONValue.array([.string(mechanism), .string(user)]).description }

    public init?(name: String) {
        guard let words = (try? JSONValue(parsing: name))?.arrayValue?.compactMap(\.stringValue), words.count == 2 else { return nil }
        self.init(user: words[1], mechanism: words[0])
    }
}
