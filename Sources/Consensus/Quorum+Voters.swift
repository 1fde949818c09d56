// Adding, removing and updating voters (KIP-853): what the leader does on request, and what a follower asks for itself.
import KafkaMessages
import KafkaWire
import Primitives

extension Quorum {
    /// What keeps any change of the voters from being made now.
    private func changeError(needsReconfiguration: Bool) -> (ErrorCode, String)? {
        if leading.change != nil {
            return (.requestTimedOut, "Request timed out waiting for leader to handle previous voter change request")
        }
        if !leading.hasHighWatermark {
            return (.requestTimedOut, "Request timed out waiting for leader to establish HWM and fence previous voter changes")
        }
        guard needsReconfiguration else { return nil }
        if kraftVersion < 1 {
            return (.unsupportedVersion, "The voters cannot be changed because the kraft.version feature is \(kraftVersion)")
        }
        if log.history.votersOffset >= highWatermark {
            return (.requestTimedOut, "Request timed out waiting for voters to commit the latest voter change")
        }
        return nil
    }

    // MARK: - Add

    mutating func handle(_ request: AddRaftVoterRequest, _ context: QuorumRequestContext) {
        let endpoints = request.listeners.map { Voter.Endpoint(name: $0.name, host: $0.host, port: $0.port) }
        let key = ReplicaKey(id: request.voterId, directoryID: request.voterDirectoryId)
        if let (error, message) = addError(request.clusterId, key, endpoints) {
            replyAdd(context, error, message)
            return
        }
        guard let endpoint = endpoints.first(where: { $0.name == configuration.listenerName }) else { return }
        let peer = QuorumPeer(id: key.id, host: endpoint.host, port: endpoint.port)
        guard connections.isReady(key.id) else {
            replyAdd(context, .requestTimedOut, "New voter \(key) is not ready to receive requests")
            return
        }
        let voter = Voter(id: key.id, directoryID: key.directoryID, endpoints: endpoints)
        send(.apiVersions(Self.versionsRequest), to: peer)
        leading.change = VoterChange(
            kind: .add(voter, acknowledgesWhenCommitted: request.ackWhenCommitted), context: context, offset: nil,
            deadline: now + configuration.timing.requestTimeout)
    }

    private func addError(_ clusterID: String?, _ key: ReplicaKey, _ endpoints: [Voter.Endpoint]) -> (ErrorCode, String?)? {
        if let error = invalidity(ofCluster: clusterID) { return (error, "The given cluster id doesn't match this cluster's") }
        if let error = leaderOnlyError(epoch) { return (error, nil) }
        if key.id < 0 || key.directoryID == .zero { return (.invalidRequest, "Add voter request didn't include a valid voter") }
        if !endpoints.contains(where: { $0.name == configuration.listenerName }) {
            return (
                .invalidRequest, "Add voter request didn't include the endpoint for the default listener \(configuration.listenerName)"
            )
        }
        if let error = changeError(needsReconfiguration: true) { return error }
        if voters.contains(key.id) { return (.duplicateVoter, "The voter id for \(key) is already part of the set of voters.") }
        return nil
    }

    private mutating func replyAdd(_ context: QuorumRequestContext, _ error: ErrorCode, _ message: String? = nil) {
        var response = AddRaftVoterResponse()
        response.errorCode = error
        response.errorMessage = message
        effects.append(.reply(token: context.token, .addRaftVoter(response)))
    }

    private static var versionsRequest: ApiVersionsRequest {
        var request = ApiVersionsRequest()
        request.clientSoftwareName = "martlet"
        request.clientSoftwareVersion = "1"
        return request
    }

    // MARK: - Remove

    mutating func handle(_ request: RemoveRaftVoterRequest, _ context: QuorumRequestContext) {
        let key = ReplicaKey(id: request.voterId, directoryID: request.voterDirectoryId)
        var refusal: (ErrorCode, String?)?
        if let error = invalidity(ofCluster: request.clusterId) {
            refusal = (error, "The given cluster id doesn't match this cluster's")
        } else if let error = leaderOnlyError(epoch) {
            refusal = (error, nil)
        } else if key.id < 0 || key.directoryID == .zero {
            refusal = (.invalidRequest, "Remove voter request didn't include a valid voter")
        } else if let error = changeError(needsReconfiguration: true) {
            refusal = error
        }
        if let (error, message) = refusal {
            replyRemove(context, error, message)
            return
        }
        guard let remaining = voters.removing(key) else {
            replyRemove(context, .voterNotFound, "Cannot remove voter \(key) from the set of voters \(voters.voters.keys.elements)")
            return
        }
        leading.change = VoterChange(
            kind: .remove(key), context: context, offset: endOffset, deadline: now + configuration.timing.requestTimeout)
        appendControl([.voters(remaining.record())])
    }

    private mutating func replyRemove(_ context: QuorumRequestContext, _ error: ErrorCode, _ message: String? = nil) {
        var response = RemoveRaftVoterResponse()
        response.errorCode = error
        response.errorMessage = message
        effects.append(.reply(token: context.token, .removeRaftVoter(response)))
    }

