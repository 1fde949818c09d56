// Who a data directory and its partitions belong to: `meta.properties`, `partition.metadata`, `.kafka_cleanshutdown`.
import Primitives

/// The contents of `meta.properties`.
public struct MetaProperties: Sendable, Hashable {
    public static let fileName = "meta.properties"

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

    /// Nil when there is no file.
    public init?(path: String) throws(StorageError) {
        guard let text = try FileSystem.text(of: path) else { return nil }
        try self.init(text: text, path: path)
    }

    init(text: String, path: String) throws(StorageError) {
        var values: [String: String] = [:]
        for line in text.split(whereSeparator: \.isNewline) {
            let trimmed = line.drop(while: { $0 == " " || $0 == "\t" })
            guard let first = trimmed.first, first != "#", first != "!" else { continue }
            let separator = trimmed.firstIndex { $0 == "=" || $0 == ":" } ?? trimmed.endIndex
            let key = trimmed[..<separator].trimmed
            let value = separator == trimmed.endIndex ? "" : trimmed[trimmed.index(after: separator)...].trimmed
            values[key] = value.replacing("\\:", with: ":").replacing("\\=", with: "=")
        }
        version = values["version"].flatMap { Int($0) } ?? 0
        guard version == 0 || version == 1 else { throw .corruptFile(path: path, reason: "version \(version) is unknown") }
        guard let cluster = values["cluster.id"], !cluster.isEmpty else { throw Self.damaged(path, "it has no cluster.id") }
        clusterID = cluster
        let key = version == 0 ? "broker.id" : "node.id"
        nodeID = values[key].flatMap { NodeID($0) }
        if nodeID == nil, let text = values[key] { throw Self.damaged(path, "\(key) \"\(text)\" is no id") }
        if nodeID == nil, version > 0 { throw Self.damaged(path, "it has no \(key)") }
        if let text = values["directory.id"] {
            guard let id = KafkaUUID(text) else { throw Self.damaged(path, "directory.id \"\(text)\" is no id") }
            directoryID = id
        }
    }

    private static func damaged(_ path: String, _ reason: String) -> StorageError {
        .corruptFile(path: path, reason: "\(reason); write version, cluster.id, node.id and directory.id as they were, or restore the file")
    }

    /// As Kafka writes it, without the comment.
    var text: String {
        var text = "version=\(version)\n"
        if let nodeID { text += version == 0 ? "broker.id=\(nodeID)\n" : "node.id=\(nodeID)\n" }
        if let clusterID { text += "cluster.id=\(clusterID)\n" }
        if let directoryID { text += "directory.id=\(directoryID)\n" }
        return text
    }

    /// Replaces the file atomically.
    public func write(to path: String) throws(StorageError) {
        try FileSystem.replace(path, with: Array(text.utf8))
    }
}

/// `partition.metadata`: the topic id of the partition in this directory.
enum PartitionMetadataFile {
    static let name = "partition.metadata"

    /// Nil when there is no file.
    static func read(_ path: String) throws(StorageError) -> TopicID? {
        guard let text = try FileSystem.text(of: path) else { return nil }
        var id: TopicID?
        for line in text.split(whereSeparator: \.isNewline) {
            let fields = line.split(separator: ":", maxSplits: 1)
            guard fields.count == 2 else { continue }
            switch fields[0] {
            case "version":
                guard fields[1].trimmed == "0" else { throw .corruptFile(path: path, reason: "version \(fields[1].trimmed) is unknown") }
            case "topic_id": id = TopicID(fields[1].trimmed)
            default: continue
            }
        }
        guard let id else { throw .corruptFile(path: path, reason: "no topic id") }
        return id
    }

    static func write(_ id: TopicID, to path: String) throws(StorageError) {
        // Not worth a wait for the disk: the metadata log knows the id, see `ExpectedTopic.known`.
        try FileSystem.replace(path, with: Array("version: 0\ntopic_id: \(id)".utf8), sync: false)
    }
}

/// `.kafka_cleanshutdown`: its presence says that the last process closed all logs (KIP-966 put the broker epoch into it).
enum CleanShutdownFile {
    static let name = ".kafka_cleanshutdown"

    static func write(brokerEpoch: Int64, to path: String) throws(StorageError) {
        try FileSystem.replace(path, with: Array("{\"version\":0,\"brokerEpoch\":\(brokerEpoch)}".utf8))
    }

    /// -1 when the file does not tell.
    static func brokerEpoch(_ text: String) -> Int64 {
        (try? JSONValue(parsing: text))?["brokerEpoch"]?.integerValue ?? -1
    }
}

extension Substring {
    var trimmed: String {
        var rest = self
        while let first = rest.first, first == " " || first == "\t" { rest.removeFirst() }
        while let last = rest.last, last == " " || last == "\t" { rest.removeLast() }
        return String(rest)
    }
}
