// DescribeAcls: the access control entries that match a filter.
import Authorization
import ClusterMetadata
import Collections
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func describeAcls(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DescribeAclsRequest.self)
        guard access(context).allowsCluster(.describe) else {
            return context.responder.send(DescribeAclsResponse.failed(.clusterAuthorizationFailed))
        }
        context.responder.send(DescribeAclsResponse(request, image.security, hasAuthorizer: security.authorizer != nil))
    }
}

extension ControllerServices {
    func describeAcls(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(DescribeAclsRequest.self)
        call.send(DescribeAclsResponse(request, metadataRuntime.image.security, hasAuthorizer: security.authorizer != nil))
    }
}

extension DescribeAclsResponse {
    private struct Pattern: Hashable {
        var type: Int8
        var name: String
        var pattern: Int8
    }

    fileprivate init(_ request: DescribeAclsRequest, _ security: SecurityImage, hasAuthorizer: Bool) {
        guard hasAuthorizer else {
            self = .failed(.securityDisabled, "No Authorizer is configured on the broker")
            return
        }
        let filter = AccessControlFilter(
            resourceType: request.resourceTypeFilter, resourceName: request.resourceNameFilter, patternType: request.patternTypeFilter,
            principal: request.principalFilter, host: request.hostFilter, operation: request.operation,
            permissionType: request.permissionType)
        if let problem = filter.problem {
            self = .failed(.invalidRequest, problem)
            return
        }
        var found: OrderedDictionary<Pattern, [AclDescription]> = [:]
        for entry in security.accessControlEntries.values where filter.matches(entry) {
            var description = AclDescription()
            description.principal = entry.principal
            description.host = entry.host
            description.operation = entry.operation
            description.permissionType = entry.permissionType
            found[Pattern(type: entry.resourceType, name: entry.resourceName, pattern: entry.patternType), default: []].append(description)
        }
        self.init()
        errorMessage = nil
        resources = found.map { pattern, entries in
            var resource = DescribeAclsResource()
            resource.resourceType = pattern.type
            resource.resourceName = pattern.name
            resource.patternType = pattern.pattern
            resource.acls = entries
            return resource
        }
    }

    static func failed(_ error: ErrorCode, _ message: String? = nil) -> Self {
        var response = Self()
        response.errorCode = error
        response.errorMessage = message ?? error.defaultMessage
        return response
    }
}
