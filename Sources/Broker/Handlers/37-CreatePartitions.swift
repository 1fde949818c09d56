// CreatePartitions: more partitions for existing topics; decided by the active controller.
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func createPartitions(_ context: RequestContext) throws(WireError) {
        try forward(context, try context.decode(CreatePartitionsRequest.self))
    }
}

extension ControllerServices {
    func createPartitions(_ call: ControllerRequest) throws(WireError) {
        let permitted = try call.decode(CreatePartitionsRequest.self).permitted(access(call))
        let request = permitted.request
        if request.topics.isEmpty { return call.send(permitted.complete(CreatePartitionsResponse())) }
        let allowance = allowance(call, strictSince: 3)
        decide(call, request, finish: { permitted.complete(allowance?.complete($0) ?? $0) }) { (controller) throws(RequestFailure) in
            controller.createPartitions(request) { (count) throws(RequestFailure) in try allowance?.take(count) }
        }
    }
}
