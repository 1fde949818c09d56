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
        let allowance = allowance(call, strictSince: 6)
        guard call.principal != nil, security.authorizer != nil else {
            return decide(call, request, finish: { allowance?.complete($0) ?? $0 }) { (controller) throws(RequestFailure) in
                try controller.createTopics(request) { (count) throws(RequestFailure) in try allowance?.take(count) }
            }
        }
        let access = access(call)
        let permitted = request.permitted(access)
        guard !permitted.request.topics.isEmpty else { return call.send(permitted.complete(CreateTopicsResponse())) }
        decide(call, permitted.request, finish: { permitted.complete(allowance?.complete($0) ?? $0) }) {
            (controller) throws(RequestFailure) in
            try controller.createTopics(permitted.request) { (count) throws(RequestFailure) in try allowance?.take(count) }
        }
    }
}
