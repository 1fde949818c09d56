// ShareGroupHeartbeat: a consumer joins, stays in or leaves a share group (KIP-932). Partitions that the group has not read before get their
// state with share coordinators once the answer is out.
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives
import ShareCoordination

extension BrokerServices {
    func shareGroupHeartbeat(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(ShareGroupHeartbeatRequest.self)
        let responder = context.responder
        func refuse(_ error: ErrorCode, _ message: String? = nil) {
            var response = ShareGroupHeartbeatResponse()
            response.errorCode = error
            response.errorMessage = message
            responder.send(response)
        }
        guard servesShareGroups else { return refuse(.unsupportedVersion) }
        let access = access(context)
        guard access.allows(.read, .group, request.groupId) else { return refuse(.groupAuthorizationFailed) }
        guard Self.isShareMemberID(request.memberId) else { return refuse(.invalidRequest, "Invalid member id in the request.") }
        for topic in request.subscribedTopicNames ?? [] where !access.allows(.describe, .topic, topic) {
            return refuse(.topicAuthorizationFailed)
        }
        groups.shareGroupHeartbeat(request, context: context.group) { [self] outcome in
            responder.send(outcome.response)
            guard let initialization = outcome.initialization else { return }
            initializeShareState(initialization) { [groups] refusals in
                groups.shareStateInitialized(initialization, succeeded: refusals.allSatisfy { $0 == nil })
            }
        }
    }

    /// Kafka's rule for the ids that members of share groups make for themselves.
    static func isShareMemberID(_ id: String?) -> Bool { id.map { !$0.isEmpty && $0.utf16.count <= 36 } ?? false }

    /// Has share coordinators begin with partitions.
    ///
    /// - Parameter completion: called with what each said, in the order of topics and partitions.
    func initializeShareState(
        _ initialization: ShareStateInitialization, completion: @escaping @Sendable ([ShareStateRefusal?]) -> Void
    ) {
        let partitions = initialization.topics.flatMap { topic in
            topic.partitions.map {
                (SharePartitionKey(group: initialization.group, topicID: topic.id, partition: $0.index), $0.startOffset)
            }
        }
        let gathering = Gathering(partitions.count, completion: completion)
        for (index, (key, startOffset)) in partitions.enumerated() {
            shareGroups.persister.initialize(key, stateEpoch: initialization.stateEpoch, startOffset: startOffset) { result in
                gathering.add(index, result.refusal)
            }
        }
    }
}

extension Result where Failure == ShareStateRefusal {
    /// Why not; nil when all is well.
    var refusal: ShareStateRefusal? { if case .failure(let refusal) = self { refusal } else { nil } }
}
