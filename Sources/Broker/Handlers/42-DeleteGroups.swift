// DeleteGroups: removes empty groups with their offsets.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func deleteGroups(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DeleteGroupsRequest.self)
        let responder = context.responder
        groups.deleteGroups(request, context: context.group) { responder.send($0) }
    }
}
