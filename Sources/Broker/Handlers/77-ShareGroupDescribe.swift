// ShareGroupDescribe: state, epochs, members and assignments of share groups (KIP-932).
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func shareGroupDescribe(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(ShareGroupDescribeRequest.self)
        let access = access(context)
        var response = ShareGroupDescribeResponse()
        response.groups = request.groupIds.map { id in
            guard servesShareGroups else { return .failed(id, .unsupportedVersion) }
            guard access.allows(.describe, .group, id) else { return .failed(id, .groupAuthorizationFailed) }
            var group = groups.describeShareGroup(id)
            if request.includeAuthorizedOperations, group.errorCode == .none {
                group.authorizedOperations = access.operations(on: .group, id)
            }
            let topics = Set(group.members.flatMap { $0.assignment.topicPartitions.map(\.topicName) })
            if !topics.allSatisfy({ access.allows(.describe, .topic, $0) }) {
                // Who may see the group need not see all that it reads.
                group = .failed(id, .topicAuthorizationFailed)
                group.errorMessage = "The group has described topic(s) that the client is not authorized to describe."
            }
            return group
        }
        context.responder.send(response)
    }
}

extension ShareGroupDescribeResponse.DescribedGroup {
    fileprivate static func failed(_ id: String, _ error: ErrorCode) -> Self {
        var group = Self()
        group.groupId = id
        group.errorCode = error
        return group
    }
}
