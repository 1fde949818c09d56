// A metadata quorum in its world: members on machines in data centres, a client that proposes records, faults by the plan, and the
// judge of all of it.
import Consensus
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives

/// One run of one seed.
final class QuorumWorld {
    let plan: QuorumPlan
    let mutation: Mutation?
    let scheduler: Scheduler
    let trace: Trace
    let network: SimulatedNetwork
    let ledger = QuorumLedger()
    private(set) var nodes: [QuorumNode] = []
    private(set) var violation: Violation?
    /// What clients were told is committed.
    private(set) var acknowledgements: [QuorumProposal] = []
    var random: SeededRandom
    var faultsEnded = false
    private var nextValue: UInt64 = 1
    private var recoveryTarget: Offset = 0
    private(set) var isDone = false
    /// Whoever changes voters.
    private var admin: Host?

    convenience init(seed: UInt64, mutation: Mutation?, isBrief: Bool, isTracing: Bool) {
        var random = SeededRandom(seed: seed)
        self.init(plan: QuorumPlan(seed: random.next(), isBrief: isBrief), seed: random.next(), mutation: mutation, isTracing: isTracing)
    }

    init(plan: QuorumPlan, seed: UInt64, mutation: Mutation?, isTracing: Bool) {
        random = SeededRandom(seed: seed)
        self.plan = plan
        self.mutation = mutation
        scheduler = Scheduler(seed: random.next())
        trace = Trace(isRecording: isTracing)
        network = SimulatedNetwork(scheduler: scheduler, trace: trace, seed: random.next())
        network.timing.between = plan.distances
        buildNodes()
    }

    private func buildNodes() {
        let count = plan.voterCount + plan.observerCount
        let voters = (1...plan.voterCount).map { id in
            Voter(id: NodeID(id), endpoints: [Self.endpoint(NodeID(id))])
        }
        for index in 1...count {
            let id = NodeID(index)
            let host = network.addHost(id: id, dataCenter: index % plan.dataCenters)
            var configuration = QuorumConfiguration(
                localID: id, localDirectoryID: KafkaUUID.random(using: &random), localEndpoints: [Self.endpoint(id)],
                staticVoters: VoterSet(voters))
            configuration.canBecomeVoter = index <= plan.voterCount
            configuration.clusterID = "simulated"
            nodes.append(QuorumNode(world: self, host: host, configuration: configuration, seed: random.next()))
        }
        if plan.isDynamic { makeDynamic() }
    }

    /// Voters in the log: formatting wrote them into a snapshot of the first ones.
    private func makeDynamic() {
        let voters = VoterSet(
            nodes.prefix(plan.voterCount).map { node in
                Voter(id: node.id, directoryID: node.configuration.localDirectoryID, endpoints: node.configuration.localEndpoints)
            })
        var version = KRaftVersionRecord()
        version.kRaftVersion = 1
        for node in nodes {
            node.configuration.staticVoters = nil
            node.configuration.bootstrapServers = (1...plan.voterCount).map { .init(host: "n\($0)", port: 9093) }
            node.configuration.canBecomeVoter = true
            node.configuration.joinsAutomatically = random.chance(300)
            guard voters.contains(node.id) else { continue }
            do throws(QuorumError) {
                let header: [QuorumControlRecord] = [
                    .snapshotHeader(SnapshotHeaderRecord()), .kraftVersion(version), .voters(voters.record()),
                ]
                node.disk.keep(try SnapshotFile(id: .bootstrap, header: header, state: 0), at: 0, removingOlderThan: -1)
            } catch {
                fail(.noUnexpectedError, "no first snapshot: \(error)")
            }
        }
        admin = network.addHost(id: 999, dataCenter: 0)
        admin?.isRunning = true
        admin?.incarnation = 1
    }

    private static func endpoint(_ id: NodeID) -> Voter.Endpoint { Voter.Endpoint(name: "CONTROLLER", host: "n\(id)", port: 9093) }

    func node(_ id: NodeID) -> QuorumNode? { nodes.first { $0.id == id } }

    func node(_ peer: QuorumPeer) -> QuorumNode? { nodes.first { "n\($0.id)" == peer.host } }

    func fail(_ invariant: Invariant, _ detail: String) {
        guard violation == nil else { return }
        trace.note(scheduler.now, "judge", "VIOLATION of \(invariant.rawValue): \(detail)")
        violation = Violation(invariant: invariant, detail: detail, time: scheduler.now)
    }

