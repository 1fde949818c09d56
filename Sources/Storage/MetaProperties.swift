// `meta.properties`: whose data directory this is.
import Primitives

/// The contents of `meta.properties`.
public struct MetaProperties: Sendable, Hashable {
    /// 1; version 0 (with `broker.id`) is accepted too.
    public var version = 1
    public var clusterID: String?
    public var nodeID: NodeID?
    public var directoryID: KafkaUUID?

    public init(version: Int = 1, clusterID: String?, nodeID: NodeID?, directoryID: KafkaUUID?) {
        self.version = version
        self.clusterID = clusterID
        self.nodeID = nodeID
        self.directoryID = directoryID
    }
}
