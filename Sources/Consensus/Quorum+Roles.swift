// How a member comes from one role to another, and what it persists on the way. Only here do epoch, role, leader and vote change.
import KafkaRecords
import OrderedCollections
import Primitives

/// The answers of an election.
struct Votes: Sendable {
    /// Nil while a voter has not answered.
    private(set) var answers: OrderedDictionary<NodeID, Bool?> = [:]

    init() {}

    init(among voters: VoterSet, grantedBy id: NodeID) {
        for voter in voters.voters.keys { answers.updateValue(voter == id ? true : nil, forKey: voter) }
    }

    mutating func record(_ isGranted: Bool, from id: NodeID) {
        if answers.keys.contains(id) { answers.updateValue(isGranted, forKey: id) }
    }

    var majority: Int { answers.count / 2 + 1 }
    var granting: [NodeID] { answers.filter { $0.value == true }.map(\.key) }
    var unanswered: [NodeID] { answers.filter { $0.value == nil }.map(\.key) }
    var isGranted: Bool { granting.count >= majority }
    var isRejected: Bool { granting.count + unanswered.count < majority }
}

/// What a follower keeps in mind.
struct Following: Sendable {
    var fetchDeadline = Int64.max
    /// When to look again whether the voters know this member as it is.
    var updateDeadline = Int64.max
    var hasFetched = false
    var hasUpdatedLeader = false
    /// How often in a row the leader could not be reached.
    var refusals = 0
    /// The snapshot being fetched, and how much of it came.
    var snapshot: (id: SnapshotID, position: Int64)?
}

/// What a leader that gave up keeps in mind.
struct Resigning: Sendable {
    var successors: [ReplicaKey] = []
    var untold: [NodeID] = []
}

extension Quorum {
    var electionState: ElectionState {
        ElectionState(
            leaderID: leader?.id ?? -1, leaderEpoch: epoch, votedID: voted?.id ?? -1, votedDirectoryID: voted?.directoryID ?? .zero,
            staticVoters: kraftVersion == 0 ? Array(voters.voters.keys) : nil)
    }

    private mutating func persist() { effects.append(.persist(electionState)) }

    mutating func randomElectionTimeout() -> Int64 {
        let base = configuration.timing.electionTimeout
        return base <= 0 ? 0 : base + Int64.random(in: 0..<base, using: &random)
    }

    /// Goes on from what was persisted. A leader or candidate of the same epoch before the restart must not be one again in it.
    mutating func resumeRole() {
        let local = configuration.localKey
        guard let state = persisted, state.leaderEpoch >= log.lastEpoch else {
            enterUnattached(leader: nil, voted: nil, wait: isVoter ? randomElectionTimeout() : nil)
            return
        }
        if state.votedID >= 0 { voted = ReplicaKey(id: state.votedID, directoryID: state.votedDirectoryID) }
        if state.leaderID == local.id, configuration.canBecomeVoter {
            role = .resigned
            leader = KnownLeader(id: local.id, endpoints: configuration.localEndpoints)
            resigning = Resigning(untold: voters.voters.keys.filter { $0 != local.id })
            electionDeadline = isVoter ? now + randomElectionTimeout() : now
            persist()
        } else if isVoter, state.leaderID < 0, voted?.id == local.id {
            enterCandidate()
        } else if state.leaderID >= 0, let voter = voters.voters[state.leaderID], !voter.endpoints.isEmpty {
            enterFollower(KnownLeader(id: state.leaderID, endpoints: voter.endpoints))
        } else {
            let known = state.leaderID >= 0 ? KnownLeader(id: state.leaderID, endpoints: []) : nil
            enterUnattached(leader: known, voted: voted, wait: isVoter ? randomElectionTimeout() : nil)
        }
    }

    /// What a member leaves behind with the role that it had.
    private mutating func leaveRole() {
        connections.reset()
        if role == .leader {
            abandonChange(.notLeaderOrFollower)
            role = .resigned
            effects.append(.resign)
        }
    }

    private mutating func enterUnattached(leader: KnownLeader?, voted: ReplicaKey?, wait: Int64?) {
        role = .unattached
        self.leader = leader
        self.voted = voted
        electionDeadline = wait.map { now + $0 } ?? .max
        persist()
        effects.append(.follow(leader: nil, epoch))
    }

