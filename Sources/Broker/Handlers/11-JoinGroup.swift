// JoinGroup: a member enters a group, or comes again for the next generation.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func joinGroup(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(JoinGroupRequest.self)
        let responder = context.responder
        guard access(context).allows(.read, .group, request.groupId) else {
            var response = JoinGroupResponse()
            response.errorCode = .groupAuthorizationFailed
            response.memberId = request.memberId
            return responder.send(response)
        }
        groups.join(request, context: context.group) { responder.send($0) }
    }
}
