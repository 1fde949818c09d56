// Where a record has been: one header for each cluster that it was copied from. By it records are kept from going round between clusters
// under the same name, and from being written twice.
import NIOCore
import Primitives
import RecordBatches

/// One stage of a record's way.
public struct Provenance: Hashable, Sendable {
    /// The header's name; a record has one for each stage, the origin first.
    public static let header = "martlet.provenance"
    /// A record that has been to so many clusters is not taken seriously.
    static let maximumStages = 32

    /// The cluster's alias in the file of the mirror that copied it: for people.
    public var alias: String
    /// The cluster's id, which tells clusters apart.
    public var clusterID: String
    public var topic: String
    /// Kafka's id of the topic: a topic that was deleted and made again is another one. Zero where the cluster knows none.
    public var topicID: KafkaUUID
    public var partition: Int32
    public var offset: Int64
    /// Milliseconds since 1970, of the record there.
    public var timestamp: Int64

    public init(
        alias: String, clusterID: String, topic: String, topicID: KafkaUUID, partition: Int32, offset: Int64, timestamp: Int64
    ) {
        (self.alias, self.clusterID, self.topic, self.topicID) = (alias, clusterID, topic, topicID)
        (self.partition, self.offset, self.timestamp) = (partition, offset, timestamp)
    }

    /// The header's value: `alias|cluster id|topic|topic id|partition|offset|timestamp`.
    public var text: String { "\(alias)|\(clusterID)|\(topic)|\(topicID)|\(partition)|\(offset)|\(timestamp)" }

    /// Nil for anything else.
    public init?(_ text: String) {
        let parts = text.split(separator: "|", omittingEmptySubsequences: false)
        guard parts.count == 7, let topicID = KafkaUUID(String(parts[3])), let partition = Int32(parts[4]), let offset = Int64(parts[5]),
            let timestamp = Int64(parts[6]), partition >= 0, offset >= 0, !parts[1].isEmpty
        else { return nil }
        self.init(
            alias: String(parts[0]), clusterID: String(parts[1]), topic: String(parts[2]), topicID: topicID, partition: partition,
            offset: offset, timestamp: timestamp)
    }

    var origin: RecordOrigin { RecordOrigin(clusterID: clusterID, topicID: topicID) }
}

/// Where records of a partition were first written. Topic and partition are those of the records themselves, whatever cluster they are in.
public struct RecordOrigin: Hashable, Sendable {
    public var clusterID: String
    public var topicID: KafkaUUID

    public init(clusterID: String, topicID: KafkaUUID) {
        self.clusterID = clusterID
        self.topicID = topicID
    }
}

/// The way from an origin to a target.
public struct RecordPath: Hashable, Sendable {
    public var origin: RecordOrigin
    /// Ids of the clusters between them.
    public var clusters: [String]

    public init(_ origin: RecordOrigin, clusters: [String] = []) {
        (self.origin, self.clusters) = (origin, clusters)
    }
}

/// What one partition's records are judged and stamped by.
public struct ProvenanceRule: Sendable {
    public enum Verdict: Hashable, Sendable {
        /// It has been to the target.
        case returns
        /// It comes on that way; the offset is that of the origin.
        case comes(RecordPath, at: Int64)
    }

    public let alias: String
    public let sourceID: String
    public let targetID: String
    public let topic: String
    public let topicID: KafkaUUID
    public let partition: Int32
    private let policy: ReplicationPolicy
    private let originalTopic: String

    public init(
        policy: ReplicationPolicy, sourceID: String, targetID: String, topic: String, topicID: KafkaUUID, partition: Int32
    ) {
        (self.sourceID, self.targetID, self.topic, self.topicID, self.partition) = (sourceID, targetID, topic, topicID, partition)
        self.policy = policy
        alias = policy.sourceAlias
        originalTopic = policy.originalTopic(topic)
    }

    /// The way of what is first written on the source.
    public var ownPath: RecordPath { RecordPath(RecordOrigin(clusterID: sourceID, topicID: topicID)) }

    /// The stages that are this record's own. An application that reads a record and writes another one with the same headers elsewhere
    /// makes a new record.
    private func stages(_ headers: RecordHeaders) -> [Provenance] {
        var stages: [Provenance] = []
        guard !headers.isEmpty else { return stages }
        for header in headers where header.key == Provenance.header {
            guard stages.count < Provenance.maximumStages, let value = header.value, let stage = Provenance(String(buffer: value)),
                stage.partition == partition, stage.topic == topic || policy.originalTopic(stage.topic) == originalTopic
            else { continue }
            stages.append(stage)
        }
        return stages
    }

    public func judge(_ headers: RecordHeaders, offset: Int64) -> Verdict {
        let stages = stages(headers)
        if stages.contains(where: { $0.clusterID == targetID }) { return .returns }
        guard let first = stages.first else { return .comes(ownPath, at: offset) }
        return .comes(RecordPath(first.origin, clusters: stages.dropFirst().map(\.clusterID) + [sourceID]), at: first.offset)
    }

    /// The way and the offset of a record that is on the target already; nil for one that was first written there.
    public func path(onTarget headers: RecordHeaders) -> (path: RecordPath, offset: Int64)? {
        let stages = stages(headers)
        guard let first = stages.first else { return nil }
        return (RecordPath(first.origin, clusters: stages.dropFirst().map(\.clusterID)), first.offset)
    }

    /// Adds the source to the record's way.
    public func stamp(_ record: inout Record) {
        let stage = Provenance(
            alias: alias, clusterID: sourceID, topic: topic, topicID: topicID, partition: partition, offset: record.offset,
            timestamp: record.timestamp)
        record.headers = RecordHeaders(Array(record.headers) + [RecordHeader(Provenance.header, stage.text)])
    }
}
