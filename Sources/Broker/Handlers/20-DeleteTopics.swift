// DeleteTopics: by name, or by id from version 6.
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func deleteTopics(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DeleteTopicsRequest.self)
        let version = context.version
        decide(context.responder) { (controller) throws(RequestFailure) in
            try controller.deleteTopics(request, apiVersion: version)
        } refused: { failure in
            let asked = version >= 6 ? request.topics.map { ($0.name, $0.topicId) } : request.topicNames.map { ($0, .zero) }
            var response = DeleteTopicsResponse()
            response.responses = asked.map { name, id in
                failure.answer {
                    $0.name = name
                    $0.topicId = id
                }
            }
            return response
        }
    }
}
