// OffsetCommit: stores how far a group has come.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func offsetCommit(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(OffsetCommitRequest.self)
        let responder = context.responder
        groups.commitOffsets(request, context: context.group, topics: topicLookup) { responder.send($0) }
    }
}
