// DescribeGroups: state, protocol and members of classic groups.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func describeGroups(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DescribeGroupsRequest.self)
        var response = groups.describeGroups(request, context: context.group)
        if request.includeAuthorizedOperations {
            for index in response.groups.indices where response.groups[index].errorCode == .none {
                response.groups[index].authorizedOperations = AuthorizedOperations.group
            }
        }
        context.responder.send(response)
    }
}
