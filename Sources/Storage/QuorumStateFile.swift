// `quorum-state` beside the metadata log: the vote that must survive a crash (KIP-595, KIP-853).
import Primitives

/// The contents of `quorum-state`.
public struct QuorumState: Sendable, Hashable {
    public static let fileName = "quorum-state"

    /// 0 with static voters (`currentVoters` is written), 1 with `kraft.version` 1 (`votedDirectoryID` is written).
    public var dataVersion: Int16
    public var clusterID = ""
    /// -1 for none.
    public var leaderID: NodeID
    public var leaderEpoch: LeaderEpoch
    /// -1 for none.
    public var votedID: NodeID
    public var votedDirectoryID = KafkaUUID.zero
    public var appliedOffset: Offset = 0
    public var currentVoters: [NodeID] = []

    public init(
        dataVersion: Int16 = 1, leaderID: NodeID, leaderEpoch: LeaderEpoch, votedID: NodeID = -1, votedDirectoryID: KafkaUUID = .zero,
        currentVoters: [NodeID] = []
    ) {
        self.dataVersion = dataVersion
        self.leaderID = leaderID
        self.leaderEpoch = leaderEpoch
        self.votedID = votedID
        self.votedDirectoryID = votedDirectoryID
        self.currentVoters = currentVoters
    }

    /// Nil when there is no file.
    public init?(path: String) throws(StorageError) {
        guard let text = try FileSystem.text(of: path) else { return nil }
        guard let json = try? JSONValue(parsing: text), let leader = json["leaderId"]?.integerValue,
            let epoch = json["leaderEpoch"]?.integerValue,
            let leaderID = NodeID(exactly: leader), let leaderEpoch = LeaderEpoch(exactly: epoch),
            let dataVersion = Int16(exactly: json["data_version"]?.integerValue ?? 0)
        else { throw .corruptFile(path: path, reason: "not a quorum state") }
        guard (0...1).contains(dataVersion) else { throw .corruptFile(path: path, reason: "data_version \(dataVersion) is unknown") }
        self.init(dataVersion: dataVersion, leaderID: leaderID, leaderEpoch: leaderEpoch)
        clusterID = json["clusterId"]?.stringValue ?? ""
        votedID = json["votedId"]?.integerValue.flatMap { NodeID(exactly: $0) } ?? -1
        votedDirectoryID = json["votedDirectoryId"]?.stringValue.flatMap { KafkaUUID($0) } ?? .zero
        appliedOffset = json["appliedOffset"]?.integerValue ?? 0
        currentVoters = (json["currentVoters"]?.arrayValue ?? []).compactMap { $0["voterId"]?.integerValue.flatMap { NodeID(exactly: $0) } }
    }

    /// One line, in Kafka's order of fields.
    var text: String {
        if dataVersion == 0 {
            let voters = currentVoters.map { "{\"voterId\":\($0)}" }.joined(separator: ",")
            return "{\"clusterId\":\"\(clusterID)\",\"leaderId\":\(leaderID),\"leaderEpoch\":\(leaderEpoch),\"votedId\":\(votedID),"
                + "\"appliedOffset\":\(appliedOffset),\"currentVoters\":[\(voters)],\"data_version\":0}"
        }
        return "{\"leaderId\":\(leaderID),\"leaderEpoch\":\(leaderEpoch),\"votedId\":\(votedID),"
            + "\"votedDirectoryId\":\"\(votedDirectoryID)\",\"data_version\":1}"
    }

    /// Replaces the file atomically.
    public func write(to path: String) throws(StorageError) {
        try FileSystem.replace(path, with: Array(text.utf8))
    }
}
