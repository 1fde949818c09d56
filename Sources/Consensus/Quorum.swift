// The metadata quorum as a core: inputs in, effects out, nothing performed here. One member of it, voter or observer; what it does in
// each of its roles stands in the files beside this one.
import KafkaMessages
import NIOCore
import OrderedCollections
import Primitives

/// The state machine of one member of the quorum, a pure value: the same inputs lead to the same effects.
///
/// The shell calls a step, performs the effects in their order, then asks for `nextDeadline` and calls `tick` no later than then. All
/// times are milliseconds of one clock that never goes back; `clockOffset` makes the time of records of them.
///
/// Steps must not overlap: perform a step's effects, or queue them in order, before the next step. A write that fails is no step: a
/// shell that cannot perform `persist`, `append`, `appendFetched` or `truncate` must restore a copy of the value from before the step
/// (only possible if nothing of the step was sent), or stop the member.
public struct Quorum: Sendable {
    /// What this member is to the quorum.
    public enum Role: Sendable, Equatable {
        /// Knows of no leader that it can reach in its epoch; may have voted.
        case unattached
        /// Fetches from a leader, as a voter or an observer.
        case follower
        /// Asks whether the others would vote for it, in an epoch that it has not raised (KIP-996).
        case prospective
        /// Asks for votes in its own epoch.
        case candidate
        case leader
        /// Led in this epoch, or has not begun; waits for the next election.
        case resigned
    }

    public let configuration: QuorumConfiguration
    public internal(set) var role = Role.resigned
    /// The newest epoch seen.
    public internal(set) var epoch: LeaderEpoch
    /// The offset after the last committed record, as far as this member knows.
    public internal(set) var highWatermark: Offset
    /// The offset of this leader's first record: it may decide once that is committed and applied. Meaningless in other roles.
    public internal(set) var epochStartOffset: Offset = 0
    /// What to add to the steps' clock for the time of records: 0 when steps are given wall clock, which then must not go back.
    public var clockOffset: Int64 = 0

    var log: QuorumLog
    var random: SeededRandom
    /// Everything below is on this member's disk.
    var durableOffset: Offset
    var lastAppend: Timestamp = -1
    let persisted: ElectionState?

    var now: Int64 = 0
    var effects: [QuorumEffect] = []
    var isStarted = false
    /// The leader of the epoch, with where to reach it as far as known; this member itself while it leads or when it has resigned.
    var leader: KnownLeader?
    var voted: ReplicaKey?
    /// When an unattached, prospective, candidate or resigned member has waited long enough.
    var electionDeadline = Int64.max
    var votes = Votes()
    var following = Following()
    var leading = Leading()
    var resigning = Resigning()
    /// The snapshot that the shell was told to install.
    var installing: SnapshotID?
    var connections = QuorumConnections()
    var shutdownDeadline: Int64?
    var hasStopped = false

    /// - Parameters:
    ///   - persisted: the contents of quorum-state; nil when the file is missing.
    ///   - log: what the log and its newest snapshot hold.
    ///   - seed: of the random waits between elections.
    /// - Throws: `unsupportedVoters` when there is neither a voter nor a server to ask.
    public init(
        _ configuration: QuorumConfiguration, persisted: ElectionState?, log: QuorumLog, seed: UInt64 = 0
    ) throws(QuorumError) {
        self.configuration = configuration
        self.persisted = persisted
        self.log = log
        if log.epochs.isEmpty, log.endOffset > 0 {
            self.log.epochs = [EpochStart(epoch: log.lastEpoch, startOffset: log.startOffset)]
        }
        // A crash may leave older ones beside the snapshot that the log was restarted at. Followers are compared with the oldest.
        self.log.snapshots.removeAll { $0.endOffset < log.startOffset }
        random = SeededRandom(seed: seed)
        epoch = max(persisted?.leaderEpoch ?? 0, log.lastEpoch)
        durableOffset = log.endOffset
        highWatermark = log.snapshots.last?.endOffset ?? log.startOffset
        guard !voters.voters.isEmpty || !configuration.bootstrapServers.isEmpty else {
            throw .unsupportedVoters(
                "there are no voters: set controller.quorum.voters or controller.quorum.bootstrap.servers, "
                    + "or format the metadata directory with --standalone")
        }
        // The only voter needs nobody to know what is committed.
        if isSoleVoter { highWatermark = log.endOffset }
    }

    /// The offset after the last record handed to the shell.
    public var endOffset: Offset { log.endOffset }
    /// The newest voters in the log, committed or not; else those of the configuration.
    public var voters: VoterSet { log.voters ?? configuration.staticVoters ?? VoterSet([]) }
    /// Who got this member's vote in the epoch; -1 for nobody.
    public var votedID: NodeID { voted?.id ?? -1 }
    /// The directory of whoever got this member's vote; zero for nobody, or when it is not known.
    public var votedDirectoryID: KafkaUUID { voted?.directoryID ?? .zero }
    /// The epoch of the last record.
    public var lastEpoch: LeaderEpoch { log.lastEpoch }
    /// Members without a vote that fetch from this leader; nil in other roles.
    public var observerCount: Int? { role == .leader ? leading.observers.count : nil }
    /// Whether this leader has begun to change the voters and not finished; nil in other roles.
    public var isChangingVoters: Bool? { role == .leader ? leading.change != nil : nil }
    /// The level of kraft.version.
    public var kraftVersion: Int16 { log.kraftVersion }
    /// Whether this node is among the voters.
    public var isVoter: Bool { configuration.canBecomeVoter && voters.isVoter(configuration.localKey) }
    var isSoleVoter: Bool { isVoter && voters.voters.count == 1 }

