// Votes (with pre-votes, KIP-996), and how a leader says that it leads or that it goes.
import KafkaMessages
import KafkaWire
import Primitives

extension Quorum {
    // MARK: - Vote

    func voteRequest(to voter: Voter, isPreVote: Bool) -> VoteRequest {
        var partition = VoteRequest.PartitionData()
        partition.replicaEpoch = epoch
        partition.replicaId = configuration.localID
        partition.replicaDirectoryId = configuration.localDirectoryID
        partition.voterDirectoryId = voter.directoryID
        partition.lastOffsetEpoch = log.lastEpoch
        partition.lastOffset = endOffset
        partition.preVote = isPreVote
        var topic = VoteRequest.TopicData()
        topic.topicName = Self.topicName
        topic.partitions = [partition]
        var request = VoteRequest()
        request.clusterId = configuration.clusterID
        request.voterId = voter.id
        request.topics = [topic]
        return request
    }

    mutating func handle(_ request: VoteRequest, _ context: QuorumRequestContext) -> VoteResponse {
        let partition = request.topics.first?.partitions.first
        let isOurs = request.topics.count == 1 && request.topics[0].topicName == Self.topicName && request.topics[0].partitions.count == 1
        guard invalidity(ofCluster: request.clusterId) == nil, isOurs, let partition, partition.partitionIndex == 0 else {
            var response = VoteResponse()
            response.errorCode = invalidity(ofCluster: request.clusterId) ?? .invalidRequest
            return response
        }
        // A candidate has never seen a leader of its epoch, so that its log cannot hold a record of it; a prospective's may.
        let isImpossible =
            partition.preVote ? partition.lastOffsetEpoch > partition.replicaEpoch : partition.lastOffsetEpoch >= partition.replicaEpoch
        if partition.lastOffset < 0 || partition.lastOffsetEpoch < 0 || isImpossible {
            return voteResponse(.invalidRequest, isGranted: false, context)
        }
        if let error = voterOnlyError(partition.replicaId, partition.replicaEpoch) {
            return voteResponse(error, isGranted: false, context)
        }
        if partition.replicaEpoch > epoch { becomeUnattached(partition.replicaEpoch) }
        guard isAddressed(request.voterId, partition.voterDirectoryId) else {
            return voteResponse(.invalidVoterKey, isGranted: false, context)
        }
        let candidate = ReplicaKey(id: partition.replicaId, directoryID: partition.replicaDirectoryId)
        let isUpToDate = (partition.lastOffsetEpoch, partition.lastOffset) >= (log.lastEpoch, endOffset)
        let isGranted = candidate.id != configuration.localID && grants(candidate, isUpToDate: isUpToDate, isPreVote: partition.preVote)
        if isGranted, !partition.preVote, voted == nil { vote(for: candidate) }
        return voteResponse(.none, isGranted: isGranted, context)
    }

    private func grants(_ candidate: ReplicaKey, isUpToDate: Bool, isPreVote: Bool) -> Bool {
        switch role {
        case .leader: return false
        case .follower: return isPreVote && isUpToDate && !following.hasFetched
        case .candidate, .resigned: return isPreVote && isUpToDate
        case .unattached, .prospective:
            if isPreVote { return isUpToDate }
            if let voted {
                return voted.id == candidate.id && (voted.directoryID == .zero || voted.directoryID == candidate.directoryID)
            }
            return leader == nil && isUpToDate
        }
    }

    /// The vote is on disk before the answer that tells of it.
    private mutating func vote(for candidate: ReplicaKey) {
        voted = candidate
        if isVoter || electionDeadline != .max { electionDeadline = now + randomElectionTimeout() }
        effects.append(.persist(electionState))
        if role == .prospective { votes = Votes(among: voters, grantedBy: configuration.localID) }
    }

    private func voteResponse(_ error: ErrorCode, isGranted: Bool, _ context: QuorumRequestContext) -> VoteResponse {
        var partition = VoteResponse.PartitionData()
        partition.errorCode = error
        partition.leaderId = leader?.id ?? -1
        partition.leaderEpoch = epoch
        partition.voteGranted = isGranted
        var topic = VoteResponse.TopicData()
        topic.topicName = Self.topicName
        topic.partitions = [partition]
        var response = VoteResponse()
        response.topics = [topic]
        if context.version >= 1, let leader, let endpoint = leaderEndpoint(for: context) {
            var node = VoteResponse.NodeEndpoint()
            node.nodeId = leader.id
            node.host = endpoint.host
            node.port = endpoint.port
            response.nodeEndpoints = [node]
        }
        return response
    }

