// ListGroups: all groups coordinated by this broker.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func listGroups(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(ListGroupsRequest.self)
        context.responder.send(groups.listGroups(request))
    }
}
