// StreamsGroupDescribe: topology, members and tasks of the groups of Kafka Streams applications (KIP-1071).
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func streamsGroupDescribe(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(StreamsGroupDescribeRequest.self)
        var response = StreamsGroupDescribeResponse()
        guard servesStreamsGroups else {
            response.groups = request.groupIds.map { .failed($0, .unsupportedVersion) }
            return context.responder.send(response)
        }
        let access = access(context)
        let permitted = request.groupIds.filter { access.allows(.describe, .group, $0) }
        let shown = Set(permitted)
        response.groups = request.groupIds.filter { !shown.contains($0) }.map { .failed($0, .groupAuthorizationFailed) }
        for var group in groups.describeStreamsGroups(permitted) {
            if request.includeAuthorizedOperations, group.errorCode == .none {
                group.authorizedOperations = access.operations(on: .group, group.groupId)
            }
            guard group.topicNames.allSatisfy({ access.allows(.describe, .topic, $0) }) else {
                // Who may see the group need not see all that it works with.
                var hidden = StreamsGroupDescribeResponse.DescribedGroup.failed(group.groupId, .topicAuthorizationFailed)
                hidden.errorMessage = "The described group uses topics that the client is not authorized to describe."
                response.groups.append(hidden)
                continue
            }
            response.groups.append(group)
        }
        context.responder.send(response)
    }
}

extension StreamsGroupDescribeResponse.DescribedGroup {
    fileprivate static func failed(_ id: String, _ error: ErrorCode) -> Self {
        var group = Self()
        group.groupId = id
        group.errorCode = error
        return group
    }

    /// Every topic that the group's topology names.
    fileprivate var topicNames: Set<String> {
        var names: Set<String> = []
        for subtopology in topology?.subtopologies ?? [] {
            names.formUnion(subtopology.sourceTopics)
            names.formUnion(subtopology.repartitionSinkTopics)
            names.formUnion((subtopology.repartitionSourceTopics + subtopology.stateChangelogTopics).map(\.name))
        }
        return names
    }
}
