// What requests of members have in common: who may ask what of whom, and where the leader is found.
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

extension Quorum {
    /// The topic of the metadata log.
    public static let topicName = "__cluster_metadata"
    /// The topic's id (KIP-516).
    public static let topicID = KafkaUUID.one

    mutating func handle(_ request: QuorumRequest, _ context: QuorumRequestContext) {
        switch request {
        case .vote(let request): effects.append(.reply(token: context.token, .vote(handle(request, context))))
        case .beginQuorumEpoch(let request): effects.append(.reply(token: context.token, .beginQuorumEpoch(handle(request, context))))
        case .endQuorumEpoch(let request): effects.append(.reply(token: context.token, .endQuorumEpoch(handle(request, context))))
        case .fetch(let request): handle(request, context)
        case .fetchSnapshot(let request): handle(request, context)
        case .addRaftVoter(let request): handle(request, context)
        case .removeRaftVoter(let request): handle(request, context)
        case .updateRaftVoter(let request): handle(request, context)
        case .apiVersions:
            var response = ApiVersionsResponse()
            response.errorCode = .invalidRequest
            effects.append(.reply(token: context.token, .apiVersions(response)))
        }
    }

    /// Whether the answer made sense; if not, its sender is left alone for a moment.
    mutating func handle(_ response: QuorumResponse, to sent: SentRequest) -> Bool {
        switch response {
        case .vote(let response): handle(response, from: sent.peer)
        case .beginQuorumEpoch(let response): handle(response)
        case .endQuorumEpoch(let response): handle(response, from: sent.peer)
        case .fetch(let response): handle(response, to: sent)
        case .fetchSnapshot(let response): handle(response)
        case .addRaftVoter(let response): handleJoining(response.errorCode, accepting: .duplicateVoter)
        case .removeRaftVoter(let response): handleJoining(response.errorCode, accepting: .voterNotFound)
        case .updateRaftVoter(let response): handle(response)
        case .apiVersions(let response): handle(response, from: sent.peer)
        }
    }

    mutating func handleFailure(of sent: SentRequest, _ failure: QuorumPeerFailure) {
        switch sent.request {
        case .vote where failure == .unsupportedVersion && role == .prospective: becomeCandidate()
        case .vote where failure == .disconnected && role == .prospective && sent.peer.id == leader?.id:
            // No vote comes from a leader that is gone. Back to looking for it, so that those who have not noticed are asked again.
            votes.record(false, from: sent.peer.id)
            if votes.isRejected { giveUpProspect() }
        case .vote where failure == .disconnected: hurryIfHopeless()
        case .fetch, .fetchSnapshot:
            if failure == .disconnected, role == .follower, sent.peer.id == leader?.id { leaderRefused() }
        case .apiVersions: versionsUnknown(of: sent.peer)
        case .updateRaftVoter where failure == .unsupportedVersion: following.hasUpdatedLeader = true
        default: break
        }
    }

    mutating func send(_ request: QuorumRequest, to peer: QuorumPeer) {
        guard connections.isReady(peer.id) else { return }
        let correlation = connections.send(request, to: peer, deadline: now + configuration.timing.requestTimeout)
        effects.append(.send(request, to: peer, correlation: correlation))
    }

    /// Where a node's controller listens for the quorum.
    func peer(_ id: NodeID, _ endpoints: [Voter.Endpoint]?) -> QuorumPeer? {
        guard let endpoints, let endpoint = endpoints.first(where: { $0.name == configuration.listenerName }) ?? endpoints.first
        else { return nil }
        return QuorumPeer(id: id, host: endpoint.host, port: endpoint.port)
    }

    func voterPeer(_ id: NodeID) -> QuorumPeer? { peer(id, voters.voters[id]?.endpoints) }

    /// The leader's endpoint of the listener that a request came by.
    func leaderEndpoint(for context: QuorumRequestContext) -> Voter.Endpoint? {
        leader?.endpoints.first { $0.name == context.listenerName }
    }

    func invalidity(ofCluster id: String?) -> ErrorCode? {
        guard let id, let own = configuration.clusterID, id != own else { return nil }
        return .inconsistentClusterId
    }

    /// What keeps a request for the leader from being handled.
    func leaderOnlyError(_ requestEpoch: LeaderEpoch) -> ErrorCode? {
        if requestEpoch < epoch { return .fencedLeaderEpoch }
        if requestEpoch > epoch { return .unknownLeaderEpoch }
        if role != .leader { return .notLeaderOrFollower }
        return shutdownDeadline == nil ? nil : .brokerNotAvailable
    }

    /// What keeps a request about leadership from being handled.
    func voterOnlyError(_ id: NodeID, _ requestEpoch: LeaderEpoch) -> ErrorCode? {
        if requestEpoch < epoch { return .fencedLeaderEpoch }
        return id < 0 ? .invalidRequest : nil
    }

    /// Whether a request meant for that voter is meant for this member.
    func isAddressed(_ id: NodeID, _ directoryID: KafkaUUID) -> Bool {
        id < 0 || (id == configuration.localID && (directoryID == .zero || directoryID == configuration.localDirectoryID))
    }

    /// What answers have in common: an epoch and who leads it. True if there is nothing left to do with the answer.
    enum CommonOutcome { case done, failed, goOn }

    mutating func learn(
        from error: ErrorCode, leaderID: NodeID, epoch newEpoch: LeaderEpoch, endpoints: [Voter.Endpoint]
    ) -> CommonOutcome {
        // A node that does not know better is not asked again at once.
        if newEpoch < epoch || error == .unknownLeaderEpoch { return .failed }
        if newEpoch > epoch || error == .fencedLeaderEpoch || error == .notLeaderOrFollower {
            let isRedirect = newEpoch > epoch
            guard learn(leaderID: leaderID, epoch: newEpoch, endpoints: endpoints) else { return .failed }
            return isRedirect ? .done : .failed
        }
        // A member that started again may know who leads and not where.
        if leaderID >= 0, leader?.endpoints.isEmpty ?? true {
            guard learn(leaderID: leaderID, epoch: newEpoch, endpoints: endpoints) else { return .failed }
            return error == .none && leader != nil ? .goOn : .done
        }
        switch error {
        case .brokerNotAvailable, .invalidRequest: return .failed
        case .invalidVoterKey: return .done
        default: return .goOn
        }
    }

    /// A leader's endpoint as an answer tells it.
    func endpoints(_ id: NodeID, _ nodes: [(id: NodeID, host: String, port: UInt16)]) -> [Voter.Endpoint] {
        guard let node = nodes.first(where: { $0.id == id }) else { return [] }
        return [Voter.Endpoint(name: configuration.listenerName, host: node.host, port: node.port)]
    }
}
