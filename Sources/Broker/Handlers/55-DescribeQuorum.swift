// DescribeQuorum: the metadata quorum's leader, voters and how far each has come (KIP-595). The leader of the quorum answers.
import Controlling
import KafkaMessages
import KafkaWire
import Primitives

extension BrokerServices {
    func describeQuorum(_ context: RequestContext) throws(WireError) {
        try forward(context, try context.decode(DescribeQuorumRequest.self))
    }
}

extension ControllerServices {
    func describeQuorum(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(DescribeQuorumRequest.self)
        metadataRuntime.describeQuorum(request) { call.send($0) }
    }
}
