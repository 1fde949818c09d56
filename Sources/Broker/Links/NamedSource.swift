// Sources whose brokers name topics when they are fetched from: Apache Kafka before 3.1. They do not say either, before Kafka 2.7, where logs part,
// nor, before 2.8, whether a topic of the same name is the same: so the last batch here is compared with theirs before records of another leader, or
// behind any mishap, are appended.
import KafkaMessages
import Linking
import Primitives
import RecordBatches
import Replication

/// Names and ids of a source's topics, as a fetcher has heard of them.
struct SourceTopicNames {
    private var names: [TopicID: String] = [:]
    private var ids: [String: TopicID] = [:]
    /// Whether there has been a topic without an id, so that all have to be named: a fetch session is of one kind.
    private(set) var areNeeded = false

    mutating func note(_ name: String, _ id: TopicID) {
        guard id != .zero else { return areNeeded = true }
        names[id] = name
        ids[name] = id
    }

    /// A request in a version that has no ids.
    func naming(_ message: FetchRequest, version: Int16) -> FetchRequest {
        var message = message
        for index in message.topics.indices {
            if message.topics[index].topic.isEmpty { message.topics[index].topic = names[message.topics[index].topicId] ?? "" }
            guard version < 12 else { continue }
            for partition in message.topics[index].partitions.indices { message.topics[index].partitions[partition].lastFetchedEpoch = -1 }
        }
        for index in message.forgottenTopicsData.indices where message.forgottenTopicsData[index].topic.isEmpty {
            message.forgottenTopicsData[index].topic = names[message.forgottenTopicsData[index].topicId] ?? ""
        }
        return message
    }

    /// Which mirror an answer is about.
    func key(_ topic: FetchResponse.FetchableTopicResponse, _ partition: Int32, version: Int16) -> FetchSessionKey {
        guard version < MirrorFetcher.firstVersionWithTopicIDs else {
            return FetchSessionKey(topicID: topic.topicId, topicName: "", partition: partition)
        }
        let id = ids[topic.topic] ?? .zero
        return FetchSessionKey(topicID: id, topicName: id == .zero ? topic.topic : "", partition: partition)
    }
}

/// How far what a source sends can be appended without looking back.
struct NamedSourceTrust {
    /// Something went wrong since the last batch was compared: another topic may have the name by now.
    var isShaken = false
    /// The leader epoch of records for which the batch before them was compared.
    var compared: LeaderEpoch = -1
}

extension MirrorFetcher {
    static let firstVersionWithTopicIDs: Int16 = 13

    /// Whether records cannot be appended as they come; what is to be done instead has been begun then.
    func doubts(_ data: FetchResponse.PartitionData, _ key: FetchSessionKey, _ mirror: Mirror) -> Bool {
        guard let first = data.records.flatMap({ try? RecordBatchHeader(from: $0) }) else { return false }
        let (epoch, known) = (first.partitionLeaderEpoch, mirror.session.sourceEpoch)
        if epoch < known, mirror.session.isNamed, epoch >= 0 {
            advance(key) { session, _ in session.wentBack(to: epoch) }
            return true
        }
        // Two logs with a batch of the same leader agree before it, for a leader has one log. Without topic ids that holds for one topic.
        guard mirror.trust.isShaken || epoch != known && epoch != mirror.trust.compared else { return false }
        guard let position = mirror.partition.mirrorPosition, !position.isEmpty else { return false }
        mirrors[key]?.trust = NamedSourceTrust(compared: epoch)
        advance(key) { session, position in session.doubted(position) }
        return true
    }
}
