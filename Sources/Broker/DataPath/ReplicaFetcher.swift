// Fetches many partitions from one leader: one request at a time on one connection. Lives on one event loop; appends there, as produce
// requests are appended on theirs.
import Collections
import KafkaMessages
import KafkaWire
import Logging
import NIOCore
import Network
import Primitives
import Replication
import Storage

/// One fetcher.
final class ReplicaFetcher: @unchecked Sendable {
    // Sound because all mutable state is confined to `eventLoop`.
    /// Errors that pass once metadata has arrived everywhere are retried after this long, then ever more slowly.
    private static let firstBackoffMilliseconds: Int64 = 10
    /// Versions in which requests are written; 17 and 18 only add what the metadata log's fetches need.
    private static let versions: ClosedRange<Int16> = 13...16
    /// Partitions that are assigned together are asked for together.
    private static let gatherTime = TimeAmount.milliseconds(1)
    /// How often at most a request that waits at the leader is given up for new partitions.
    private static let interruptionIntervalMilliseconds: Int64 = 250

    let leader: NodeID
    let environment: ReplicationEnvironment
    let connections: PeerConnections
    let eventLoop: any EventLoop
    let logger: Logger
    private let brokerEpoch: @Sendable () -> Int64
    private let address: @Sendable (NodeID) -> PeerAddress?
    var plan = ReplicaFetchPlan()
    var partitions: [FetchSessionKey: Partition] = [:]
    /// Partitions that are behind their leader's high watermark, as far as is known: only they are ever held back.
    private var behind: OrderedSet<FetchSessionKey> = []
    /// Errors in a row, for the length of the pause.
    private var failures: [FetchSessionKey: Int] = [:]
    private var connectionFailures = 0
    private var isBusy = false
    private var isClosed = false
    private var timer: Scheduled<Void>?
    private var isGathering = false
    private var lastInterruptionAt: Int64 = .min / 2

    init(
        leader: NodeID, environment: ReplicationEnvironment, connections: PeerConnections, eventLoop: any EventLoop,
        brokerEpoch: @escaping @Sendable () -> Int64, address: @escaping @Sendable (NodeID) -> PeerAddress?, logger: Logger
    ) {
        self.leader = leader
        self.environment = environment
        self.connections = connections
        self.eventLoop = eventLoop
        self.brokerEpoch = brokerEpoch
        self.address = address
        self.logger = logger
    }

    var settings: ReplicationSettings { environment.settings }

    // MARK: From any thread

    /// Begins to fetch a partition, or begins anew under another epoch.
    func follow(_ partition: Partition) {
        eventLoop.execute { [self] in
            guard !isClosed else { return }
            begin(partition)
            if isGathering { return }
            isGathering = true
            eventLoop.scheduleTask(in: Self.gatherTime) { [self] in
                isGathering = false
                isBusy ? interrupt() : step()
            }
        }
    }

    func stop(_ partition: Partition) {
        let key = partition.fetchKey
        eventLoop.execute { [self] in
            partitions[key] = nil
            failures[key] = nil
            behind.remove(key)
            plan.stop(key)
        }
    }

    func close() {
        eventLoop.execute { [self] in
            isClosed = true
            timer?.cancel()
            partitions = [:]
            behind = []
            plan = ReplicaFetchPlan()
        }
    }

    // MARK: On the loop

    private func begin(_ partition: Partition) {
        let key = partition.fetchKey
        do throws(PartitionError) {
            try partition.beginFollowing(now: SystemClock.now())
        } catch {
            logger.error("a replica cannot follow", metadata: ["partition": "\(partition.topicPartition)", "reason": "\(error)"])
        }
        // Leadership may have moved on since the fetcher was told.
        guard let (current, position) = partition.fetchPosition(maxBytes: settings.fetchMaxBytes), current == leader else { return }
        partitions[key] = partition
        failures[key] = nil
        behind.append(key)
        plan.follow(key, from: position)
    }

    private func step() {
        guard !isBusy, !isClosed else { return }
        let now = SystemClock.monotonicMilliseconds()
        timer?.cancel()
        timer = nil
        guard let peer = address(leader) else {
            if plan.count > 0 { wake(after: settings.fetchBackoffMilliseconds) }
            return
        }
        holdBack(now: now)
        switch plan.next(now: now) {
        case .idle: break
        case .wait(let time): wake(after: max(1, time - now))
        case .send(let request): send(request, to: peer)
        }
    }

