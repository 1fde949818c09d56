// The metadata quorum as a core: inputs in, effects out, nothing performed here. One member of it, voter or observer; what it does in
// each of its roles stands in the files beside this one.
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import RecordBatches

/// The state machine of one member of the quorum, a pure value: the same inputs lead to the same effects.
///
/// The shell calls a step, performs the effects in their order, then asks for `nextDeadline` and calls `tick` no later than then. All
/// times are milliseconds of one clock that never goes back, but for record timestamps: `clockOffset` makes those of it.
///
/// Steps must not overlap: perform a step's effects, or queue them in order, before the next step. A write that fails is no step: a
/// shell that cannot perform `persist`, `append`, `appendFetched` or `truncate` must restore a copy of the value from before the step
/// (only possible if nothing of the step was sent), or stop the member.
public struct Quorum: Sendable {
    /// What this member is to the quorum.
    public enum Role: Sendable, Equatable {
        /// Knows of no leader in its epoch; may have voted.
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
    /// The offset after the last record handed to the shell.
    public internal(set) var endOffset: Offset
    /// The offset after the last committed record, as far as this member knows.
    public internal(set) var highWatermark: Offset
    /// The offset of this leader's first record: it may decide once that is committed and applied. Meaningless in other roles.
    public internal(set) var epochStartOffset: Offset = 0
    /// What to add to the steps' clock for the time of records: 0 when steps are given wall clock, which then must not go back.
    public var clockOffset: Int64 = 0

    /// - Parameters:
    ///   - persisted: the contents of quorum-state; nil when the file is missing.
    ///   - log: what the log and its newest snapshot hold.
    ///   - seed: of the random waits between elections.
    /// - Throws: `unsupportedVoters` when there is neither a voter nor a server to ask.
    public init(
        _ configuration: QuorumConfiguration, persisted: ElectionState?, log: QuorumLog, seed: UInt64 = 0
    ) throws(QuorumError) {
        self.configuration = configuration
        self.log = log
        random = SeededRandom(seed: seed)
        epoch = max(persisted?.leaderEpoch ?? 0, log.lastEpoch)
        endOffset = log.endOffset
        durableOffset = log.endOffset
        highWatermark = log.snapshots.last?.endOffset ?? log.startOffset
        guard !voters.voters.isEmpty || !configuration.bootstrapServers.isEmpty else {
            throw .unsupportedVoters(
                "there are no voters: set controller.quorum.voters or controller.quorum.bootstrap.servers, "
                    + "or format the metadata directory with --standalone")
        }
        // The only voter needs nobody to know what is committed.
        if isSoleVoter { highWatermark = endOffset }
    }

    var log: QuorumLog
    var random: SeededRandom
    var durableOffset: Offset
    var lastAppend: Timestamp = -1

    /// The newest voters in the log, committed or not; else those of the configuration.
    public var voters: VoterSet { log.voters ?? configuration.staticVoters ?? VoterSet([]) }
    /// The level of kraft.version.
    public var kraftVersion: Int16 { log.kraftVersion }
    /// The leader's id, -1 when there is none.
    public var leaderID: NodeID { role == .leader ? configuration.localID : -1 }
    /// Where the leader can be reached on that listener; nil when there is none, or it said nothing about it.
    public func leaderEndpoint(listenerName: String) -> Voter.Endpoint? { nil }
    /// Whether this node is among the voters.
    public var isVoter: Bool { configuration.canBecomeVoter && voters.contains(configuration.localID) }
    var isSoleVoter: Bool { configuration.canBecomeVoter && voters.isSoleVoter(configuration.localID) }

    /// When `tick` is due, if nothing happens before.
    public var nextDeadline: Int64? { nil }

    /// Begins. A sole voter leads at once, in a new epoch; others wait for a leader first.
    public mutating func start(now: Int64) throws(QuorumError) -> [QuorumEffect] {
        guard isSoleVoter else { return [] }
        epoch += 1
        role = .leader
        epochStartOffset = endOffset
        let state = ElectionState(
            leaderID: configuration.localID, leaderEpoch: epoch,
            staticVoters: kraftVersion == 0 ? Array(voters.voters.keys) : nil)
        let batch = try QuorumControlRecord.batch(startOfEpoch(), baseOffset: endOffset, epoch: epoch, timestamp: now)
        endOffset += 1
        lastAppend = now
        return [.persist(state), .append(batch), .lead(epoch)]
    }

    private mutating func startOfEpoch() -> [QuorumControlRecord] {
        var message = LeaderChangeMessage()
        message.leaderId = configuration.localID
        return [QuorumControlRecord.leaderChange(message)]
    }

    /// Time has passed: requests that got no answer, elections, fetches that waited long enough. May be called at any time.
    public mutating func tick(now: Int64) -> [QuorumEffect] { [] }

    /// A request of another member, or of a tool that changes the voters. Answered by a `reply…` effect of this step or a later one.
    public mutating func received(_ request: QuorumRequest, _ context: QuorumRequestContext, now: Int64) -> [QuorumEffect] { [] }

