// DescribeQuorum: the metadata quorum's leader, voters and how far each has come (KIP-595).
import KafkaMessages
import KafkaWire
import Primitives

extension BrokerServices {
    func describeQuorum(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DescribeQuorumRequest.self)
        let responder = context.responder
        metadataRuntime.describeQuorum(request) { responder.send($0) }
    }
}
