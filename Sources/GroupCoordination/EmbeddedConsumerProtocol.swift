// Consumers of the classic protocol describe their subscription in the metadata they join with, and their leader the assignments. To a
// classic group both are opaque, except that the retention of offsets has to know which topics somebody still reads; where a group
// changes between the protocols (KIP-848) they are read and written.
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives

enum EmbeddedConsumerProtocol {
    /// The protocol type under which members speak the embedded consumer protocol.
    static let protocolType = "consumer"

    /// Whether clients come with this assignor: nothing that it adds to an assignment is needed by the members that get it.
    static func isUsualAssignor(_ name: String?) -> Bool {
        name == "range" || name == "roundrobin" || name == "sticky" || name == "cooperative-sticky"
    }

    /// The topics of a subscription, or nil when the bytes are not one.
    ///
    /// Every version begins with the fields of version 0, so all are read as that one: the group needs to know no newer ones.
    static func topics(in metadata: ByteBuffer) -> [String]? {
        var body = metadata
        guard let version: Int16 = body.readInteger(), version >= 0 else { return nil }
        return try? ConsumerProtocolSubscription(decoding: body, version: 0, allowingTrailingBytes: true).topics
    }

    /// A whole subscription, or nil when the bytes are not one.
    static func subscription(in metadata: ByteBuffer) -> ConsumerProtocolSubscription? {
        var body = metadata
        guard let version: Int16 = body.readInteger(), version >= 0 else { return nil }
        let known = min(version, ConsumerProtocolSubscription.validVersions.upperBound)
        return try? ConsumerProtocolSubscription(decoding: body, version: known, allowingTrailingBytes: true)
    }

    /// An assignment as a leader made it, or nil when the bytes are not one. No bytes are no partitions.
    static func assignment(in bytes: ByteBuffer) -> ConsumerProtocolAssignment? {
        guard bytes.readableBytes > 0 else { return ConsumerProtocolAssignment() }
        var body = bytes
        guard let version: Int16 = body.readInteger(), version >= 0 else { return nil }
        let known = min(version, ConsumerProtocolAssignment.validVersions.upperBound)
        return try? ConsumerProtocolAssignment(decoding: body, version: known, allowingTrailingBytes: true)
    }

    /// An assignment in the version that the member's own subscription has.
    static func assignment(of partitions: PartitionSet, metadata: ByteBuffer, topics: any GroupTopics) -> ByteBuffer {
        var assignment = ConsumerProtocolAssignment()
        assignment.assignedPartitions = partitions.byTopic.compactMap { topic in
            guard let name = topics.topic(id: topic.topicID)?.name else { return nil }
            var assigned = ConsumerProtocolAssignment.TopicPartition()
            assigned.topic = name
            assigned.partitions = topic.partitions
            return assigned
        }
        let asked: Int16 = metadata.getInteger(at: metadata.readerIndex) ?? 0
        let version = max(0, min(asked, ConsumerProtocolAssignment.validVersions.upperBound))
        return (try? CoordinatorRecord.encode(assignment, prefix: version, version: version)) ?? ByteBuffer()
    }

    /// The partitions of topics that exist.
    static func partitions(_ topicsAndPartitions: [(topic: String, partitions: [Int32])], topics: any GroupTopics) -> PartitionSet {
        PartitionSet(
            topicsAndPartitions.flatMap { entry in
                topics.topic(named: entry.topic).map { topic in entry.partitions.map { TopicIDPartition(topic.id, $0) } } ?? []
            })
    }
}
