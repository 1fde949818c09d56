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
        metadataRuntime.describeQuorum(request) { response in
            // The protocol says so of the partition alone, where a forwarding broker does not look: one of Apache Kafka that holds on to a
            // former controller would ask it for ever.
            guard response.topics.first?.partitions.first?.errorCode == .notLeaderOrFollower else { return call.send(response) }
            do throws(WireError) {
                call.reply(.notController(try response.encoded(version: call.version)))
            } catch {
                call.reply(.refused("\(error)"))
            }
        }
    }
}
