// What the protocol says about each API, apart from the shape of its messages.

/// The listeners that serve an API.
public struct ApiListeners: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8

    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    public static let broker = ApiListeners(rawValue: 1)
    public static let controller = ApiListeners(rawValue: 2)
}

/// An API's versions and flags.
public struct ApiProperties: Hashable, Sendable {
    /// Kafka's name, such as `ListOffsets`.
    public var name: String
    public var versions: ClosedRange<Int16>
    /// What is advertised unless unstable versions are enabled.
    public var stableVersions: ClosedRange<Int16>
    /// `Int16.max` if there is none.
    public var firstFlexibleVersion: Int16
    public var listeners: ApiListeners
    /// Needs the CLUSTER_ACTION permission: spoken between nodes.
    public var isClusterAction: Bool
    /// A broker passes it on to the active controller (KIP-590).
    public var isForwardable: Bool

    init(
        _ name: String, _ versions: ClosedRange<Int16>, stable: ClosedRange<Int16>, flexible: Int16, listeners: ApiListeners,
        isClusterAction: Bool, isForwardable: Bool
    ) {
        self.name = name
        self.versions = versions
        stableVersions = stable
        firstFlexibleVersion = flexible
        self.listeners = listeners
        self.isClusterAction = isClusterAction
        self.isForwardable = isForwardable
    }
}

extension ApiKey: CustomStringConvertible {
    /// Kafka's name, such as `ListOffsets`.
    public var name: String { properties.name }
    public var description: String { properties.name }
    public var validVersions: ClosedRange<Int16> { properties.versions }
    public var stableVersions: ClosedRange<Int16> { properties.stableVersions }
    public var listeners: ApiListeners { properties.listeners }
    public var isClusterAction: Bool { properties.isClusterAction }
    public var isForwardable: Bool { properties.isForwardable }

    /// What ApiVersions answers: the stable versions, except that Produce begins at 0, because librdkafka takes a higher minimum for a
    /// broker too new to talk to (KAFKA-18659). Requests below 3 are refused all the same.
    public var advertisedVersions: ClosedRange<Int16> {
        self == .produce ? 0...properties.stableVersions.upperBound : properties.stableVersions
    }

    public func isFlexible(_ version: Int16) -> Bool { version >= properties.firstFlexibleVersion }

    /// The version of the header before a request of `version`.
    public func requestHeaderVersion(_ version: Int16) -> Int16 { isFlexible(version) ? 2 : 1 }

    /// The version of the header before the response to a request of `version`. ApiVersions keeps to 0, so that a client can read the
    /// answer to a version that the broker does not know (KIP-511).
    public func responseHeaderVersion(_ version: Int16) -> Int16 {
        self != .apiVersions && isFlexible(version) ? 1 : 0
    }
}
