// BrokerHeartbeat: a broker lives, says how far it is, and asks to be unfenced or to go (KIP-631).
import Controlling
import KafkaMessages
import KafkaWire
import Primitives

extension ControllerServices {
    func brokerHeartbeat(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(BrokerHeartbeatRequest.self)
        // The connection's end will be news of the broker.
        call.connection?.withConnection { connection in
            (connection.context as? ControllerConnectionState)?.broker = (request.brokerId, request.brokerEpoch)
        }
        let now = SystemClock.monotonicMilliseconds()
        decide(
            call, request,
            at: { (controller, nextOffset) throws(RequestFailure) in
                try controller.brokerHeartbeat(request, nextOffset: nextOffset, now: now)
            })
    }
}
