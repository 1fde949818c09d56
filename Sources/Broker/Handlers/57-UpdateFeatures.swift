// UpdateFeatures: raises and lowers feature levels (KIP-584).
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func updateFeatures(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(UpdateFeaturesRequest.self)
        let version = context.version
        let kraftVersion = metadataRuntime.kraftVersion
        decide(context.responder) { (controller) throws(RequestFailure) in
            controller.updateFeatures(request, apiVersion: version, kraftVersion: kraftVersion)
        } refused: { failure in
            var response = UpdateFeaturesResponse()
            response.errorCode = failure.code
            response.errorMessage = failure.description
            return response
        }
    }
}
