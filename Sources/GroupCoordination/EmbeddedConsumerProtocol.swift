// Consumers describe their subscription in the metadata they join with. To the group it is opaque, except that the retention of
// offsets has to know which topics somebody still reads.
import KafkaRecords
import KafkaWire
import NIOCore

enum EmbeddedConsumerProtocol {
    /// The protocol type under which members speak the embedded consumer protocol.
    static let protocolType = "consumer"

    /// The topics of a subscription, or nil when the bytes are not one.
    ///
    /// Every version begins with the fields of version 0, so all are read as that one: the group needs to know no newer ones.
    static func topics(in metadata: ByteBuffer) -> [String]? {
        var body = metadata
        guard let version: Int16 = body.readInteger(), version >= 0 else { return nil }
        return try? ConsumerProtocolSubscription(decoding: body, version: 0, allowingTrailingBytes: true).topics
    }
}
