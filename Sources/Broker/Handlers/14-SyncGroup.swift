// SyncGroup: the leader hands in the assignment, everybody fetches theirs.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func syncGroup(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(SyncGroupRequest.self)
        let responder = context.responder
        guard access(context).allows(.read, .group, request.groupId) else {
            var response = SyncGroupResponse()
            response.errorCode = .groupAuthorizationFailed
            return responder.send(response)
        }
        groups.sync(request, context: context.group) { responder.send($0) }
    }
}
