// The authorizer of a node: the access control list of the newest metadata, the decisions over it, and a line in the audit log for
// every denial.
import Authorization
import ClusterMetadata
import Synchronization

/// Decides who may do what. Thread-safe; a decision takes a lock for a moment and then looks at a list that nobody changes.
final class Authorizer: Sendable {
    private final class Snapshot: Sendable {
        let list: AccessControlList
        let isLoaded: Bool

        init(_ list: AccessControlList, isLoaded: Bool) {
            self.list = list
            self.isLoaded = isLoaded
        }
    }

    private let rules: AccessRules
    private let audit: AuditLog
    private let snapshot = Mutex(Snapshot(AccessControlList(), isLoaded: false))
    /// What the snapshot was made of, to tell what changed.
    private let source = Mutex<SecurityImage>(SecurityImage())

    init(_ rules: AccessRules, audit: AuditLog) {
        self.rules = rules
        self.audit = audit
    }

    /// Takes over the entries of newer metadata. Calls come one after the other.
    ///
    /// - Parameter isLoaded: whether there are metadata at all.
    func update(_ security: SecurityImage, hasChanges: Bool, isLoaded: Bool) {
        let current = snapshot.withLock { $0 }
        guard hasChanges || isLoaded != current.isLoaded else { return }
        let list = source.withLock { source -> AccessControlList in
            defer { source = security }
            let before = source.accessControlEntries
            let after = security.accessControlEntries
            // A few changes to a long list: only those.
            var list = current.list
            for (id, entry) in before where after[id] != entry { list.remove(entry) }
            for (id, entry) in after where before[id] != entry { list.insert(entry) }
            return list
        }
        let new = Snapshot(list, isLoaded: isLoaded)
        snapshot.withLock { $0 = new }
    }

    /// Whether the client may perform the operation on the resource. A denial gets into the audit log.
    ///
    /// - Parameter isLogged: false where a denial is no refusal, as when a list is filtered.
    func allows(
        _ operation: AccessOperation, _ type: ResourceType, _ name: String, _ client: ClientIdentity, api: String, isLogged: Bool = true
    ) -> Bool {
        let snapshot = snapshot.withLock { $0 }
        let decision: AccessDecision
        if snapshot.isLoaded || operation == .clusterAction {
            decision = snapshot.list.decide(operation, on: type, name, by: client.principal, from: client.host, rules)
        } else {
            // Before there is any metadata only nodes may talk to each other, or there would never be any.
            decision = AccessDecision(isAllowed: rules.superUsers.contains(client.principal), rule: .nothingPermits)
        }
        if !decision.isAllowed, isLogged { deny(operation, type, name, client, api, decision) }
        return decision.isAllowed
    }

    /// Whether the client may perform the operation on at least one resource of that type.
    func allowsSomewhere(_ operation: AccessOperation, _ type: ResourceType, _ client: ClientIdentity) -> Bool {
        let snapshot = snapshot.withLock { $0 }
        return snapshot.list.decideSomewhere(operation, type, by: client.principal, from: client.host, rules).isAllowed
    }

    /// What the client may do to the resource, as the bits of responses.
    func operations(on type: ResourceType, _ name: String, _ client: ClientIdentity) -> Int32 {
        let snapshot = snapshot.withLock { $0 }
        return snapshot.list.authorizedOperations(on: type, name, by: client.principal, from: client.host, rules)
    }

    private func deny(
        _ operation: AccessOperation, _ type: ResourceType, _ name: String, _ client: ClientIdentity, _ api: String,
        _ decision: AccessDecision
    ) {
        audit.record(
            .denied, client,
            [
                ("api", api), ("operation", operation.name), ("resourceType", type.name), ("resourceName", name),
                ("rule", decision.rule.rawValue),
            ])
    }
}