    func end() { isDone = true }

    func acknowledged(_ proposal: QuorumProposal) { acknowledgements.append(proposal) }

    // MARK: The run

    /// Runs to the end: all is well again after the faults, or an invariant is broken.
    func run() {
        trace.note(0, "plan", plan.description)
        for node in nodes {
            scheduler.after(random.between(0...500_000)) { node.boot() }
        }
        proposeAgain()
        let faults = QuorumFaults(self, seed: random.next())
        faults.scheduleNext()
        scheduler.at(plan.duration) { [self] in
            faults.end()
            faultsEnded = true
            recoveryTarget = ledger.endOffset
            watchRecovery(until: scheduler.now + plan.recoveryLimit)
        }
        while violation == nil, !isDone, scheduler.step() {}
        if violation == nil { checkAtEnd() }
    }

    private func proposeAgain() {
        scheduler.after(.milliseconds(random.between(1...plan.proposalInterval))) { [self] in
            guard !isDone else { return }
            proposeAgain()
            let leaders = nodes.filter(\.isLeader)
            guard !leaders.isEmpty else { return }
            // Leaders that do not know yet that they lead no longer are asked as well.
            let node = random.pick(leaders)
            let values = (0..<random.between(1...4)).map { nextValue + UInt64($0) }
            nextValue += UInt64(values.count)
            node.enqueue(.propose(values, isAtomic: random.chance(500)))
        }
    }

    /// Asks somebody who leads to take a member in or out.
    func changeVoters() {
        let leaders = nodes.filter(\.isLeader)
        guard let admin, !leaders.isEmpty else { return }
        let leader = random.pick(leaders)
        let member = random.pick(nodes)
        guard let voters = leader.quorum?.voters else { return }
        let request: QuorumRequest
        if voters.contains(member.id) {
            // From two voters nobody is taken: when the one that goes is the only one to have the record, and the other is down, neither may
            // stand and win when they come back. Kafka's rules have this gap, too.
            guard voters.voters.count > 2 else { return }
            var message = RemoveRaftVoterRequest()
            message.clusterId = member.configuration.clusterID
            message.voterId = member.id
            message.voterDirectoryId = member.configuration.localDirectoryID
            request = .removeRaftVoter(message)
        } else {
            var message = AddRaftVoterRequest()
            message.clusterId = member.configuration.clusterID
            message.voterId = member.id
            message.voterDirectoryId = member.configuration.localDirectoryID
            message.ackWhenCommitted = random.chance(700)
            message.listeners = member.configuration.localEndpoints.map { endpoint in
                var listener = AddRaftVoterRequest.Listener()
                listener.name = endpoint.name
                listener.host = endpoint.host
                listener.port = endpoint.port
                return listener
            }
            request = .addRaftVoter(message)
        }
        trace.note(scheduler.now, "admin", "sends \(request.summary) to n\(leader.id)")
        network.send(.quorum(request), from: admin, to: leader.host, timeout: .seconds(3)) { [self] result in
            if case .success(let response) = result { trace.note(scheduler.now, "admin", "gets \(response)") }
        }
    }

    private func watchRecovery(until limit: VirtualTime) {
        if hasRecovered {
            trace.note(scheduler.now, "judge", "all members agree up to \(ledger.endOffset)")
            isDone = true
        } else if scheduler.now >= limit {
            fail(.recovers, "no recovery within \(plan.recoveryLimit / 1_000_000) s: \(describeNodes())")
        } else {
            scheduler.after(.milliseconds(100)) { [self] in watchRecovery(until: limit) }
        }
    }

    /// One leader, something new acknowledged since the faults ended, and everybody at that point at least.
    private var hasRecovered: Bool {
        let leaders = nodes.filter(\.isLeader)
        guard leaders.count == 1, let epoch = leaders[0].quorum?.epoch else { return false }
        guard let last = acknowledgements.last, last.offset >= recoveryTarget, last.epoch == epoch else { return false }
        return nodes.allSatisfy { $0.quorum?.epoch == epoch && $0.highWatermark > recoveryTarget }
    }

    private func describeNodes() -> String {
        nodes.map { node in
            guard let quorum = node.quorum else { return "n\(node.id) is down" }
            return "n\(node.id) \(quorum.role) epoch \(quorum.epoch) leader \(quorum.leaderID) high watermark \(node.highWatermark) "
                + "log \(node.disk.startOffset)..<\(node.disk.endOffset)"
        }.joined(separator: "; ") + "; committed \(ledger.endOffset)"
    }

