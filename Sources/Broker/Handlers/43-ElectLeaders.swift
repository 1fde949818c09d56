// ElectLeaders: preferred leaders, or unclean ones on purpose (KIP-460).
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func electLeaders(_ context: RequestContext) throws(WireError) {
        try forward(context, try context.decode(ElectLeadersRequest.self))
    }
}

extension ControllerServices {
    func electLeaders(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(ElectLeadersRequest.self)
        decide(call, request) { (controller) throws(RequestFailure) in try controller.electLeaders(request) }
    }
}
