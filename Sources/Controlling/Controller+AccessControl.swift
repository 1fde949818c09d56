// CreateAcls and DeleteAcls: access control entries in the metadata log (KIP-801).
import Authorization
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import OrderedCollections
import Primitives

extension Controller {
    /// Decides a CreateAcls request. Entries that exist already are answered as created.
    public mutating func createAcls(_ request: CreateAclsRequest) throws(RequestFailure) -> ControllerResult<CreateAclsResponse> {
        guard request.creations.count <= ControllerConfiguration.maximumRecordsPerRequest else {
            throw RequestFailure(
                .invalidRequest, "Cannot create more than \(ControllerConfiguration.maximumRecordsPerRequest) acls in a single operation.")
        }
        var existing = Set(image.security.accessControlEntries.values)
        var records: [VersionedRecord] = []
        var response = CreateAclsResponse()
        for creation in request.creations {
            var result = CreateAclsResponse.AclCreationResult()
            result.errorMessage = nil
            do throws(RequestFailure) {
                let entry = try checked(creation)
                if existing.insert(entry).inserted {
                    records.append(VersionedRecord(.accessControlEntry(entry.record(id: newAccessControlID()))))
                }
            } catch {
                result.errorCode = error.code
                result.errorMessage = error.description
            }
            response.results.append(result)
        }
        return ControllerResult(response, records: records)
    }

    private mutating func newAccessControlID() -> KafkaUUID {
        while true {
            let id = KafkaUUID.random(using: &random)
            if image.security.accessControlEntries[id] == nil { return id }
        }
    }

    private func checked(_ creation: CreateAclsRequest.AclCreation) throws(RequestFailure) -> AccessControlEntry {
        guard let type = ResourceType(rawValue: creation.resourceType) else {
            throw RequestFailure(.invalidRequest, "Invalid resourceType \(creation.resourceType)")
        }
        if type == .cluster, creation.resourceName != ClusterResource.name {
            throw RequestFailure(.invalidRequest, "The only valid name for the CLUSTER resource is \(ClusterResource.name)")
        }
        if creation.resourceName.isEmpty { throw RequestFailure(.invalidRequest, "Resource name should not be empty") }
        guard PatternType(rawValue: creation.resourcePatternType) != nil else {
            throw RequestFailure(.invalidRequest, "Invalid patternType \(creation.resourcePatternType)")
        }
        guard AccessOperation(rawValue: creation.operation) != nil else {
            throw RequestFailure(.invalidRequest, "Invalid operation \(creation.operation)")
        }
        guard AccessPermission(rawValue: creation.permissionType) != nil else {
            throw RequestFailure(.invalidRequest, "Invalid permissionType \(creation.permissionType)")
        }
        guard creation.principal.contains(":") else {
            throw RequestFailure(
                .invalidRequest,
                "Could not parse principal from `\(creation.principal)` (no colon is present separating the principal type from the "
                    + "principal name)")
        }
        try checkHost(creation.host)
        return AccessControlEntry(
            resourceType: creation.resourceType, resourceName: creation.resourceName, patternType: creation.resourcePatternType,
            principal: creation.principal, host: creation.host, operation: creation.operation, permissionType: creation.permissionType)
    }

    private func checkHost(_ host: String) throws(RequestFailure) {
        if host.isEmpty { throw RequestFailure(.invalidRequest, "Host pattern cannot be null or empty") }
        guard host.contains("/") else { return }
        guard version.supportsHostRanges else {
            throw RequestFailure(
                .unsupportedVersion, "CIDR-based ACL host patterns require metadata version \(MetadataVersion.hostRanges) or higher.")
        }
        if !HostPattern.isRange(host) { throw RequestFailure(.invalidRequest, "Invalid CIDR notation '\(host)'") }
    }

    /// Decides a DeleteAcls request: each filter takes away every entry that it matches.
    public func deleteAcls(_ request: DeleteAclsRequest) throws(RequestFailure) -> ControllerResult<DeleteAclsResponse> {
        var response = DeleteAclsResponse()
        var removed: OrderedSet<KafkaUUID> = []
        for filter in request.filters {
            var result = DeleteAclsResponse.DeleteAclsFilterResult()
            result.errorMessage = nil
            let wanted = AccessControlFilter(filter)
            if let problem = wanted.problem {
                result.errorCode = .invalidRequest
                result.errorMessage = problem
            } else {
                for (id, entry) in image.security.accessControlEntries where wanted.matches(entry) {
                    removed.append(id)
                    guard removed.count <= ControllerConfiguration.maximumRecordsPerRequest else {
                        throw RequestFailure(
                            .invalidRequest,
                            "Cannot remove more than \(ControllerConfiguration.maximumRecordsPerRequest) acls in a single delete operation."
                        )
                    }
                    result.matchingAcls.append(.init(entry))
                }
            }
            response.filterResults.append(result)
        }
        let records = removed.map { id in
            var record = RemoveAccessControlEntryRecord()
            record.id = id
            return VersionedRecord(.removeAccessControlEntry(record))
        }
        return ControllerResult(response, records: records)
    }
}

extension AccessControlFilter {
    init(_ filter: DeleteAclsRequest.DeleteAclsFilter) {
        self.init(
            resourceType: filter.resourceTypeFilter, resourceName: filter.resourceNameFilter, patternType: filter.patternTypeFilter,
            principal: filter.principalFilter, host: filter.hostFilter, operation: filter.operation, permissionType: filter.permissionType)
    }
}

extension DeleteAclsResponse.DeleteAclsMatchingAcl {
    fileprivate init(_ entry: AccessControlEntry) {
        self.init()
        errorMessage = nil
        resourceType = entry.resourceType
        resourceName = entry.resourceName
        patternType = entry.patternType
        principal = entry.principal
        host = entry.host
        operation = entry.operation
        permissionType = entry.permissionType
    }
}
