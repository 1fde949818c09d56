// A follower's fetching from one leader, as `ReplicaFetcher` does it: one request at a time on one connection, sessions, pauses after
// errors, one interruption for partitions that just came.
import KafkaWire
import Primitives
import Replication

/// Fetches many partitions from one leader.
final class SimulatedFetcher {
    static let purpose = 2
    private static let firstBackoff: Int64 = 10
    private static let backoffLimit: Int64 = 1000
    private static let interruptionInterval: Int64 = 250
    private static let socketTimeout: Int64 = 30_000

    let leader: NodeID
    private unowned let broker: SimulatedBroker
    private var plan = ReplicaFetchPlan()
    private var replicas: [FetchSessionKey: SimulatedReplica] = [:]
    private var failures: [FetchSessionKey: Int] = [:]
    private var connectionFailures = 0
    private var isBusy = false
    private var isGathering = false
    private var lastInterruption: Int64 = .min / 2
    private var timer = 0
    private var isClosed = false

    init(leader: NodeID, broker: SimulatedBroker) {
        self.leader = leader
        self.broker = broker
    }

    private var node: QuorumNode { broker.node }
    private var world: ClusterWorld { broker.world }

    func follow(_ replica: SimulatedReplica) {
        node.execute { [self] in
            if isClosed { return }
            replica.beginFollowing()
            guard let (current, position) = replica.fetchPosition(), current == leader else { return }
            let key = replica.partition.key
            replicas[key] = replica
            failures[key] = nil
            plan.follow(key, from: position)
            if isGathering { return }
            isGathering = true
            broker.later(1) { [self] in
                isGathering = false
                isBusy ? interrupt() : step()
            }
        }
    }

    func stop(_ replica: SimulatedReplica) {
        let key = replica.partition.key
        node.execute { [self] in
            replicas[key] = nil
            failures[key] = nil
            plan.stop(key)
        }
    }

    func close() { isClosed = true }

    private func step() {
        guard !isBusy, !isClosed else { return }
        timer += 1
        guard let host = broker.address(of: leader) else {
            if plan.count > 0 { wake(after: Self.backoffLimit) }
            return
        }
        switch plan.next(now: node.now) {
        case .idle: break
        case .wait(let time): wake(after: max(1, time - node.now))
        case .send(let request): send(request, to: host)
        }
    }

    private func interrupt() {
        guard let host = broker.address(of: leader), node.now - lastInterruption > Self.interruptionInterval else { return }
        lastInterruption = node.now
        world.network.disconnect(from: node.host, to: host, purpose: Self.purpose)
    }

    private func wake(after milliseconds: Int64) {
        timer += 1
        let current = timer
        broker.later(milliseconds) { [self] in if timer == current { step() } }
    }

    private func send(_ request: ReplicaFetchRequest, to host: Host) {
        isBusy = true
        var call = FetchCall(maxWait: world.plan.fetchWait, maxBatches: world.plan.fetchBatches)
        call.replica = broker.id
        call.replicaEpoch = broker.epoch
        call.sessionID = request.sessionID
        call.sessionEpoch = request.sessionEpoch
        call.partitions = request.partitions
        call.forgotten = request.forgotten
        node.note("sends \(BrokerCall.fetch(call).summary) to n\(leader)")
        broker.send(.fetch(call), to: host, purpose: Self.purpose, timeout: Self.socketTimeout) { [self] answer in
            isBusy = false
            if !isClosed { finish(answer) }
        }
    }

    private func finish(_ answer: BrokerAnswer?) {
        guard case .fetch(let sessionID, let error, let partitions)? = answer else {
            plan.resetSession()
            if node.now - lastInterruption < Self.interruptionInterval { return wake(after: 1) }
            connectionFailures += 1
            return wake(after: backoff(connectionFailures))
        }
        guard error == .none else {
            plan.resetSession()
            connectionFailures += 1
            return wake(after: error == .fetchSessionIdNotFound ? 1 : backoff(connectionFailures))
        }
        connectionFailures = 0
        plan.answered(sessionID: sessionID)
        for data in partitions { take(data) }
        step()
    }

    private func backoff(_ failures: Int) -> Int64 { min(Self.backoffLimit, Self.firstBackoff << Int64(min(failures - 1, 10))) }

    private func take(_ data: FetchedPartition) {
        let key = data.key
        guard plan.isCurrent(key), let replica = replicas[key], let asked = plan.position(of: key) else { return }
        switch data.error {
        case .none:
            guard let position = replica.take(data, leaderEpoch: asked.currentLeaderEpoch) else { return rest(key) }
            failures[key] = nil
            plan.advance(key, to: position)
        case .offsetOutOfRange: resolveOutOfRange(key, replica, asked)
        default: rest(key)
        }
    }

    private func rest(_ key: FetchSessionKey) {
        let count = (failures[key] ?? 0) + 1
        failures[key] = count
        plan.delay(key, until: node.now + backoff(count))
    }

    private func resolveOutOfRange(_ key: FetchSessionKey, _ replica: SimulatedReplica, _ asked: FetchPosition) {
        rest(key)
        askOffset(replica, -2, asked) { [self] start in
            askOffset(replica, -1, asked) { [self] end in
                guard let current = plan.position(of: key), current.currentLeaderEpoch == asked.currentLeaderEpoch,
                    current.fetchOffset == asked.fetchOffset,
                    let moved = replica.resolveOutOfRange(start: start, end: end, leaderEpoch: asked.currentLeaderEpoch)
                else { return }
                plan.advance(key, to: moved)
            }
        }
    }

    private func askOffset(
        _ replica: SimulatedReplica, _ timestamp: Int64, _ asked: FetchPosition, completion: @escaping (Offset) -> Void
    ) {
        guard let host = broker.address(of: leader) else { return }
        let call = BrokerCall.listOffset(replica.partition, epoch: asked.currentLeaderEpoch, timestamp: timestamp, replica: broker.id)
        broker.send(call, to: host, purpose: Self.purpose, timeout: Self.socketTimeout) { answer in
            guard case .listOffset(.none, let offset, _)? = answer else { return }
            completion(offset)
        }
    }
}
