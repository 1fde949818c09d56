// CreatePartitions: more partitions for existing topics.
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func createPartitions(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(CreatePartitionsRequest.self)
        decide(context.responder) { (controller) throws(RequestFailure) in
            controller.createPartitions(request)
        } refused: { failure in
            var response = CreatePartitionsResponse()
            response.results = request.topics.map { topic in failure.answer { $0.name = topic.name } }
            return response
        }
    }
}
