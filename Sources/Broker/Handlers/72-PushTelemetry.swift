// PushTelemetry: a client's metrics (KIP-714), for the Prometheus endpoint.
import KafkaMessages
import KafkaWire
import Primitives

extension BrokerServices {
    func pushTelemetry(_ context: RequestContext, _ state: ConnectionState) throws(WireError) {
        let request = try context.decode(PushTelemetryRequest.self)
        var response = PushTelemetryResponse()
        response.errorCode = telemetry.push(
            request, from: telemetryClient(request.clientInstanceId, context, state), now: SystemClock.monotonicMilliseconds())
        if response.errorCode == .none { state.telemetryInstance = request.clientInstanceId }
        context.responder.send(response)
    }
}
