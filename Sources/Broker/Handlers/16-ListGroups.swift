// ListGroups: all groups coordinated by this broker.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func listGroups(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(ListGroupsRequest.self)
        let access = access(context)
        var response = groups.listGroups(request)
        if !access.allowsCluster(.describe, isLogged: false) {
            response.groups.removeAll { !access.allows(.describe, .group, $0.groupId, isLogged: false) }
        }
        context.responder.send(response)
    }
}
