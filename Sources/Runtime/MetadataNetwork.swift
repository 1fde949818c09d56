// The metadata quorum's way to other nodes and to the clock: what the core asks for goes out here, and comes back to the queue.
import Consensus
import KafkaMessages
import KafkaWire
import NIOConcurrencyHelpers
import NIOCore
import Network
import Primitives

/// What a member of a quorum needs to reach the others.
public struct QuorumNetwork: Sendable {
    /// Belongs to the caller; must live as long as the runtime.
    public var eventLoopGroup: any EventLoopGroup
    public var peers: PeerOptions

    public init(eventLoopGroup: any EventLoopGroup, peers: PeerOptions) {
        self.eventLoopGroup = eventLoopGroup
        self.peers = peers
        if peers.traffic == nil { self.peers.traffic = PeerTraffic() }
    }
}

/// What this node knows about who leads the metadata quorum.
public struct MetadataLeadership: Hashable, Sendable {
    /// Nil when nobody is known to lead.
    public var leader: MetadataLeader?
    /// Where the active controller listens; nil when it is not known.
    public var controllerAddress: PeerAddress?
    /// Whether this node leads and has taken over everything its predecessors committed: its controller decides.
    public var isActive = false
    /// The newest epoch seen, with a leader or without.
    public var epoch: LeaderEpoch = 0

    init() {}

    init(of actor: MetadataActor) {
        leader = actor.leader
        isActive = actor.isActive
        epoch = actor.quorum.epoch
        guard let leader else { return }
        let name = actor.configuration.quorum.listenerName
        if leader.id == actor.configuration.quorum.localID, let own = actor.configuration.quorum.localEndpoints.first {
            controllerAddress = PeerAddress(id: leader.id, host: own.host, port: Int(own.port))
        } else if let endpoint = actor.quorum.leaderEndpoint(listenerName: name) {
            controllerAddress = PeerAddress(id: leader.id, host: endpoint.host, port: Int(endpoint.port))
        }
    }
}

/// What became of a request to another member.
enum QuorumAnswer: Sendable {
    case response(QuorumResponse)
    case failed(QuorumPeerFailure)
}

/// Sends the requests of the quorum; answers and failures come back in any order.
final class MetadataOutbox: Sendable {
    typealias Delivery = @Sendable (QuorumAnswer, _ correlation: UInt64) -> Void

    /// Fetches wait at the leader; a vote must not wait behind one.
    private let fetches: PeerConnections?
    private let others: PeerConnections?
    private let timeoutMilliseconds: Int64
    private let delivery = NIOLockedValueBox<Delivery?>(nil)

    init(_ network: QuorumNetwork?, timeoutMilliseconds: Int64) {
        self.timeoutMilliseconds = timeoutMilliseconds
        fetches = network.map { PeerConnections(options: $0.peers, eventLoopGroup: $0.eventLoopGroup) }
        others = network.map { PeerConnections(options: $0.peers, eventLoopGroup: $0.eventLoopGroup) }
    }

    func deliver(to delivery: @escaping Delivery) {
        self.delivery.withLockedValue { $0 = delivery }
    }

    func send(_ request: QuorumRequest, to peer: QuorumPeer, correlation: UInt64) {
        switch request {
        case .fetch(let message): sendFetch(message, peer, correlation)
        case .fetchSnapshot(let message): send(message, over: fetches, peer, correlation) { .fetchSnapshot($0) }
        case .vote(let message): send(message, over: others, peer, correlation) { .vote($0) }
        case .beginQuorumEpoch(let message): send(message, over: others, peer, correlation) { .beginQuorumEpoch($0) }
        case .endQuorumEpoch(let message): send(message, over: others, peer, correlation) { .endQuorumEpoch($0) }
        case .addRaftVoter(let message): send(message, over: others, peer, correlation) { .addRaftVoter($0) }
        case .removeRaftVoter(let message): send(message, over: others, peer, correlation) { .removeRaftVoter($0) }
        case .updateRaftVoter(let message): send(message, over: others, peer, correlation) { .updateRaftVoter($0) }
        case .apiVersions(var message):
            if message.clientSoftwareName.isEmpty {
                message.clientSoftwareName = "martlet"
                message.clientSoftwareVersion = "1.0"
            }
            send(message, over: others, peer, correlation) { .apiVersions($0) }
        }
    }

