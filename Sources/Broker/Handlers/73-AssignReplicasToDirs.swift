// AssignReplicasToDirs: a broker tells which directory each of its replicas lies in (KIP-858).
import Controlling
import KafkaMessages
import KafkaWire

extension ControllerServices {
    func assignReplicasToDirs(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(AssignReplicasToDirsRequest.self)
        decide(call, request) { (controller) throws(RequestFailure) in try controller.assignReplicasToDirectories(request) }
    }
}