    private func checkAtEnd() {
        for proposal in acknowledgements {
            guard proposal.offset < ledger.endOffset else {
                return fail(.acknowledgedNeverLost, "value \(proposal.value) at \(proposal.offset) is beyond what is committed")
            }
            for node in nodes where node.disk.startOffset <= proposal.offset && node.highWatermark > proposal.offset {
                guard let value = node.disk.value(at: proposal.offset), value == proposal.value else {
                    return fail(
                        .acknowledgedNeverLost,
                        "value \(proposal.value) at \(proposal.offset) is not there on n\(node.id)")
                }
            }
        }
    }

    // MARK: Messages on their way

    /// A request as it comes out at the other side, if its version can say it.
    func throughWire(_ request: QuorumRequest, from node: QuorumNode) -> QuorumRequest? {
        guard plan.encodesMessages else { return request }
        do throws(WireError) {
            switch request {
            case .vote(let message): return .vote(try throughWire(message))
            case .beginQuorumEpoch(let message): return .beginQuorumEpoch(try throughWire(message))
            case .endQuorumEpoch(let message): return .endQuorumEpoch(try throughWire(message))
            case .fetch(var message):
                // From version 15 on the replica stands in a tagged field (KIP-903).
                message.replicaId = -1
                return .fetch(try throughWire(message))
            case .fetchSnapshot(let message): return .fetchSnapshot(try throughWire(message))
            default: return request
            }
        } catch {
            fail(.messagesCanBeSent, "n\(node.id) sends \(request.summary): \(error)")
            return nil
        }
    }

    private func throughWire<Message: KafkaMessage>(_ message: Message) throws(WireError) -> Message {
        let version = Message.validVersions.upperBound
        return try Message(decoding: try message.encoded(version: version), version: version)
    }

    /// A request as the receiver's fault lets it see it.
    func mutate(received request: QuorumRequest, by node: QuorumNode) -> QuorumRequest {
        guard let mutation else { return request }
        switch (mutation, request) {
        case (.ignoreLogInVote, .vote(var message)):
            guard message.topics.first?.partitions.first != nil else { return request }
            message.topics[0].partitions[0].lastOffset = 1 << 40
            // No candidate's log can reach into the epoch that it stands for; that of one who asks for a vote on a vote may.
            let part = message.topics[0].partitions[0]
            message.topics[0].partitions[0].lastOffsetEpoch = part.preVote ? part.replicaEpoch : part.replicaEpoch - 1
            return .vote(message)
        case (.inflateFetchOffset, .fetch(var message)), (.ignoreFetchedEpoch, .fetch(var message)):
            guard let part = message.topics.first?.partitions.first, node.isLeader else { return request }
            if mutation == .inflateFetchOffset {
                message.topics[0].partitions[0].fetchOffset = node.disk.endOffset
                message.topics[0].partitions[0].lastFetchedEpoch = node.disk.lastEpoch
            } else if part.fetchOffset > node.disk.startOffset {
                let offset = min(part.fetchOffset, node.disk.endOffset)
                message.topics[0].partitions[0].fetchOffset = offset
                message.topics[0].partitions[0].lastFetchedEpoch =
                    node.disk.index(of: offset - 1).map { node.disk.log[$0].epoch } ?? part.lastFetchedEpoch
            }
            return .fetch(message)
        default: return request
        }
    }

    /// An answer as the receiver's fault lets it see it.
    func mutate(received response: QuorumResponse, by node: QuorumNode) -> QuorumResponse {
        guard let mutation else { return response }
        switch (mutation, response) {
        case (.grantEveryVote, .vote(var message)):
            guard message.topics.first?.partitions.first != nil else { return response }
            message.topics[0].partitions[0].errorCode = .none
            message.topics[0].partitions[0].voteGranted = true
            message.topics[0].partitions[0].leaderId = -1
            message.topics[0].partitions[0].leaderEpoch = node.quorum?.epoch ?? 0
            return .vote(message)
        case (.inflateHighWatermark, .fetch(var message)):
            guard message.responses.first?.partitions.first != nil else { return response }
            message.responses[0].partitions[0].highWatermark = 1 << 40
            return .fetch(message)
        default: return response
        }
    }
}
