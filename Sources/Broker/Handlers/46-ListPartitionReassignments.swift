// ListPartitionReassignments: which partitions are being moved (KIP-455).
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func listPartitionReassignments(_ context: RequestContext) throws(WireError) {
        try forward(context, try context.decode(ListPartitionReassignmentsRequest.self))
    }
}
extension ControllerServices {
    func listPartitionReassignments(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(ListPartitionReassignmentsRequest.self)
        decide(call, request) { (controller) throws(RequestFailure) in ControllerResult(controller.listPartitionReassignments(request)) }
    }
}
