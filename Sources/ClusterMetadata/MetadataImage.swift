// The whole state of the cluster at one offset of the metadata log. Brokers and controllers read it; nobody writes to it.
import Primitives

/// Up to where in the metadata log an image reaches.
public struct MetadataProvenance: Hashable, Sendable {
    /// The offset of the last record in the image, -1 for an empty one.
    public var offset: Offset
    /// The leader epoch of that record.
    public var epoch: LeaderEpoch
    /// When that record was appended.
    public var timestamp: Timestamp

    public init(offset: Offset, epoch: LeaderEpoch, timestamp: Timestamp) {
        self.offset = offset
        self.epoch = epoch
        self.timestamp = timestamp
    }

    public static let empty = MetadataProvenance(offset: -1, epoch: -1, timestamp: -1)
}

/// Immutable and shared by reference: handing it around costs one retain, and what did not change is shared between images.
public final class MetadataImage: Sendable, Equatable {
    public let provenance: MetadataProvenance
    public let features: FeaturesImage
    public let cluster: ClusterImage
    public let topics: TopicsImage
    public let configurations: ConfigurationsImage
    public let clientQuotas: ClientQuotasImage
    /// The first producer id that nobody owns yet; nil before the first block was given out.
    public let nextProducerID: ProducerID?
    public let security: SecurityImage

    init(
        provenance: MetadataProvenance, features: FeaturesImage, cluster: ClusterImage, topics: TopicsImage,
        configurations: ConfigurationsImage, clientQuotas: ClientQuotasImage, nextProducerID: ProducerID?, security: SecurityImage
    ) {
        self.provenance = provenance
        self.features = features
        self.cluster = cluster
        self.topics = topics
        self.configurations = configurations
        self.clientQuotas = clientQuotas
        self.nextProducerID = nextProducerID
        self.security = security
    }

    /// The state before the first record.
    public static let empty = MetadataImage(
        provenance: .empty, features: .init(), cluster: .init(), topics: .init(), configurations: .init(), clientQuotas: .init(),
        nextProducerID: nil, security: .init())

    /// Whether both describe the same cluster, whatever offset they come from.
    public func hasSameContents(as other: MetadataImage) -> Bool {
        self === other
            || (features == other.features && cluster == other.cluster && topics == other.topics
                && configurations.hasSameContents(as: other.configurations) && clientQuotas == other.clientQuotas
                && nextProducerID == other.nextProducerID && security == other.security)
    }

    public static func == (left: MetadataImage, right: MetadataImage) -> Bool {
        left.provenance == right.provenance && left.hasSameContents(as: right)
    }
}
