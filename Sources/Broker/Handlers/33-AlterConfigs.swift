// AlterConfigs: replaces a resource's whole configuration. Old clients only; IncrementalAlterConfigs changes single keys.
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func alterConfigs(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(AlterConfigsRequest.self)
        let refused = request.resources.map { foreignBroker($0.resourceType, $0.resourceName) }
        var accepted = request
        accepted.resources = zip(request.resources, refused).filter { $0.1 == nil }.map(\.0)
        try forward(context, accepted) { decided in
            var rest = decided.responses[...]
            var response = decided
            response.responses = zip(request.resources, refused).compactMap { resource, refusal in
                refusal.map { Self.answer($0, resource) } ?? rest.popFirst()
            }
            return response
        }
    }

    private static func answer(
        _ failure: RequestFailure, _ resource: AlterConfigsRequest.AlterConfigsResource
    ) -> AlterConfigsResponse.AlterConfigsResourceResponse {
        failure.answer {
            $0.resourceType = resource.resourceType
            $0.resourceName = resource.resourceName
        }
    }
}

extension ControllerServices {
    func alterConfigs(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(AlterConfigsRequest.self)
        decide(call, request) { (controller) throws(RequestFailure) in try controller.alterConfigs(request) }
    }
}
