// LeaveGroup: members go.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func leaveGroup(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(LeaveGroupRequest.self)
        let responder = context.responder
        guard access(context).allows(.read, .group, request.groupId) else {
            var response = LeaveGroupResponse()
            response.errorCode = .groupAuthorizationFailed
            return responder.send(response)
        }
        groups.leave(request, context: context.group) { responder.send($0) }
    }
}
