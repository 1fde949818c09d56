// Topics that were added and blocked while mirrors run, beside what their file says.
import NIOCore
import Primitives

/// What was said of a topic at run time.
public enum TopicRule: String, Hashable, Sendable {
    /// Replicated although no pattern names it.
    case added
    /// Not replicated, whatever names it.
    case blocked
}

/// What was said of topics at run time.
public struct TopicRules: Hashable, Sendable {
    /// Topics that something can be said of.
    public static let maximumCount = 10_000
    /// A topic's name is not longer.
    private static let maximumNameBytes = 249

    public private(set) var rules: [String: TopicRule] = [:]

    public init() {}

    public subscript(topic: String) -> TopicRule? { rules[topic] }

    /// Takes over a record of the rules' topic: the key is the topic's name; no value takes back what was said.
    public mutating func apply(key: ByteBuffer?, value: ByteBuffer?) {
        guard let key, let topic = String(validating: key.readableBytesView, as: UTF8.self), Self.isName(topic) else { return }
        guard let value, value.readableBytes > 0 else {
            rules[topic] = nil
            return
        }
        guard let content = try? JSONValue(parsing: Array(value.readableBytesView)),
            let rule = content["rule"]?.stringValue.flatMap({ TopicRule(rawValue: $0) }),
            rules[topic] != nil || rules.count < Self.maximumCount
        else { return }
        rules[topic] = rule
    }

    /// The value of a record that says so.
    ///
    /// - Parameter time: milliseconds since 1970.
    public static func value(_ rule: TopicRule, time: Int64) -> ByteBuffer {
        ByteBuffer(string: JSONValue.object([("rule", .string(rule.rawValue)), ("time", .integer(time))]).text())
    }

    /// Whether a topic can be called so.
    public static func isName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= maximumNameBytes && text != "." && text != ".."
            && text.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 45 || byte == 46 || byte == 95
            }
    }
}

/// What is asked for at run time.
public enum TopicChange: String, Hashable, Sendable, CaseIterable {
    case add
    /// Takes an addition back.
    case remove
    case block
    case unblock
}

extension MirrorFlow {
    /// Whether a topic is chosen by the file and by what was said at run time.
    public func chooses(_ topic: String, _ rules: TopicRules) -> Bool {
        switch rules[topic] {
        case .added: true
        case .blocked: false
        case nil: topics.matches(topic)
        }
    }

    /// Whether a topic of the source is replicated.
    public func replicates(_ topic: String, _ rules: TopicRules) -> Bool {
        let isHeartbeat = replicatesHeartbeats && policy.isHeartbeatsTopic(topic) && rules[topic] != .blocked
        return (chooses(topic, rules) || isHeartbeat) && !policy.isInternalTopic(topic) && !policy.isCycle(topic, target: target)
    }

    /// Why something cannot be said of a topic; nil when it can.
    public func objection(to change: TopicChange, _ topic: String, _ rules: TopicRules) -> String? {
        guard TopicRules.isName(topic) else {
            return "'\(topic.prefix(300))' is no topic's name: letters, digits, '.', '_' and '-', at most 249 of them"
        }
        if policy.isInternalTopic(topic) { return "'\(topic)' is an internal topic, which is never replicated" }
        if policy.isCycle(topic, target: target) { return "'\(topic)' comes from \(target), so that \(name) never replicates it" }
        switch change {
        case .add, .block:
            let isNew = rules[topic] == nil
            return isNew && rules.rules.count >= TopicRules.maximumCount
                ? "something is said of \(TopicRules.maximumCount) topics already; take some back, or use patterns in the file" : nil
        case .remove:
            if rules[topic] == .added { return nil }
            return topics.matches(topic)
                ? "'\(topic)' is named by the file's patterns; block it to have it replicated no more"
                : "'\(topic)' was not added"
        case .unblock: return rules[topic] == .blocked ? nil : "'\(topic)' is not blocked"
        }
    }
}
