// ShareFetch: a member of a share group gets records of the partitions in its session, and says what became of those that it had (KIP-932).
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import NIOCore
import Network
import Primitives
import ShareCoordination
import Synchronization

extension BrokerServices {
    func shareFetch(_ context: RequestContext, _ state: ConnectionState) throws(WireError) {
        let request = try context.decode(ShareFetchRequest.self)
        func refuse(_ refusal: ShareStateRefusal) {
            var response = ShareFetchResponse()
            response.errorCode = refusal.code
            response.errorMessage = refusal.message ?? refusal.code.defaultMessage
            context.responder.send(response)
        }
        guard servesShareGroups else { return refuse(ShareStateRefusal(.unsupportedVersion)) }
        let access = access(context)
        guard let group = request.groupId else { return refuse(ShareStateRefusal(.invalidRequest, "Invalid group id in the request.")) }
        guard access.allows(.read, .group, group) else { return refuse(ShareStateRefusal(.groupAuthorizationFailed)) }
        guard let member = request.memberId, Self.isShareMemberID(member) else {
            return refuse(ShareStateRefusal(.invalidRequest, "Invalid member id in the request."))
        }
        guard !request.isRenewAck || request.maxBytes == 0 && request.minBytes == 0 && request.maxRecords == 0 && request.maxWaitMs == 0
        else {
            return refuse(
                ShareStateRefusal(.invalidRequest, "maxBytes, minBytes, maxRecords and maxWaitMs must be set to 0, if isRenewAck is true."))
        }
        let acknowledged = request.acknowledgements
        let key = ShareSessionKey(group: group, member: member)
        let session: ShareSessions.Fetch
        do throws(ShareStateRefusal) {
            session = try shareGroups.fetch(
                key, epoch: request.shareSessionEpoch, adding: request.partitions, forgetting: request.forgotten,
                hasAcknowledgements: acknowledged.contains { !$0.batches.isEmpty }, connection: context.connection.id.value)
        } catch {
            guard error.code == .shareSessionLimitReached, request.maxWaitMs > 0 else { return refuse(error) }
            // Who cannot have a session asks again at once, unless it is kept waiting.
            let responder = context.responder
            context.connection.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(Int64(min(request.maxWaitMs, 30_000)))) {
                var response = ShareFetchResponse()
                response.errorCode = .shareSessionLimitReached
                responder.send(response)
            }
            return
        }
        if session.isFinal { state.shareSessions.remove(key) } else { state.shareSessions.insert(key) }
        let settings = shareSettings(of: group)
        let terms = ShareAcknowledgementTerms(
            group: group, member: member, settings: settings, permitsRenewal: context.version >= 2 && request.isRenewAck)
        let answer = ShareFetchAnswer(
            services: self, responder: context.responder, listenerName: context.listenerName, session: session, key: key,
            lockDurationMilliseconds: settings.partition.lockDurationMilliseconds)
        // Empty lists are no acknowledgements here: they only say which partitions to fetch.
        acknowledge(acknowledged.filter { !$0.batches.isEmpty }, terms, access) { answer.acknowledged($0) }
        guard !request.isRenewAck, !session.isFinal else { return answer.fetched([]) }
        fetch(request, session, terms, access, context, state) { answer.fetched($0) }
    }

    private func fetch(
        _ request: ShareFetchRequest, _ session: ShareSessions.Fetch, _ terms: ShareAcknowledgementTerms, _ access: Access,
        _ context: RequestContext, _ state: ConnectionState, completion: @escaping ([ShareFetchResult]) -> Void
    ) {
        // Another partition comes first each time, so that none is forgotten for the others.
        let count = session.partitions.count
        let first = count > 0 ? Int(max(request.shareSessionEpoch, 0)) % count : 0
        let rotated = session.partitions[first...] + session.partitions[..<first]
        let operation = ShareFetchOperation(
            asked: rotated.map { asked($0, terms, access) }, member: terms.member, settings: terms.settings,
            limits: .init(
                minimumBytes: Int(min(request.minBytes, request.maxBytes)),
                maximumBytes: min(Int(request.maxBytes), configuration.network.fetchMaxBytes),
                records: ShareFetchLimits(
                    maximumRecords: Int(request.maxRecords), batchSize: max(1, Int(request.batchSize)),
                    isStrict: context.version >= 2 && request.shareAcquireMode == 1),
                maximumWaitMilliseconds: request.maxWaitMs)
        ) { [unowned state] results in
            state.shareFetch = nil
            completion(results)
        }
        state.shareFetch = operation
        operation.start(on: context.connection.eventLoop)
    }

    private func asked(
        _ partition: TopicIDPartition, _ terms: ShareAcknowledgementTerms, _ access: Access
    ) -> ShareFetchOperation.Asked {
        guard let topic = image.topics.topic(id: partition.topicID) else { return .init(partition: partition, error: .unknownTopicId) }
        guard access.allows(.read, .topic, topic.name) else { return .init(partition: partition, error: .topicAuthorizationFailed) }
        guard let placed = topic.partition(partition.partition) else {
            return .init(partition: partition, error: .unknownTopicOrPartition)
        }
        guard placed.leader == nodeID, let local = partitions.topic(partition.topicID)?[partition.partition] else {
            return .init(partition: partition, error: .notLeaderOrFollower)
        }
        let key = SharePartitionKey(group: terms.group, partition: partition)
        return .init(partition: partition, entry: shareGroups.entry(key, local, terms.settings))
    }
}