    /// Leaves throttled partitions out for as long as this node has taken more than it may. Those in sync go on: they would leave the
    /// in-sync replicas otherwise (KIP-73).
    private func holdBack(now: Int64) {
        let throttle = environment.followerThrottle
        guard throttle.isLimited, !behind.isEmpty else { return }
        let pause = throttle.pauseMilliseconds
        guard pause > 0 else { return }
        // Not for the whole of a long pause: the rate may be changed meanwhile.
        let until = now + min(pause, max(1, settings.fetchBackoffMilliseconds))
        for key in behind where !plan.isResting(key) && partitions[key]?.throttling.follower == true { plan.delay(key, until: until) }
    }

    /// Gives up the request on its way: it may wait at the leader for half a second while producers wait for the new partitions. The
    /// connection is the only means to take it back.
    private func interrupt() {
        let now = SystemClock.monotonicMilliseconds()
        guard let peer = address(leader), now - lastInterruptionAt > Self.interruptionIntervalMilliseconds else { return }
        lastInterruptionAt = now
        connections.disconnect(from: peer)
    }

    private func wake(after milliseconds: Int64) {
        timer?.cancel()
        timer = eventLoop.scheduleTask(in: .milliseconds(milliseconds)) { [self] in step() }
    }

    private func send(_ request: ReplicaFetchRequest, to peer: PeerAddress) {
        isBusy = true
        let message = message(request)
        let epoch = brokerEpoch()
        connections.send(
            to: peer, api: ApiKey.fetch.rawValue, timeoutMilliseconds: settings.socketTimeoutMilliseconds, on: eventLoop,
            encode: { [nodeID = environment.nodeID] offered in
                guard offered.overlaps(Self.versions) else { return nil }
                let version = offered.clamped(to: Self.versions).upperBound
                var message = message
                if version >= 15 {
                    message.replicaState.replicaId = nodeID
                    message.replicaState.replicaEpoch = epoch
                } else {
                    message.replicaId = nodeID
                }
                return (try? message.encoded(version: version)).map { PeerRequest(version: version, body: $0) }
            },
            completion: { [self] result in
                isBusy = false
                guard !isClosed else { return }
                finish(result)
            })
    }

    private func message(_ request: ReplicaFetchRequest) -> FetchRequest {
        var message = FetchRequest(
            plan: request, maxWaitMilliseconds: settings.fetchWaitMaxMilliseconds, maxBytes: settings.fetchResponseMaxBytes)
        message.minBytes = settings.fetchMinBytes
        return message
    }

    private func finish(_ result: Result<PeerResponse, PeerFailure>) {
        let response: FetchResponse
        do {
            let answer = try result.get()
            response = try FetchResponse(decoding: answer.body, version: answer.version)
        } catch {
            plan.resetSession()
            if SystemClock.monotonicMilliseconds() - lastInterruptionAt < Self.interruptionIntervalMilliseconds { return wake(after: 1) }
            connectionFailures += 1
            environment.unreachableLeaders.failed(leader, now: SystemClock.monotonicMilliseconds())
            logger.debug("a fetch failed", metadata: ["leader": "\(leader)", "reason": "\(error)"])
            return wake(after: backoff(connectionFailures))
        }
        environment.unreachableLeaders.reached(leader)
        guard response.errorCode == .none else {
            plan.resetSession()
            connectionFailures += 1
            return wake(after: response.errorCode == .fetchSessionIdNotFound ? 1 : backoff(connectionFailures))
        }
        connectionFailures = 0
        plan.answered(sessionID: response.sessionId)
        for topic in response.responses {
            for data in topic.partitions {
                take(data, FetchSessionKey(topicID: topic.topicId, topicName: "", partition: data.partitionIndex))
            }
        }
        step()
    }

    func backoff(_ failures: Int) -> Int64 {
        min(max(1, settings.fetchBackoffMilliseconds), Self.firstBackoffMilliseconds << Int64(min(failures - 1, 10)))
    }

    // MARK: Answers

    private func take(_ data: FetchResponse.PartitionData, _ key: FetchSessionKey) {
        guard plan.isCurrent(key), let partition = partitions[key], let asked = plan.position(of: key) else { return }
        switch data.errorCode {
        case .none: append(data, key, partition, asked)
        case .offsetOutOfRange: resolveOutOfRange(key, partition, asked)
        default:
            // Not leader, fenced or unknown epochs, unknown topics: metadata is on its way here or there.
            rest(key, "\(data.errorCode.name)")
        }
    }