    /// The leader's id, -1 when there is none.
    public var leaderID: NodeID { role == .resigned && leader?.id == configuration.localID ? -1 : leader?.id ?? -1 }

    /// Where the leader can be reached on that listener; nil when there is no leader, or it said nothing about it.
    public func leaderEndpoint(listenerName: String) -> Voter.Endpoint? {
        leaderID < 0 ? nil : leader?.endpoints.first { $0.name == listenerName }
    }

    // MARK: - Steps

    /// Begins. A sole voter leads at once, in a new epoch; others go on from what they persisted.
    public mutating func start(now: Int64) throws(QuorumError) -> [QuorumEffect] {
        precondition(!isStarted, "a member begins once")
        isStarted = true
        self.now = now
        if isSoleVoter {
            try becomeSoleLeader()
        } else {
            resumeRole()
        }
        poll()
        return takeEffects()
    }

    /// Time has passed: requests that got no answer, elections, fetches that waited long enough. May be called at any time.
    public mutating func tick(now: Int64) -> [QuorumEffect] {
        step(now) { _ in }
    }

    /// A request of another member, or of a tool that changes the voters. Answered by a `reply…` effect of this step or a later one.
    public mutating func received(_ request: QuorumRequest, _ context: QuorumRequestContext, now: Int64) -> [QuorumEffect] {
        step(now) { $0.handle(request, context) }
    }

    /// The answer to the request that was sent with this correlation.
    public mutating func received(_ response: QuorumResponse, correlation: UInt64, now: Int64) -> [QuorumEffect] {
        step(now) { quorum in
            guard let request = quorum.connections.answered(correlation) else { return }
            if !quorum.handle(response, to: request) {
                quorum.connections.backOff(request.peer.id, until: now + quorum.configuration.timing.retryBackoff)
            }
        }
    }

    /// The request that was sent with this correlation gets no answer.
    public mutating func peerFailed(_ correlation: UInt64, _ failure: QuorumPeerFailure, now: Int64) -> [QuorumEffect] {
        step(now) { quorum in
            guard let request = quorum.connections.answered(correlation) else { return }
            quorum.connections.backOff(request.peer.id, until: now + quorum.configuration.timing.retryBackoff)
            quorum.handleFailure(of: request, failure)
        }
    }

    /// The log is durable up to that offset.
    public mutating func appended(upTo offset: Offset, now: Int64) -> [QuorumEffect] {
        precondition(offset <= endOffset, "the log cannot be longer than what was appended to it")
        return step(now) { quorum in
            quorum.durableOffset = max(quorum.durableOffset, offset)
            if quorum.role == .leader { quorum.updateHighWatermark() }
        }
    }

    /// This member has written a snapshot of its own, of nothing but committed records; the log is kept at least from `startOffset` on.
    public mutating func snapshotWritten(_ id: SnapshotID, startOffset: Offset) {
        log.add(id, startOffset: startOffset)
    }

    /// The snapshot that `installSnapshot` named is in place, and the log empty and starting at its end.
    ///
    /// - Parameter controlRecords: the control records of the snapshot.
    /// - Throws: `corrupt` if they cannot be read.
    public mutating func snapshotInstalled(
        _ id: SnapshotID, controlRecords: [QuorumControlRecord], now: Int64
    ) throws(QuorumError) -> [QuorumEffect] {
        guard installing == id else { return [] }
        var history = VoterHistory()
        for record in controlRecords { try history.replay(record, at: -1) }
        return step(now) { $0.installed(id, history) }
    }

    /// The snapshot that was fetched cannot be used; it is fetched again.
    public mutating func snapshotFailed(_ id: SnapshotID, now: Int64) -> [QuorumEffect] {
        step(now) { quorum in
            if quorum.installing == id { quorum.installing = nil }
        }
    }

    /// Gives leadership up, as a controller does that cannot go on or whose disk fails. Records that were not committed stay undecided.
    public mutating func resign(now: Int64) -> [QuorumEffect] {
        step(now) { quorum in
            if quorum.role == .leader { quorum.becomeResigned() }
        }
    }

    /// Leaves in order: a leader tells the others to elect its successor. `stopped` comes when that is done or took too long.
    public mutating func shutDown(now: Int64) -> [QuorumEffect] {
        step(now) { quorum in
            quorum.shutdownDeadline = quorum.shutdownDeadline ?? now + quorum.configuration.timing.requestTimeout
        }
    }

    mutating func step(_ now: Int64, _ body: (inout Quorum) -> Void) -> [QuorumEffect] {
        self.now = max(self.now, now)
        guard isStarted, !hasStopped else { return [] }
        body(&self)
        poll()
        return takeEffects()
    }

    mutating func takeEffects() -> [QuorumEffect] {
        defer { effects = [] }
        return effects
    }

    /// A control record or batch of this member's own making that cannot be encoded is a mistake in the program, not an input.
    static func own<Value>(_ body: () throws(QuorumError) -> Value) -> Value {
        do throws(QuorumError) {
            return try body()
        } catch {
            fatalError("a control record of this member's own making cannot be written: \(error)")
        }
    }
}

/// The leader of an epoch and where it can be reached.
struct KnownLeader: Hashable, Sendable {
    var id: NodeID
    var endpoints: [Voter.Endpoint]
}
