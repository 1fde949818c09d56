// AddRaftVoter: makes a controller a voter (KIP-853).
import Consensus
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func addRaftVoter(_ context: RequestContext) throws(WireError) {
        try forward(context, try context.decode(AddRaftVoterRequest.self))
    }
}
extension ControllerServices {
    func addRaftVoter(_ call: ControllerRequest) throws(WireError) { try quorum(call, AddRaftVoterRequest.self) { .addRaftVoter($0) } }
}
