// Vote: another voter stands for election (KIP-595), or asks whether it should (KIP-996).
import Consensus
import KafkaMessages
import KafkaWire

extension ControllerServices {
    func vote(_ call: ControllerRequest) throws(WireError) { try quorum(call, VoteRequest.self) { .vote($0) } }
}
