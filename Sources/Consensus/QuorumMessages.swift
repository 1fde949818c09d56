// What members of the quorum send each other: Kafka's own messages, with what a member must know about where they came from.
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

/// A node that requests go to: a voter, the leader, or a bootstrap server whose id is not known and stands below -1.
public struct QuorumPeer: Hashable, Sendable {
    public var id: NodeID
    public var host: String
    public var port: UInt16

    public init(id: NodeID, host: String, port: UInt16) {
        self.id = id
        self.host = host
        self.port = port
    }
}

/// A replica of the metadata log: a node and the directory that its log is in. The zero directory stands for any.
public struct ReplicaKey: Hashable, Sendable, CustomStringConvertible {
    public var id: NodeID
    public var directoryID: KafkaUUID

    public init(id: NodeID, directoryID: KafkaUUID = .zero) {
        self.id = id
        self.directoryID = directoryID
    }

    public var description: String { directoryID == .zero ? "\(id)" : "\(id)-\(directoryID)" }
}

/// A request between members, or of a tool that changes the voters.
public enum QuorumRequest: Sendable {
    case vote(VoteRequest)
    case beginQuorumEpoch(BeginQuorumEpochRequest)
    case endQuorumEpoch(EndQuorumEpochRequest)
    case fetch(FetchRequest)
    case fetchSnapshot(FetchSnapshotRequest)
    case addRaftVoter(AddRaftVoterRequest)
    case removeRaftVoter(RemoveRaftVoterRequest)
    case updateRaftVoter(UpdateRaftVoterRequest)
    /// Only ever sent: what level of kraft.version a new voter works with.
    case apiVersions(ApiVersionsRequest)

    public var apiKey: ApiKey {
        switch self {
        case .vote: .vote
        case .beginQuorumEpoch: .beginQuorumEpoch
        case .endQuorumEpoch: .endQuorumEpoch
        case .fetch: .fetch
        case .fetchSnapshot: .fetchSnapshot
        case .addRaftVoter: .addRaftVoter
        case .removeRaftVoter: .removeRaftVoter
        case .updateRaftVoter: .updateRaftVoter
        case .apiVersions: .apiVersions
        }
    }
}

/// The answer to a `QuorumRequest`.
public enum QuorumResponse: Sendable {
    case vote(VoteResponse)
    case beginQuorumEpoch(BeginQuorumEpochResponse)
    case endQuorumEpoch(EndQuorumEpochResponse)
    case fetch(FetchResponse)
    case fetchSnapshot(FetchSnapshotResponse)
    case addRaftVoter(AddRaftVoterResponse)
    case removeRaftVoter(RemoveRaftVoterResponse)
    case updateRaftVoter(UpdateRaftVoterResponse)
    case apiVersions(ApiVersionsResponse)
}

/// Where a request came from, as far as its answer depends on it.
public struct QuorumRequestContext: Hashable, Sendable {
    /// The shell's own name for the request; comes back with the answer. Never used twice.
    public var token: UInt64
    /// The version of the request, which is that of the answer.
    public var version: Int16
    /// The listener that it came in by; endpoints in the answer are those of the same listener.
    public var listenerName: String

    public init(token: UInt64, version: Int16, listenerName: String) {
        self.token = token
        self.version = version
        self.listenerName = listenerName
    }
}

/// Why a request got no answer.
public enum QuorumPeerFailure: Hashable, Sendable {
    /// The connection could not be made, or closed before the answer came.
    case disconnected
    /// No answer in time.
    case timedOut
    /// The peer offers no version that can say this. A vote is then asked for without a vote on it first.
    case unsupportedVersion
}
