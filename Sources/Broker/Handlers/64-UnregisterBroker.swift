// UnregisterBroker: forgets a broker that is gone for good (KIP-631).
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func unregisterBroker(_ context: RequestContext) throws(WireError) {
        try forward(context, try context.decode(UnregisterBrokerRequest.self))
    }
}
extension ControllerServices {
    func unregisterBroker(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(UnregisterBrokerRequest.self)
        decide(call, request) { (controller) throws(RequestFailure) in try controller.unregisterBroker(request) }
    }
}
