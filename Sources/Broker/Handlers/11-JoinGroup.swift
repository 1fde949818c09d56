// JoinGroup: a member enters a group, or comes again for the next generation.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func joinGroup(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(JoinGroupRequest.self)
        let responder = context.responder
        groups.join(request, context: context.group) { responder.send($0) }
    }
}
