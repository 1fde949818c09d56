// OffsetFetch: tells how far groups have come.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func offsetFetch(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(OffsetFetchRequest.self)
        let responder = context.responder
        groups.fetchOffsets(request, context: context.group, topics: topicLookup) { responder.send($0) }
    }
}
