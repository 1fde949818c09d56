// Decisions over access control lists: by example, and a quick list against a slow and simple one.
import ClusterMetadata
import Primitives
import Testing

@testable import Authorization

private func entry(
    _ principal: String, _ operation: AccessOperation, _ permission: AccessPermission, _ type: ResourceType, _ name: String,
    _ pattern: PatternType = .literal, host: String = "*"
) -> AccessControlEntry {
    AccessControlEntry(
        resourceType: type.rawValue, resourceName: name, patternType: pattern.rawValue, principal: principal, host: host,
        operation: operation.rawValue, permissionType: permission.rawValue)
}

private func entry(
    _ principal: String, _ operation: AccessOperation, _ permission: AccessPermission, _ name: String,
    _ pattern: PatternType = .literal, host: String = "*"
) -> AccessControlEntry {
    entry(principal, operation, permission, .topic, name, pattern, host: host)
}

private func entry(
    _ principal: String, _ operation: AccessOperation, _ name: String, _ pattern: PatternType = .literal, host: String = "*"
) -> AccessControlEntry {
    entry(principal, operation, .allow, .topic, name, pattern, host: host)
}

private let alice = KafkaPrincipal(user: "alice")
private let bob = KafkaPrincipal(user: "bob")

@Suite("Access decisions")
struct AccessDecisionTests {
    private func list(_ entries: AccessControlEntry...) -> AccessControlList {
        var list = AccessControlList()
        for entry in entries { list.insert(entry) }
        return list
    }

    private func isAllowed(
        _ list: AccessControlList, _ operation: AccessOperation, _ name: String, by principal: KafkaPrincipal = alice,
        from host: String = "10.0.0.1", _ rules: AccessRules = AccessRules()
    ) -> Bool {
        list.decide(operation, on: .topic, name, by: principal, from: host, rules).isAllowed
    }

    @Test("Literal, wildcard and prefixed patterns")
    func patterns() {
        let entries = list(
            entry("User:alice", .read, "orders"), entry("User:bob", .read, "*"), entry("User:alice", .write, "pay", .prefixed))
        #expect(isAllowed(entries, .read, "orders"))
        #expect(!isAllowed(entries, .read, "orders2"))
        #expect(isAllowed(entries, .read, "anything", by: bob))
        #expect(isAllowed(entries, .write, "payments") && isAllowed(entries, .write, "pay"))
        #expect(!isAllowed(entries, .write, "pa") && !isAllowed(entries, .read, "payments"))
    }

    @Test("What is forbidden stays forbidden, whatever permits it")
    func denials() {
        let entries = list(
            entry("User:*", .all, "*"), entry("User:alice", .write, .deny, "secret", .prefixed),
            entry("User:*", .read, .deny, "closed"))
        #expect(!isAllowed(entries, .write, "secret-1") && isAllowed(entries, .read, "secret-1"))
        #expect(isAllowed(entries, .write, "secret-1", by: bob))
        #expect(!isAllowed(entries, .read, "closed", by: bob))
        // A denied READ denies no DESCRIBE, as in Kafka.
        #expect(isAllowed(entries, .describe, "closed", by: bob))
        let all = list(entry("User:alice", .all, .deny, "x"), entry("User:alice", .read, "x"))
        #expect(!isAllowed(all, .read, "x") && !isAllowed(all, .describe, "x"))
    }

    @Test("Operations that imply others")
    func implications() {
        for operation in [AccessOperation.read, .write, .delete, .alter, .all] {
            #expect(isAllowed(list(entry("User:alice", operation, "t")), .describe, "t"))
        }
        for operation in [AccessOperation.create, .alterConfigs, .describeConfigs] {
            #expect(!isAllowed(list(entry("User:alice", operation, "t")), .describe, "t"))
        }
        #expect(isAllowed(list(entry("User:alice", .alterConfigs, "t")), .describeConfigs, "t"))
        #expect(!isAllowed(list(entry("User:alice", .read, "t")), .describeConfigs, "t"))
    }

