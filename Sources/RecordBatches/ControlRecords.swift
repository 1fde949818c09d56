// Records that brokers write for brokers: transaction markers and the KRaft quorum's own.
import NIOCore
import Primitives

/// What a control record says; it stands in the record's key.
public enum ControlRecordType: Int16, CaseIterable, Hashable, Sendable {
    /// A transaction's records are void (KIP-98).
    case abort = 0
    /// A transaction's records are valid.
    case commit = 1
    /// A KRaft leader begins its epoch (KIP-595).
    case leaderChange = 2
    /// First record of a KRaft snapshot (KIP-630).
    case snapshotHeader = 3
    /// Last record of a KRaft snapshot.
    case snapshotFooter = 4
    /// The feature level `kraft.version` (KIP-853).
    case kraftVersion = 5
    /// The quorum's voters (KIP-853).
    case kraftVoters = 6

    /// The record key: version 0 and the type.
    public var key: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeMultipleIntegers(Int16(0), rawValue)
        return buffer
    }

    /// The type in a control record's key; nil for one that is newer than this code and to be skipped.
    ///
    /// Later versions of the key may only append to it, so anything from version 0 on is read.
    public static func parse(key: ByteBuffer?) throws(RecordBatchError) -> ControlRecordType? {
        guard let key, let version = key.getInteger(at: key.readerIndex, as: Int16.self),
            let type = key.getInteger(at: key.readerIndex + 2, as: Int16.self)
        else { throw .invalidControlRecord("key has fewer than 4 bytes") }
        guard version >= 0 else { throw .invalidControlRecord("key version \(version)") }
        return ControlRecordType(rawValue: type)
    }
}

/// The marker that ends a transaction in a partition (KIP-98).
public struct EndTransactionMarker: Hashable, Sendable {
    public enum Outcome: Hashable, Sendable {
        case commit
        case abort

        public var type: ControlRecordType { self == .commit ? .commit : .abort }
    }

    public var outcome: Outcome
    /// The transaction coordinator's epoch: fences markers of an earlier coordinator.
    public var coordinatorEpoch: Int32

    public init(_ outcome: Outcome, coordinatorEpoch: Int32) {
        self.outcome = outcome
        self.coordinatorEpoch = coordinatorEpoch
    }

    /// Read the marker from a control record; nil when it is a control record of another type.
    public init?(_ record: Record) throws(RecordBatchError) {
        switch try ControlRecordType.parse(key: record.key) {
        case .commit: outcome = .commit
        case .abort: outcome = .abort
        default: return nil
        }
        guard let value = record.value, let version = value.getInteger(at: value.readerIndex, as: Int16.self),
            let epoch = value.getInteger(at: value.readerIndex + 2, as: Int32.self)
        else { throw .invalidControlRecord("transaction marker has fewer than 6 bytes") }
        guard version >= 0 else { throw .invalidControlRecord("transaction marker version \(version)") }
        coordinatorEpoch = epoch
    }

    /// The record value: version 0 and the epoch.
    public var value: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeMultipleIntegers(Int16(0), coordinatorEpoch)
        return buffer
    }

    /// The batch that a partition's leader appends: one control record in the producer's name, without a sequence.
    public func batch(
        producerId: ProducerID, producerEpoch: Int16, timestamp: Timestamp, baseOffset: Offset = 0, partitionLeaderEpoch: LeaderEpoch = -1
    ) -> ByteBuffer {
        var builder = RecordBatchBuilder(baseOffset: baseOffset, capacity: 96)
        builder.producerId = producerId
        builder.producerEpoch = producerEpoch
        builder.partitionLeaderEpoch = partitionLeaderEpoch
        builder.isTransactional = true
        builder.isControl = true
        builder.append(timestamp: timestamp, key: outcome.type.key, value: value)
        return builder.buildUncompressed()
    }
}

extension RecordBatchBuilder {
    /// A control batch of the KRaft log: records of the given types with their encoded values, in one batch.
    public static func controlBatch(
        _ records: [(type: ControlRecordType, value: ByteBuffer)], timestamp: Timestamp, baseOffset: Offset,
        partitionLeaderEpoch: LeaderEpoch
    ) -> ByteBuffer {
        var builder = RecordBatchBuilder(baseOffset: baseOffset)
        builder.partitionLeaderEpoch = partitionLeaderEpoch
        builder.isControl = true
        for record in records { builder.append(timestamp: timestamp, key: record.type.key, value: record.value) }
        return builder.buildUncompressed()
    }
}
