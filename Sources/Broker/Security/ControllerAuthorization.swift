// Who may have the controller do what (ControllerApis' rules): one table for what needs a right on the cluster, and per topic or resource
// what does not. Requests of this node itself are not asked about.
import Authorization
import ClusterMetadata
import Consensus
import Controlling
import KafkaMessages
import KafkaWire
import Primitives

extension ControllerServices {
    /// What each API needs on the cluster as a whole. Those that are missing are free, or judged resource by resource.
    static let clusterOperations: [ApiKey: AccessOperation] = [
        .fetch: .clusterAction, .vote: .clusterAction, .beginQuorumEpoch: .clusterAction, .endQuorumEpoch: .clusterAction,
        .fetchSnapshot: .clusterAction, .updateRaftVoter: .clusterAction, .envelope: .clusterAction, .brokerRegistration: .clusterAction,
        .brokerHeartbeat: .clusterAction, .controllerRegistration: .clusterAction, .allocateProducerIds: .clusterAction,
        .alterPartition: .clusterAction, .assignReplicasToDirs: .clusterAction,
        .describeQuorum: .describe, .listPartitionReassignments: .describe, .describeAcls: .describe,
        .describeCluster: .alter, .updateFeatures: .alter, .electLeaders: .alter, .alterPartitionReassignments: .alter,
        .unregisterBroker: .alter, .unregisterController: .alter, .addRaftVoter: .alter, .removeRaftVoter: .alter,
        .createAcls: .alter, .deleteAcls: .alter, .alterUserScramCredentials: .alter, .alterClientQuotas: .alterConfigs,
        .manageLinks: .clusterAction,
    ]

    /// Changes that people make, for the audit log.
    private static let administrativeApis: Set<ApiKey> = [
        .createTopics, .deleteTopics, .createPartitions, .alterConfigs, .incrementalAlterConfigs, .updateFeatures, .electLeaders,
        .alterPartitionReassignments, .unregisterBroker, .unregisterController, .addRaftVoter, .removeRaftVoter, .createAcls, .deleteAcls,
        .alterUserScramCredentials, .alterClientQuotas, .createDelegationToken, .renewDelegationToken, .expireDelegationToken,
    ]

    /// What the sender of a request may do.
    func access(_ call: ControllerRequest) -> Access {
        guard let principal = call.principal else {
            return Access(authorizer: nil, client: ClientIdentity(principal: .anonymous, host: call.clientHost), api: call.apiKey)
        }
        let client = ClientIdentity(
            principal: principal, host: call.clientHost, listenerName: call.listenerName, clientID: call.clientID)
        return Access(authorizer: security.authorizer, client: client, api: call.apiKey)
    }

    /// Whether a request may be handled; one that may not is answered here.
    func isAuthorized(_ call: ControllerRequest) throws(WireError) -> Bool {
        if call.principal != nil, let operation = Self.clusterOperations[call.apiKey], security.authorizer != nil,
            !access(call).allowsCluster(operation)
        {
            try refuseUnauthorized(call)
            return false
        }
        if Self.administrativeApis.contains(call.apiKey), call.principal != nil {
            security.audit.record(.administration, access(call).client, [("api", call.apiKey.name)] + AuditSubject.fields(of: call))
        }
        return true
    }

    private func refuseUnauthorized(_ call: ControllerRequest) throws(WireError) {
        switch call.apiKey {
        case .vote, .beginQuorumEpoch, .endQuorumEpoch, .fetch, .fetchSnapshot, .updateRaftVoter, .envelope:
            try refuseNode(call)
        case .describeQuorum: try refuse(call, DescribeQuorumRequest.self)
        case .listPartitionReassignments: try refuse(call, ListPartitionReassignmentsRequest.self)
        case .brokerRegistration: try refuse(call, BrokerRegistrationRequest.self)
        case .brokerHeartbeat: try refuse(call, BrokerHeartbeatRequest.self)
        case .controllerRegistration: try refuse(call, ControllerRegistrationRequest.self)
        case .allocateProducerIds: try refuse(call, AllocateProducerIdsRequest.self)
        case .alterPartition: try refuse(call, AlterPartitionRequest.self)
        case .assignReplicasToDirs: try refuse(call, AssignReplicasToDirsRequest.self)
        case .updateFeatures: try refuse(call, UpdateFeaturesRequest.self)
        case .electLeaders: try refuse(call, ElectLeadersRequest.self)
        case .alterPartitionReassignments: try refuse(call, AlterPartitionReassignmentsRequest.self)
        case .unregisterBroker: try refuse(call, UnregisterBrokerRequest.self)
        case .unregisterController: try refuse(call, UnregisterControllerRequest.self)
        case .addRaftVoter: try refuse(call, AddRaftVoterRequest.self)
        case .removeRaftVoter: try refuse(call, RemoveRaftVoterRequest.self)
        case .createAcls: try refuse(call, CreateAclsRequest.self)
        case .deleteAcls: try refuse(call, DeleteAclsRequest.self)
        case .alterUserScramCredentials: try refuse(call, AlterUserScramCredentialsRequest.self)
        case .alterClientQuotas: try refuse(call, AlterClientQuotasRequest.self)
        case .manageLinks: try refuse(call, ManageLinksRequest.self)
        case .describeAcls: call.send(DescribeAclsResponse.failed(.clusterAuthorizationFailed))
        case .describeCluster:
            var response = DescribeClusterResponse()
            response.errorCode = .clusterAuthorizationFailed
            response.errorMessage = ErrorCode.clusterAuthorizationFailed.defaultMessage
            call.send(response)
        default: call.reply(.refused("\(call.apiKey) is not permitted"))
        }
    }