    // MARK: - Update

    mutating func handle(_ request: UpdateRaftVoterRequest, _ context: QuorumRequestContext) {
        let range = request.kRaftVersionFeature
        let endpoints = request.listeners.map { Voter.Endpoint(name: $0.name, host: $0.host, port: $0.port) }
        var refusal: ErrorCode?
        if let error = invalidity(ofCluster: request.clusterId) ?? leaderOnlyError(request.currentLeaderEpoch) {
            refusal = error
        } else if request.voterId < 0 || request.voterDirectoryId == .zero || range.minSupportedVersion < 0
            || range.maxSupportedVersion < range.minSupportedVersion
        {
            refusal = .invalidRequest
        } else if let (error, _) = changeError(needsReconfiguration: false) {
            refusal = error
        } else if !endpoints.contains(where: { $0.name == configuration.listenerName }) {
            refusal = .invalidRequest
        } else if !connections.isReady(request.voterId) {
            refusal = .requestTimedOut
        }
        if let refusal {
            replyUpdate(context, refusal)
            return
        }
        let voter = Voter(
            id: request.voterId, directoryID: request.voterDirectoryId, endpoints: endpoints,
            supportedKraftVersions: range.minSupportedVersion...range.maxSupportedVersion)
        guard let peer = peer(voter.id, endpoints) else { return }
        send(.apiVersions(Self.versionsRequest), to: peer)
        leading.change = VoterChange(
            kind: .update(voter), context: context, offset: nil, deadline: now + configuration.timing.requestTimeout)
    }

    private mutating func replyUpdate(_ context: QuorumRequestContext, _ error: ErrorCode) {
        var response = UpdateRaftVoterResponse()
        response.errorCode = error
        response.currentLeader.leaderId = leader?.id ?? -1
        response.currentLeader.leaderEpoch = epoch
        if let endpoint = leaderEndpoint(for: context) {
            response.currentLeader.host = endpoint.host
            response.currentLeader.port = Int32(endpoint.port)
        }
        effects.append(.reply(token: context.token, .updateRaftVoter(response)))
    }

    // MARK: - What the voter can do

    /// The new voter's answer, or the updated one's.
    mutating func handle(_ response: ApiVersionsResponse, from peer: QuorumPeer) -> Bool {
        guard role == .leader, let change = leading.change, change.offset == nil else { return true }
        guard response.errorCode == .none else {
            finishChange(.requestTimedOut, "The voter answered API_VERSIONS with error \(response.errorCode.rawValue)")
            return false
        }
        let feature = response.supportedFeatures.first { $0.name == "kraft.version" }
        switch change.kind {
        case .add(let voter, let acknowledgesWhenCommitted) where voter.id == peer.id:
            add(voter, feature.map { ($0.minVersion, $0.maxVersion) }, acknowledgesWhenCommitted)
        case .update(let voter) where voter.id == peer.id:
            update(voter, feature.map { ($0.minVersion, $0.maxVersion) })
        default: break
        }
        return true
    }

    private mutating func add(_ voter: Voter, _ range: (lower: Int16, upper: Int16)?, _ acknowledgesWhenCommitted: Bool) {
        guard let range, range.lower <= kraftVersion, range.upper >= kraftVersion else {
            finishChange(.invalidRequest, "The new voter doesn't support the finalized kraft.version \(kraftVersion)")
            return
        }
        let key = ReplicaKey(id: voter.id, directoryID: voter.directoryID)
        guard leading.isCaughtUp(key, now: now) else {
            finishChange(.requestTimedOut, "Aborted add voter operation for \(key) since it is lagging behind")
            return
        }
        var known = voter
        known.supportedKraftVersions = range.lower...range.upper
        guard let grown = voters.adding(known) else {
            finishChange(.duplicateVoter, nil)
            return
        }
        let offset = endOffset
        leading.change?.offset = offset
        if !acknowledgesWhenCommitted, let context = leading.change?.context {
            leading.change?.context = nil
            replyAdd(context, .none)
        }
        appendControl([.voters(grown.record())])
    }

    private mutating func update(_ voter: Voter, _ range: (lower: Int16, upper: Int16)?) {
        let stated = voter.supportedKraftVersions
        guard let range, range.lower == stated.lowerBound, range.upper == stated.upperBound, stated.contains(kraftVersion) else {
            finishChange(.invalidRequest, nil)
            return
        }
        if kraftVersion > 0 {
            guard log.history.votersOffset < highWatermark else {
                finishChange(.requestTimedOut, nil)
                return
            }
            guard let updated = voters.updating(voter) else {
                finishChange(.voterNotFound, nil)
                return
            }
            let offset = endOffset
            leading.change?.offset = offset
            let context = leading.change?.context
            leading.change?.context = nil
            leading.heard(from: ReplicaKey(id: voter.id, directoryID: voter.directoryID), now: now)
            if let context { replyUpdate(context, .none) }
            appendControl([.voters(updated.record())])
        } else {
            guard let known = (leading.volatileVoters ?? voters).updating(voter, ignoringDirectory: true) else {
                finishChange(.voterNotFound, nil)
                return
            }
            leading.volatileVoters = known
            leading.heard(from: ReplicaKey(id: voter.id, directoryID: voter.directoryID), now: now)
            finishChange(.none, nil)
        }
    }

