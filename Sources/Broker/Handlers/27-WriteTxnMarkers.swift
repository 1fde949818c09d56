// WriteTxnMarkers: a transaction coordinator, or an administrator over a transaction that hangs, ends transactions in partitions that this
// node leads.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func writeTxnMarkers(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(WriteTxnMarkersRequest.self)
        let responder = context.responder
        MarkerWriting.write(request, services: self, on: context.connection.eventLoop) { responder.send($0) }
    }
}
