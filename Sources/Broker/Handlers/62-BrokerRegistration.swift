// BrokerRegistration: a broker introduces itself to the controller and learns its epoch (KIP-631).
import Controlling
import KafkaMessages
import KafkaWire
import Primitives

extension ControllerServices {
    func brokerRegistration(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(BrokerRegistrationRequest.self)
        // Older versions have no field for it.
        let detectsCleanShutdown = call.version >= 3
        decide(
            call, request,
            at: { (controller, nextOffset) throws(RequestFailure) in
                try controller.registerBroker(
                    request, nextOffset: nextOffset, detectsCleanShutdown: detectsCleanShutdown, now: SystemClock.monotonicMilliseconds())
            })
    }
}
