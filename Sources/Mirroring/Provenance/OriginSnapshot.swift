// What is known of a target's partition, written down beside the positions: whoever goes on there knows it again, and reads only what was
// written behind it.
import NIOCore
import Primitives

/// What a partition of the target has of each origin, up to an offset.
public struct OriginSnapshot: Hashable, Sendable {
    /// The header that holds it, of records with positions. Kafka's own workers pass over it.
    public static let header = "martlet.origins"
    /// Ranges of an origin that are written down, the newest ones: a mesh has few, as a flow from the origin itself leaves no gaps.
    static let maximumRanges = 128
    static let maximumPaths = 256
    private static let maximumBytes = 256 << 10

    public var known: KnownOrigins
    /// Of the topic on the target; one that was made again has nothing of this.
    public var topicID: KafkaUUID
    /// The offset on the target from which records may be there that are not in `known`.
    public var end: Int64

    public init(_ known: KnownOrigins, topicID: KafkaUUID, end: Int64) {
        (self.known, self.topicID, self.end) = (known, topicID, end)
    }

    /// `{"topic":…,"end":…,"paths":[[cluster, topic id, [clusters between], highest], …],"ranges":[[cluster, topic id, [[first, last], …]], …]}`.
    public var value: ByteBuffer {
        let paths = known.highest.prefix(Self.maximumPaths).map { path, highest in
            JSONValue.array(
                path.origin.members + [.array(path.clusters.map { .string($0) }), .integer(highest)])
        }
        let ranges = known.offsets.map { origin, offsets in
            let newest = offsets.ranges.suffix(Self.maximumRanges)
            return JSONValue.array(
                origin.members + [.array(newest.map { .array([.integer($0.lowerBound), .integer($0.upperBound)]) })])
        }
        let content = JSONValue.object([
            ("topic", .string("\(topicID)")), ("end", .integer(end)), ("paths", .array(paths)), ("ranges", .array(ranges)),
        ])
        return ByteBuffer(string: content.text())
    }

    /// Nil for anything else than a snapshot; then the target's log has to tell.
    public init?(_ value: ByteBuffer) {
        guard value.readableBytes <= Self.maximumBytes, let content = try? JSONValue(parsing: Array(value.readableBytesView)),
            let topicID = content["topic"]?.stringValue.flatMap({ KafkaUUID($0) }), let end = content["end"]?.integerValue, end >= 0,
            let paths = content["paths"]?.arrayValue,
            let ranges = content["ranges"]?.arrayValue
        else { return nil }
        var known = KnownOrigins()
        for path in paths {
            guard let members = path.arrayValue, members.count == 4, let origin = RecordOrigin(members), let stages = members[2].arrayValue,
                let highest = members[3].integerValue
            else { return nil }
            let clusters = stages.compactMap(\.stringValue)
            guard clusters.count == stages.count else { return nil }
            known.passed(RecordPath(origin, clusters: clusters), to: highest)
        }
        for range in ranges {
            guard let members = range.arrayValue, members.count == 3, let origin = RecordOrigin(members), let pairs = members[2].arrayValue
            else { return nil }
            for pair in pairs {
                guard let bounds = pair.arrayValue?.compactMap(\.integerValue), bounds.count == 2, bounds[0] >= 0, bounds[0] <= bounds[1]
                else { return nil }
                known.has(origin, bounds[0]...bounds[1])
            }
        }
        self.init(known, topicID: topicID, end: end)
    }
}

extension RecordOrigin {
    fileprivate var members: [JSONValue] { [.string(clusterID), .string("\(topicID)")] }

    fileprivate init?(_ members: [JSONValue]) {
        guard members.count >= 2, let clusterID = members[0].stringValue, let topicID = members[1].stringValue.flatMap({ KafkaUUID($0) })
        else { return nil }
        self.init(clusterID: clusterID, topicID: topicID)
    }
}
