// The controller's part: a mirror's leader that has to cut its log asks for a new epoch of its own, by which followers find the cut.
import Controlling
import KafkaMessages
import KafkaWire
import Linking
import Primitives

extension ControllerServices {
    func manageLinks(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(ManageLinksRequest.self)
        let body = try? JSONValue(parsing: Array(request.body.readableBytesView))
        if request.operation == LinkOperation.putCredentials.rawValue, let body { return putCredentials(call, request, body) }
        guard request.operation == LinkOperation.newEpoch.rawValue, let body,
            let id = body["topicId"]?.stringValue.flatMap({ KafkaUUID($0) }), let partition = body["partition"]?.integerValue,
            let epoch = body["leaderEpoch"]?.integerValue, let broker = body["broker"]?.integerValue
        else {
            return call.send(ManageLinksResponse(.invalidRequest, "controllers know no operation '\(request.operation)' of that form"))
        }
        decide(call, request) { (controller) throws(RequestFailure) in
            let result = try controller.beginLeaderEpoch(
                topic: id, partition: Int32(clamping: partition), leader: NodeID(clamping: broker), after: Int32(clamping: epoch))
            return ControllerResult(
                ManageLinksResponse(["leaderEpoch": .integer(Int64(result.response))]), records: result.records)
        }
    }
}

extension ManageLinksRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> ManageLinksResponse {
        ManageLinksResponse(failure.code, failure.description)
    }
}
