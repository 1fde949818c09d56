// UnregisterController: forgets a controller that is gone for good, so that its features no longer hold up those of the cluster.
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func unregisterController(_ context: RequestContext) throws(WireError) {
        try forward(context, try context.decode(UnregisterControllerRequest.self))
    }
}

extension ControllerServices {
    func unregisterController(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(UnregisterControllerRequest.self)
        decide(call, request) { (controller) throws(RequestFailure) in try controller.unregisterController(request) }
    }
}