    /// The answer to the request that was sent with this correlation.
    public mutating func received(_ response: QuorumResponse, correlation: UInt64, now: Int64) -> [QuorumEffect] { [] }

    /// The request that was sent with this correlation gets no answer.
    public mutating func peerFailed(_ correlation: UInt64, _ failure: QuorumPeerFailure, now: Int64) -> [QuorumEffect] { [] }

    /// The log is durable up to that offset.
    public mutating func appended(upTo offset: Offset, now: Int64) -> [QuorumEffect] {
        guard role == .leader, offset > highWatermark else { return [] }
        highWatermark = offset
        return [.commit(upTo: offset)]
    }

    /// This member has written a snapshot of its own, of nothing but committed records; the log is kept at least from `startOffset` on.
    public mutating func snapshotWritten(_ id: SnapshotID, startOffset: Offset) {}

    /// The snapshot that `installSnapshot` named is in place, and the log empty and starting at its end.
    ///
    /// - Parameter controlRecords: the control records of the snapshot.
    public mutating func snapshotInstalled(_ id: SnapshotID, controlRecords: [QuorumControlRecord], now: Int64) throws(QuorumError)
        -> [QuorumEffect]
    { [] }

    /// The snapshot that was fetched cannot be used; it is fetched again.
    public mutating func snapshotFailed(_ id: SnapshotID, now: Int64) -> [QuorumEffect] { [] }

    /// Gives leadership up, as a controller does that cannot go on or whose disk fails. Records that were not committed stay undecided.
    public mutating func resign(now: Int64) -> [QuorumEffect] {
        guard role == .leader else { return [] }
        role = .resigned
        return [.resign]
    }

    /// Leaves in order: a leader tells the others to elect its successor. `stopped` comes when that is done or took too long.
    public mutating func shutDown(now: Int64) -> [QuorumEffect] { [.stopped] }

    /// Hands records to the log, in one batch if `isAtomic`, else in as few as their size allows. The shell may collect records for
    /// `controller.quorum.append.linger.ms` before it calls this.
    ///
    /// - Parameter values: the records, each as it is stored.
    /// - Throws: `notLeader`; `batchTooLarge` for an atomic batch beyond the limit. Nothing changes then.
    public mutating func append(_ values: [ByteBuffer], isAtomic: Bool, now: Int64) throws(QuorumError) -> [QuorumEffect] {
        guard role == .leader else { throw .notLeader }
        guard !values.isEmpty else { return [] }
        // Records of one epoch keep their order in time even if the clock is set back.
        let timestamp = max(now + clockOffset, lastAppend)
        var batches: [QuorumEffect] = []
        var offset = endOffset
        var builder = makeBuilder(at: offset, timestamp)
        for value in values {
            let size = builder.uncompressedSize + RecordBatchBuilder.sizeUpperBound(key: nil, value: value)
            if !builder.isEmpty, size > configuration.maximumBatchBytes {
                if isAtomic { throw .batchTooLarge(size: size, limit: configuration.maximumBatchBytes) }
                batches.append(.append(try Self.build(builder)))
                builder = makeBuilder(at: offset, timestamp)
            }
            builder.append(timestamp: timestamp, key: nil, value: value)
            offset += 1
        }
        batches.append(.append(try Self.build(builder)))
        endOffset = offset
        lastAppend = timestamp
        return batches
    }

    private func makeBuilder(at offset: Offset, _ timestamp: Timestamp) -> RecordBatchBuilder {
        var builder = RecordBatchBuilder(baseOffset: offset, baseTimestamp: timestamp)
        builder.partitionLeaderEpoch = epoch
        return builder
    }

    private static func build(_ builder: consuming RecordBatchBuilder) throws(QuorumError) -> ByteBuffer {
        do throws(RecordBatchError) {
            return try builder.build()
        } catch {
            throw .corrupt("a batch cannot be built: \(error)")
        }
    }

    /// The control records of a snapshot's first batch: dynamic voters stand in every snapshot, for the log before it may be gone.
    ///
    /// - Parameter endOffset: where the snapshot ends; voters set behind that do not belong into it.
    public func snapshotHeader(endOffset: Offset = .max, lastContainedTimestamp: Timestamp) -> [QuorumControlRecord] {
        let state = log.history.state(before: endOffset)
        return Self.snapshotHeader(
            lastContainedTimestamp: lastContainedTimestamp, kraftVersion: state.kraftVersion, voters: state.voters)
    }

    /// The control records of a snapshot's first batch.
    public static func snapshotHeader(
        lastContainedTimestamp: Timestamp, kraftVersion: Int16, voters: VoterSet?
    ) -> [QuorumControlRecord] {
        var header = SnapshotHeaderRecord()
        header.lastContainedLogTimestamp = lastContainedTimestamp
        var records = [QuorumControlRecord.snapshotHeader(header)]
        if kraftVersion > 0 {
            var version = KRaftVersionRecord()
            version.kRaftVersion = kraftVersion
            records.append(.kraftVersion(version))
            if let voters { records.append(.voters(voters.record())) }
        }
        return records
    }
}
