// What OffsetCommit and TxnOffsetCommit have in common: topics by name or by id, and answers for each partition. Topics that do not exist
// are taken out before the coordinator sees the request, and their answers are put back.
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives

protocol OffsetCommitPartition {
    var partitionIndex: Int32 { get }
}

protocol OffsetCommitPartitionAnswer {
    init()
    var partitionIndex: Int32 { get set }
    var errorCode: ErrorCode { get set }
}

protocol OffsetCommitTopicAnswer {
    associatedtype Partition: OffsetCommitPartitionAnswer
    init()
    var name: String { get set }
    var topicId: TopicID { get set }
    var partitions: [Partition] { get set }
}

protocol OffsetCommitTopic {
    associatedtype Partition: OffsetCommitPartition
    associatedtype Answer: OffsetCommitTopicAnswer
    var name: String { get set }
    var topicId: TopicID { get set }
    var partitions: [Partition] { get set }
}

protocol OffsetCommitAnswer {
    associatedtype Topic: OffsetCommitTopicAnswer
    init()
    var topics: [Topic] { get set }
}

protocol OffsetCommitMessage {
    associatedtype Topic: OffsetCommitTopic
    associatedtype Answer: OffsetCommitAnswer where Answer.Topic == Topic.Answer
    /// From which version on topics are named by their ids.
    static var firstVersionWithTopicIDs: Int16 { get }
    var topics: [Topic] { get set }
}

extension OffsetCommitTopic {
    func answer(_ error: ErrorCode) -> Answer {
        var answer = Answer()
        answer.name = name
        answer.topicId = topicId
        answer.partitions = partitions.map { partition in
            var outcome = Answer.Partition()
            outcome.partitionIndex = partition.partitionIndex
            outcome.errorCode = error
            return outcome
        }
        return answer
    }
}

extension OffsetCommitMessage {
    /// Gives every topic its name and id and takes out what does not exist.
    ///
    /// - Returns: the answers for what was taken out.
    mutating func resolveTopics(_ lookup: some GroupTopicLookup, version: Int16) -> [Topic.Answer] {
        var refused: [Topic.Answer] = []
        var known: [Topic] = []
        known.reserveCapacity(topics.count)
        for var topic in topics {
            if version >= Self.firstVersionWithTopicIDs {
                guard let name = lookup.topicName(for: topic.topicId) else {
                    refused.append(topic.answer(.unknownTopicId))
                    continue
                }
                topic.name = name
            } else {
                guard let id = lookup.topicID(for: topic.name) else {
                    refused.append(topic.answer(.unknownTopicOrPartition))
                    continue
                }
                topic.topicId = id
            }
            let name = topic.name
            if topic.partitions.contains(where: { !lookup.hasPartition(topic: name, partition: $0.partitionIndex) }) {
                var missing = topic
                missing.partitions.removeAll { lookup.hasPartition(topic: name, partition: $0.partitionIndex) }
                topic.partitions.removeAll { !lookup.hasPartition(topic: name, partition: $0.partitionIndex) }
                refused.append(missing.answer(.unknownTopicOrPartition))
            }
            if !topic.partitions.isEmpty { known.append(topic) }
        }
        topics = known
        return refused
    }

    /// An answer that says the same of every partition.
    func answer(_ error: ErrorCode) -> Answer {
        var answer = Answer()
        answer.topics = topics.map { $0.answer(error) }
        return answer
    }

    /// Adds the answers for partitions that never came to the coordinator, each topic once.
    static func merge(_ answer: Answer, with refused: [Topic.Answer], version: Int16) -> Answer {
        guard !refused.isEmpty else { return answer }
        var answer = answer
        for topic in refused {
            let index = answer.topics.firstIndex {
                version >= firstVersionWithTopicIDs ? $0.topicId == topic.topicId : $0.name == topic.name
            }
            if let index {
                answer.topics[index].partitions += topic.partitions
            } else {
                answer.topics.append(topic)
            }
        }
        return answer
    }
}

// MARK: - The messages

extension OffsetCommitRequest: OffsetCommitMessage {
    typealias Topic = OffsetCommitRequestTopic
    typealias Answer = OffsetCommitResponse
    static var firstVersionWithTopicIDs: Int16 { 10 }
}

extension OffsetCommitRequest.OffsetCommitRequestTopic: OffsetCommitTopic {
    typealias Answer = OffsetCommitResponse.OffsetCommitResponseTopic
}

extension OffsetCommitRequest.OffsetCommitRequestPartition: OffsetCommitPartition {}
extension OffsetCommitResponse: OffsetCommitAnswer {}
extension OffsetCommitResponse.OffsetCommitResponseTopic: OffsetCommitTopicAnswer {}
extension OffsetCommitResponse.OffsetCommitResponsePartition: OffsetCommitPartitionAnswer {}

extension TxnOffsetCommitRequest: OffsetCommitMessage {
    typealias Topic = TxnOffsetCommitRequestTopic
    typealias Answer = TxnOffsetCommitResponse
    static var firstVersionWithTopicIDs: Int16 { 6 }

    /// An answer that says the same of every partition.
    public func response(error: ErrorCode) -> TxnOffsetCommitResponse { answer(error) }
}

extension TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic: OffsetCommitTopic {
    typealias Answer = TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic
}

extension TxnOffsetCommitRequest.TxnOffsetCommitRequestPartition: OffsetCommitPartition {}
extension TxnOffsetCommitResponse: OffsetCommitAnswer {}
extension TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic: OffsetCommitTopicAnswer {}
extension TxnOffsetCommitResponse.TxnOffsetCommitResponsePartition: OffsetCommitPartitionAnswer {}