    /// A fetch says who asks in one place or the other, depending on its version.
    private func sendFetch(_ request: FetchRequest, _ peer: QuorumPeer, _ correlation: UInt64) {
        guard let fetches else { return deliver(.failed(.disconnected), correlation) }
        var old = request
        if request.replicaState.replicaId >= 0 { old.replicaId = request.replicaState.replicaId }
        old.replicaState = FetchRequest.ReplicaState()
        var new = request
        new.replicaId = -1
        let (before, since) = (old, new)
        fetches.send(
            to: PeerAddress(id: peer.id, host: peer.host, port: Int(peer.port)), api: ApiKey.fetch.rawValue,
            timeoutMilliseconds: timeoutMilliseconds,
            encode: { offered in
                let version = offered.upperBound
                let body = try? (version >= 15 ? since : before).encoded(version: version)
                return body.map { PeerRequest(version: version, body: $0) }
            },
            completion: { [self] outcome in
                let answer = outcome.flatMap { answer -> Result<FetchResponse, PeerFailure> in
                    do throws(WireError) {
                        return .success(try FetchResponse(decoding: answer.body, version: answer.version))
                    } catch {
                        return .failure(.malformed("\(error)"))
                    }
                }
                deliver(answer.map { .fetch($0) }, correlation)
            })
    }

    private func deliver(_ outcome: Result<QuorumResponse, PeerFailure>, _ correlation: UInt64) {
        switch outcome {
        case .success(let response): deliver(.response(response), correlation)
        case .failure(.timedOut): deliver(.failed(.timedOut), correlation)
        case .failure(.unsupportedVersion): deliver(.failed(.unsupportedVersion), correlation)
        case .failure(.unreachable), .failure(.disconnected), .failure(.overloaded), .failure(.closed), .failure(.malformed):
            deliver(.failed(.disconnected), correlation)
        }
    }

    private func send<Request: KafkaRequest>(
        _ request: Request, over connections: PeerConnections?, _ peer: QuorumPeer, _ correlation: UInt64,
        as wrap: @escaping @Sendable (Request.Response) -> QuorumResponse
    ) {
        guard let connections else { return deliver(.failed(.disconnected), correlation) }
        connections.send(
            request, to: PeerAddress(id: peer.id, host: peer.host, port: Int(peer.port)), timeoutMilliseconds: timeoutMilliseconds
        ) { [self] outcome in deliver(outcome.map(wrap), correlation) }
    }

    private func deliver(_ outcome: QuorumAnswer, _ correlation: UInt64) {
        delivery.withLockedValue { $0 }?(outcome, correlation)
    }

    func close() {
        delivery.withLockedValue { $0 = nil }
        fetches?.close()
        others?.close()
    }
}

/// Wakes the queue when the core wants to be told the time. Set to a later time it stays as it is: waking up early does no harm.
final class MetadataAlarm: Sendable {
    private struct State {
        var deadline = Int64.max
        var scheduled: Scheduled<Void>?
        var due: (@Sendable () -> Void)?
    }

    private let eventLoop: (any EventLoop)?
    private let state = NIOLockedValueBox(State())

    init(_ eventLoop: (any EventLoop)?) {
        self.eventLoop = eventLoop
    }

    func whenDue(_ due: @escaping @Sendable () -> Void) {
        state.withLockedValue { $0.due = due }
    }

    /// - Parameter deadline: monotonic milliseconds.
    func set(_ deadline: Int64) {
        guard let eventLoop else { return }
        state.withLockedValue { state in
            guard deadline < state.deadline, state.due != nil else { return }
            state.scheduled?.cancel()
            state.deadline = deadline
            let delay = max(1, deadline - SystemClock.monotonicMilliseconds())
            state.scheduled = eventLoop.scheduleTask(in: .milliseconds(delay)) { [weak self] in self?.fire(deadline) }
        }
    }

    private func fire(_ deadline: Int64) {
        let due = state.withLockedValue { state -> (@Sendable () -> Void)? in
            guard state.deadline == deadline else { return nil }
            state.deadline = .max
            state.scheduled = nil
            return state.due
        }
        due?()
    }

    func cancel() {
        state.withLockedValue { state in
            state.scheduled?.cancel()
            state = State()
        }
    }
}
