// GetTelemetrySubscriptions: which metrics a client is to push, and how often (KIP-714). Everybody may ask.
import KafkaMessages
import KafkaWire
import Primitives

extension BrokerServices {
    func getTelemetrySubscriptions(_ context: RequestContext, _ state: ConnectionState) throws(WireError) {
        let request = try context.decode(GetTelemetrySubscriptionsRequest.self)
        let response = telemetry.subscriptions(
            of: telemetryClient(request.clientInstanceId, context, state), now: SystemClock.monotonicMilliseconds())
        if response.errorCode == .none { state.telemetryInstance = response.clientInstanceId }
        context.responder.send(response)
    }

    /// Who asks or pushes.
    func telemetryClient(_ id: KafkaUUID, _ context: RequestContext, _ state: ConnectionState) -> TelemetryClient {
        TelemetryClient(
            instanceID: id, clientID: context.clientID ?? "", softwareName: state.clientSoftwareName,
            softwareVersion: state.clientSoftwareVersion, address: context.connection.remoteHost,
            port: context.connection.remoteAddress?.port.map(String.init) ?? "")
    }
}
