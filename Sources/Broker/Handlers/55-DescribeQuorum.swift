// DescribeQuorum: the metadata quorum's leader, voters and how far each has come (KIP-595).
import KafkaMessages
import KafkaWire
import Primitives

extension BrokerServices {
    func describeQuorum(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DescribeQuorumRequest.self)
        context.responder.send(metadataRuntime.describeQuorum(request))
    }
}