    private func append(_ data: FetchResponse.PartitionData, _ key: FetchSessionKey, _ partition: Partition, _ asked: FetchPosition) {
        let now = SystemClock.now()
        do throws(PartitionError) {
            if data.divergingEpoch.endOffset >= 0 || data.divergingEpoch.epoch >= 0 {
                let cut = try partition.truncate(
                    diverging: EpochEnd(epoch: data.divergingEpoch.epoch, endOffset: data.divergingEpoch.endOffset),
                    leaderEpoch: asked.currentLeaderEpoch, maxBytes: settings.fetchMaxBytes, now: now)
                logger.info(
                    "a replica was cut back to where it agrees with its leader",
                    metadata: [
                        "partition": "\(partition.topicPartition)", "offset": "\(cut.position.fetchOffset)", "removed": "\(cut.removed)",
                    ])
                plan.advance(key, to: cut.position)
                return
            }
            let taken = try partition.appendFetched(
                data.records ?? ByteBuffer(), leaderEpoch: asked.currentLeaderEpoch, highWatermark: data.highWatermark,
                leaderStartOffset: data.logStartOffset, maxBytes: settings.fetchMaxBytes, now: now)
            if !failures.isEmpty { failures[key] = nil }
            if taken.position.fetchOffset < data.highWatermark { behind.append(key) } else { behind.remove(key) }
            if taken.appendedBytes > 0 { environment.metrics?.replicationBytesIn.increment(by: taken.appendedBytes) }
            if taken.isThrottled { environment.followerThrottle.record(bytes: taken.appendedBytes) }
            plan.advance(key, to: taken.position)
        } catch {
            rest(key, "\(error)")
        }
    }

    /// Lets a partition rest after an error.
    func rest(_ key: FetchSessionKey, _ reason: String) {
        let count = (failures[key] ?? 0) + 1
        failures[key] = count
        if count == 8, let partition = partitions[key] {
            logger.warning(
                "a replica cannot follow its leader; trying again",
                metadata: ["partition": "\(partition.topicPartition)", "leader": "\(leader)", "reason": "\(reason)"])
        }
        plan.delay(key, until: SystemClock.monotonicMilliseconds() + backoff(count))
    }
}

// MARK: - Offsets that the leader does not have

extension ReplicaFetcher {
    /// Asks where the leader's log begins and ends, and goes on from there.
    private func resolveOutOfRange(_ key: FetchSessionKey, _ partition: Partition, _ asked: FetchPosition) {
        rest(key, "OFFSET_OUT_OF_RANGE")
        askOffset(of: partition, timestamp: -2, asked) { [self] start in
            askOffset(of: partition, timestamp: -1, asked) { [self] end in
                // Unless the partition has been told to follow anew since.
                guard let current = plan.position(of: key), current.currentLeaderEpoch == asked.currentLeaderEpoch,
                    current.fetchOffset == asked.fetchOffset
                else { return }
                do throws(PartitionError) {
                    let moved = try partition.resolveOutOfRange(
                        leaderStartOffset: start, leaderEndOffset: end, leaderEpoch: asked.currentLeaderEpoch,
                        maxBytes: settings.fetchMaxBytes, now: SystemClock.now())
                    logger.info(
                        "a replica's log did not meet its leader's",
                        metadata: [
                            "partition": "\(partition.topicPartition)", "leader's": "\(start) to \(end)",
                            "offset": "\(asked.fetchOffset)", "goes on at": "\(moved.position.fetchOffset)",
                        ])
                    plan.advance(key, to: moved.position)
                } catch {
                    logger.error(
                        "a replica cannot be reset", metadata: ["partition": "\(partition.topicPartition)", "reason": "\(error)"])
                }
            }
        }
    }

    private func askOffset(
        of partition: Partition, timestamp: Int64, _ asked: FetchPosition, completion: @escaping @Sendable (Offset) -> Void
    ) {
        guard let peer = address(leader) else { return }
        var request = ListOffsetsRequest()
        request.replicaId = environment.nodeID
        var topic = ListOffsetsRequest.ListOffsetsTopic()
        topic.name = partition.topicPartition.topic
        var entry = ListOffsetsRequest.ListOffsetsPartition()
        entry.partitionIndex = partition.topicPartition.partition
        entry.currentLeaderEpoch = asked.currentLeaderEpoch
        entry.timestamp = timestamp
        topic.partitions = [entry]
        request.topics = [topic]
        connections.send(
            request, to: peer, versions: 4...7, timeoutMilliseconds: settings.socketTimeoutMilliseconds, on: eventLoop
        ) { result in
            guard case .success(let response) = result, let answer = response.topics.first?.partitions.first, answer.errorCode == .none
            else { return }
            completion(answer.offset)
        }
    }
}

extension Partition {
    /// Names the partition in fetch sessions between brokers.
    var fetchKey: FetchSessionKey { FetchSessionKey(topicID: topicID, topicName: "", partition: topicPartition.partition) }
}
