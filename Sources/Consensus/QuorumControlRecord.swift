// Control records of the metadata log and its snapshots: who leads, who votes, and where a snapshot begins and ends (KIP-595, 630, 853).
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import RecordBatches

/// A control record that the quorum writes and reads; applications of the log never see it.
public enum QuorumControlRecord: Sendable, Hashable {
    case leaderChange(LeaderChangeMessage)
    case snapshotHeader(SnapshotHeaderRecord)
    case snapshotFooter(SnapshotFooterRecord)
    case kraftVersion(KRaftVersionRecord)
    case voters(VotersRecord)

    private var type: Int16 {
        switch self {
        case .leaderChange: 2
        case .snapshotHeader: 3
        case .snapshotFooter: 4
        case .kraftVersion: 5
        case .voters: 6
        }
    }

    /// The record's key: version 0 and the type.
    public var key: ByteBuffer {
        var key = ByteBuffer()
        key.writeMultipleIntegers(Int16(0), type)
        return key
    }

    /// The record's value: the message in the version that stands in its own first field.
    public func value() throws(WireError) -> ByteBuffer {
        switch self {
        case .leaderChange(let message): try message.encoded(version: message.version)
        case .snapshotHeader(let message): try message.encoded(version: message.version)
        case .snapshotFooter(let message): try message.encoded(version: message.version)
        case .kraftVersion(let message): try message.encoded(version: message.version)
        case .voters(let message): try message.encoded(version: message.version)
        }
    }

    /// Reads a control record; nil for a type that is none of the quorum's.
    ///
    /// - Throws: `corrupt`.
    public static func decode(_ record: Record) throws(QuorumError) -> QuorumControlRecord? {
        guard let type: Int16 = record.key.flatMap({ $0.getInteger(at: $0.readerIndex + 2) }), let value = record.value,
            let version: Int16 = value.getInteger(at: value.readerIndex)
        else { throw .corrupt("a control record at offset \(record.offset) has no type") }
        // A newer version only appends, and Kafka reads it as the newest version that it knows.
        do throws(WireError) {
            switch type {
            case 2: return .leaderChange(try .init(decoding: value, version: min(version, 1), allowingTrailingBytes: true))
            case 3: return .snapshotHeader(try .init(decoding: value, version: 0, allowingTrailingBytes: true))
            case 4: return .snapshotFooter(try .init(decoding: value, version: 0, allowingTrailingBytes: true))
            case 5: return .kraftVersion(try .init(decoding: value, version: 0, allowingTrailingBytes: true))
            case 6: return .voters(try .init(decoding: value, version: 0, allowingTrailingBytes: true))
            default: return nil
            }
        } catch {
            throw .corrupt("a control record at offset \(record.offset) cannot be read: \(error)")
        }
    }

    /// One control batch of these records.
    public static func batch(
        _ records: [QuorumControlRecord], baseOffset: Offset, epoch: LeaderEpoch, timestamp: Timestamp
    ) throws(QuorumError) -> ByteBuffer {
        var builder = RecordBatchBuilder(baseOffset: baseOffset, baseTimestamp: timestamp)
        builder.partitionLeaderEpoch = epoch
        builder.isControl = true
        for record in records {
            do throws(WireError) {
                builder.append(timestamp: timestamp, key: record.key, value: try record.value())
            } catch {
                throw .corrupt("a control record cannot be written: \(error)")
            }
        }
        do throws(RecordBatchError) {
            return try builder.build()
        } catch {
            throw .corrupt("a control batch cannot be built: \(error)")
        }
    }
}
