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
