// AlterConfigs: replaces a resource's whole configuration. Old clients only; IncrementalAlterConfigs changes single keys.
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func alterConfigs(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(AlterConfigsRequest.self)
        decide(context.responder) { (controller) throws(RequestFailure) in
            controller.alterConfigs(request)
        } refused: { failure in
            var response = AlterConfigsResponse()
            response.responses = request.resources.map { resource in
                var result = AlterConfigsResponse.AlterConfigsResourceResponse()
                result.resourceType = resource.resourceType
                result.resourceName = resource.resourceName
                result.errorCode = failure.code
                result.errorMessage = failure.description
                return result
            }
            return response
        }
    }
}
