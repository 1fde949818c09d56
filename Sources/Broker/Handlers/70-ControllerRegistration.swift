// ControllerRegistration: a controller introduces itself to the active one (KIP-919).
import Controlling
import KafkaMessages
import KafkaWire

extension ControllerServices {
    func controllerRegistration(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(ControllerRegistrationRequest.self)
        decide(call, request) { (controller) throws(RequestFailure) in try controller.registerController(request) }
    }
}
