// The records of __share_group_state, in Kafka's format: a key that begins with its type, a value that begins with its version.
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives

/// A record of a share coordinator's partition.
public enum ShareStateRecord: Sendable, Equatable {
    /// All there is to know of a share partition; nil when its state is deleted.
    case snapshot(SharePartitionKey, ShareSnapshotValue?)
    /// What changed since the last snapshot.
    case update(SharePartitionKey, ShareUpdateValue)

    public var key: SharePartitionKey {
        switch self {
        case .snapshot(let key, _), .update(let key, _): key
        }
    }

    private static let snapshotType: Int16 = 0
    private static let updateType: Int16 = 1

    /// Reads a record.
    ///
    /// - Returns: nil for a record type that nobody knows, and for the tombstone of an update, which says nothing.
    /// - Throws: when a record of a known type is damaged.
    public init?(key: ByteBuffer, value: ByteBuffer?) throws(WireError) {
        guard let type: Int16 = key.getInteger(at: key.readerIndex) else {
            throw WireError(
                message: "ShareStateKey", field: "type", offset: 0, reason: .truncated(needed: 2, remaining: key.readableBytes))
        }
        var body = key
        body.moveReaderIndex(forwardBy: 2)
        switch type {
        case Self.snapshotType:
            let decoded = try ShareSnapshotKey(decoding: body, version: 0)
            self = .snapshot(
                SharePartitionKey(group: decoded.groupId, topicID: decoded.topicId, partition: decoded.partition),
                try value.map { value throws(WireError) in try ShareSnapshotValue(decodingWithVersion: value) })
        case Self.updateType:
            let decoded = try ShareUpdateKey(decoding: body, version: 0)
            guard let value else { return nil }
            self = .update(
                SharePartitionKey(group: decoded.groupId, topicID: decoded.topicId, partition: decoded.partition),
                try ShareUpdateValue(decodingWithVersion: value))
        default:
            return nil
        }
    }

    /// The record's key and value as they are stored.
    ///
    /// - Throws: when a name is longer than the format can hold.
    public func encoded() throws(WireError) -> (key: ByteBuffer, value: ByteBuffer?) {
        switch self {
        case .snapshot(let partition, let value):
            var key = ShareSnapshotKey()
            key.groupId = partition.group
            key.topicId = partition.partition.topicID
            key.partition = partition.partition.partition
            return (
                try Self.encode(key, prefix: Self.snapshotType),
                try value.map { value throws(WireError) in try Self.encode(value, prefix: 0) }
            )
        case .update(let partition, let value):
            var key = ShareUpdateKey()
            key.groupId = partition.group
            key.topicId = partition.partition.topicID
            key.partition = partition.partition.partition
            return (try Self.encode(key, prefix: Self.updateType), try Self.encode(value, prefix: 0))
        }
    }

    private static func encode(_ message: some KafkaMessage, prefix: Int16) throws(WireError) -> ByteBuffer {
        var writer = WireWriter(ByteBufferAllocator().buffer(capacity: 128))
        writer.int16(prefix)
        try message.encode(to: &writer, version: 0)
        return writer.buffer
    }
}
