// UpdateFeatures: raises and lowers feature levels (KIP-584); decided by the active controller.
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func updateFeatures(_ context: RequestContext) throws(WireError) {
        try forward(context, try context.decode(UpdateFeaturesRequest.self))
    }
}

extension ControllerServices {
    func updateFeatures(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(UpdateFeaturesRequest.self)
        metadataRuntime.updateFeatures(request, apiVersion: call.version) { outcome in
            switch outcome {
            case .success(let response): call.send(response)
            case .failure(let failure): call.refuse(request, failure)
            }
        }
    }
}