    /// A newer epoch without a known leader, or the old one after an election that was not won.
    mutating func becomeUnattached(_ newEpoch: LeaderEpoch, leader known: KnownLeader? = nil) {
        var wait: Int64?
        if isVoter {
            switch role {
            case .candidate, .unattached, .resigned: wait = max(0, electionDeadline - now)
            case .prospective where !votes.isRejected: wait = max(0, electionDeadline - now)
            default: wait = randomElectionTimeout()
            }
            // An observer that became a voter meanwhile has waited without an end.
            if electionDeadline == .max { wait = randomElectionTimeout() }
        }
        let kept = newEpoch == epoch ? voted : nil
        leaveRole()
        epoch = newEpoch
        enterUnattached(leader: known, voted: kept, wait: wait)
        failWaitingFetches()
    }

    mutating func becomeFollower(_ newEpoch: LeaderEpoch, _ known: KnownLeader) {
        let kept = newEpoch == epoch ? voted : nil
        leaveRole()
        epoch = newEpoch
        voted = kept
        enterFollower(known)
        failWaitingFetches()
    }

    private mutating func enterFollower(_ known: KnownLeader) {
        role = .follower
        leader = known
        electionDeadline = .max
        following = Following()
        following.fetchDeadline = now + configuration.timing.fetchTimeout
        following.updateDeadline = now + 2 * configuration.timing.fetchTimeout
        persist()
        effects.append(.follow(leader: known.id, epoch))
    }

    mutating func becomeProspective() {
        leaveRole()
        role = .prospective
        votes = Votes(among: voters, grantedBy: configuration.localID)
        electionDeadline = now + randomElectionTimeout()
        if votes.isGranted { becomeCandidate() }
    }

    mutating func becomeCandidate() {
        leaveRole()
        epoch += 1
        enterCandidate()
    }

    private mutating func enterCandidate() {
        role = .candidate
        leader = nil
        voted = configuration.localKey
        votes = Votes(among: voters, grantedBy: configuration.localID)
        electionDeadline = now + randomElectionTimeout()
        if votes.isGranted {
            becomeLeader()
        } else {
            persist()
            effects.append(.follow(leader: nil, epoch))
        }
    }

    mutating func becomeLeader() {
        leaveRole()
        role = .leader
        leader = KnownLeader(id: configuration.localID, endpoints: configuration.localEndpoints)
        voted = nil
        electionDeadline = .max
        epochStartOffset = endOffset
        leading = Leading(voters: voters, local: configuration.localKey, now: now, timing: configuration.timing)
        leading.granting = votes.granting
        persist()
        appendControl(startOfEpoch())
        effects.append(.lead(epoch))
    }

    /// The only voter needs no election.
    mutating func becomeSoleLeader() throws(QuorumError) {
        epoch += 1
        votes = Votes(among: voters, grantedBy: configuration.localID)
        becomeLeader()
    }

    mutating func becomeResigned() {
        resigning = Resigning(
            successors: leading.successors(besides: configuration.localID),
            untold: voters.voters.keys.filter { $0 != configuration.localID })
        let successors = leader
        leaveRole()
        role = .resigned
        leader = successors
        electionDeadline = now + randomElectionTimeout()
        failWaitingFetches()
    }

    /// Takes note of an epoch and its leader that another member told of; false if that contradicts what this member knows.
    mutating func learn(leaderID: NodeID, epoch newEpoch: LeaderEpoch, endpoints: [Voter.Endpoint]) -> Bool {
        guard newEpoch >= epoch else { return true }
        if leaderID >= 0 {
            if leaderID == configuration.localID {
                // A leader that has forgotten its term, or one of another directory: nothing can be learned from that.
                return newEpoch == epoch && (role == .leader || role == .resigned)
            }
            if newEpoch == epoch, let leader, leader.id != leaderID { return false }
        }
        let known = endpoints.isEmpty ? voters.voters[leaderID]?.endpoints ?? [] : endpoints
        if newEpoch > epoch {
            if leaderID < 0 {
                becomeUnattached(newEpoch)
            } else if known.isEmpty {
                becomeUnattached(newEpoch, leader: KnownLeader(id: leaderID, endpoints: []))
            } else {
                becomeFollower(newEpoch, KnownLeader(id: leaderID, endpoints: known))
            }
        } else if leaderID >= 0, !known.isEmpty, leader == nil || known.count > (leader?.endpoints.count ?? 0) {
            becomeFollower(newEpoch, KnownLeader(id: leaderID, endpoints: known))
        }
        return true
    }
}
