// The records of MirrorMaker 2's internal topics, byte for byte: its own tools, and whatever else reads them, go on working.
import NIOCore
import Primitives

/// Why a record of an internal topic cannot be read.
public enum InternalRecordError: Error, Hashable, Sendable {
    case truncated
    case unsupportedVersion(Int16)
    case malformed(String)
}

/// Two offsets that belong together: a record's own, and that of its copy (`OffsetSync`; no version in front).
public struct OffsetSync: Hashable, Sendable {
    /// The partition on the source.
    public var partition: TopicPartition
    public var upstreamOffset: Int64
    public var downstreamOffset: Int64

    public init(partition: TopicPartition, upstreamOffset: Int64, downstreamOffset: Int64) {
        self.partition = partition
        self.upstreamOffset = upstreamOffset
        self.downstreamOffset = downstreamOffset
    }

    public var key: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeSchemaString(partition.topic)
        buffer.writeInteger(partition.partition)
        return buffer
    }

    public var value: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(upstreamOffset)
        buffer.writeInteger(downstreamOffset)
        return buffer
    }

    public init(key: ByteBuffer, value: ByteBuffer) throws(InternalRecordError) {
        var (key, value) = (key, value)
        partition = TopicPartition(try key.readSchemaString(), try key.readSchemaInteger())
        upstreamOffset = try value.readSchemaInteger()
        downstreamOffset = try value.readSchemaInteger()
    }
}

/// How far a group is, on the source and as the target counts (`Checkpoint`).
public struct Checkpoint: Hashable, Sendable {
    public static let version: Int16 = 0

    public var group: String
    /// The partition on the target.
    public var partition: TopicPartition
    public var upstreamOffset: Int64
    public var downstreamOffset: Int64
    /// What the group committed beside its offset.
    public var metadata: String

    public init(group: String, partition: TopicPartition, upstreamOffset: Int64, downstreamOffset: Int64, metadata: String) {
        self.group = group
        self.partition = partition
        self.upstreamOffset = upstreamOffset
        self.downstreamOffset = downstreamOffset
        self.metadata = metadata
    }

    public var key: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeSchemaString(group)
        buffer.writeSchemaString(partition.topic)
        buffer.writeInteger(partition.partition)
        return buffer
    }

    public var value: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(Self.version)
        buffer.writeInteger(upstreamOffset)
        buffer.writeInteger(downstreamOffset)
        buffer.writeSchemaString(metadata)
        return buffer
    }

    public init(key: ByteBuffer, value: ByteBuffer) throws(InternalRecordError) {
        var (key, value) = (key, value)
        group = try key.readSchemaString()
        partition = TopicPartition(try key.readSchemaString(), try key.readSchemaInteger())
        try value.readSchemaVersion(Self.version)
        upstreamOffset = try value.readSchemaInteger()
        downstreamOffset = try value.readSchemaInteger()
        metadata = try value.readSchemaString()
    }

    /// Whether this is worth writing after `last`: the group went on, or was set back on the source. Translation that got coarser
    /// must not set a group back.
    public func isMoreRecent(than last: Checkpoint?) -> Bool {
        guard let last else { return true }
        return upstreamOffset < last.upstreamOffset || downstreamOffset > last.downstreamOffset
    }
}

/// A sign of life of one flow (`Heartbeat`).
public struct Heartbeat: Hashable, Sendable {
    public static let version: Int16 = 0

    public var sourceAlias: String
    public var targetAlias: String
    /// Milliseconds since 1970.
    public var timestamp: Int64

    public init(sourceAlias: String, targetAlias: String, timestamp: Int64) {
        self.sourceAlias = sourceAlias
        self.targetAlias = targetAlias
        self.timestamp = timestamp
    }

    public var key: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeSchemaString(sourceAlias)
        buffer.writeSchemaString(targetAlias)
        return buffer
    }

    public var value: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(Self.version)
        buffer.writeInteger(timestamp)
        return buffer
    }

    public init(key: ByteBuffer, value: ByteBuffer) throws(InternalRecordError) {
        var (key, value) = (key, value)
        sourceAlias = try key.readSchemaString()
        targetAlias = try key.readSchemaString()
        try value.readSchemaVersion(Self.version)
        timestamp = try value.readSchemaInteger()
    }
}

/// How far a partition was copied, as Connect's offset store keeps it (`mm2-offsets.<alias>.internal`): JSON, with the members in the order
/// that Java's hash map gives them, since the topic is compacted by the key's bytes.
public struct SourcePosition: Hashable, Sendable {
    public static let connector = "MirrorSourceConnector"

    public var sourceAlias: String
    public var partition: TopicPartition
    /// The last record that was copied.
    public var offset: Int64

    public init(sourceAlias: String, partition: TopicPartition, offset: Int64) {
        self.sourceAlias = sourceAlias
        self.partition = partition
        self.offset = offset
    }

    public var key: ByteBuffer {
        let place = JSONValue.object([
            ("cluster", .string(sourceAlias)), ("partition", .integer(Int64(partition.partition))), ("topic", .string(partition.topic)),
        ])
        return ByteBuffer(string: JSONValue.array([.string(Self.connector), place]).text())
    }

    public var value: ByteBuffer { ByteBuffer(string: JSONValue.object([("offset", .integer(offset))]).text()) }

    /// Nil for records of other connectors, and for positions that were taken back.
    ///
    /// - Throws: `malformed` for what is no JSON.
    public init?(key: ByteBuffer, value: ByteBuffer?) throws(InternalRecordError) {
        guard let value, value.readableBytes > 0 else { return nil }
        let (name, content): (JSONValue, JSONValue)
        do throws(JSONError) {
            name = try JSONValue(parsing: Array(key.readableBytesView))
            content = try JSONValue(parsing: Array(value.readableBytesView))
        } catch {
            throw .malformed("\(error)")
        }
        guard case .array(let parts) = name, parts.count == 2, parts[0].stringValue == Self.connector,
            let alias = parts[1]["cluster"]?.stringValue,
            let topic = parts[1]["topic"]?.stringValue, let number = parts[1]["partition"]?.integerValue,
            let partition = Int32(exactly: number),
            let offset = content["offset"]?.integerValue
        else { return nil }
        self.init(sourceAlias: alias, partition: TopicPartition(topic, partition), offset: offset)
    }
}

extension ByteBuffer {
    /// A string of Kafka's protocol types: two bytes of length.
    fileprivate mutating func writeSchemaString(_ text: String) {
        writeInteger(Int16(clamping: text.utf8.count))
        writeString(text)
    }

    fileprivate mutating func readSchemaString() throws(InternalRecordError) -> String {
        guard let length = readInteger(as: Int16.self), length >= 0, let text = readString(length: Int(length)) else { throw .truncated }
        return text
    }

    fileprivate mutating func readSchemaInteger<Number: FixedWidthInteger>() throws(InternalRecordError) -> Number {
        guard let number = readInteger(as: Number.self) else { throw .truncated }
        return number
    }

    fileprivate mutating func readSchemaVersion(_ known: Int16) throws(InternalRecordError) {
        let version: Int16 = try readSchemaInteger()
        guard version == known else { throw .unsupportedVersion(version) }
    }
}
