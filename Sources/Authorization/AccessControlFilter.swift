// Filters over access control entries, as DescribeAcls and DeleteAcls carry them.
import ClusterMetadata

/// Which entries are meant; the numbers 1 mean any, and nil any text.
public struct AccessControlFilter: Sendable, Hashable {
    public static let any: Int8 = 1
    /// The pattern type MATCH: every pattern that names the resource.
    public static let match: Int8 = 2

    public var resourceType: Int8
    public var resourceName: String?
    public var patternType: Int8
    public var principal: String?
    public var host: String?
    public var operation: Int8
    public var permissionType: Int8

    public init(
        resourceType: Int8 = any, resourceName: String? = nil, patternType: Int8 = any, principal: String? = nil, host: String? = nil,
        operation: Int8 = any, permissionType: Int8 = any
    ) {
        self.resourceType = resourceType
        self.resourceName = resourceName
        self.patternType = patternType
        self.principal = principal
        self.host = host
        self.operation = operation
        self.permissionType = permissionType
    }

    /// Why the filter cannot be used: it has a number that nobody knows.
    public var problem: String? {
        let knowsPattern = [Self.any, Self.match].contains(patternType) || PatternType(rawValue: patternType) != nil
        if !knowsPattern || resourceType != Self.any && ResourceType(rawValue: resourceType) == nil { return "Unknown patternFilter." }
        let knowsOperation = operation == Self.any || AccessOperation(rawValue: operation) != nil
        if !knowsOperation || permissionType != Self.any && AccessPermission(rawValue: permissionType) == nil {
            return "Unknown entryFilter."
        }
        return nil
    }

    public func matches(_ entry: AccessControlEntry) -> Bool {
        if let principal, principal != entry.principal { return false }
        if let host, host != entry.host { return false }
        if operation != Self.any, operation != entry.operation { return false }
        if permissionType != Self.any, permissionType != entry.permissionType { return false }
        if resourceType != Self.any, resourceType != entry.resourceType { return false }
        if patternType != Self.any, patternType != Self.match, patternType != entry.patternType { return false }
        guard let resourceName else { return true }
        if patternType != Self.match { return resourceName == entry.resourceName }
        if entry.patternType == PatternType.prefixed.rawValue { return resourceName.utf8.starts(with: entry.resourceName.utf8) }
        return resourceName == entry.resourceName || entry.resourceName == "*"
    }
}
