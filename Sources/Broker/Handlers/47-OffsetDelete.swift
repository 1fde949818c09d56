// OffsetDelete: removes offsets of topics that a group no longer follows (KIP-496).
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func offsetDelete(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(OffsetDeleteRequest.self)
        let responder = context.responder
        groups.deleteOffsets(request, topics: topicLookup) { responder.send($0) }
    }
}
