// One partition's replica on one node: whether it leads, how far its followers are, which replicas are in sync, and from that how far
// the high watermark may go. Decides only; the log belongs to the caller, which passes in where it stands.
//
// The invariant: no record below the high watermark is missing on a replica that could be elected cleanly. Hence the high watermark
// waits for the maximal ISR (KIP-497): the committed one, and a replica that is being added, whether or not the controller agreed yet.
import Primitives

/// What a new assignment made of a replica.
public enum ReplicaRoleChange: Sendable, Hashable {
    /// Older than what is known, or the same.
    case unchanged
    /// Leads. With `isNewEpoch` the epoch begins at the log's end and must be noted there.
    case leads(isNewEpoch: Bool)
    /// Follows, or waits for a leader to be elected. With `isNewEpoch` fetching begins anew.
    case follows(isNewEpoch: Bool)
}

/// Why a follower's fetch is not accepted.
public enum FollowerFetchFailure: Error, Sendable, Hashable {
    case notLeader
    /// Not a replica of the partition as far as is known here.
    case unknownReplica
    /// From an earlier registration of the same broker.
    case staleBroker
}

/// Why a request that names the leader epoch it believes in is not served (KIP-320).
public enum LeaderEpochFailure: Error, Sendable, Hashable {
    case notLeader
    /// The partition has had a newer leader since.
    case fenced
    /// Newer than what is known here: the metadata is still on its way.
    case unknown
}

/// How records that wait for their replicas have fared.
public enum ReplicationProgress: Sendable, Hashable {
    case waiting
    case done
    /// Committed, but by fewer replicas than the topic demands.
    case notEnoughReplicas
    /// Another leader decides now what becomes of them.
    case notLeader
    /// The log's directory has failed; the shell says so, the core does not know directories.
    case offline
}

/// One partition's replica.
public struct PartitionReplica: Sendable {
    public let id: NodeID
    public private(set) var assignment: PartitionAssignment
    /// The in-sync replicas that the controller has committed, as far as is known here; empty on followers.
    public private(set) var isr: [NodeID] = []
    /// The change that is being asked for.
    public private(set) var proposal: InSyncReplicasProposal?
    /// The other replicas, in the order of the assignment; empty on followers.
    public private(set) var followers: [RemoteReplica] = []
    public private(set) var isLeader = false
    /// Where the leader's epoch began in its log.
    public private(set) var leaderEpochStartOffset: Offset = 0
    /// Grows with every step from follower to leader: what was appended in one term may be gone in the next.
    public private(set) var term: UInt64 = 0
    private var proposals: UInt64 = 0

    public init(id: NodeID) {
        self.id = id
        assignment = PartitionAssignment(replicas: [], isr: [], leader: -1, leaderEpoch: -1, partitionEpoch: -1)
    }

    public var leaderEpoch: LeaderEpoch { assignment.leaderEpoch }

    /// Kafka takes the replication factor for the minimum when a topic demands more replicas in sync than it has.
    public func effectiveMinimum(_ minimumInSync: Int) -> Int { min(minimumInSync, followers.count + 1) }

    public func isUnderMinimum(_ minimumInSync: Int) -> Bool { isr.count < effectiveMinimum(minimumInSync) }

    /// How many replicas the maximal ISR has.
    public var maximalISRCount: Int {
        guard let proposal, proposal.isExpansion else { return isr.count }
        return proposal.members.count
    }

    /// Whether the high watermark must wait for the replica: it is in sync, or about to be.
    public func isInMaximalISR(_ replica: NodeID) -> Bool {
        if isr.contains(replica) { return true }
        guard let proposal, proposal.isExpansion else { return false }
        return proposal.members.contains { $0.id == replica }
    }

    // MARK: Assignment

