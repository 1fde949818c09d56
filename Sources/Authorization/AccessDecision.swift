// The decision of Kafka's StandardAuthorizer: super users, then what is forbidden, then what is permitted, then the default.

/// What was decided and by what rule.
public struct AccessDecision: Sendable, Equatable {
    public enum Rule: String, Sendable {
        case superUser = "super user"
        case allowEntry = "allow entry"
        case denyEntry = "deny entry"
        /// No entry is about the resource; `allow.everyone.if.no.acl.found` decides.
        case noEntry = "no entry for the resource"
        /// Entries are about the resource, but none permits this.
        case nothingPermits = "no entry permits it"
    }

    public var isAllowed: Bool
    public var rule: Rule

    public init(isAllowed: Bool, rule: Rule) {
        self.isAllowed = isAllowed
        self.rule = rule
    }
}

/// The settings of an authorizer.
public struct AccessRules: Sendable, Equatable {
    /// `super.users`.
    public var superUsers: Set<KafkaPrincipal>
    /// `allow.everyone.if.no.acl.found`.
    public var allowsEveryoneWithoutEntries: Bool

    public init(superUsers: Set<KafkaPrincipal> = [], allowsEveryoneWithoutEntries: Bool = false) {
        self.superUsers = superUsers
        self.allowsEveryoneWithoutEntries = allowsEveryoneWithoutEntries
    }

    /// Reads `super.users`: `User:a;User:b`. The error is the part that is no principal.
    public static func superUsers(_ text: String) -> Result<Set<KafkaPrincipal>, NoPrincipal> {
        var users: Set<KafkaPrincipal> = []
        for part in text.split(separator: ";") {
            let trimmed = part.drop { $0 == " " }
            if trimmed.isEmpty { continue }
            guard let principal = KafkaPrincipal(trimmed) else { return .failure(NoPrincipal(text: String(part))) }
            users.insert(principal)
        }
        return .success(users)
    }
}

/// A text that should have been `Type:name`.
public struct NoPrincipal: Error, Sendable, Equatable {
    public let text: String
}

extension AccessControlList {
    /// Decides whether a principal, calling from that address, may perform the operation on the resource.
    public func decide(
        _ operation: AccessOperation, on type: ResourceType, _ name: String, by principal: KafkaPrincipal, from host: String,
        _ rules: AccessRules
    ) -> AccessDecision {
        if !rules.superUsers.isEmpty, rules.superUsers.contains(principal) { return AccessDecision(isAllowed: true, rule: .superUser) }
        let found = find(operation, type, name, principal: principal.description, host: host)
        if found.isDenied { return AccessDecision(isAllowed: false, rule: .denyEntry) }
        if found.isAllowed { return AccessDecision(isAllowed: true, rule: .allowEntry) }
        if found.hasEntries { return AccessDecision(isAllowed: false, rule: .nothingPermits) }
        return AccessDecision(isAllowed: rules.allowsEveryoneWithoutEntries, rule: .noEntry)
    }

    /// Decides whether a principal may perform the operation on at least one resource of that type.
    public func decideSomewhere(
        _ operation: AccessOperation, _ type: ResourceType, by principal: KafkaPrincipal, from host: String, _ rules: AccessRules
    ) -> AccessDecision {
        // Kafka tries a made-up name first, which finds super users, the default, and permissions for everything.
        let first = decide(operation, on: type, "hardcode", by: principal, from: host, rules)
        if first.isAllowed { return first }
        return permitsSomewhere(operation, type, principal: principal.description, host: host)
            ? AccessDecision(isAllowed: true, rule: .allowEntry) : AccessDecision(isAllowed: false, rule: .nothingPermits)
    }

    /// The operations that a principal may perform on a resource, as the bits of responses.
    public func authorizedOperations(
        on type: ResourceType, _ name: String, by principal: KafkaPrincipal, from host: String, _ rules: AccessRules
    ) -> Int32 {
        type.operations.reduce(0) { bits, operation in
            decide(operation, on: type, name, by: principal, from: host, rules).isAllowed ? bits | 1 << Int32(operation.rawValue) : bits
        }
    }
}
