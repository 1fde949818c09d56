// Requests between the members of the metadata quorum, and those that change its voters: decoded here, answered by the quorum's core.
import Consensus
import Controlling
import KafkaMessages
import KafkaWire
import Primitives
import Runtime

extension ControllerServices {
    /// Hands a request to the quorum. A fetch waits there until there is something to send.
    func quorum<Request: KafkaRequest>(
        _ call: ControllerRequest, _ type: Request.Type, _ wrap: (Request) -> QuorumRequest
    ) throws(WireError) {
        let request = wrap(try call.decode(type))
        let listenerName = call.listenerName ?? configuration.controllerListenerNames.first ?? ""
        metadataRuntime.handle(request, version: call.version, listenerName: listenerName) { response in
            guard let response else { return call.reply(.refused("this node does not take part in the quorum any longer")) }
            switch response {
            case .vote(let response): call.send(response)
            case .beginQuorumEpoch(let response): call.send(response)
            case .endQuorumEpoch(let response): call.send(response)
            case .fetch(let response): call.send(response)
            case .fetchSnapshot(let response): call.send(response)
            case .addRaftVoter(let response): call.send(response)
            case .removeRaftVoter(let response): call.send(response)
            case .updateRaftVoter(let response): call.send(response)
            case .apiVersions(let response): call.send(response)
            }
        }
    }
}

extension AddRaftVoterRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> AddRaftVoterResponse {
        var response = AddRaftVoterResponse()
        response.errorCode = failure.code
        response.errorMessage = failure.description
        return response
    }
}

extension RemoveRaftVoterRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> RemoveRaftVoterResponse {
        var response = RemoveRaftVoterResponse()
        response.errorCode = failure.code
        response.errorMessage = failure.description
        return response
    }
}