    mutating func handle(_ response: VoteResponse, from peer: QuorumPeer) -> Bool {
        if response.errorCode == .unsupportedVersion, role == .prospective {
            becomeCandidate()
            return true
        }
        guard response.errorCode == .none, let partition = response.topics.first?.partitions.first else { return false }
        let endpoints = endpoints(partition.leaderId, response.nodeEndpoints.map { ($0.nodeId, $0.host, $0.port) })
        switch learn(from: partition.errorCode, leaderID: partition.leaderId, epoch: partition.leaderEpoch, endpoints: endpoints) {
        case .done: return true
        case .failed: return false
        case .goOn: break
        }
        guard partition.errorCode == .none else { return false }
        guard role == .prospective || role == .candidate else { return true }
        votes.record(partition.voteGranted, from: peer.id)
        if role == .candidate {
            if votes.isGranted {
                becomeLeader()
            } else {
                hurryIfHopeless()
            }
        } else if votes.isGranted {
            becomeCandidate()
        } else if votes.isRejected {
            giveUpProspect()
        }
        return true
    }

    /// Another candidate has the votes, or has split them, or those who could give them are gone: there is no point in waiting for the
    /// whole election timeout. Who asks first for votes on a vote then is left to chance.
    mutating func hurryIfHopeless() {
        let silent = votes.unanswered.filter { !connections.isPaused($0) }
        guard role == .candidate, votes.granting.count + silent.count < votes.majority else { return }
        electionDeadline = min(electionDeadline, now + Int64.random(in: 50..<250, using: &random))
    }

    /// The others would not vote for this member: back to the leader it had, or waiting for one.
    mutating func giveUpProspect() {
        if let leader, !leader.endpoints.isEmpty {
            becomeFollower(epoch, leader)
        } else {
            becomeUnattached(epoch, leader: leader)
        }
    }

    // MARK: - BeginQuorumEpoch

    func beginEpochRequest(to voter: Voter) -> BeginQuorumEpochRequest {
        var partition = BeginQuorumEpochRequest.PartitionData()
        partition.voterDirectoryId = voter.directoryID
        partition.leaderId = configuration.localID
        partition.leaderEpoch = epoch
        var topic = BeginQuorumEpochRequest.TopicData()
        topic.topicName = Self.topicName
        topic.partitions = [partition]
        var request = BeginQuorumEpochRequest()
        request.clusterId = configuration.clusterID
        request.voterId = voter.id
        request.topics = [topic]
        request.leaderEndpoints = configuration.localEndpoints.map { endpoint in
            var data = BeginQuorumEpochRequest.LeaderEndpoint()
            data.name = endpoint.name
            data.host = endpoint.host
            data.port = endpoint.port
            return data
        }
        return request
    }

    mutating func handle(_ request: BeginQuorumEpochRequest, _ context: QuorumRequestContext) -> BeginQuorumEpochResponse {
        let partition = request.topics.first?.partitions.first
        let isOurs = request.topics.count == 1 && request.topics[0].topicName == Self.topicName && request.topics[0].partitions.count == 1
        guard invalidity(ofCluster: request.clusterId) == nil, isOurs, let partition, partition.partitionIndex == 0 else {
            var response = BeginQuorumEpochResponse()
            response.errorCode = invalidity(ofCluster: request.clusterId) ?? .invalidRequest
            return response
        }
        var error = voterOnlyError(partition.leaderId, partition.leaderEpoch)
        if error == nil {
            let endpoints = request.leaderEndpoints.map { Voter.Endpoint(name: $0.name, host: $0.host, port: $0.port) }
            if !learn(leaderID: partition.leaderId, epoch: partition.leaderEpoch, endpoints: endpoints) {
                error = .unknownServerError
            } else if !isAddressed(request.voterId, partition.voterDirectoryId) {
                error = .invalidVoterKey
            }
        }
        var data = BeginQuorumEpochResponse.PartitionData()
        data.errorCode = error ?? .none
        data.leaderId = leader?.id ?? -1
        data.leaderEpoch = epoch
        var topic = BeginQuorumEpochResponse.TopicData()
        topic.topicName = Self.topicName
        topic.partitions = [data]
        var response = BeginQuorumEpochResponse()
        response.topics = [topic]
        if context.version >= 1, let leader, let endpoint = leaderEndpoint(for: context) {
            var node = BeginQuorumEpochResponse.NodeEndpoint()
            node.nodeId = leader.id
            node.host = endpoint.host
            node.port = endpoint.port
            response.nodeEndpoints = [node]
        }
        return response
    }

    mutating func handle(_ response: BeginQuorumEpochResponse) -> Bool {
        guard response.errorCode == .none, let partition = response.topics.first?.partitions.first else { return false }
        let endpoints = endpoints(partition.leaderId, response.nodeEndpoints.map { ($0.nodeId, $0.host, $0.port) })
        switch learn(from: partition.errorCode, leaderID: partition.leaderId, epoch: partition.leaderEpoch, endpoints: endpoints) {
        case .done: return true
        case .failed: return false
        case .goOn: return partition.errorCode == .none
        }
    }

