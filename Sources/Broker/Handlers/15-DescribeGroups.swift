// DescribeGroups: state, protocol and members of classic groups.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func describeGroups(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DescribeGroupsRequest.self)
        let access = access(context)
        var permitted = request
        permitted.groups = request.groups.filter { access.allows(.describe, .group, $0) }
        var response = groups.describeGroups(permitted, context: context.group)
        let shown = Set(permitted.groups)
        for id in request.groups where !shown.contains(id) {
            var group = DescribeGroupsResponse.DescribedGroup()
            group.groupId = id
            group.errorCode = .groupAuthorizationFailed
            response.groups.append(group)
        }
        if request.includeAuthorizedOperations {
            for index in response.groups.indices where response.groups[index].errorCode == .none {
                response.groups[index].authorizedOperations = access.operations(on: .group, response.groups[index].groupId)
            }
        }
        context.responder.send(response)
    }
}
