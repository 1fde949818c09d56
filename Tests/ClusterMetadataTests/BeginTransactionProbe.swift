// A metadata transaction that was begun, creates a topic, and never ends.
import KafkaRecords
import Primitives

enum BeginTransactionProbe {
    static var records: [MetadataRecord] {
        var topic = TopicRecord()
        topic.name = "half"
        topic.topicId = KafkaUUID(mostSignificantBits: 5, leastSignificantBits: 5)
        return [.beginTransaction(BeginTransactionRecord()), .topic(topic)]
    }
}
