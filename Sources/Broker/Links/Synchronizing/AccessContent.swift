// Access control entries, from DescribeAcls at the source to CreateAcls and DeleteAcls here, under the names that topics have here.
import Authorization
import ClusterMetadata
import Collections
import KafkaMessages
import KafkaWire
import Linking
import MartletClient
import Primitives

/// The access control entries of a link's source.
struct AccessContent: SynchronizedContent {
    let source: OrderedDictionary<String, String>
    private let filter: AccessRuleFilter
    private let prefix: String
    private let links: LinkServices

    init(_ source: LinkSource, _ settings: LinkSettings, _ links: LinkServices) async throws {
        filter = settings.synchronization.accessRuleFilter
        prefix = settings.topicPrefix
        self.links = links
        let entries: [AccessEntry]
        do throws(KafkaError) {
            entries = try await source.admin.listAccessEntries()
        } catch {
            guard error.errorCode == .securityDisabled else { throw error }
            throw SynchronizationFailure("the source has no access control: no authorizer is configured there")
        }
        var found: OrderedDictionary<String, String> = [:]
        for entry in entries where filter.admits(entry.rule) { found[entry.rule.mirrored(prefix: prefix).name] = "" }
        self.source = found
    }

    func here() -> [String: String] {
        var found: [String: String] = [:]
        guard let entries = links.services?.image.security.accessControlEntries else { return [:] }
        for entry in entries.values { found[AccessRule(entry).name] = "" }
        return found
    }

    func admits(_ name: String) -> Bool { AccessRule(name: name)?.source(prefix: prefix).map { filter.admits($0) } ?? false }

    func put(_ items: [SynchronizationPlan.Item]) async throws(LinkCallFailure) -> [String: String] {
        var failures: [String: String] = [:]
        var asked: [String] = []
        var request = CreateAclsRequest()
        for item in items {
            guard let entry = Self.entry(item.name) else {
                failures[item.name] = "it has a word that this version does not know"
                continue
            }
            var creation = CreateAclsRequest.AclCreation()
            creation.resourceType = entry.resourceType
            creation.resourceName = entry.resourceName
            creation.resourcePatternType = entry.patternType
            creation.principal = entry.principal
            creation.host = entry.host
            creation.operation = entry.operation
            creation.permissionType = entry.permissionType
            request.creations.append(creation)
            asked.append(item.name)
        }
        guard !asked.isEmpty else { return failures }
        let response = try await links.decide(request)
        for (name, result) in zip(asked, response.results) where result.errorCode != .none {
            failures[name] = result.errorMessage ?? result.errorCode.name
        }
        return failures
    }

    func remove(_ names: [String]) async throws(LinkCallFailure) -> [String: String] {
        var request = DeleteAclsRequest()
        var asked: [String] = []
        for name in names {
            // What this version cannot have put here, it cannot take away either.
            guard let entry = Self.entry(name) else { continue }
            var filter = DeleteAclsRequest.DeleteAclsFilter()
            filter.resourceTypeFilter = entry.resourceType
            filter.resourceNameFilter = entry.resourceName
            filter.patternTypeFilter = entry.patternType
            filter.principalFilter = entry.principal
            filter.hostFilter = entry.host
            filter.operation = entry.operation
            filter.permissionType = entry.permissionType
            request.filters.append(filter)
            asked.append(name)
        }
        guard !asked.isEmpty else { return [:] }
        let response = try await links.decide(request)
        var failures: [String: String] = [:]
        for (name, result) in zip(asked, response.filterResults) where result.errorCode != .none {
            failures[name] = result.errorMessage ?? result.errorCode.name
        }
        return failures
    }

    private static func entry(_ name: String) -> AccessControlEntry? {
        guard let rule = AccessRule(name: name), let type = ResourceType.allCases.first(where: { $0.name == rule.resourceType }),
            let pattern = [PatternType.literal, .prefixed].first(where: { $0.name == rule.patternType }),
            let operation = AccessOperation.allCases.first(where: { $0.name == rule.operation }),
            let permission = [AccessPermission.allow, .deny].first(where: { $0.name == rule.permission })
        else { return nil }
        return AccessControlEntry(
            resourceType: type.rawValue, resourceName: rule.resourceName, patternType: pattern.rawValue, principal: rule.principal,
            host: rule.host, operation: operation.rawValue, permissionType: permission.rawValue)
    }
}

extension AccessRule {
    init(_ entry: AccessControlEntry) {
        self.init(
            resourceType: ResourceType(rawValue: entry.resourceType)?.name ?? "\(entry.resourceType)",
            patternType: PatternType(rawValue: entry.patternType)?.name ?? "\(entry.patternType)", resourceName: entry.resourceName,
            principal: entry.principal, host: entry.host,
            operation: AccessOperation(rawValue: entry.operation)?.name ?? "\(entry.operation)",
            permission: AccessPermission(rawValue: entry.permissionType)?.name ?? "\(entry.permissionType)")
    }
}
