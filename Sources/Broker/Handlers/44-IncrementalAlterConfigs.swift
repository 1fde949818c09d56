// IncrementalAlterConfigs: sets, deletes, appends to or subtracts from single keys (KIP-339).
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func incrementalAlterConfigs(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(IncrementalAlterConfigsRequest.self)
        decide(context.responder) { (controller) throws(RequestFailure) in
            controller.incrementalAlterConfigs(request)
        } refused: { failure in
            var response = IncrementalAlterConfigsResponse()
            response.responses = request.resources.map { resource in
                var result = IncrementalAlterConfigsResponse.AlterConfigsResourceResponse()
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
