// StreamsGroupTopologyDescriptionUpdate (KIP-1331): answered as Kafka does without a plugin that would take the description. Heartbeats
// never ask for one.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func streamsGroupTopologyDescriptionUpdate(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(StreamsGroupTopologyDescriptionUpdateRequest.self)
        var response = StreamsGroupTopologyDescriptionUpdateResponse()
        response.errorCode = .unsupportedVersion
        if servesStreamsGroups {
            if access(context).allows(.read, .group, request.groupId) {
                response.errorMessage = "The broker has no streams group topology description plugin configured."
            } else {
                response.errorCode = .groupAuthorizationFailed
            }
        }
        context.responder.send(response)
    }
}
