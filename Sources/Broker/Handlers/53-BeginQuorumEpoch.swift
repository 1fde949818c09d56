// BeginQuorumEpoch: another voter leads (KIP-595).
import Consensus
import KafkaMessages
import KafkaWire

extension ControllerServices {
    func beginQuorumEpoch(_ call: ControllerRequest) throws(WireError) {
        try quorum(call, BeginQuorumEpochRequest.self) { .beginQuorumEpoch($0) }
    }
}
