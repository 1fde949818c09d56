// ConsumerGroupHeartbeat: a consumer joins, stays in or leaves a group of the newer protocol (KIP-848).
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func consumerGroupHeartbeat(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(ConsumerGroupHeartbeatRequest.self)
        let responder = context.responder
        func refuse(_ error: ErrorCode) {
            var response = ConsumerGroupHeartbeatResponse()
            response.errorCode = error
            responder.send(response)
        }
        guard servesConsumerGroups else { return refuse(.unsupportedVersion) }
        let access = access(context)
        guard access.allows(.read, .group, request.groupId) else { return refuse(.groupAuthorizationFailed) }
        for topic in request.subscribedTopicNames ?? [] where !access.allows(.describe, .topic, topic) {
            return refuse(.topicAuthorizationFailed)
        }
        var group = context.group
        if access.authorizer != nil { group.isTopicVisible = { access.allows(.describe, .topic, $0, isLogged: false) } }
        groups.consumerGroupHeartbeat(request, context: group) { responder.send($0) }
    }
}
