// AlterPartitionReassignments: moves partitions to other brokers (KIP-455).
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func alterPartitionReassignments(_ context: RequestContext) throws(WireError) {
        try forward(context, try context.decode(AlterPartitionReassignmentsRequest.self))
    }
}
extension ControllerServices {
    func alterPartitionReassignments(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(AlterPartitionReassignmentsRequest.self)
        decide(call, request) { (controller) throws(RequestFailure) in try controller.alterPartitionReassignments(request) }
    }
}
