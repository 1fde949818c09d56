// The offsets that groups have committed, and those that wait for the end of a transaction.
import Collections
import KafkaRecords
import Primitives

/// One committed offset.
public struct CommittedOffset: Sendable, Equatable {
    public var offset: Offset
    /// Of the last consumed record, -1 when unknown.
    public var leaderEpoch: LeaderEpoch
    /// Whatever the client wanted to keep with it.
    public var metadata: String
    public var commitTimestamp: Timestamp
    /// Set by clients before version 5 of OffsetCommit that asked for a retention of their own.
    public var expireTimestamp: Timestamp?
    /// Zero in records of versions before 4.
    public var topicID: TopicID
    /// Where in __consumer_offsets the commit is: decides between a transactional and a plain commit of the same partition.
    public var recordOffset: Offset

    init(_ value: OffsetCommitValue, recordOffset: Offset) {
        offset = value.offset
        leaderEpoch = value.leaderEpoch
        metadata = value.metadata
        commitTimestamp = value.commitTimestamp
        expireTimestamp = value.expireTimestamp == -1 ? nil : value.expireTimestamp
        topicID = value.topicId
        self.recordOffset = recordOffset
    }
}

/// Offsets by group, topic and partition, in the order in which they first came.
struct OffsetTable: Sendable, Equatable {
    typealias Partitions = OrderedDictionary<Int32, CommittedOffset>
    typealias Topics = OrderedDictionary<String, Partitions>

    private(set) var groups: OrderedDictionary<String, Topics> = [:]
    private(set) var count = 0

    subscript(group: String, topic: String, partition: Int32) -> CommittedOffset? {
        groups[group]?[topic]?[partition]
    }

    mutating func set(_ offset: CommittedOffset, group: String, topic: String, partition: Int32) {
        let former = groups[group, default: [:]][topic, default: [:]].updateValue(offset, forKey: partition)
        if former == nil { count += 1 }
    }

    mutating func remove(group: String, topic: String, partition: Int32) {
        guard groups[group]?[topic]?[partition] != nil else { return }
        groups[group]![topic]![partition] = nil
        count -= 1
        if groups[group]![topic]!.isEmpty { groups[group]![topic] = nil }
        if groups[group]!.isEmpty { groups[group] = nil }
    }

    func forEach(_ body: (_ group: String, _ topic: String, _ partition: Int32, _ offset: CommittedOffset) -> Void) {
        for (group, topics) in groups {
            for (topic, partitions) in topics {
                for (partition, offset) in partitions { body(group, topic, partition, offset) }
            }
        }
    }
}

/// All offsets of a shard: those in force and those of open transactions.
struct CommittedOffsets: Sendable, Equatable {
    private(set) var table = OffsetTable()
    /// By producer, until its transaction ends (KIP-98).
    private(set) var pending: OrderedDictionary<ProducerID, OffsetTable> = [:]
    /// Which producers have an uncommitted offset for a partition: such offsets are unstable (KIP-447).
    private(set) var openTransactions: OrderedDictionary<String, OrderedDictionary<TopicPartition, OrderedSet<ProducerID>>> = [:]

    func hasOpenTransaction(group: String) -> Bool { openTransactions[group] != nil }

    func hasOpenTransaction(group: String, topic: String, partition: Int32) -> Bool {
        openTransactions[group]?[TopicPartition(topic, partition)] != nil
    }

    mutating func replay(
        _ value: OffsetCommitValue, group: String, topic: String, partition: Int32, at recordOffset: Offset, by producer: ProducerID
    ) {
        let offset = CommittedOffset(value, recordOffset: recordOffset)
        guard producer >= 0 else { return table.set(offset, group: group, topic: topic, partition: partition) }
        pending[producer, default: OffsetTable()].set(offset, group: group, topic: topic, partition: partition)
        openTransactions[group, default: [:]][TopicPartition(topic, partition), default: []].append(producer)
    }

    mutating func replayTombstone(group: String, topic: String, partition: Int32) {
        table.remove(group: group, topic: topic, partition: partition)
        let key = TopicPartition(topic, partition)
        guard let producers = openTransactions[group]?[key] else { return }
        for producer in producers {
            pending[producer]?.remove(group: group, topic: topic, partition: partition)
        }
        openTransactions[group]?[key] = nil
        if openTransactions[group]?.isEmpty == true { openTransactions[group] = nil }
    }

    /// A transaction ended: its offsets come into force, unless a later commit has overtaken them, or are forgotten.
    mutating func endTransaction(of producer: ProducerID, isCommitted: Bool) {
        guard let ended = pending.removeValue(forKey: producer) else { return }
        ended.forEach { group, topic, partition, offset in
            close(group: group, partition: TopicPartition(topic, partition), of: producer)
            guard isCommitted else { return }
            // Compaction may have removed the commits in between, so the order of the log has to be compared, not assumed.
            if let current = table[group, topic, partition], current.recordOffset >= offset.recordOffset { return }
            table.set(offset, group: group, topic: topic, partition: partition)
        }
    }

    private mutating func close(group: String, partition: TopicPartition, of producer: ProducerID) {
        openTransactions[group]?[partition]?.remove(producer)
        if openTransactions[group]?[partition]?.isEmpty == true { openTransactions[group]?[partition] = nil }
        if openTransactions[group]?.isEmpty == true { openTransactions[group] = nil }
    }
}
