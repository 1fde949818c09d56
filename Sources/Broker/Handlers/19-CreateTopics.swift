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
        guard call.principal != nil, security.authorizer != nil else {
            return decide(call, request) { (controller) throws(RequestFailure) in try controller.createTopics(request) }
        }
        let access = access(call)
        let permitted = request.permitted(access)
        guard !permitted.request.topics.isEmpty else { return call.send(permitted.complete(CreateTopicsResponse())) }
        decide(call, permitted.request, finish: permitted.complete) { (controller) throws(RequestFailure) in
            try controller.createTopics(permitted.request)
        }
    }
}
