// CreateTopics: decided by the controller; the broker adds what only it sees in a response.
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func createTopics(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(CreateTopicsRequest.self)
        decide(context.responder) { (controller) throws(RequestFailure) in
            try controller.createTopics(request)
        } refused: { failure in
            var response = CreateTopicsResponse()
            response.topics = request.topics.map { topic in failure.answer { $0.name = topic.name } }
            return response
        }
    }
}