    @Test("Hosts: all, one, a range")
    func hosts() {
        let entries = list(
            entry("User:alice", .read, "one", host: "10.0.0.1"), entry("User:alice", .read, "range", host: "10.1.0.0/16"),
            entry("User:alice", .read, .deny, "one", host: "10.0.0.9"), entry("User:bob", .read, "six", host: "2001:db8::/32"))
        #expect(isAllowed(entries, .read, "one", from: "10.0.0.1") && !isAllowed(entries, .read, "one", from: "10.0.0.2"))
        #expect(isAllowed(entries, .read, "range", from: "10.1.200.3") && !isAllowed(entries, .read, "range", from: "10.2.0.1"))
        #expect(isAllowed(entries, .read, "six", by: bob, from: "2001:db8:1::5"))
        #expect(!isAllowed(entries, .read, "six", by: bob, from: "2001:db9::5"))
        #expect(HostPattern.isRange("10.0.0.0/8") && !HostPattern.isRange("10.0.0.0/33") && !HostPattern.isRange("ten/8"))
    }

    @Test("Super users and the default")
    func defaults() throws {
        let entries = list(entry("User:bob", .read, "known"), entry("User:alice", .all, .deny, "*"))
        let users = try AccessRules.superUsers("User:alice; User:CN=broker,OU=x").get()
        #expect(users == [alice, KafkaPrincipal(user: "CN=broker,OU=x")])
        #expect(isAllowed(entries, .write, "known", AccessRules(superUsers: users)))
        let open = AccessRules(allowsEveryoneWithoutEntries: true)
        let some = list(entry("User:bob", .read, "known"))
        #expect(isAllowed(some, .write, "unknown", open) && !isAllowed(some, .write, "known", open))
        #expect(!isAllowed(some, .write, "unknown"))
        #expect(AccessRules.superUsers("alice") == .failure(NoPrincipal(text: "alice")))
    }

    @Test("Some resource of a type (Authorizer.authorizeByResourceType)")
    func somewhere() {
        func may(_ list: AccessControlList) -> Bool {
            list.decideSomewhere(.write, .topic, by: alice, from: "h", AccessRules()).isAllowed
        }
        #expect(!may(list(entry("User:alice", .read, "t"))))
        #expect(may(list(entry("User:alice", .write, "t"))))
        #expect(may(list(entry("User:alice", .write, "t", .prefixed))))
        #expect(!may(list(entry("User:alice", .write, "t"), entry("User:*", .write, .deny, "*"))))
        #expect(!may(list(entry("User:alice", .write, "table"), entry("User:alice", .all, .deny, "ta", .prefixed))))
        #expect(may(list(entry("User:alice", .write, "table"), entry("User:alice", .all, .deny, "tab", .literal))))
    }

    @Test("Removing takes away exactly one entry")
    func removal() {
        var entries = list(entry("User:alice", .read, "t"), entry("User:alice", .write, "t"), entry("User:alice", .read, "p", .prefixed))
        entries.remove(entry("User:alice", .read, "t"))
        #expect(!isAllowed(entries, .read, "t") && isAllowed(entries, .write, "t") && isAllowed(entries, .read, "p1"))
        entries.remove(entry("User:alice", .read, "p", .prefixed))
        entries.remove(entry("User:alice", .write, "t"))
        #expect(entries.count == 0)
        #expect(isAllowed(entries, .read, "t", AccessRules(allowsEveryoneWithoutEntries: true)))
    }
}

@Suite("Access lists")
struct AccessModelTests {
    /// The rule by its words: every entry that names the resource is looked at.
    private static func model(
        _ entries: [AccessControlEntry], _ operation: AccessOperation, _ name: String, _ principal: String, _ host: String
    ) -> Bool {
        var isAllowed = false
        for entry in entries {
            let names =
                entry.patternType == PatternType.prefixed.rawValue
                ? name.hasPrefix(entry.resourceName) : entry.resourceName == name || entry.resourceName == "*"
            guard entry.resourceType == ResourceType.topic.rawValue, names, [principal, "User:*"].contains(entry.principal),
                entry.host == "*" || entry.host == host
            else { continue }
            let given = AccessOperation(rawValue: entry.operation) ?? .all
            if entry.permissionType == AccessPermission.deny.rawValue {
                if given == .all || given == operation { return false }
            } else if given == .all || given == operation
                || operation == .describe && [.read, .write, .delete, .alter].contains(given)
                || operation == .describeConfigs && given == .alterConfigs
            {
                isAllowed = true
            }
        }
        return isAllowed
    }