/// Puts a share fetch's answer together from its two halves, which may be ready in any order and on any thread.
private final class ShareFetchAnswer: Sendable {
    private struct State {
        var acknowledged: [ShareAcknowledgedPartition]?
        var fetched: [ShareFetchResult]?
    }

    private let services: BrokerServices
    private let responder: Responder
    private let listenerName: String
    private let session: ShareSessions.Fetch
    private let key: ShareSessionKey
    private let lockDurationMilliseconds: Int64
    private let state = Mutex(State())

    init(
        services: BrokerServices, responder: Responder, listenerName: String, session: ShareSessions.Fetch, key: ShareSessionKey,
        lockDurationMilliseconds: Int64
    ) {
        self.services = services
        self.responder = responder
        self.listenerName = listenerName
        self.session = session
        self.key = key
        self.lockDurationMilliseconds = lockDurationMilliseconds
    }

    func acknowledged(_ partitions: [ShareAcknowledgedPartition]) { add { $0.acknowledged = partitions } }
    func fetched(_ results: [ShareFetchResult]) { add { $0.fetched = results } }

    private func add(_ change: (inout State) -> Void) {
        let complete = state.withLock { state -> ([ShareAcknowledgedPartition], [ShareFetchResult])? in
            change(&state)
            guard let acknowledged = state.acknowledged, let fetched = state.fetched else { return nil }
            return (acknowledged, fetched)
        }
        guard let (acknowledged, fetched) = complete else { return }
        responder.send(response(acknowledged, fetched))
        if session.isFinal { services.shareGroups.endSession(key) }
    }

    private func response(_ acknowledged: [ShareAcknowledgedPartition], _ fetched: [ShareFetchResult]) -> ShareFetchResponse {
        var response = ShareFetchResponse()
        response.acquisitionLockTimeoutMs = Int32(clamping: lockDurationMilliseconds)
        var leaders = ShareLeaders(image: services.image, listenerName: listenerName)
        var topics: [TopicID: Int] = [:]
        var places: [TopicIDPartition: (topic: Int, partition: Int)] = [:]
        func place(_ partition: TopicIDPartition) -> (topic: Int, partition: Int) {
            if let place = places[partition] { return place }
            let topic = topics[partition.topicID] ?? response.responses.count
            if topic == response.responses.count {
                topics[partition.topicID] = topic
                var entry = ShareFetchResponse.ShareFetchableTopicResponse()
                entry.topicId = partition.topicID
                response.responses.append(entry)
            }
            var data = ShareFetchResponse.PartitionData()
            data.partitionIndex = partition.partition
            let place = (topic, response.responses[topic].partitions.count)
            response.responses[topic].partitions.append(data)
            places[partition] = place
            return place
        }
        let added = Set(session.added)
        for result in fetched where result.error != .none || !result.acquired.isEmpty || added.contains(result.partition) {
            let place = place(result.partition)
            response.responses[place.topic].partitions[place.partition].take(result)
            if result.error == .notLeaderOrFollower || result.error == .fencedLeaderEpoch {
                let leader = leaders.leader(of: result.partition)
                response.responses[place.topic].partitions[place.partition].currentLeader.leaderId = leader.id
                response.responses[place.topic].partitions[place.partition].currentLeader.leaderEpoch = leader.epoch
            }
        }
        response.nodeEndpoints = leaders.nodes.values.map { node in
            var endpoint = ShareFetchResponse.NodeEndpoint()
            endpoint.nodeId = node.id
            endpoint.host = node.host
            endpoint.port = node.port
            endpoint.rack = node.rack
            return endpoint
        }
        for partition in acknowledged {
            let place = place(partition.partition)
            response.responses[place.topic].partitions[place.partition].acknowledgeErrorCode = partition.refusal?.code ?? .none
            response.responses[place.topic].partitions[place.partition].acknowledgeErrorMessage = partition.refusal?.message
        }
        return response
    }
}

extension ShareFetchResponse.PartitionData {
    fileprivate mutating func take(_ result: ShareFetchResult) {
        errorCode = result.error
        if result.error != .none { errorMessage = result.error.defaultMessage }
        records = result.records
        acquiredRecords = result.acquired.map { acquired in
            var entry = ShareFetchResponse.AcquiredRecords()
            entry.firstOffset = acquired.firstOffset
            entry.lastOffset = acquired.lastOffset
            entry.deliveryCount = acquired.deliveryCount
            return entry
        }
    }
}

extension ShareFetchRequest {
    fileprivate var partitions: [TopicIDPartition] {
        topics.flatMap { topic in topic.partitions.map { TopicIDPartition(topic.topicId, $0.partitionIndex) } }
    }

    fileprivate var forgotten: [TopicIDPartition] {
        forgottenTopicsData.flatMap { topic in topic.partitions.map { TopicIDPartition(topic.topicId, $0) } }
    }

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