    /// Takes over what the metadata log says.
    public mutating func apply(_ new: PartitionAssignment, log: ReplicaLogOffsets, now: Int64) -> ReplicaRoleChange {
        // The same epoch may come twice: first from the controller's answer to a proposal, then with the metadata, which may hold more.
        if new.partitionEpoch < assignment.partitionEpoch || new.leaderEpoch < assignment.leaderEpoch { return .unchanged }
        if new == assignment, !isLeader || (isr == new.isr) { return .unchanged }
        let isNewEpoch = new.leaderEpoch > assignment.leaderEpoch
        if new.leader == id {
            lead(new, isNewEpoch: isNewEpoch, log: log, now: now)
            return .leads(isNewEpoch: isNewEpoch)
        }
        assignment = new
        isLeader = false
        isr = []
        proposal = nil
        followers = []
        return .follows(isNewEpoch: isNewEpoch)
    }

    private mutating func lead(_ new: PartitionAssignment, isNewEpoch: Bool, log: ReplicaLogOffsets, now: Int64) {
        let isNewLeader = !isLeader
        let known = followers
        followers = []
        for replica in new.replicas where replica != id {
            var follower = known.first { $0.id == replica } ?? RemoteReplica(id: replica)
            // Put out by the controller, as when its directory failed: not waited for until it shows itself again.
            if isr.contains(replica), !new.isr.contains(replica) { follower.forgetCaughtUp() }
            followers.append(follower)
        }
        assignment = new
        isr = new.isr
        proposal = nil
        isLeader = true
        if isNewLeader { term += 1 }
        guard isNewEpoch || isNewLeader else { return }
        leaderEpochStartOffset = log.endOffset
        for index in followers.indices {
            followers[index].reset(
                now: now, leaderEndOffset: log.endOffset, isNewLeader: isNewLeader, isInSync: isr.contains(followers[index].id))
        }
    }

    /// The leader's own log was cut, as that of a mirror may be: what followers were seen to have may be gone with it.
    public mutating func logWasCut(to offset: Offset) {
        leaderEpochStartOffset = min(leaderEpochStartOffset, offset)
        for index in followers.indices { followers[index].forgetProgress() }
    }

    /// The replica is gone from this node.
    public mutating func remove() {
        isLeader = false
        isr = []
        proposal = nil
        followers = []
        assignment.leader = -1
    }

    // MARK: High watermark

    /// Where the leader's high watermark can go; nil when it stays.
    public func advancedHighWatermark(
        log: ReplicaLogOffsets, minimumInSync: Int, lagMilliseconds: Int64, live: LiveBrokers, now: Int64
    ) -> Offset? {
        guard isLeader, !isUnderMinimum(minimumInSync) else { return nil }
        var offset = log.endOffset
        for follower in followers where follower.logEndOffset < offset {
            // One that is about to join is waited for too: the high watermark would run away from it for ever.
            if isInMaximalISR(follower.id)
                || (follower.isCaughtUp(leaderEndOffset: log.endOffset, now: now, lagMilliseconds: lagMilliseconds)
                    && live.isEligible(follower.id, brokerEpoch: follower.brokerEpoch))
            {
                offset = follower.logEndOffset
            }
        }
        return offset > log.highWatermark ? offset : nil
    }

    /// The smallest log start of the live replicas (DeleteRecords, KIP-107).
    public func lowWatermark(log: ReplicaLogOffsets, live: LiveBrokers) -> Offset {
        var offset = log.startOffset
        for follower in followers where live[follower.id] != nil { offset = min(offset, follower.logStartOffset) }
        return offset
    }

    /// Whether everything below `offset`, appended in `term`, is committed.
    public func progress(of offset: Offset, term: UInt64, highWatermark: Offset, minimumInSync: Int) -> ReplicationProgress {
        guard isLeader, self.term == term else { return .notLeader }
        guard highWatermark >= offset else { return .waiting }
        return maximalISRCount >= effectiveMinimum(minimumInSync) ? .done : .notEnoughReplicas
    }

    /// Whether this leader knows how much is committed. Until its high watermark has reached its own epoch, the one it knows may be
    /// behind one that consumers have seen (KIP-207).
    public func knowsCommitted(highWatermark: Offset) -> Bool { highWatermark >= leaderEpochStartOffset }

    /// Whether a request may be served that believes in that leader epoch, -1 for none.
    public func check(currentLeaderEpoch: LeaderEpoch, onlyLeader: Bool) throws(LeaderEpochFailure) {
        if currentLeaderEpoch >= 0 {
            if currentLeaderEpoch < leaderEpoch { throw .fenced }
            if currentLeaderEpoch > leaderEpoch { throw .unknown }
        }
        if onlyLeader && !isLeader { throw .notLeader }
    }

