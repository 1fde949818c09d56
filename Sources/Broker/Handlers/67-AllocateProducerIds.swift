// AllocateProducerIds: a broker's next block of producer ids (KIP-730).
import Controlling
import KafkaMessages
import KafkaWire

extension ControllerServices {
    func allocateProducerIds(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(AllocateProducerIdsRequest.self)
        decide(call, request) { (controller) throws(RequestFailure) in try controller.allocateProducerIDs(request) }
    }
}