    mutating func versionsUnknown(of peer: QuorumPeer) {
        guard role == .leader, let change = leading.change, change.offset == nil else { return }
        switch change.kind {
        case .add(let voter, _) where voter.id == peer.id, .update(let voter) where voter.id == peer.id:
            finishChange(.requestTimedOut, "The voter didn't answer API_VERSIONS")
        default: break
        }
    }

    // MARK: - The end of a change

    private mutating func finishChange(_ error: ErrorCode, _ message: String?) {
        guard let change = leading.change else { return }
        leading.change = nil
        guard let context = change.context else { return }
        switch change.kind {
        case .add: replyAdd(context, error, message)
        case .remove: replyRemove(context, error, message)
        case .update: replyUpdate(context, error)
        }
    }

    /// The high watermark moved.
    mutating func changeCommitted() {
        if let change = leading.change, let offset = change.offset, highWatermark > offset { finishChange(.none, nil) }
        // A leader that was removed leads until its removal is committed.
        if log.history.votersOffset < highWatermark, !isVoter { leading.mustResign = true }
    }

    mutating func expireChange() {
        if let change = leading.change, now >= change.deadline { finishChange(.requestTimedOut, nil) }
    }

    mutating func abandonChange(_ error: ErrorCode) { finishChange(error, nil) }

    // MARK: - This member as a voter

    /// Whether this follower may have to tell the leader about itself.
    var mayChangeOwnVoter: Bool {
        if isVoter {
            return kraftVersion > 0 ? !configuration.localEndpoints.isEmpty : !following.hasUpdatedLeader
        }
        return configuration.canBecomeVoter && configuration.joinsAutomatically && kraftVersion > 0
    }

    /// What this follower has to tell the leader about itself; nil if the voters are right.
    func ownVoterRequest() -> QuorumRequest? {
        let local = localVoter
        if isVoter {
            guard kraftVersion == 0 || voters.voters[local.id] != local else { return nil }
            return .updateRaftVoter(updateVoterRequest(local))
        }
        if let stale = voters.voters[local.id] {
            // An older directory of this node still votes.
            var request = RemoveRaftVoterRequest()
            request.clusterId = configuration.clusterID
            request.voterId = stale.id
            request.voterDirectoryId = stale.directoryID
            return .removeRaftVoter(request)
        }
        var request = AddRaftVoterRequest()
        request.clusterId = configuration.clusterID
        request.timeoutMs = Int32(clamping: configuration.timing.requestTimeout)
        request.voterId = local.id
        request.voterDirectoryId = local.directoryID
        request.listeners = local.endpoints.map { endpoint in
            var listener = AddRaftVoterRequest.Listener()
            listener.name = endpoint.name
            listener.host = endpoint.host
            listener.port = endpoint.port
            return listener
        }
        request.ackWhenCommitted = false
        return .addRaftVoter(request)
    }

    private func updateVoterRequest(_ local: Voter) -> UpdateRaftVoterRequest {
        var request = UpdateRaftVoterRequest()
        request.clusterId = configuration.clusterID
        request.currentLeaderEpoch = epoch
        request.voterId = local.id
        request.voterDirectoryId = local.directoryID
        request.listeners = local.endpoints.map { endpoint in
            var listener = UpdateRaftVoterRequest.Listener()
            listener.name = endpoint.name
            listener.host = endpoint.host
            listener.port = endpoint.port
            return listener
        }
        request.kRaftVersionFeature.minSupportedVersion = local.supportedKraftVersions.lowerBound
        request.kRaftVersionFeature.maxSupportedVersion = local.supportedKraftVersions.upperBound
        return request
    }

    /// The leader's answer to this member's request to join, or to drop an older directory of it.
    mutating func handleJoining(_ error: ErrorCode, accepting known: ErrorCode) -> Bool {
        guard role == .follower else { return true }
        following.updateDeadline = now + 2 * configuration.timing.fetchTimeout
        return error == .none || error == .requestTimedOut || error == known
    }

    mutating func handle(_ response: UpdateRaftVoterResponse) -> Bool {
        let leaderID = response.currentLeader.leaderId
        let nodes = UInt16(exactly: response.currentLeader.port).map { [(leaderID, response.currentLeader.host, $0)] } ?? []
        let endpoints = response.currentLeader.host.isEmpty ? [] : endpoints(leaderID, nodes)
        switch learn(from: response.errorCode, leaderID: leaderID, epoch: response.currentLeader.leaderEpoch, endpoints: endpoints) {
        case .done: return true
        case .failed: return false
        case .goOn: break
        }
        guard role == .follower, response.errorCode == .none || response.errorCode == .unsupportedVersion else { return false }
        following.hasUpdatedLeader = true
        following.hasFetched = true
        following.fetchDeadline = now + configuration.timing.fetchTimeout
        return true
    }
}
