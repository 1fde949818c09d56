// The file `quorum-state`: which epoch this node has seen, whom it follows or voted for. One line of JSON in Kafka's two versions.
import Primitives

/// What a node must not forget about elections (Raft's persistent state).
public struct QuorumState: Hashable, Sendable {
    /// -1 when unknown.
    public var leaderID: NodeID
    public var leaderEpoch: LeaderEpoch
    /// -1 when this node has not voted in the epoch.
    public var votedID: NodeID
    /// The directory of the voter that got the vote (data_version 1).
    public var votedDirectoryID: KafkaUUID
    /// Static voters (data_version 0); nil writes data_version 1, which kraft.version 1 uses.
    public var staticVoters: [NodeID]?

    public init(
        leaderID: NodeID, leaderEpoch: LeaderEpoch, votedID: NodeID = -1, votedDirectoryID: KafkaUUID = .zero, staticVoters: [NodeID]?
    ) {
        self.leaderID = leaderID
        self.leaderEpoch = leaderEpoch
        self.votedID = votedID
        self.votedDirectoryID = votedDirectoryID
        self.staticVoters = staticVoters
    }

    /// The name of the file within the metadata log's directory.
    public static let fileName = "quorum-state"

    /// The file's contents, byte for byte as Kafka writes them.
    public var text: String {
        if let staticVoters {
            let voters = staticVoters.map { "{\"voterId\":\($0)}" }.joined(separator: ",")
            return "{\"clusterId\":\"\",\"leaderId\":\(leaderID),\"leaderEpoch\":\(leaderEpoch),\"votedId\":\(votedID),"
                + "\"appliedOffset\":0,\"currentVoters\":[\(voters)],\"data_version\":0}"
        }
        return "{\"leaderId\":\(leaderID),\"leaderEpoch\":\(leaderEpoch),\"votedId\":\(votedID),"
            + "\"votedDirectoryId\":\"\(votedDirectoryID)\",\"data_version\":1}"
    }

    /// Reads the file's contents.
    ///
    /// - Throws: `corrupt`.
    public init(text: String) throws(QuorumError) {
        guard case .object(let fields)? = JSONScanner.parse(text) else { throw .corrupt("quorum-state is no JSON object") }
        func number<Number: FixedWidthInteger>(_ name: String) throws(QuorumError) -> Number {
            guard case .number(let value)? = fields[name], let number = Number(exactly: value) else {
                throw .corrupt("quorum-state has no valid \(name)")
            }
            return number
        }
        let version: Int = try number("data_version")
        leaderID = try number("leaderId")
        leaderEpoch = try number("leaderEpoch")
        votedID = try number("votedId")
        votedDirectoryID = .zero
        switch version {
        case 0:
            var voters: [NodeID] = []
            if case .array(let entries)? = fields["currentVoters"] {
                for entry in entries {
                    guard case .object(let voter) = entry, case .number(let id)? = voter["voterId"], let id = NodeID(exactly: id) else {
                        throw .corrupt("quorum-state has a voter without an id")
                    }
                    voters.append(id)
                }
            }
            staticVoters = voters
        case 1:
            staticVoters = nil
            guard case .string(let directory)? = fields["votedDirectoryId"], let id = KafkaUUID(directory) else {
                throw .corrupt("quorum-state has no valid votedDirectoryId")
            }
            votedDirectoryID = id
        default: throw .corrupt("quorum-state has data_version \(version), which this version of the software does not know")
        }
        guard leaderEpoch >= 0 else { throw .corrupt("quorum-state has the leader epoch \(leaderEpoch)") }
    }
}
