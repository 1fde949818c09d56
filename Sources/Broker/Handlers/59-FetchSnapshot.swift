// FetchSnapshot: a part of a metadata snapshot (KIP-630).
import Consensus
import KafkaMessages
import KafkaWire

extension ControllerServices {
    func fetchSnapshot(_ call: ControllerRequest) throws(WireError) { try quorum(call, FetchSnapshotRequest.self) { .fetchSnapshot($0) } }
}
