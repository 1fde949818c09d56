// The metadata quorum as a core: inputs in, effects out, nothing performed here. One voter is the case served now; with more voters
// the same effects will be joined by messages to send and timers to set, and `append` will commit when followers have fetched.
import KafkaRecords
import NIOCore
import Primitives
import RecordBatches

/// What the node knows about itself and its fellow voters before the log is read.
public struct QuorumConfiguration: Sendable {
    public var localID: NodeID
    /// The id of the directory that holds the metadata log.
    public var localDirectoryID: KafkaUUID
    /// Where this node's controller listens, as written for dynamic voters.
    public var localEndpoints: [Voter.Endpoint]
    /// `controller.quorum.voters`; nil when the voters are dynamic.
    public var staticVoters: VoterSet?
    /// Batches are split above this size; atomic ones are refused. Kafka's own limit is 8 MiB.
    public var maximumBatchBytes = 8 << 20

    public init(localID: NodeID, localDirectoryID: KafkaUUID, localEndpoints: [Voter.Endpoint], staticVoters: VoterSet?) {
        self.localID = localID
        self.localDirectoryID = localDirectoryID
        self.localEndpoints = localEndpoints
        self.staticVoters = staticVoters
    }
}

/// What the log and its newest snapshot say when the node starts.
public struct QuorumLog: Sendable {
    /// The offset after the last record.
    public var endOffset: Offset
    /// The leader epoch of the last record; 0 for an empty log.
    public var lastEpoch: LeaderEpoch
    /// The level of kraft.version in the newest control record.
    public var kraftVersion: Int16 = 0
    /// The voters in the newest control record.
    public var voters: VoterSet?
    /// True when the voters stand only in the snapshot that formatting wrote, so that the first leader must log them.
    public var votersAreOnlyInBootstrapSnapshot = false

    public init(endOffset: Offset, lastEpoch: LeaderEpoch) {
        self.endOffset = endOffset
        self.lastEpoch = lastEpoch
    }

    /// Takes note of a control record, in log order.
    public mutating func replay(_ record: QuorumControlRecord, inBootstrapSnapshot: Bool = false) throws(QuorumError) {
        switch record {
        case .kraftVersion(let message):
            kraftVersion = message.kRaftVersion
        case .voters(let message):
            voters = try VoterSet(message)
            votersAreOnlyInBootstrapSnapshot = inBootstrapSnapshot
        case .leaderChange, .snapshotHeader, .snapshotFooter: break
        }
    }
}

/// What the shell has to do, in this order.
public enum QuorumEffect: Sendable {
    /// Write the file quorum-state and make it durable before anything that follows.
    case persist(ElectionState)
    /// Append this batch; it has its offsets and epoch. Make it durable, then report `appended(upTo:)`.
    case append(ByteBuffer)
    /// Everything below the offset is committed: it may be applied, and answers that waited for it may go out.
    case commit(upTo: Offset)
    /// This node leads from now on.
    case lead(LeaderEpoch)
    /// This node leads no longer.
    case resign
}

/// The state machine of one member of the quorum.
public struct Quorum: Sendable {
    /// What this member is to the quorum.
    public enum Role: Sendable, Equatable {
        /// Led before, or has not begun; waits for an election.
        case resigned
        case leader
    }

    public let configuration: QuorumConfiguration
    public private(set) var role = Role.resigned
    /// The newest epoch seen.
    public private(set) var epoch: LeaderEpoch
    public private(set) var voters: VoterSet
    public private(set) var kraftVersion: Int16
    /// The offset after the last record handed to the shell.
    public private(set) var endOffset: Offset
    /// The offset after the last committed record.
    public private(set) var highWatermark: Offset
    private var mustLogVoters: Bool
    private var lastAppend: Timestamp = -1

    /// - Parameters:
    ///   - persisted: the contents of quorum-state; nil when the file is missing.
    ///   - log: what the log and its newest snapshot hold.
    /// - Throws: `unsupportedVoters` when there is no voter set, or one that this member cannot serve alone.
    public init(_ configuration: QuorumConfiguration, persisted: ElectionState?, log: QuorumLog) throws(QuorumError) {
        guard let voters = log.voters ?? configuration.staticVoters else {
            throw .unsupportedVoters(
                "there are no voters: set controller.quorum.voters, or format the metadata directory with --standalone")
        }
        guard voters.contains(configuration.localID) else {
            throw .unsupportedVoters("node \(configuration.localID) is not among the voters \(voters.voters.keys.elements)")
        }
        guard voters.isSoleVoter(configuration.localID) else {
            throw .unsupportedVoters(
                "the metadata quorum has the voters \(voters.voters.keys.elements); a quorum of several voters is not supported yet")
        }
        self.configuration = configuration
        self.voters = voters
        kraftVersion = log.kraftVersion
        mustLogVoters = log.votersAreOnlyInBootstrapSnapshot
        epoch = max(persisted?.leaderEpoch ?? 0, log.lastEpoch)
        endOffset = log.endOffset
        highWatermark = log.endOffset
    }

