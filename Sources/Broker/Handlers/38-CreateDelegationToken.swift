// CreateDelegationToken: something to log in with for a while, for whoever asks or for somebody else (KIP-48, KIP-373).
import Authorization
import Controlling
import KafkaMessages
import KafkaWire
import Primitives

extension BrokerServices {
    func createDelegationToken(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(CreateDelegationTokenRequest.self)
        let requester = context.principal
        if let problem = TokenRequests.problem(request, requester, access(context), isAllowed: allowsTokenRequests(context)) {
            return context.responder.send(
                CreateDelegationTokenResponse.refused(problem, owner: request.owner(requester), requester: requester)
                    .written(in: context.version))
        }
        try forward(context, request)
    }
}

extension ControllerServices {
    func createDelegationToken(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(CreateDelegationTokenRequest.self)
        let requester = call.principal ?? .anonymous
        if let problem = TokenRequests.problem(request, requester, access(call), isAllowed: allowsTokenRequests(call)) {
            return call.send(
                CreateDelegationTokenResponse.refused(problem, owner: request.owner(requester), requester: requester)
                    .written(in: call.version))
        }
        decide(call, request, finish: { [version = call.version] in $0.written(in: version) }) { (controller) throws(RequestFailure) in
            controller.createDelegationToken(request, requester: requester, id: .random(), now: SystemClock.now())
        }
    }
}

extension CreateDelegationTokenRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> CreateDelegationTokenResponse {
        .refused(failure.code, owner: .anonymous, requester: .anonymous).written(in: version)
    }
}

extension CreateDelegationTokenResponse {
    /// Who asked is told from version 3 on (KIP-373); earlier versions have no room for it.
    fileprivate func written(in version: Int16) -> CreateDelegationTokenResponse {
        guard version < 3 else { return self }
        var response = self
        response.tokenRequesterPrincipalType = ""
        response.tokenRequesterPrincipalName = ""
        return response
    }
}
