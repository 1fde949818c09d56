// The records of __consumer_offsets, in Kafka's format: a key that begins with its type, a value that begins with its version.
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives

/// A record of a coordinator's partition. Without a value it is a tombstone.
public enum CoordinatorRecord: Sendable, Equatable {
    case offsetCommit(group: String, topic: String, partition: Int32, OffsetCommitValue?)
    case groupMetadata(group: String, GroupMetadataValue?)
    /// A record of a consumer group (KIP-848).
    case consumerGroup(ConsumerGroupRecord)
    /// A record of a share group (KIP-932).
    case shareGroup(ShareGroupRecord)
    /// A record of a streams group (KIP-1071).
    case streamsGroup(StreamsGroupRecord)

    private static let legacyOffsetCommitType: Int16 = 0
    private static let offsetCommitType: Int16 = 1
    private static let groupMetadataType: Int16 = 2
    /// Kafka stays at 3 so that brokers of before KIP-915 can be gone back to.
    private static let groupMetadataVersion: Int16 = 3

    /// Reads a record.
    ///
    /// - Returns: nil for a record type that nobody knows: Kafka's rule is to pass over it.
    /// - Throws: when a record of a known type is damaged.
    public init?(key: ByteBuffer, value: ByteBuffer?) throws(WireError) {
        guard let type: Int16 = key.getInteger(at: key.readerIndex) else {
            throw WireError(
                message: "CoordinatorKey", field: "type", offset: 0, reason: .truncated(needed: 2, remaining: key.readableBytes))
        }
        var body = key
        body.moveReaderIndex(forwardBy: 2)
        switch type {
        case Self.legacyOffsetCommitType:
            let decoded = try LegacyOffsetCommitKey(decoding: body, version: 0)
            let legacy = try value.map { value throws(WireError) in try LegacyOffsetCommitValue(decodingWithVersion: value) }
            let current = legacy.map { legacy in
                var current = OffsetCommitValue()
                current.offset = legacy.offset
                current.metadata = legacy.metadata
                current.commitTimestamp = legacy.commitTimestamp
                return current
            }
            self = .offsetCommit(group: decoded.group, topic: decoded.topic, partition: decoded.partition, current)
        case Self.offsetCommitType:
            let decoded = try OffsetCommitKey(decoding: body, version: 0)
            self = .offsetCommit(
                group: decoded.group, topic: decoded.topic, partition: decoded.partition,
                try value.map { value throws(WireError) in try OffsetCommitValue(decodingWithVersion: value) })
        case Self.groupMetadataType:
            let decoded = try GroupMetadataKey(decoding: body, version: 0)
            self = .groupMetadata(
                group: decoded.group, try value.map { value throws(WireError) in try GroupMetadataValue(decodingWithVersion: value) })
        case 3...8, 16:
            guard let record = try ConsumerGroupRecord(type: type, body: body, value: value) else { return nil }
            self = .consumerGroup(record)
        case 10...15:
            guard let record = try ShareGroupRecord(type: type, body: body, value: value) else { return nil }
            self = .shareGroup(record)
        case 17, 19...23:
            guard let record = try StreamsGroupRecord(type: type, body: body, value: value) else { return nil }
            self = .streamsGroup(record)
        default:
            return nil
        }
    }

    /// The record's key and value as they are stored.
    ///
    /// - Throws: when a name is longer than the format can hold.
    public func encoded() throws(WireError) -> (key: ByteBuffer, value: ByteBuffer?) {
        switch self {
        case .offsetCommit(let group, let topic, let partition, let value):
            var key = OffsetCommitKey()
            key.group = group
            key.topic = topic
            key.partition = partition
            // Only version 1 has an expiry of its own; without one, version 4 carries the topic's id.
            let version: Int16 = value.map { $0.expireTimestamp == -1 ? 4 : 1 } ?? 4
            return (
                try Self.encode(key, prefix: Self.offsetCommitType, version: 0),
                try value.map { value throws(WireError) in try Self.encode(value, prefix: version, version: version) }
            )
        case .groupMetadata(let group, let value):
            var key = GroupMetadataKey()
            key.group = group
            return (
                try Self.encode(key, prefix: Self.groupMetadataType, version: 0),
                try value.map { value throws(WireError) in
                    try Self.encode(value, prefix: Self.groupMetadataVersion, version: Self.groupMetadataVersion)
                }
            )
        case .consumerGroup(let record):
            return try record.encoded()
        case .shareGroup(let record):
            return try record.encoded()
        case .streamsGroup(let record):
            return try record.encoded()
        }
    }

    /// Keys begin with their type, values with their version. Reserves enough for nearly all, so that a commit does not grow its
    /// buffers in small steps.
    static func encode(_ message: some KafkaMessage, prefix: Int16, version: Int16) throws(WireError) -> ByteBuffer {
        var writer = WireWriter(ByteBufferAllocator().buffer(capacity: 128))
        writer.int16(prefix)
        try message.encode(to: &writer, version: version)
        return writer.buffer
    }
    /// A value that carries its version, or nil for a tombstone.
    static func decode<Value: KafkaMessage>(_ value: ByteBuffer?) throws(WireError) -> Value? {
        guard let value else { return nil }
        return try Value(decodingWithVersion: value)
    }

    /// Key and value of a record of one of the newer groups, all of which are of version 0.
    static func encode(
        _ type: Int16, _ key: some KafkaMessage, _ value: (some KafkaMessage)?
    ) throws(WireError) -> (key: ByteBuffer, value: ByteBuffer?) {
        var encodedValue: ByteBuffer?
        if let value { encodedValue = try encode(value, prefix: 0, version: 0) }
        return (try encode(key, prefix: type, version: 0), encodedValue)
    }
}