    /// The leader's id, -1 when there is none.
    public var leaderID: NodeID { role == .leader ? configuration.localID : -1 }

    /// Elects this member, the only voter: a new epoch, begun with a leader change record (KIP-595).
    public mutating func start(now: Timestamp) throws(QuorumError) -> [QuorumEffect] {
        precondition(role == .resigned, "elected only once per epoch")
        epoch += 1
        role = .leader
        let state = ElectionState(
            leaderID: configuration.localID, leaderEpoch: epoch,
            staticVoters: kraftVersion == 0 ? Array(voters.voters.keys) : nil)
        let batch = try QuorumControlRecord.batch(startOfEpoch(), baseOffset: endOffset, epoch: epoch, timestamp: now)
        let count = try Self.count(batch)
        endOffset += count
        lastAppend = now
        return [.persist(state), .append(batch), .lead(epoch)]
    }

    /// The control records that open an epoch. Dynamic voters are logged when they never were, or when this node moved.
    private mutating func startOfEpoch() -> [QuorumControlRecord] {
        var message = LeaderChangeMessage()
        message.leaderId = configuration.localID
        message.voters = voters.voters.keys.map { id in
            var voter = LeaderChangeMessage.Voter()
            voter.voterId = id
            return voter
        }
        message.grantingVoters = message.voters
        var records = [QuorumControlRecord.leaderChange(message)]
        guard kraftVersion > 0, let local = voters.voters[configuration.localID] else { return records }
        let hasMoved = !configuration.localEndpoints.isEmpty && local.endpoints != configuration.localEndpoints
        if mustLogVoters || hasMoved {
            if hasMoved {
                var moved = local
                moved.endpoints = configuration.localEndpoints
                voters = VoterSet([moved])
            }
            var version = KRaftVersionRecord()
            version.kRaftVersion = kraftVersion
            records += [.kraftVersion(version), .voters(voters.record())]
            mustLogVoters = false
        }
        return records
    }

    /// Hands records to the log, in one batch if `isAtomic`, else in as few as their size allows.
    ///
    /// - Parameter values: the records, each as it is stored.
    /// - Throws: `notLeader`; `batchTooLarge` for an atomic batch beyond the limit. Nothing changes then.
    public mutating func append(_ values: [ByteBuffer], isAtomic: Bool, now: Timestamp) throws(QuorumError) -> [QuorumEffect] {
        guard role == .leader else { throw .notLeader }
        guard !values.isEmpty else { return [] }
        // Records of one epoch keep their order in time even if the clock is set back.
        let timestamp = max(now, lastAppend)
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

    private static func count(_ batch: ByteBuffer) throws(QuorumError) -> Offset {
        do throws(RecordBatchError) {
            return Offset(try RecordBatchHeader(from: batch).recordCount)
        } catch {
            throw .corrupt("a batch cannot be read: \(error)")
        }
    }

    /// The log is durable up to that offset. The only voter needs nobody else to commit it.
    public mutating func appended(upTo offset: Offset) -> [QuorumEffect] {
        precondition(offset <= endOffset, "the log cannot be longer than what was appended to it")
        guard role == .leader, offset > highWatermark else { return [] }
        highWatermark = offset
        return [.commit(upTo: offset)]
    }

    /// Gives leadership up, as a node does that stops or whose disk fails. Records that were not committed stay undecided.
    public mutating func resign() -> [QuorumEffect] {
        guard role == .leader else { return [] }
        role = .resigned
        return [.resign]
    }

    /// The control records of a snapshot's first batch.
    public func snapshotHeader(lastContainedTimestamp: Timestamp) -> [QuorumControlRecord] {
        Self.snapshotHeader(
            lastContainedTimestamp: lastContainedTimestamp, kraftVersion: kraftVersion, voters: kraftVersion > 0 ? voters : nil)
    }

    /// The control records of a snapshot's first batch: dynamic voters stand in every snapshot, for the log before it may be gone.
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
