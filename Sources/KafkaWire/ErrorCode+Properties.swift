// One table of errors for server and client. The codes themselves are generated from Definitions/errors.kafka.

/// An error as responses carry it; 0 is success.
public struct ErrorCode: RawRepresentable, Hashable, Sendable {
    public var rawValue: Int16

    public init(rawValue: Int16) {
        self.rawValue = rawValue
    }
}

/// What is known about a code.
struct ErrorProperties {
    let name: String
    let isRetriable: Bool
    let refreshesMetadata: Bool
    let message: String?

    init(_ name: String, _ isRetriable: Bool, _ refreshesMetadata: Bool, _ message: String? = nil) {
        self.name = name
        self.isRetriable = isRetriable
        self.refreshesMetadata = refreshesMetadata
        self.message = message
    }
}

extension ErrorCode: CustomStringConvertible {
    /// Kafka's name, such as `UNKNOWN_TOPIC_OR_PARTITION`; the number for codes that have none.
    public var name: String { properties?.name ?? "\(rawValue)" }
    /// Whether the same request may succeed later.
    public var isRetriable: Bool { properties?.isRetriable ?? false }
    /// Whether a client should refresh its metadata before it tries again.
    public var refreshesMetadata: Bool { properties?.refreshesMetadata ?? false }
    /// A sentence for people; the name where it says enough.
    public var defaultMessage: String { properties?.message ?? name }
    public var description: String { name }
}
