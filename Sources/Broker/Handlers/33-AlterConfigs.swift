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
        let forwarded = accepted
        let merge = { @Sendable (decided: [AlterConfigsResponse.AlterConfigsResourceResponse]) in
            var rest = decided[...]
            return zip(request.resources, refused).compactMap { resource, refusal in
                refusal.map { Self.answer($0, resource) } ?? rest.popFirst()
            }
        }
        decide(context.responder) { (controller) throws(RequestFailure) in
            var result = controller.alterConfigs(forwarded)
            result.response.responses = merge(result.response.responses)
            return result
        } refused: { failure in
            var response = AlterConfigsResponse()
            response.responses = merge(forwarded.resources.map { Self.answer(failure, $0) })
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
