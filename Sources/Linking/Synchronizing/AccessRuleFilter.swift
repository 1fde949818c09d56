// Which of the source's access control entries a link copies, in the JSON of Cluster Linking.
import Primitives

/// Which rules of the source are copied: those that one of the filters takes in and none leaves out.
public struct AccessRuleFilter: Sendable, Hashable {
    private struct Entry: Sendable, Hashable {
        /// Nil for any.
        var resourceType: String?
        var resourceName: NameMatch?
        var patternType: String?
        var principal: NameMatch?
        var host: String?
        var operation: String?
        var permission: String?
        var isInclusion = true

        func matches(_ rule: AccessRule) -> Bool {
            func fits(_ wanted: String?, _ word: String) -> Bool { wanted == nil || wanted == AccessRuleFilter.plain(word) }
            func names(_ wanted: NameMatch?, _ text: String) -> Bool { wanted?.matches(text) ?? true }
            return fits(resourceType, rule.resourceType) && fits(patternType, rule.patternType) && fits(operation, rule.operation)
                && fits(permission, rule.permission) && names(resourceName, rule.resourceName) && names(principal, rule.principal)
                && (host == nil || host == rule.host)
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
    public func admits(_ rule: AccessRule) -> Bool {
        var isIncluded = false
        for entry in entries where entry.matches(rule) {
            if !entry.isInclusion { return false }
            isIncluded = true
        }
        return isIncluded
    }

    /// Reads `{"aclFilters":[{"resourceFilter":{"resourceType":"topic","patternType":"any"},"accessFilter":{"operation":"any"}}]}`; nothing
    /// for empty text. What is left out means any. Beside what users of Cluster Linking write, `nameMatch` and `principalMatch` say how name
    /// and principal are meant, and `filterType` may be EXCLUDE.
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
        guard list.count <= NameFilter.maximumRules else {
            throw LinkSettingError(key, "has \(list.count) entries; \(NameFilter.maximumRules) are allowed")
        }
        for element in list {
            try Self.check(element, ["resourceFilter", "accessFilter", "filterType"], key)
            let resource = element["resourceFilter"] ?? .object([])
            let access = element["accessFilter"] ?? .object([])
            try Self.check(resource, ["resourceType", "name", "nameMatch", "patternType"], key)
            try Self.check(access, ["principal", "principalMatch", "host", "operation", "permissionType"], key)
            let filter = element["filterType"]?.stringValue?.uppercased() ?? "INCLUDE"
            guard filter == "INCLUDE" || filter == "EXCLUDE" else {
                throw LinkSettingError(key, "has filterType '\(filter)'; it is INCLUDE or EXCLUDE")
            }
            entries.append(
                Entry(
                    resourceType: try Self.word(resource, "resourceType", key), resourceName: try Self.names(resource, "name", key),
                    patternType: try Self.word(resource, "patternType", key), principal: try Self.names(access, "principal", key),
                    host: try Self.text(access, "host", key), operation: try Self.word(access, "operation", key),
                    permission: try Self.word(access, "permissionType", key), isInclusion: filter == "INCLUDE"))
        }
    }

    /// A literal name, unless `NAMEMatch` says otherwise. An asterisk is a name of its own here: that of what holds for all resources.
    private static func names(_ value: JSONValue, _ name: String, _ key: String) throws(LinkSettingError) -> NameMatch? {
        let type = try text(value, name + "Match", key) ?? "LITERAL"
        guard let text = try text(value, name, key) else { return nil }
        return try NameMatch(text, type: type, asteriskIsAll: false, key: key)
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
