// Where mirrors end that become writable: no group may have an offset behind that, for other records will stand there.
import Primitives

/// Ends of partitions.
public struct MirrorEnds: Sendable, Hashable {
    private var ends: [TopicPartition: Offset] = [:]

    public init(_ ends: [TopicPartition: Offset]) {
        self.ends = ends
    }

    public init(_ json: JSONValue?) {
        for entry in json?.arrayValue ?? [] {
            guard let parts = entry.arrayValue, parts.count == 3, let topic = parts[0].stringValue, let number = parts[1].integerValue,
                let end = parts[2].integerValue
            else { continue }
            ends[TopicPartition(topic, Int32(clamping: number))] = end
        }
    }

    public var json: JSONValue {
        .array(
            ends.sorted { $0.key < $1.key }.map { partition, end in
                [.string(partition.topic), .integer(Int64(partition.partition)), .integer(end)]
            })
    }

    public var isEmpty: Bool { ends.isEmpty }

    public subscript(partition: TopicPartition) -> Offset? { ends[partition] }

    /// Offsets that do not lie behind the ends.
    public func bound(_ offsets: [TopicPartition: GroupOffset]) -> [TopicPartition: GroupOffset] {
        var bound = offsets
        for (partition, offset) in offsets {
            if let end = ends[partition], offset.offset > end { bound[partition]?.offset = end }
        }
        return bound
    }
}
