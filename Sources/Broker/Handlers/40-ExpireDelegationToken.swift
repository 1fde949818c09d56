// ExpireDelegationToken: a delegation token ends sooner, or now (KIP-48).
import Authorization
import Controlling
import KafkaMessages
import KafkaWire
import Primitives

extension BrokerServices {
    func expireDelegationToken(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(ExpireDelegationTokenRequest.self)
        guard allowsTokenRequests(context) else {
            return context.responder.send(request.refused(RequestFailure(.delegationTokenRequestNotAllowed), version: context.version))
        }
        try forward(context, request)
    }
}

extension ControllerServices {
    func expireDelegationToken(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(ExpireDelegationTokenRequest.self)
        guard allowsTokenRequests(call) else {
            return call.send(request.refused(RequestFailure(.delegationTokenRequestNotAllowed), version: call.version))
        }
        let requester = call.principal ?? .anonymous
        decide(call, request) { (controller) throws(RequestFailure) in
            controller.expireDelegationToken(request, requester: requester, now: SystemClock.now())
        }
    }
}

extension ExpireDelegationTokenRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> ExpireDelegationTokenResponse {
        var response = ExpireDelegationTokenResponse()
        response.errorCode = failure.code
        response.expiryTimestampMs = TokenRequests.noTime
        return response
    }
}
