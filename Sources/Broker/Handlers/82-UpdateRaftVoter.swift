// UpdateRaftVoter: a voter listens elsewhere, or knows other versions (KIP-853).
import Consensus
import KafkaMessages
import KafkaWire

extension ControllerServices {
    func updateRaftVoter(_ call: ControllerRequest) throws(WireError) {
        try quorum(call, UpdateRaftVoterRequest.self) { .updateRaftVoter($0) }
    }
}
