// OffsetFetch: tells how far groups have come.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func offsetFetch(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(OffsetFetchRequest.self)
        let responder = context.responder
        guard security.authorizer != nil else {
            return groups.fetchOffsets(request, context: context.group, topics: topicLookup) { responder.send($0) }
        }
        let restricted = RestrictedOffsetFetch(request, version: context.version, access(context), topicLookup)
        groups.fetchOffsets(restricted.request, context: context.group, topics: topicLookup) { responder.send(restricted.complete($0)) }
    }
}

/// A request without what its sender may not see, and how the answer is completed with the refusals.
private struct RestrictedOffsetFetch: Sendable {
    private(set) var request: OffsetFetchRequest
    private let version: Int16
    private let authorizer: Authorizer?
    private let client: ClientIdentity
    private var isGroupDenied = false
    private var deniedTopics: [OffsetFetchResponse.OffsetFetchResponseTopic] = []
    private var deniedGroups: [OffsetFetchResponse.OffsetFetchResponseGroup] = []
    private var deniedOfGroup: [String: [OffsetFetchResponse.OffsetFetchResponseTopics]] = [:]

    init(_ request: OffsetFetchRequest, version: Int16, _ access: Access, _ topics: ImageTopicLookup) {
        self.request = request
        self.version = version
        authorizer = access.authorizer
        client = access.client
        if version < 8 {
            isGroupDenied = !access.allows(.describe, .group, request.groupId)
            for topic in request.topics ?? [] where isGroupDenied || !access.allows(.describe, .topic, topic.name) {
                deniedTopics.append(.failed(topic, isGroupDenied ? .groupAuthorizationFailed : .topicAuthorizationFailed))
            }
            let denied = Set(deniedTopics.map(\.name))
            if isGroupDenied { self.request.topics = [] } else { self.request.topics?.removeAll { denied.contains($0.name) } }
            return
        }
        self.request.groups.removeAll { group in
            guard !access.allows(.describe, .group, group.groupId) else { return false }
            var answer = OffsetFetchResponse.OffsetFetchResponseGroup()
            answer.groupId = group.groupId
            answer.errorCode = .groupAuthorizationFailed
            deniedGroups.append(answer)
            return true
        }
        for index in self.request.groups.indices {
            var denied: [OffsetFetchResponse.OffsetFetchResponseTopics] = []
            self.request.groups[index].topics?.removeAll { topic in
                let name = version >= 10 ? topics.topicName(for: topic.topicId) : topic.name
                guard let name, !access.allows(.describe, .topic, name) else { return false }
                denied.append(.failed(topic, .topicAuthorizationFailed))
                return true
            }
            if !denied.isEmpty { deniedOfGroup[self.request.groups[index].groupId] = denied }
        }
    }

    /// What was asked for by "all topics" is filtered, what was asked for by name is refused.
    func complete(_ answer: OffsetFetchResponse) -> OffsetFetchResponse {
        var response = answer
        if version < 8 {
            if isGroupDenied { response.errorCode = .groupAuthorizationFailed }
            response.topics.removeAll { !mayDescribe($0.name) }
            response.topics += deniedTopics
            return response
        }
        for index in response.groups.indices {
            response.groups[index].topics.removeAll { version < 10 && !mayDescribe($0.name) }
            response.groups[index].topics += deniedOfGroup[response.groups[index].groupId] ?? []
        }
        response.groups += deniedGroups
        return response
    }

    private func mayDescribe(_ topic: String) -> Bool {
        authorizer?.allows(.describe, .topic, topic, client, api: ApiKey.offsetFetch.name, isLogged: false) ?? true
    }
}

extension OffsetFetchResponse.OffsetFetchResponseTopic {
    fileprivate static func failed(_ topic: OffsetFetchRequest.OffsetFetchRequestTopic, _ error: ErrorCode) -> Self {
        var answer = Self()
        answer.name = topic.name
        answer.partitions = topic.partitionIndexes.map { index in
            var partition = OffsetFetchResponse.OffsetFetchResponsePartition()
            partition.partitionIndex = index
            partition.committedOffset = -1
            partition.errorCode = error
            return partition
        }
        return answer
    }
}

extension OffsetFetchResponse.OffsetFetchResponseTopics {
    fileprivate static func failed(_ topic: OffsetFetchRequest.OffsetFetchRequestTopics, _ error: ErrorCode) -> Self {
        var answer = Self()
        answer.name = topic.name
        answer.topicId = topic.topicId
        answer.partitions = topic.partitionIndexes.map { index in
            var partition = OffsetFetchResponse.OffsetFetchResponsePartitions()
            partition.partitionIndex = index
            partition.committedOffset = -1
            partition.errorCode = error
            return partition
        }
        return answer
    }
}
