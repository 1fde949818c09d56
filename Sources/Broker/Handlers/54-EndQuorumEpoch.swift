// EndQuorumEpoch: the leader of the quorum goes (KIP-595).
import Consensus
import KafkaMessages
import KafkaWire

extension ControllerServices {
    func endQuorumEpoch(_ call: ControllerRequest) throws(WireError) {
        try quorum(call, EndQuorumEpochRequest.self) { .endQuorumEpoch($0) }
    }
}
