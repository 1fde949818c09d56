// The controller's side of a node: everything that its requests need, and the way from a request to its handler. Handlers are extensions,
// one file for each API; what they decide is decided in Controlling.
import ClusterMetadata
import Configuration
import Controlling
import KafkaMessages
import KafkaWire
import Logging
import NIOCore
import Primitives
import Runtime

/// A controller's services. Serves also while another node is the active controller: then nearly everything is answered NOT_CONTROLLER.
final class ControllerServices: Sendable {
    let configuration: BrokerConfiguration
    let nodeID: NodeID
    let clusterID: String
    let metadataRuntime: MetadataRuntime
    let security: NodeSecurity
    let quotas: ClientQuotas
    let liveness: BrokerLiveness
    let logger: Logger

    init(
        configuration: BrokerConfiguration, clusterID: String, metadataRuntime: MetadataRuntime, security: NodeSecurity,
        quotas: ClientQuotas, liveness: BrokerLiveness, logger: Logger
    ) {
        self.security = security
        self.quotas = quotas
        self.configuration = configuration
        nodeID = configuration.nodeID
        self.clusterID = clusterID
        self.metadataRuntime = metadataRuntime
        self.liveness = liveness
        self.logger = logger
    }

    /// Every API with a handler below; ApiVersions on a controller listener names them.
    static let servedApis: [ApiKey] = [
        .fetch, .apiVersions, .createTopics, .deleteTopics, .alterConfigs, .createPartitions, .incrementalAlterConfigs, .describeQuorum,
        .updateFeatures, .envelope, .describeCluster, .brokerRegistration, .brokerHeartbeat, .allocateProducerIds,
        .controllerRegistration, .electLeaders, .vote, .beginQuorumEpoch, .endQuorumEpoch, .fetchSnapshot, .alterPartition,
        .alterPartitionReassignments, .listPartitionReassignments, .unregisterBroker, .assignReplicasToDirs, .addRaftVoter,
        .removeRaftVoter, .updateRaftVoter, .unregisterController, .saslHandshake, .saslAuthenticate, .describeAcls, .createAcls,
        .deleteAcls, .alterUserScramCredentials, .alterClientQuotas, .createDelegationToken, .renewDelegationToken, .expireDelegationToken,
        .manageLinks,
    ]

    private static let served: Set<ApiKey> = Set(servedApis)

    /// Whether a request of that API and version has a handler.
    static func serves(_ api: ApiKey, _ version: Int16) -> Bool { served.contains(api) && api.validVersions.contains(version) }

    /// Handles a request; the answer comes now or later. The version must be one that is served.
    func handle(_ request: ControllerRequest) {
        do throws(WireError) {
            guard try isAuthorized(request) else { return }
            try dispatch(request)
        } catch {
            request.reply(.refused("\(error)"))
        }
    }

    private func dispatch(_ request: ControllerRequest) throws(WireError) {
        switch request.apiKey {
        case .apiVersions: try apiVersions(request)
        case .createTopics: try createTopics(request)
        case .deleteTopics: try deleteTopics(request)
        case .alterConfigs: try alterConfigs(request)
        case .createPartitions: try createPartitions(request)
        case .incrementalAlterConfigs: try incrementalAlterConfigs(request)
        case .describeQuorum: try describeQuorum(request)
        case .updateFeatures: try updateFeatures(request)
        case .envelope: try envelope(request)
        case .describeCluster: try describeCluster(request)
        case .brokerRegistration: try brokerRegistration(request)
        case .brokerHeartbeat: try brokerHeartbeat(request)
        case .allocateProducerIds: try allocateProducerIds(request)
        case .controllerRegistration: try controllerRegistration(request)
        case .electLeaders: try electLeaders(request)
        case .fetch: try quorum(request, FetchRequest.self) { .fetch($0) }
        case .vote: try vote(request)
        case .beginQuorumEpoch: try beginQuorumEpoch(request)
        case .endQuorumEpoch: try endQuorumEpoch(request)
        case .fetchSnapshot: try fetchSnapshot(request)
        case .alterPartition: try alterPartition(request)
        case .alterPartitionReassignments: try alterPartitionReassignments(request)
        case .listPartitionReassignments: try listPartitionReassignments(request)
        case .unregisterBroker: try unregisterBroker(request)
        case .assignReplicasToDirs: try assignReplicasToDirs(request)
        case .addRaftVoter: try addRaftVoter(request)
        case .removeRaftVoter: try removeRaftVoter(request)
        case .updateRaftVoter: try updateRaftVoter(request)
        case .unregisterController: try unregisterController(request)
        case .describeAcls: try describeAcls(request)
        case .createAcls: try createAcls(request)
        case .deleteAcls: try deleteAcls(request)
        case .alterClientQuotas: try alterClientQuotas(request)
        case .alterUserScramCredentials: try alterUserScramCredentials(request)
        case .createDelegationToken: try createDelegationToken(request)
        case .renewDelegationToken: try renewDelegationToken(request)
        case .expireDelegationToken: try expireDelegationToken(request)
        case .manageLinks: try manageLinks(request)
        default: request.reply(.refused("\(request.apiKey) is not served by controllers of this version of Martlet"))
        }
    }

    /// Lets the controller decide. `finish` adds to the answer what was not for the controller to decide. The answer goes out when the records are committed and this node has taken them over.
    func decide<Request: ControllerDecidedRequest>(
        _ call: ControllerRequest, _ request: Request, finish: @escaping @Sendable (Request.Response) -> Request.Response = { $0 },
        at step: @escaping @Sendable (inout Controller, Offset) throws(RequestFailure) -> ControllerResult<Request.Response>
    ) {
        metadataRuntime.submit(at: step) { outcome in
            switch outcome {
            case .success(let response): call.send(finish(response))
            case .failure(let failure): call.refuse(request, failure, finish)
            }
        }
    }

    /// As above, for decisions that do not depend on where their records will lie.
    func decide<Request: ControllerDecidedRequest>(
        _ call: ControllerRequest, _ request: Request, finish: @escaping @Sendable (Request.Response) -> Request.Response = { $0 },
        _ step: @escaping @Sendable (inout Controller) throws(RequestFailure) -> ControllerResult<Request.Response>
    ) {
        decide(call, request, finish: finish, at: { (controller, _) throws(RequestFailure) in try step(&controller) })
    }
}

extension ControllerRequest {
    /// Answers for a request that was not decided.
    func refuse<Request: ControllerDecidedRequest>(
        _ request: Request, _ failure: RequestFailure, _ finish: (Request.Response) -> Request.Response = { $0 }
    ) {
        do throws(WireError) {
            let body = try finish(request.refused(failure, version: version)).encoded(version: version)
            reply(failure.code == .notController ? .notController(body) : .body(body))
        } catch {
            reply(.refused("the refusal of \(apiKey) version \(version) cannot be encoded: \(error)"))
        }
    }
}

extension ControllerServices {
    /// The leader of the quorum as this node knows it; -1 when there is none.
    var activeControllerID: NodeID { metadataRuntime.leader?.id ?? -1 }
}
