// DeleteAcls: takes access control entries away; decided by the active controller.
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func deleteAcls(_ context: RequestContext) throws(WireError) {
        try forward(context, try context.decode(DeleteAclsRequest.self))
    }
}

extension ControllerServices {
    func deleteAcls(_ call: ControllerRequest) throws(WireError) {
        try changeEntries(call, DeleteAclsRequest.self) { (controller, request) throws(RequestFailure) in try controller.deleteAcls(request)
        }
    }
}

extension DeleteAclsRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> DeleteAclsResponse {
        var response = DeleteAclsResponse()
        response.filterResults = filters.map { _ in
            var result = DeleteAclsResponse.DeleteAclsFilterResult()
            result.errorCode = failure.code
            result.errorMessage = failure.description
            return result
        }
        return response
    }
}