    // MARK: Followers

    /// Whether a fetch of this replica may be served.
    public func checkFetch(from replica: NodeID, brokerEpoch: Int64, live: LiveBrokers) throws(FollowerFetchFailure) {
        guard isLeader else { throw .notLeader }
        guard let follower = followers.first(where: { $0.id == replica }) else { throw .unknownReplica }
        guard brokerEpoch != -1 else { return }
        if let known = follower.brokerEpoch, known > brokerEpoch { throw .staleBroker }
        if let current = live[replica], current > brokerEpoch { throw .staleBroker }
    }

    /// Notes a follower's fetch that was checked and did not diverge.
    /// - Parameter log: as it was before the read.
    public mutating func followerFetched(
        _ replica: NodeID, offset: Offset, startOffset: Offset, brokerEpoch: Int64, log: ReplicaLogOffsets, now: Int64
    ) {
        guard let index = followers.firstIndex(where: { $0.id == replica }) else { return }
        followers[index].fetched(
            offset: offset, startOffset: startOffset, brokerEpoch: brokerEpoch, leaderEndOffset: log.endOffset, now: now)
    }

    // MARK: In-sync replicas

    /// A proposal to let the replica in, if it has caught up with the high watermark and with this leader's own epoch: before that it
    /// could be elected without records that were committed but not known to be so by this leader.
    public mutating func proposeExpansion(_ replica: NodeID, log: ReplicaLogOffsets, live: LiveBrokers) -> InSyncReplicasProposal? {
        guard isLeader, proposal == nil, !isr.contains(replica), let follower = followers.first(where: { $0.id == replica }),
            follower.logEndOffset >= log.highWatermark, follower.logEndOffset >= leaderEpochStartOffset,
            live.isEligible(replica, brokerEpoch: follower.brokerEpoch)
        else { return nil }
        return propose(isr + [replica], isExpansion: true)
    }

    /// A proposal to put out the replicas that were behind for longer than `replica.lag.time.max.ms`.
    public mutating func proposeShrink(log: ReplicaLogOffsets, lagMilliseconds: Int64, now: Int64) -> InSyncReplicasProposal? {
        guard isLeader, proposal == nil else { return nil }
        let remaining = isr.filter { replica in
            if replica == id { return true }
            guard let follower = followers.first(where: { $0.id == replica }) else { return false }
            return follower.isCaughtUp(leaderEndOffset: log.endOffset, now: now, lagMilliseconds: lagMilliseconds)
        }
        return remaining.count < isr.count ? propose(remaining, isExpansion: false) : nil
    }

    private mutating func propose(_ members: [NodeID], isExpansion: Bool) -> InSyncReplicasProposal {
        proposals += 1
        let proposed = InSyncReplicasProposal(
            number: proposals, leaderEpoch: assignment.leaderEpoch, partitionEpoch: assignment.partitionEpoch,
            members: members.map { member in
                .init(id: member, brokerEpoch: followers.first { $0.id == member }?.brokerEpoch ?? -1)
            }, isExpansion: isExpansion)
        proposal = proposed
        return proposed
    }

    /// Takes the controller's answer. After `.committed` the high watermark may be able to advance.
    public mutating func answered(_ sent: InSyncReplicasProposal, _ answer: InSyncReplicasAnswer) -> InSyncReplicasOutcome {
        guard let proposal, proposal.number == sent.number else { return .ignored }
        switch answer {
        case .committed(let leaderEpoch, let partitionEpoch, let isr):
            guard leaderEpoch == assignment.leaderEpoch, partitionEpoch >= assignment.partitionEpoch else { return .ignored }
            self.isr = isr
            assignment.isr = isr
            assignment.partitionEpoch = partitionEpoch
            self.proposal = nil
            return .committed
        case .refused:
            self.proposal = nil
            return .withdrawn
        case .outdated: return .awaitsMetadata
        case .failed: return .sendAgain
        }
    }
}
