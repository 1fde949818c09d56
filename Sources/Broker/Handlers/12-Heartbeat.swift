// Heartbeat: a member says that it lives, and hears whether the group rebalances.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func heartbeat(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(HeartbeatRequest.self)
        let responder = context.responder
        guard access(context).allows(.read, .group, request.groupId) else {
            var response = HeartbeatResponse()
            response.errorCode = .groupAuthorizationFailed
            return responder.send(response)
        }
        groups.heartbeat(request) { responder.send($0) }
    }
}
