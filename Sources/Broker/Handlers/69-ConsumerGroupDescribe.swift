// ConsumerGroupDescribe: state, epochs, members and assignments of groups of the newer protocol (KIP-848).
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func consumerGroupDescribe(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(ConsumerGroupDescribeRequest.self)
        guard servesConsumerGroups else {
            var response = ConsumerGroupDescribeResponse()
            response.groups = request.groupIds.map { .failed($0, .unsupportedVersion) }
            return context.responder.send(response)
        }
        let access = access(context)
        var permitted = request
        permitted.groupIds = request.groupIds.filter { access.allows(.describe, .group, $0) }
        let shown = Set(permitted.groupIds)
        var response = ConsumerGroupDescribeResponse()
        response.groups = request.groupIds.filter { !shown.contains($0) }.map { .failed($0, .groupAuthorizationFailed) }
        for var group in groups.describeConsumerGroups(permitted).groups {
            if request.includeAuthorizedOperations, group.errorCode == .none {
                group.authorizedOperations = access.operations(on: .group, group.groupId)
            }
            if !group.topicNames.allSatisfy({ access.allows(.describe, .topic, $0) }) {
                // Who may see the group need not see all that it reads.
                group.errorCode = .topicAuthorizationFailed
                group.errorMessage = "The group has described topic(s) that the client is not authorized to describe."
                group.members = []
            }
            response.groups.append(group)
        }
        context.responder.send(response)
    }
}

extension ConsumerGroupDescribeResponse.DescribedGroup {
    fileprivate static func failed(_ id: String, _ error: ErrorCode) -> Self {
        var group = Self()
        group.groupId = id
        group.errorCode = error
        return group
    }

    /// The topics whose partitions members have or are to have.
    fileprivate var topicNames: Set<String> {
        Set(members.flatMap { $0.assignment.topicPartitions.map(\.topicName) + $0.targetAssignment.topicPartitions.map(\.topicName) })
    }
}