    // MARK: - EndQuorumEpoch

    func endEpochRequest() -> EndQuorumEpochRequest {
        var partition = EndQuorumEpochRequest.PartitionData()
        partition.leaderId = configuration.localID
        partition.leaderEpoch = epoch
        partition.preferredSuccessors = resigning.successors.map(\.id)
        partition.preferredCandidates = resigning.successors.map { key in
            var candidate = EndQuorumEpochRequest.ReplicaInfo()
            candidate.candidateId = key.id
            candidate.candidateDirectoryId = key.directoryID
            return candidate
        }
        var topic = EndQuorumEpochRequest.TopicData()
        topic.topicName = Self.topicName
        topic.partitions = [partition]
        var request = EndQuorumEpochRequest()
        request.clusterId = configuration.clusterID
        request.topics = [topic]
        request.leaderEndpoints = configuration.localEndpoints.map { endpoint in
            var data = EndQuorumEpochRequest.LeaderEndpoint()
            data.name = endpoint.name
            data.host = endpoint.host
            data.port = endpoint.port
            return data
        }
        return request
    }

    mutating func handle(_ request: EndQuorumEpochRequest, _ context: QuorumRequestContext) -> EndQuorumEpochResponse {
        let partition = request.topics.first?.partitions.first
        let isOurs = request.topics.count == 1 && request.topics[0].topicName == Self.topicName && request.topics[0].partitions.count == 1
        guard invalidity(ofCluster: request.clusterId) == nil, isOurs, let partition, partition.partitionIndex == 0 else {
            var response = EndQuorumEpochResponse()
            response.errorCode = invalidity(ofCluster: request.clusterId) ?? .invalidRequest
            return response
        }
        var error = voterOnlyError(partition.leaderId, partition.leaderEpoch)
        if error == nil {
            let endpoints = request.leaderEndpoints.map { Voter.Endpoint(name: $0.name, host: $0.host, port: $0.port) }
            if !learn(leaderID: partition.leaderId, epoch: partition.leaderEpoch, endpoints: endpoints) {
                error = .unknownServerError
            } else if role == .follower, leader?.id == partition.leaderId {
                following.fetchDeadline = now + successionDelay(partition)
                // Whoever follows a leader that goes grants a vote on a vote.
                following.hasFetched = false
            }
        }
        var data = EndQuorumEpochResponse.PartitionData()
        data.errorCode = error ?? .none
        data.leaderId = leader?.id ?? -1
        data.leaderEpoch = epoch
        var topic = EndQuorumEpochResponse.TopicData()
        topic.topicName = Self.topicName
        topic.partitions = [data]
        var response = EndQuorumEpochResponse()
        response.topics = [topic]
        if context.version >= 1, let leader, let endpoint = leaderEndpoint(for: context) {
            var node = EndQuorumEpochResponse.NodeEndpoint()
            node.nodeId = leader.id
            node.host = endpoint.host
            node.port = endpoint.port
            response.nodeEndpoints = [node]
        }
        return response
    }

    /// The better a successor, the sooner it stands for election: the first at once, the others at growing distance.
    private func successionDelay(_ partition: EndQuorumEpochRequest.PartitionData) -> Int64 {
        var keys = partition.preferredCandidates.map { ReplicaKey(id: $0.candidateId, directoryID: $0.candidateDirectoryId) }
        if keys.isEmpty { keys = partition.preferredSuccessors.map { ReplicaKey(id: $0) } }
        let maximum = configuration.timing.electionBackoffMaximum
        let position = keys.firstIndex { key in
            key.id == configuration.localID && (key.directoryID == .zero || key.directoryID == configuration.localDirectoryID)
        }
        guard let position else { return keys.isEmpty ? 0 : maximum }
        if position == 0 { return 0 }
        let base = maximum >> min(Int64(keys.count - 1), 62)
        return min(maximum, base << min(Int64(position - 1), 30))
    }

    mutating func handle(_ response: EndQuorumEpochResponse, from peer: QuorumPeer) -> Bool {
        guard response.errorCode == .none, let partition = response.topics.first?.partitions.first else { return false }
        let endpoints = endpoints(partition.leaderId, response.nodeEndpoints.map { ($0.nodeId, $0.host, $0.port) })
        switch learn(from: partition.errorCode, leaderID: partition.leaderId, epoch: partition.leaderEpoch, endpoints: endpoints) {
        case .done: return true
        case .failed: return false
        case .goOn: break
        }
        guard partition.errorCode == .none else { return false }
        if role == .resigned { resigning.untold.removeAll { $0 == peer.id } }
        return true
    }
}
