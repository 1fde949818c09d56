// Offsets that groups commit within transactions. They take effect here together with what the transactions wrote: a group that goes on here
// after its transactions' last settled one repeats nothing and misses nothing.
import Primitives

/// An offset that a transaction commits, as the source has it.
public struct SourceGroupOffset: Sendable, Hashable {
    public var group: String
    /// By the source's name.
    public var partition: TopicPartition
    public var offset: GroupOffset

    public init(group: String, partition: TopicPartition, offset: GroupOffset) {
        self.group = group
        self.partition = partition
        self.offset = offset
    }
}

/// A committed offset of a group.
public struct GroupOffset: Sendable, Hashable {
    public var offset: Offset
    /// What the client keeps with it.
    public var metadata: String

    public init(_ offset: Offset, metadata: String = "") {
        self.offset = offset
        self.metadata = metadata
    }
}

/// Offsets of groups by their names, under the names of the mirrors.
public typealias GroupOffsets = [String: [TopicPartition: GroupOffset]]

extension GroupOffsets {
    /// Lets the newer ones stand for the older ones.
    public mutating func merge(_ newer: GroupOffsets) {
        for (group, offsets) in newer { self[group, default: [:]].merge(offsets) { _, newer in newer } }
    }

    /// Lets go of those that are still the same.
    public mutating func remove(_ done: GroupOffsets) {
        for (group, offsets) in done {
            for (partition, offset) in offsets where self[group]?[partition] == offset { self[group]?[partition] = nil }
            if self[group]?.isEmpty == true { self[group] = nil }
        }
    }

    /// What is here, but for what is the same there.
    public func subtracting(_ other: GroupOffsets) -> GroupOffsets {
        var rest = self
        rest.remove(other)
        return rest
    }

    /// For brokers and for the log.
    public var json: JSONValue {
        .array(
            sorted { $0.key < $1.key }.map { group, offsets in [.string(group), Self.json(offsets)] })
    }

    public init(_ json: JSONValue?) {
        self.init()
        for entry in json?.arrayValue ?? [] {
            guard let parts = entry.arrayValue, parts.count == 2, let group = parts[0].stringValue else { continue }
            self[group] = Self.offsets(parts[1])
        }
    }

    static func json(_ offsets: [TopicPartition: GroupOffset]) -> JSONValue {
        .array(
            offsets.sorted { $0.key < $1.key }.map { partition, offset in
                [
                    .string(partition.topic), .integer(Int64(partition.partition)), .integer(offset.offset), .string(offset.metadata),
                ]
            })
    }

    static func offsets(_ json: JSONValue?) -> [TopicPartition: GroupOffset] {
        var offsets: [TopicPartition: GroupOffset] = [:]
        for entry in json?.arrayValue ?? [] {
            guard let parts = entry.arrayValue, parts.count == 4, let topic = parts[0].stringValue, let number = parts[1].integerValue,
                let offset = parts[2].integerValue, let metadata = parts[3].stringValue
            else { continue }
            offsets[TopicPartition(topic, Int32(clamping: number))] = GroupOffset(offset, metadata: metadata)
        }
        return offsets
    }
}
