// What a member of the quorum knows before it reads its log: who it is, whom it may ask, and how patient it is.
import NIOCore
import Primitives

/// How long a member waits, in milliseconds; Kafka's defaults.
public struct QuorumTiming: Hashable, Sendable {
    /// `controller.quorum.election.timeout.ms`: base of the randomized wait for an election's outcome, or for a leader.
    public var electionTimeout: Int64 = 1000
    /// `controller.quorum.election.backoff.max.ms`: how long a successor of low preference holds back.
    public var electionBackoffMaximum: Int64 = 1000
    /// `controller.quorum.fetch.timeout.ms`: a follower that hears nothing for so long stands for election.
    public var fetchTimeout: Int64 = 2000
    /// `controller.quorum.request.timeout.ms`: when a request counts as lost.
    public var requestTimeout: Int64 = 2000
    /// `controller.quorum.retry.backoff.ms`: pause after a failed request to the same member.
    public var retryBackoff: Int64 = 20
    /// How long the leader may hold a fetch back while there is nothing to send.
    public var fetchMaximumWait: Int64 = 500

    public init() {}
}

/// What the node knows about itself and its fellow voters before the log is read.
public struct QuorumConfiguration: Sendable {
    /// A server of `controller.quorum.bootstrap.servers`.
    public struct Server: Hashable, Sendable {
        public var host: String
        public var port: UInt16

        public init(host: String, port: UInt16) {
            self.host = host
            self.port = port
        }
    }

    public var localID: NodeID
    /// The id of the directory that holds the metadata log.
    public var localDirectoryID: KafkaUUID
    /// Where this node's controller listens, as written for dynamic voters. The first is the one that quorum requests go to.
    public var localEndpoints: [Voter.Endpoint]
    /// `controller.quorum.voters`; nil when the voters are dynamic.
    public var staticVoters: VoterSet?
    /// `controller.quorum.bootstrap.servers`: where a leader is looked for besides the voters.
    public var bootstrapServers: [Server] = []
    /// False for a node without the role of a controller: it only ever observes.
    public var canBecomeVoter = true
    /// `controller.quorum.auto.join.enable`: whether this node adds itself to the voters once it follows the leader.
    public var joinsAutomatically = false
    /// Sent along with requests and compared with those that come; nil for no check.
    public var clusterID: String?
    public var timing = QuorumTiming()
    /// The levels of kraft.version that this software works with.
    public var supportedKraftVersions: ClosedRange<Int16> = 0...1
    /// Batches are split above this size; atomic ones are refused. Kafka's own limit is 8 MiB.
    public var maximumBatchBytes = 8 << 20
    /// How much one fetch asks for and one answer holds.
    public var maximumFetchBytes: Int32 = 8 << 20
    /// Fetches that the leader holds back at the same time; more are answered at once.
    public var maximumWaitingFetches = 10_000

    public init(localID: NodeID, localDirectoryID: KafkaUUID, localEndpoints: [Voter.Endpoint], staticVoters: VoterSet?) {
        self.localID = localID
        self.localDirectoryID = localDirectoryID
        self.localEndpoints = localEndpoints
        self.staticVoters = staticVoters
    }

    /// The listener that quorum requests go to; endpoints of voters are chosen by its name.
    public var listenerName: String { localEndpoints.first?.name ?? "CONTROLLER" }

    var localKey: ReplicaKey { ReplicaKey(id: localID, directoryID: localDirectoryID) }
}
