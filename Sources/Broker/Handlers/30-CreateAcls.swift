// CreateAcls: access control entries; decided by the active controller.
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func createAcls(_ context: RequestContext) throws(WireError) {
        try forward(context, try context.decode(CreateAclsRequest.self))
    }
}

extension ControllerServices {
    func createAcls(_ call: ControllerRequest) throws(WireError) {
        try changeEntries(call, CreateAclsRequest.self) { (controller, request) throws(RequestFailure) in try controller.createAcls(request)
        }
    }

    /// Access control entries change only where there is an authorizer that goes by them.
    func changeEntries<Request: ControllerDecidedRequest>(
        _ call: ControllerRequest, _ type: Request.Type,
        _ step: @escaping @Sendable (inout Controller, Request) throws(RequestFailure) -> ControllerResult<Request.Response>
    ) throws(WireError) {
        let request = try call.decode(type)
        guard security.authorizer != nil else {
            return call.refuse(request, RequestFailure(.securityDisabled, "No Authorizer is configured."))
        }
        decide(call, request) { (controller) throws(RequestFailure) in try step(&controller, request) }
    }
}

extension CreateAclsRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> CreateAclsResponse {
        var response = CreateAclsResponse()
        response.results = creations.map { _ in
            var result = CreateAclsResponse.AclCreationResult()
            result.errorCode = failure.code
            result.errorMessage = failure.description
            return result
        }
        return response
    }
}
