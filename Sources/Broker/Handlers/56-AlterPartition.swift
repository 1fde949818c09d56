// AlterPartition: a leader tells who is in sync, and the controller decides whether it is so (KIP-497).
import Controlling
import KafkaMessages
import KafkaWire

extension ControllerServices {
    func alterPartition(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(AlterPartitionRequest.self)
        let version = call.version
        decide(call, request) { (controller) throws(RequestFailure) in try controller.alterPartition(request, apiVersion: version) }
    }
}
