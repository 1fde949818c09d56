// Access control entries as links see them: in Kafka's words, filtered in the JSON of Cluster Linking, and under the names that topics have
// here.
import Primitives

/// An access control entry: `ALLOW User:alice from * to READ the LITERAL TOPIC orders`.
public struct AccessRule: Sendable, Hashable {
    public var resourceType: String
    public var patternType: String
    public var resourceName: String
    public var principal: String
    public var host: String
    public var operation: String
    public var permission: String

    public init(
        resourceType: String, patternType: String, resourceName: String, principal: String, host: String, operation: String,
        permission: String
    ) {
        self.resourceType = resourceType
        self.patternType = patternType
        self.resourceName = resourceName
        self.principal = principal
        self.host = host
        self.operation = operation
        self.permission = permission
    }

    private static let topic = "TOPIC"
    private static let literal = "LITERAL"
    private static let prefixed = "PREFIXED"

    /// The rule for mirror topics whose names have that prefix; rules about anything but topics stay as they are. What holds for all topics of
    /// the source holds for all that begin with the prefix here.
    public func mirrored(prefix: String) -> AccessRule {
        guard !prefix.isEmpty, resourceType == Self.topic else { return self }
        var rule = self
        if patternType == Self.literal, resourceName == "*" {
            rule.patternType = Self.prefixed
            rule.resourceName = prefix
        } else {
            rule.resourceName = prefix + resourceName
        }
        return rule
    }

    /// The source's rule of which this is the mirrored one; nil when there is none.
    public func source(prefix: String) -> AccessRule? {
        guard !prefix.isEmpty, resourceType == Self.topic else { return self }
        guard resourceName.hasPrefix(prefix) else { return nil }
        var rule = self
        if resourceName == prefix {
            guard patternType == Self.prefixed else { return nil }
            rule.patternType = Self.literal
            rule.resourceName = "*"
        } else {
            rule.resourceName = String(resourceName.dropFirst(prefix.count))
        }
        return rule
    }

    /// The rule's name among what a link has put here.
    public var name: String {
        JSONValue.array([resourceType, patternType, resourceName, principal, host, operation, permission].map { .string($0) }).description
    }

    public init?(name: String) {
        guard let words = (try? JSONValue(parsing: name))?.arrayValue?.compactMap(\.stringValue), words.count == 7 else { return nil }
        self.init(
            resourceType: words[0], patternType: words[1], resourceName: words[2], principal: words[3], host: words[4],
            operation: words[5], permission: words[6])
    }
}

/// Which rules of the source are copied: any that one of the filters matches.
public struct AccessRuleFilter: Sendable, Hashable {
    private struct Entry: Sendable, Hashable {
        /// Nil for any.
        var resourceType: String?
        var resourceName: String?
        var patternType: String?
        var principal: String?
        var host: String?
        var operation: String?
        var permission: String?

        func matches(_ rule: AccessRule) -> Bool {
            func fits(_ wanted: String?, _ word: String) -> Bool { wanted == nil || wanted == AccessRuleFilter.plain(word) }
            func equals(_ wanted: String?, _ text: String) -> Bool { wanted == nil || wanted == text }
            return fits(resourceType, rule.resourceType) && fits(patternType, rule.patternType) && fits(operation, rule.operation)
                && fits(permission, rule.permission) && equals(resourceName, rule.resourceName) && equals(principal, rule.principal)
                && equals(host, rule.host)
        }
    }

    private static let words: [String: [String]] = [
        "resourceType": ["topic", "group", "cluster", "transactionalid", "delegationtoken", "user"],
        "patternType": ["literal", "prefixed"],
        "operation": [
            "all", "read", "write", "create", "delete", "alter", "describe", "clusteraction", "describeconfigs", "alterconfigs",
            "idempotentwrite", "createtokens", "describetokens", "twophasecommit",
        ],
        "permissionType": ["allow", "deny"],
    ]

    private var entries: [Entry] = []

    /// Lets everything through.
    public static let everything: AccessRuleFilter = {
        var filter = AccessRuleFilter()
        filter.entries = [Entry()]
        return filter
    }()

    /// Lets nothing through.
    public init() {}

    public var isEmpty: Bool { entries.isEmpty }

    /// Whether a rule of the source is copied.
    public func admits(_ rule: AccessRule) -> Bool { entries.contains { $0.matches(rule) } }

    /// Reads `{"aclFilters":[{"resourceFilter":{"resourceType":"topic","patternType":"any"},"accessFilter":{"operation":"any"}}]}`; nothing
    /// for empty text. What is left out means any.
    ///
    /// - Throws: with `key`, for what is not of that form.
    public init(parsing text: String, key: String) throws(LinkSettingError) {
        if text.isEmpty { return }
        let value: JSONValue
        do throws(JSONError) {
            value = try JSONValue(parsing: text)
        } catch {
            throw LinkSettingError(key, "is \(error)")
        }
        guard let list = value["aclFilters"]?.arrayValue, value.objectValue?.members.count == 1 else {
            throw LinkSettingError(key, "has to be an object with one member, aclFilters, a list")
        }
        for element in list {
            try Self.check(element, ["resourceFilter", "accessFilter"], key)
            let resource = element["resourceFilter"] ?? .object([])
            let access = element["accessFilter"] ?? .object([])
            try Self.check(resource, ["resourceType", "name", "patternType"], key)
            try Self.check(access, ["principal", "host", "operation", "permissionType"], key)
            entries.append(
                Entry(
                    resourceType: try Self.word(resource, "resourceType", key), resourceName: try Self.text(resource, "name", key),
                    patternType: try Self.word(resource, "patternType", key), principal: try Self.text(access, "principal", key),
                    host: try Self.text(access, "host", key), operation: try Self.word(access, "operation", key),
                    permission: try Self.word(access, "permissionType", key)))
        }
    }

    private static func check(_ value: JSONValue, _ known: [String], _ key: String) throws(LinkSettingError) {
        guard let members = value.objectValue?.members else {
            throw LinkSettingError(key, "has an entry that is no object with \(known.joined(separator: ", "))")
        }
        for member in members where !known.contains(member.name) {
            throw LinkSettingError(key, "has an entry with '\(member.name)'; there are \(known.joined(separator: ", "))")
        }
    }

    private static func text(_ value: JSONValue, _ name: String, _ key: String) throws(LinkSettingError) -> String? {
        guard let member = value[name], !member.isNull else { return nil }
        guard let text = member.stringValue, !text.isEmpty else {
            throw LinkSettingError(key, "has an empty \(name); leave it out for any")
        }
        return text
    }

    private static func word(_ value: JSONValue, _ name: String, _ key: String) throws(LinkSettingError) -> String? {
        guard let text = try text(value, name, key) else { return nil }
        let word = plain(text)
        if word == "any" { return nil }
        let known = words[name] ?? []
        guard known.contains(word) else {
            throw LinkSettingError(key, "has \(name) '\(text)'; there are any, \(known.joined(separator: ", "))")
        }
        return word
    }

    /// `TransactionalId` and `TRANSACTIONAL_ID` are the same word.
    private static func plain(_ word: String) -> String { word.lowercased().filter { $0.isLetter } }
}
