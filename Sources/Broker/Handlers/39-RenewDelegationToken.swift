// RenewDelegationToken: a delegation token is good for longer, but never longer than it can be (KIP-48).
import Authorization
import Controlling
import KafkaMessages
import KafkaWire
import Primitives

extension BrokerServices {
    func renewDelegationToken(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(RenewDelegationTokenRequest.self)
        guard allowsTokenRequests(context) else {
            return context.responder.send(request.refused(RequestFailure(.delegationTokenRequestNotAllowed), version: context.version))
        }
        try forward(context, request)
    }
}

extension ControllerServices {
    func renewDelegationToken(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(RenewDelegationTokenRequest.self)
        guard allowsTokenRequests(call) else {
            return call.send(request.refused(RequestFailure(.delegationTokenRequestNotAllowed), version: call.version))
        }
        let requester = call.principal ?? .anonymous
        decide(call, request) { (controller) throws(RequestFailure) in
            controller.renewDelegationToken(request, requester: requester, now: SystemClock.now())
        }
    }
}

extension RenewDelegationTokenRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> RenewDelegationTokenResponse {
        var response = RenewDelegationTokenResponse()
        response.errorCode = failure.code
        response.expiryTimestampMs = TokenRequests.noTime
        return response
    }
}