    private func refuse<Request: ControllerDecidedRequest>(_ call: ControllerRequest, _ type: Request.Type) throws(WireError) {
        call.refuse(try call.decode(type), RequestFailure(.clusterAuthorizationFailed))
    }

    /// What other nodes ask and are refused: only their configuration can mend that.
    private func refuseNode(_ call: ControllerRequest) throws(WireError) {
        switch call.apiKey {
        case .vote: call.send(Self.failed(VoteResponse()) { $0.errorCode = .clusterAuthorizationFailed })
        case .beginQuorumEpoch: call.send(Self.failed(BeginQuorumEpochResponse()) { $0.errorCode = .clusterAuthorizationFailed })
        case .endQuorumEpoch: call.send(Self.failed(EndQuorumEpochResponse()) { $0.errorCode = .clusterAuthorizationFailed })
        case .fetch: call.send(Self.failed(FetchResponse()) { $0.errorCode = .clusterAuthorizationFailed })
        case .fetchSnapshot: call.send(Self.failed(FetchSnapshotResponse()) { $0.errorCode = .clusterAuthorizationFailed })
        case .updateRaftVoter: call.send(Self.failed(UpdateRaftVoterResponse()) { $0.errorCode = .clusterAuthorizationFailed })
        default: call.send(Self.failed(EnvelopeResponse()) { $0.errorCode = .clusterAuthorizationFailed })
        }
    }

    private static func failed<Response>(_ response: Response, _ change: (inout Response) -> Void) -> Response {
        var response = response
        change(&response)
        return response
    }
}

/// What an administrative request is about, as far as it can be said in a line and without secrets.
enum AuditSubject {
    private static let maximumNames = 20

    static func fields(of call: ControllerRequest) -> [(String, String)] {
        switch call.apiKey {
        case .createTopics: names(call, "topics") { (request: CreateTopicsRequest) in request.topics.map(\.name) }
        case .deleteTopics:
            names(call, "topics") { (request: DeleteTopicsRequest) in
                request.topicNames + request.topics.map { $0.name ?? $0.topicId.description }
            }
        case .createPartitions: names(call, "topics") { (request: CreatePartitionsRequest) in request.topics.map(\.name) }
        case .alterConfigs:
            names(call, "resources") { (request: AlterConfigsRequest) in
                request.resources.map { "\($0.resourceType):\($0.resourceName):\($0.configs.map(\.name).joined(separator: "+"))" }
            }
        case .incrementalAlterConfigs:
            names(call, "resources") { (request: IncrementalAlterConfigsRequest) in
                request.resources.map { "\($0.resourceType):\($0.resourceName):\($0.configs.map(\.name).joined(separator: "+"))" }
            }
        case .alterUserScramCredentials:
            names(call, "users") { (request: AlterUserScramCredentialsRequest) in
                request.upsertions.map { "+\($0.name)" } + request.deletions.map { "-\($0.name)" }
            }
        case .alterClientQuotas:
            names(call, "quotas") { (request: AlterClientQuotasRequest) in
                request.entries.map { entry in
                    let entity = entry.entity.map { "\($0.entityType)=\($0.entityName ?? "<default>")" }.joined(separator: "+")
                    return ([entity] + entry.ops.map { $0.remove ? "-\($0.key)" : "\($0.key)=\($0.value)" }).joined(separator: " ")
                }
            }
        case .createDelegationToken:
            names(call, "owner") { (request: CreateDelegationTokenRequest) in [request.owner(call.principal ?? .anonymous).description] }
        case .createAcls:
            names(call, "entries") { (request: CreateAclsRequest) in
                request.creations.map { creation in
                    let operation = AccessOperation(rawValue: creation.operation)?.name ?? "\(creation.operation)"
                    let permission = AccessPermission(rawValue: creation.permissionType)?.name ?? "\(creation.permissionType)"
                    let type = ResourceType(rawValue: creation.resourceType)?.name ?? "\(creation.resourceType)"
                    return "\(permission) \(creation.principal) \(operation) \(type):\(creation.resourceName)"
                }
            }
        case .deleteAcls:
            names(call, "filters") { (request: DeleteAclsRequest) in
                request.filters.map { "\($0.principalFilter ?? "any") \($0.resourceNameFilter ?? "any")" }
            }
        default: []
        }
    }

    private static func names<Request: KafkaRequest>(
        _ call: ControllerRequest, _ key: String, _ names: (Request) -> [String]
    ) -> [(String, String)] {
        guard let request = try? call.decode(Request.self) else { return [] }
        let all = names(request)
        let rest = all.count - maximumNames
        return [(key, all.prefix(maximumNames).joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : ""))]
    }
}
