// The coordinator of the transactional ids whose state is in one partition of __transaction_state: what it knows, and how it comes to know
// it.
import Collections
import KafkaWire
import Primitives

/// One shard of transaction coordination: all transactional ids of one partition of __transaction_state (KIP-98, KIP-890).
///
/// A core: it takes requests and time, and returns records, answers and markers to be written. A transaction changes only when a record
/// of it is committed; until then the id is in transition, and whoever asks is told to wait. First replay the whole log, then call
/// ``loaded(moment:)``, then everything else.
public struct TransactionCoordinator: Sendable {
    /// A step whose record is on its way.
    struct Transition: Sendable, Equatable {
        var metadata: TransactionMetadata
        /// The epoch is bumped in it to fence a producer, by the rules before transaction.version 2.
        var isEpochFence = false
    }

    struct Entry: Sendable, Equatable {
        var metadata: TransactionMetadata
        var transition: Transition?
        /// Partitions that have no marker yet, while the transaction is prepared.
        var unmarked: OrderedSet<TopicPartition> = []
        /// The epoch was bumped to fence a producer, but the record was lost: it is not bumped again, for nobody was told of it.
        var hasFailedEpochFence = false
        /// Writing the last record failed for the moment.
        var mustRetryCompletion = false

        /// Whether a step is on its way, or markers are: nothing else may begin.
        var isInTransition: Bool { transition != nil || metadata.state.isPrepared }
    }

    public let configuration: TransactionCoordinatorConfiguration
    /// The leader epoch of the partition: markers carry it, so that those of an earlier coordinator are refused.
    public let epoch: LeaderEpoch
    var entries: OrderedDictionary<String, Entry> = [:]
    /// Whether ``retryCompletions(moment:)`` has something to do.
    public private(set) var hasFailedCompletions = false
    /// What has been replayed so far; nil for an id that was forgotten. Taking it out would cost time for each.
    private var replayed: OrderedDictionary<String, TransactionMetadata?> = [:]
    private var isLoaded = false

    public init(configuration: TransactionCoordinatorConfiguration, epoch: LeaderEpoch) {
        self.configuration = configuration
        self.epoch = epoch
    }

    /// Takes in a record of the log, before ``loaded(moment:)``.
    public mutating func replay(_ record: TransactionRecord) {
        precondition(!isLoaded, "records are replayed before the coordinator is loaded")
        replayed.updateValue(record.metadata, forKey: record.transactionalID)
    }

    /// Begins the term after the whole log has been replayed: transactions that were decided are brought to their end.
    public mutating func loaded(moment: TransactionMoment) -> TransactionResult<Void> {
        precondition(!isLoaded, "a coordinator is loaded once")
        isLoaded = true
        var result = TransactionResult(())
        for (id, metadata) in replayed {
            guard let metadata else { continue }
            entries[id] = Entry(metadata: metadata)
        }
        replayed = [:]
        for id in entries.keys where entries[id]?.metadata.state.isPrepared == true { beginMarking(id, moment: moment, &result) }
        return result
    }

    /// A write is committed: its records take effect.
    public mutating func committed(_ write: TransactionWrite, moment: TransactionMoment) -> TransactionResult<Void> {
        var result = TransactionResult(())
        var forgotten: Set<String> = []
        for record in write.records {
            guard let index = entries.index(forKey: record.transactionalID), let transition = entries.values[index].transition else {
                continue
            }
            guard record.metadata != nil else {
                forgotten.insert(record.transactionalID)
                continue
            }
            entries.values[index].metadata = transition.metadata
            entries.values[index].transition = nil
            if transition.metadata.state.isPrepared {
                entries.values[index].hasFailedEpochFence = false
                beginMarking(record.transactionalID, moment: moment, &result)
            }
        }
        if !forgotten.isEmpty { entries.removeAll { forgotten.contains($0.key) } }
        return result
    }

    /// A write is lost: its steps are undone. The end of a transaction is written again, by ``retryCompletions(moment:)``.
    public mutating func failed(_ write: TransactionWrite) {
        for record in write.records {
            guard let index = entries.index(forKey: record.transactionalID), let transition = entries.values[index].transition else {
                continue
            }
            entries.values[index].transition = nil
            if transition.isEpochFence {
                entries.values[index].metadata.producerEpoch = transition.metadata.producerEpoch
                entries.values[index].metadata.lastProducerEpoch = -1
                entries.values[index].hasFailedEpochFence = true
            }
            if entries.values[index].metadata.state.isPrepared {
                entries.values[index].mustRetryCompletion = true
                hasFailedCompletions = true
            }
        }
    }

    /// Notes the step and makes its record.
    mutating func begin(_ transition: Transition, of id: String) -> TransactionWrite {
        precondition(entries[id]?.transition == nil, "transactional id \(id) is in transition already")
        entries[id]?.transition = transition
        return TransactionWrite(records: [TransactionRecord(transactionalID: id, metadata: transition.metadata)])
    }

    // MARK: Markers

    /// The decision is in the log: markers are due, or the end if there is nothing to mark.
    private mutating func beginMarking(_ id: String, moment: TransactionMoment, _ result: inout TransactionResult<Void>) {
        guard let metadata = entries[id]?.metadata else { return }
        entries[id]?.unmarked = metadata.partitions
        guard !metadata.partitions.isEmpty else { return complete(id, moment: moment, &result) }
        result.effects.append(
            .writeMarkers(
                TransactionMarkers(
                    transactionalID: id, producer: metadata.identity, coordinatorEpoch: epoch,
                    outcome: metadata.state == .prepareCommit ? .commit : .abort, partitions: metadata.partitions,
                    version: metadata.clientVersion)))
    }

    /// Partitions have their marker, or do not exist any more.
    public mutating func markersWritten(
        _ markers: TransactionMarkers, partitions: some Sequence<TopicPartition>, moment: TransactionMoment
    ) -> TransactionResult<Void> {
        var result = TransactionResult(())
        guard let entry = entries[markers.transactionalID], entry.metadata.state.isPrepared, entry.metadata.identity == markers.producer,
            entry.transition == nil
        else { return result }
        let before = entry.unmarked.count
        entries[markers.transactionalID]?.unmarked.subtract(partitions)
        if before > 0, entries[markers.transactionalID]?.unmarked.isEmpty == true {
            complete(markers.transactionalID, moment: moment, &result)
        }
        return result
    }

    /// Writes the end of transactions again whose last record was lost for the moment.
    public mutating func retryCompletions(moment: TransactionMoment) -> TransactionResult<Void> {
        var result = TransactionResult(())
        guard hasFailedCompletions else { return result }
        hasFailedCompletions = false
        for index in entries.values.indices where entries.values[index].mustRetryCompletion {
            entries.values[index].mustRetryCompletion = false
            complete(entries.keys[index], moment: moment, &result)
        }
        return result
    }

    private mutating func complete(_ id: String, moment: TransactionMoment, _ result: inout TransactionResult<Void>) {
        guard let entry = entries[id], entry.transition == nil else { return }
        let write = begin(Transition(metadata: entry.metadata.completing(now: moment.now)), of: id)
        result.write = TransactionWrite(records: (result.write?.records ?? []) + write.records)
    }
}
