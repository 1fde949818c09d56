// CreateTopics: decided by the active controller.
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func createTopics(_ context: RequestContext) throws(WireError) {
        try forward(context, try context.decode(CreateTopicsRequest.self))
    }
}

extension ControllerServices {
    func createTopics(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(CreateTopicsRequest.self)
        decide(call, request) { (controller) throws(RequestFailure) in try controller.createTopics(request) }
    }
}
