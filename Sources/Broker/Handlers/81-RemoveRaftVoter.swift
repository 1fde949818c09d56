// RemoveRaftVoter: takes a voter out of the quorum (KIP-853).
import Consensus
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func removeRaftVoter(_ context: RequestContext) throws(WireError) {
        try forward(context, try context.decode(RemoveRaftVoterRequest.self))
    }
}
extension ControllerServices {
    func removeRaftVoter(_ call: ControllerRequest) throws(WireError) {
        try quorum(call, RemoveRaftVoterRequest.self) { .removeRaftVoter($0) }
    }
}
