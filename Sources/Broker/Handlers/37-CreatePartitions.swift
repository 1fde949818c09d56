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
        let request = try call.decode(CreatePartitionsRequest.self)
        decide(call, request) { (controller) throws(RequestFailure) in controller.createPartitions(request) }
    }
}
