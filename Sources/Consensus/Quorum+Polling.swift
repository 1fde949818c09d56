// What is due: after every step, and when time has passed. Roles change here by waiting too long, and requests are sent here.
import Primitives

extension Quorum {
    /// When `tick` is due, if nothing happens before; nil for never.
    public var nextDeadline: Int64? {
        guard isStarted, !hasStopped else { return nil }
        var deadline = min(connections.nextDeadline, shutdownDeadline ?? .max)
        switch role {
        case .leader: deadline = min(deadline, leading.nextDeadline)
        case .follower:
            if mayStand { deadline = min(deadline, following.fetchDeadline) }
            // Once that has passed, the end of the request under way is what is waited for.
            if mayChangeOwnVoter, following.updateDeadline > now { deadline = min(deadline, following.updateDeadline) }
        case .unattached, .prospective, .candidate: if mayStand { deadline = min(deadline, electionDeadline) }
        case .resigned: if !isShuttingDown { deadline = min(deadline, electionDeadline) }
        }
        return deadline == .max ? nil : deadline
    }

    /// Does what is due. A change of role may make more due at once.
    mutating func poll() {
        for lost in connections.expire(now: now, pause: configuration.timing.retryBackoff) { handleFailure(of: lost, .timedOut) }
        // Prospective, candidate, leader or resigned, unattached, prospective: no chain of changes without waiting is longer.
        for _ in 0..<8 {
            let before = (role, epoch)
            pollRole()
            if before == (role, epoch) { break }
        }
        pollShutdown()
    }

    private mutating func pollRole() {
        switch role {
        case .unattached: pollUnattached()
        case .follower: pollFollower()
        case .prospective: pollNominee(isPreVote: true)
        case .candidate: pollNominee(isPreVote: false)
        case .leader: pollLeader()
        case .resigned: pollResigned()
        }
    }

    private var isShuttingDown: Bool { shutdownDeadline != nil }
    /// A log that is being replaced is none to lead with.
    private var mayStand: Bool { isVoter && !isShuttingDown && installing == nil }

    private mutating func pollUnattached() {
        if isVoter, electionDeadline == .max { electionDeadline = now + randomElectionTimeout() }
        if mayStand, now >= electionDeadline {
            becomeProspective()
        } else if !isShuttingDown {
            fetchFromAnyServer()
        }
    }

    private mutating func pollNominee(isPreVote: Bool) {
        if !isVoter {
            // Removed meanwhile: nothing to stand for.
            giveUpProspect(becoming: epoch)
            return
        }
        if now >= electionDeadline, mayStand {
            if isPreVote { giveUpProspect() } else { becomeProspective() }
            return
        }
        guard installing == nil else { return }
        guard !votes.isRejected else { return }
        for id in votes.unanswered {
            guard let voter = voters.voters[id], let peer = voterPeer(id) else { continue }
            send(.vote(voteRequest(to: voter, isPreVote: isPreVote)), to: peer)
        }
    }

    private mutating func giveUpProspect(becoming epoch: LeaderEpoch) {
        if role == .candidate { becomeUnattached(epoch + 1) } else { giveUpProspect() }
    }

    private mutating func pollLeader() {
        if isShuttingDown || leading.mustResign || now >= leading.quorumDeadline {
            becomeResigned()
            return
        }
        expireChange()
        answerWaitingFetches()
        guard now >= leading.beginEpochDeadline else { return }
        for key in leading.silentVoters(now: now) {
            guard let voter = voters.voters[key.id], let peer = voterPeer(key.id) else { continue }
            send(.beginQuorumEpoch(beginEpochRequest(to: voter)), to: peer)
        }
        leading.beginEpochDeadline = now + leading.beginEpochInterval
    }

    private mutating func pollResigned() {
        if !isShuttingDown, now >= electionDeadline {
            becomeUnattached(epoch + 1)
            return
        }
        for id in resigning.untold {
            if let peer = voterPeer(id) { send(.endQuorumEpoch(endEpochRequest()), to: peer) }
        }
    }

    private mutating func pollFollower() {
        guard !isShuttingDown else { return }
        if isVoter, mayStand, now >= following.fetchDeadline {
            becomeProspective()
            return
        }
        if now >= following.updateDeadline, mayChangeOwnVoter, let leader, let peer = peer(leader.id, leader.endpoints) {
            guard !connections.hasRequestUnderWay else { return }
            if !connections.isPaused(peer.id) {
                if let request = ownVoterRequest() { send(request, to: peer) }
                following.updateDeadline = now + 2 * configuration.timing.fetchTimeout
            }
        }
        fetchFromBestServer()
    }

    /// From the leader, or while that does not answer from any server, which will know of a newer one.
    private mutating func fetchFromBestServer() {
        guard let leader, let peer = peer(leader.id, leader.endpoints), !connections.isPaused(leader.id) else {
            fetchFromAnyServer()
            return
        }
        guard !connections.hasRequestUnderWay, isLogSettled else { return }
        if let snapshot = following.snapshot {
            send(.fetchSnapshot(fetchSnapshotRequest(snapshot.id, position: snapshot.position)), to: peer)
        } else {
            send(.fetch(fetchRequest()), to: peer)
        }
    }

    /// A fetch tells the leader that all before is on disk.
    private var isLogSettled: Bool { installing == nil && durableOffset >= endOffset }

    private mutating func fetchFromAnyServer() {
        guard !connections.hasRequestUnderWay, isLogSettled else { return }
        let ready = bootstrapPeers.filter { connections.isReady($0.id) }
        guard !ready.isEmpty else { return }
        send(.fetch(fetchRequest()), to: ready[Int.random(in: 0..<ready.count, using: &random)])
    }

    /// Whom to ask for the leader: the servers of the configuration, and voters that are not among them.
    private var bootstrapPeers: [QuorumPeer] {
        var peers = configuration.bootstrapServers.enumerated().map { index, server in
            QuorumPeer(id: NodeID(-2 - index), host: server.host, port: server.port)
        }
        for voter in voters.voters.values where voter.id != configuration.localID {
            guard let peer = peer(voter.id, voter.endpoints),
                !peers.contains(where: { $0.host == peer.host && $0.port == peer.port })
            else { continue }
            peers.append(peer)
        }
        return peers
    }

    private mutating func pollShutdown() {
        guard let shutdownDeadline, !hasStopped else { return }
        let hasRemoteLeader = leader.map { $0.id != configuration.localID } ?? false
        if now >= shutdownDeadline || !isVoter || isSoleVoter || hasRemoteLeader || (role == .resigned && resigning.untold.isEmpty) {
            hasStopped = true
            effects.append(.stopped)
        }
    }
}
