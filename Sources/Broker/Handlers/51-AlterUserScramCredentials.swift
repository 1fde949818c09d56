// AlterUserScramCredentials: passwords of SCRAM users, set and taken away; decided by the active controller (KIP-554).
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func alterUserScramCredentials(_ context: RequestContext) throws(WireError) {
        try forward(context, try context.decode(AlterUserScramCredentialsRequest.self))
    }
}

extension ControllerServices {
    func alterUserScramCredentials(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(AlterUserScramCredentialsRequest.self)
        decide(call, request) { (controller) throws(RequestFailure) in controller.alterUserScramCredentials(request) }
    }
}

extension AlterUserScramCredentialsRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> AlterUserScramCredentialsResponse {
        var response = AlterUserScramCredentialsResponse()
        var named: Set<String> = []
        for name in deletions.map(\.name) + upsertions.map(\.name) where named.insert(name).inserted {
            var result = AlterUserScramCredentialsResponse.AlterUserScramCredentialsResult()
            result.user = name
            result.errorCode = failure.code
            result.errorMessage = failure.description
            response.results.append(result)
        }
        return response
    }
}
