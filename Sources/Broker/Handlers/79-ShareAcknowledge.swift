// ShareAcknowledge: a member of a share group says what became of its records, without fetching more (KIP-932).
import KafkaMessages
import KafkaWire
import Primitives
import ShareCoordination

extension BrokerServices {
    func shareAcknowledge(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(ShareAcknowledgeRequest.self)
        let responder = context.responder
        func refuse(_ refusal: ShareStateRefusal) {
            var response = ShareAcknowledgeResponse()
            response.errorCode = refusal.code
            response.errorMessage = refusal.message ?? refusal.code.defaultMessage
            responder.send(response)
        }
        guard servesShareGroups else { return refuse(ShareStateRefusal(.unsupportedVersion)) }
        let access = access(context)
        guard let group = request.groupId else { return refuse(ShareStateRefusal(.invalidRequest, "Invalid group id in the request.")) }
        guard access.allows(.read, .group, group) else { return refuse(ShareStateRefusal(.groupAuthorizationFailed)) }
        guard let member = request.memberId, Self.isShareMemberID(member) else {
            return refuse(ShareStateRefusal(.invalidRequest, "Invalid member id in the request."))
        }
        let key = ShareSessionKey(group: group, member: member)
        do throws(ShareStateRefusal) {
            try shareGroups.acknowledge(key, epoch: request.shareSessionEpoch)
        } catch {
            return refuse(error)
        }
        let settings = shareSettings(of: group)
        let terms = ShareAcknowledgementTerms(
            group: group, member: member, settings: settings, permitsRenewal: context.version >= 2 && request.isRenewAck)
        let isFinal = request.shareSessionEpoch == ShareSessions.Epoch.final
        if isFinal { (context.connection.context as? ConnectionState)?.shareSessions.remove(key) }
        let listenerName = context.listenerName
        acknowledge(request.acknowledgements, terms, access) { [self] partitions in
            var leaders = ShareLeaders(image: image, listenerName: listenerName)
            var response = ShareAcknowledgeResponse(partitions, &leaders)
            response.acquisitionLockTimeoutMs = Int32(clamping: settings.partition.lockDurationMilliseconds)
            response.nodeEndpoints = leaders.nodes.values.map { node in
                var endpoint = ShareAcknowledgeResponse.NodeEndpoint()
                endpoint.nodeId = node.id
                endpoint.host = node.host
                endpoint.port = node.port
                endpoint.rack = node.rack
                return endpoint
            }
            responder.send(response)
            if isFinal { shareGroups.endSession(key) }
        }
    }
}

extension ShareAcknowledgeRequest {
    fileprivate var acknowledgements: [ShareAcknowledgedPartition.Request] {
        topics.flatMap { topic in
            topic.partitions.map { partition in
                ShareAcknowledgedPartition.Request(
                    partition: TopicIDPartition(topic.topicId, partition.partitionIndex),
                    batches: partition.acknowledgementBatches.map { ($0.firstOffset, $0.lastOffset, $0.acknowledgeTypes) })
            }
        }
    }
}

extension ShareAcknowledgeResponse {
    fileprivate init(_ partitions: [ShareAcknowledgedPartition], _ leaders: inout ShareLeaders) {
        self.init()
        for partition in partitions {
            var data = PartitionData()
            data.partitionIndex = partition.partition.partition
            data.errorCode = partition.refusal?.code ?? .none
            data.errorMessage = partition.refusal.flatMap { $0.message ?? $0.code.defaultMessage }
            if data.errorCode == .notLeaderOrFollower || data.errorCode == .fencedLeaderEpoch {
                let leader = leaders.leader(of: partition.partition)
                data.currentLeader.leaderId = leader.id
                data.currentLeader.leaderEpoch = leader.epoch
            }
            if let index = responses.firstIndex(where: { $0.topicId == partition.partition.topicID }) {
                responses[index].partitions.append(data)
            } else {
                var topic = ShareAcknowledgeTopicResponse()
                topic.topicId = partition.partition.topicID
                topic.partitions = [data]
                responses.append(topic)
            }
        }
    }
}
