// The words of access control with Kafka's numbers for them, as requests and metadata records carry them.

/// What an access control entry is about.
public enum ResourceType: Int8, Sendable, Hashable, CaseIterable {
    case topic = 2
    case group = 3
    case cluster = 4
    case transactionalID = 5
    case delegationToken = 6
    case user = 7

    /// Kafka's word.
    public var name: String {
        switch self {
        case .topic: "TOPIC"
        case .group: "GROUP"
        case .cluster: "CLUSTER"
        case .transactionalID: "TRANSACTIONAL_ID"
        case .delegationToken: "DELEGATION_TOKEN"
        case .user: "USER"
        }
    }

    /// What can be done to such a resource (`AclEntry.supportedOperations`), as bits; the answer to "which operations am I allowed".
    public var operations: [AccessOperation] {
        switch self {
        case .topic: [.read, .write, .create, .describe, .delete, .alter, .describeConfigs, .alterConfigs]
        case .group: [.read, .describe, .delete, .describeConfigs, .alterConfigs]
        case .cluster: [.create, .clusterAction, .describeConfigs, .alterConfigs, .idempotentWrite, .alter, .describe]
        case .transactionalID: [.describe, .write, .twoPhaseCommit]
        case .delegationToken: [.describe]
        case .user: [.createTokens, .describeTokens]
        }
    }
}

/// How an entry names resources.
public enum PatternType: Int8, Sendable, Hashable {
    /// By the whole name; `*` means all.
    case literal = 3
    /// By the beginning of their names.
    case prefixed = 4

    public var name: String { self == .literal ? "LITERAL" : "PREFIXED" }
}

/// What is done to a resource.
public enum AccessOperation: Int8, Sendable, Hashable, CaseIterable {
    case all = 2
    case read = 3
    case write = 4
    case create = 5
    case delete = 6
    case alter = 7
    case describe = 8
    case clusterAction = 9
    case describeConfigs = 10
    case alterConfigs = 11
    case idempotentWrite = 12
    case createTokens = 13
    case describeTokens = 14
    case twoPhaseCommit = 15

    /// Kafka's word.
    public var name: String {
        switch self {
        case .all: "ALL"
        case .read: "READ"
        case .write: "WRITE"
        case .create: "CREATE"
        case .delete: "DELETE"
        case .alter: "ALTER"
        case .describe: "DESCRIBE"
        case .clusterAction: "CLUSTER_ACTION"
        case .describeConfigs: "DESCRIBE_CONFIGS"
        case .alterConfigs: "ALTER_CONFIGS"
        case .idempotentWrite: "IDEMPOTENT_WRITE"
        case .createTokens: "CREATE_TOKENS"
        case .describeTokens: "DESCRIBE_TOKENS"
        case .twoPhaseCommit: "TWO_PHASE_COMMIT"
        }
    }

    var bit: UInt32 { 1 << UInt32(rawValue) }

    /// Entries whose permission to do any of these also permits this operation.
    var grantedBy: UInt32 {
        let all = Self.all.bit
        return switch self {
        case .describe: all | Self.describe.bit | Self.read.bit | Self.write.bit | Self.delete.bit | Self.alter.bit
        case .describeConfigs: all | Self.describeConfigs.bit | Self.alterConfigs.bit
        default: all | bit
        }
    }

    /// Entries whose denial of any of these denies this operation.
    var deniedBy: UInt32 { Self.all.bit | bit }
}

/// Whether an entry permits or forbids.
public enum AccessPermission: Int8, Sendable, Hashable {
    case deny = 2
    case allow = 3

    public var name: String { self == .deny ? "DENY" : "ALLOW" }
}

/// Who acts: a type, which is `User` for everybody who is authenticated by Kafka's own means, and a name.
public struct KafkaPrincipal: Sendable, Hashable, CustomStringConvertible {
    public let type: String
    public let name: String
    /// `Type:name`, as entries name principals; made once because every decision needs it.
    public let description: String
    /// Whether it logged in with a delegation token: then it may not ask for tokens (KIP-48). It makes no other principal.
    public let isTokenAuthenticated: Bool

    public init(type: String, name: String, isTokenAuthenticated: Bool = false) {
        self.type = type
        self.name = name
        self.isTokenAuthenticated = isTokenAuthenticated
        description = "\(type):\(name)"
    }

    public init(user: String, isTokenAuthenticated: Bool = false) {
        self.init(type: Self.userType, name: user, isTokenAuthenticated: isTokenAuthenticated)
    }

    /// The type of everybody who is authenticated by Kafka's own means.
    public static let userType = "User"

    /// Reads `Type:name`; nil without a type.
    public init?(_ text: some StringProtocol) {
        guard let colon = text.firstIndex(of: ":"), colon != text.startIndex else { return nil }
        self.init(type: String(text[..<colon]), name: String(text[text.index(after: colon)...]))
    }

    /// Everybody who is not authenticated.
    public static let anonymous = KafkaPrincipal(user: "ANONYMOUS")

    /// What entries for everybody name.
    public static let everybody = "User:*"

    public static func == (left: Self, right: Self) -> Bool { left.description == right.description && left.type == right.type }

    public func hash(into hasher: inout Hasher) { hasher.combine(description) }
}

/// The name of the cluster as a resource.
public enum ClusterResource {
    public static let name = "kafka-cluster"
}