    @Test("The list decides as the rule says, over inserts and removals", arguments: 0..<20)
    func againstModel(_ seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let names = ["a", "ab", "abc", "abcd", "b", "ba", "*", "äö"]
        var entries: [AccessControlEntry] = []
        var list = AccessControlList()
        for _ in 0..<60 {
            if !entries.isEmpty, Int.random(in: 0..<4, using: &random) == 0 {
                let removed = entries.remove(at: Int.random(in: entries.indices, using: &random))
                list.remove(removed)
            } else {
                let new = entry(
                    ["User:alice", "User:bob", "User:*"].randomElement(using: &random)!,
                    AccessOperation.allCases.randomElement(using: &random)!, Bool.random(using: &random) ? .allow : .deny,
                    Bool.random(using: &random) ? .topic : .group, names.randomElement(using: &random)!,
                    Bool.random(using: &random) ? .literal : .prefixed, host: ["*", "h1"].randomElement(using: &random)!)
                if !entries.contains(new) { entries.append(new) }
                list.insert(new)
            }
            #expect(list.count == entries.count)
            for name in names {
                for operation in [AccessOperation.read, .describe, .describeConfigs, .create] {
                    let host = ["h1", "h2"].randomElement(using: &random)!
                    let expected = Self.model(entries, operation, name, "User:alice", host)
                    #expect(list.decide(operation, on: .topic, name, by: alice, from: host, AccessRules()).isAllowed == expected)
                }
            }
        }
    }
}

@Suite("Filters of access control entries")
struct AccessFilterTests {
    @Test("Any, exact, and MATCH")
    func matching() {
        let literal = entry("User:a", .read, "orders")
        let prefixed = entry("User:a", .read, "or", .prefixed)
        let wildcard = entry("User:a", .read, "*")
        func matching(_ name: String?, _ pattern: Int8) -> [Bool] {
            let filter = AccessControlFilter(resourceName: name, patternType: pattern)
            return [literal, prefixed, wildcard].map(filter.matches)
        }
        #expect(matching(nil, AccessControlFilter.any) == [true, true, true])
        #expect(matching("orders", AccessControlFilter.any) == [true, false, false])
        #expect(matching("orders", AccessControlFilter.match) == [true, true, true])
        #expect(matching("orders", PatternType.literal.rawValue) == [true, false, false])
        #expect(matching("or", PatternType.prefixed.rawValue) == [false, true, false])
        #expect(AccessControlFilter(operation: 99).problem != nil && AccessControlFilter().problem == nil)
    }
}

@Suite("Principal mapping")
struct PrincipalMappingTests {
    private let name = "CN=kafka1.example.com,OU=Brokers,O=Example,L=Berlin,C=DE"

    @Test(
        "Rules of KIP-371",
        arguments: [
            ("DEFAULT", "CN=kafka1.example.com,OU=Brokers,O=Example,L=Berlin,C=DE"), ("RULE:^CN=(.*?),.*$/$1/", "kafka1.example.com"),
            ("RULE:^CN=(.*?),OU=(.*?),.*$/$1@$2/L", "kafka1.example.com@brokers"), ("RULE:^CN=(.*?),.*$/$1/U", "KAFKA1.EXAMPLE.COM"),
            ("RULE:^CN=x$/y/,DEFAULT", "CN=kafka1.example.com,OU=Brokers,O=Example,L=Berlin,C=DE"),
            ("RULE:^CN=x$/y/, RULE:^CN=kafka1\\.(.*?),.*/host-$1/", "host-example.com"),
        ])
    func rules(_ text: String, _ expected: String) throws {
        #expect(try PrincipalMappingRules(text).user(of: name) == expected)
    }

    @Test("Without a rule that matches there is no user")
    func none() throws {
        #expect(try PrincipalMappingRules("RULE:^CN=x$/y/").user(of: name) == nil)
    }

    @Test("Mistakes", arguments: ["RULE:abc", "RULE:(/x/", "RULES:a/b/", "DEFAULTS"])
    func mistakes(_ text: String) {
        #expect(throws: PrincipalMappingError.self) { try PrincipalMappingRules(text) }
    }
}
