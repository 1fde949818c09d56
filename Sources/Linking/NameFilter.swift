// Which topics or groups a link is about: literal names, prefixes and patterns, to be taken in or left out, in the JSON that users of Cluster
// Linking write. What is left out wins.
import Primitives

/// A filter of names.
public struct NameFilter: Sendable, Hashable {
    public enum Subject: String, Sendable, Hashable {
        case topics = "topicFilters"
        case groups = "groupFilters"
        case users = "userFilters"
        case quotas = "quotaFilters"
    }

    private struct Rule: Sendable, Hashable {
        var names: NameMatch
        var isInclusion: Bool
    }

    /// Of one filter, so that it can be looked at for every name of a cluster.
    static let maximumRules = 1_000

    public let subject: Subject
    private var rules: [Rule] = []

    /// Lets nothing through.
    public init(subject: Subject) {
        self.subject = subject
    }

    /// Lets everything through.
    public static func everything(_ subject: Subject) -> NameFilter {
        var filter = NameFilter(subject: subject)
        filter.rules = [Rule(names: .all, isInclusion: true)]
        return filter
    }

    public var isEmpty: Bool { rules.isEmpty }

    public func admits(_ name: String) -> Bool { admits(oneOf: [name]) }

    /// Whether what goes by several names is taken in by one of them and left out by none.
    public func admits(oneOf names: [String]) -> Bool {
        var isIncluded = false
        for rule in rules where names.contains(where: { rule.names.matches($0) }) {
            if !rule.isInclusion { return false }
            isIncluded = true
        }
        return isIncluded
    }

    /// Reads `{"topicFilters":[{"name":"orders","patternType":"PREFIXED","filterType":"INCLUDE"}]}`; nothing for empty text.
    ///
    /// - Throws: with `key`, for what is not of that form.
    public init(parsing text: String, subject: Subject, key: String) throws(LinkSettingError) {
        self.subject = subject
        if text.isEmpty { return }
        let value: JSONValue
        do throws(JSONError) {
            value = try JSONValue(parsing: text)
        } catch {
            throw LinkSettingError(key, "is \(error)")
        }
        guard let list = value[subject.rawValue]?.arrayValue, value.objectValue?.members.count == 1 else {
            throw LinkSettingError(key, "has to be an object with one member, \(subject.rawValue), a list")
        }
        guard list.count <= Self.maximumRules else {
            throw LinkSettingError(key, "has \(list.count) entries; \(Self.maximumRules) are allowed")
        }
        for entry in list { rules.append(try Self.rule(entry, key)) }
    }

    private static func rule(_ entry: JSONValue, _ key: String) throws(LinkSettingError) -> Rule {
        guard let members = entry.objectValue?.members else { throw LinkSettingError(key, "has an entry that is no object") }
        for member in members where !["name", "patternType", "filterType"].contains(member.name) {
            throw LinkSettingError(key, "has an entry with '\(member.name)'; entries have name, patternType and filterType")
        }
        guard let name = entry["name"]?.stringValue, !name.isEmpty else {
            throw LinkSettingError(key, "has an entry without a name; '*' stands for all")
        }
        let names = try NameMatch(name, type: entry["patternType"]?.stringValue ?? "LITERAL", key: key)
        let filter = entry["filterType"]?.stringValue?.uppercased() ?? "INCLUDE"
        guard filter == "INCLUDE" || filter == "EXCLUDE" else {
            throw LinkSettingError(key, "has filterType '\(filter)'; it is INCLUDE or EXCLUDE")
        }
        return Rule(names: names, isInclusion: filter == "INCLUDE")
    }
}
