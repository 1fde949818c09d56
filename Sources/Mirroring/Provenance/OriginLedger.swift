// What a partition of the target has of each origin: the highest offset there. Records of an origin come in its order on every way, so
// whatever is not above it is there already.
import Primitives

/// Highest offsets by partition of the target and origin.
public struct OriginLedger: Sendable {
    private var highest: [TopicPartition: [RecordOrigin: Int64]] = [:]

    public init() {}

    public func known(_ partition: TopicPartition) -> [RecordOrigin: Int64] { highest[partition] ?? [:] }

    /// A record is on the target.
    public mutating func wrote(_ partition: TopicPartition, _ origin: RecordOrigin, _ offset: Int64) {
        let before = highest[partition]?[origin] ?? -1
        highest[partition, default: [:]][origin] = max(before, offset)
    }

    /// The origin lost records and counts anew: nothing is known of it any more.
    public mutating func forget(_ partition: TopicPartition, _ origin: RecordOrigin) {
        highest[partition]?[origin] = nil
    }
}
