// Fetches the mirrors of one link from one broker of the source cluster: one request at a time on one connection. Lives on one event loop
// and appends there, as a follower's fetcher does. Before a mirror goes on from where it stopped, its last batch is compared with the
// source's: another batch there means that the logs part, and the mirror is cut back to where they agree.
import KafkaMessages
import KafkaWire
import Linking
import Logging
import NIOCore
import Network
import Primitives
import RecordBatches
import Replication
import Storage

/// What a fetcher tells its link.
protocol MirrorFetcherOwner: AnyObject, Sendable {
    /// The broker does not lead the partition, or cannot be reached: look for its leader.
    func lostLeader(_ partition: Partition, _ reason: String)
    /// The mirror has to be cut, for which it needs a leader epoch of its own.
    func needsNewEpoch(_ partition: Partition, _ leaderEpoch: LeaderEpoch)
    /// The mirror cannot go on.
    func failed(_ partition: Partition, _ reason: String)
    /// The source's name of a topic that is fetched by its id.
    func sourceName(_ key: FetchSessionKey) -> String?
    /// Transactions have ended in what was appended.
    func appended(_ markers: [MirroredMarker], to partition: Partition, leaderEpoch: LeaderEpoch, from: Offset, upTo: Offset)
    /// Records are about to be cut off: calls back, from anywhere, when they are kept aside; with false when they could not be.
    func willCut(_ partition: Partition, to offset: Offset, end: Offset, done: @escaping @Sendable (Bool) -> Void)
}

/// One fetcher.
final class MirrorFetcher: @unchecked Sendable {
    // Sound because all mutable state is confined to `eventLoop`.
    private static let firstBackoffMilliseconds: Int64 = 10
    private static let maximumBackoffMilliseconds: Int64 = 1_000
    private static let timeoutMilliseconds: Int64 = 30_000
    /// Topics are named by their ids, which came with version 13 (Apache Kafka 3.1).
    private static let versions: ClosedRange<Int16> = 13...17
    /// Enough for the header of a batch and for most batches.
    private static let comparedBytes: Int32 = 65_536

    struct Mirror {
        var partition: Partition
        var session: MirrorSession
        var failures = 0
    }

    let link: String
    let address: PeerAddress
    let settings: LinkSettings
    let connections: PeerConnections
    let eventLoop: any EventLoop
    let board: MirrorBoard
    let throttle: ReplicationThrottle
    let logger: Logger
    weak var owner: (any MirrorFetcherOwner)?
    var plan = ReplicaFetchPlan()
    var mirrors: [FetchSessionKey: Mirror] = [:]
    let clock = FetcherClock()
    /// When the request on its way was sent, in monotonic milliseconds.
    private(set) var sentAt: Int64 = .min
    private var isBusy = false
    private var isClosed = false
    private var connectionFailures = 0
    private var timer: Scheduled<Void>?

    init(
        link: String, address: PeerAddress, settings: LinkSettings, connections: PeerConnections, eventLoop: any EventLoop,
        board: MirrorBoard, throttle: ReplicationThrottle, owner: any MirrorFetcherOwner, logger: Logger
    ) {
        self.link = link
        self.address = address
        self.settings = settings
        self.connections = connections
        self.eventLoop = eventLoop
        self.board = board
        self.throttle = throttle
        self.owner = owner
        self.logger = logger
    }

    // MARK: From any thread

    /// Begins to mirror a partition, or begins anew under another leader epoch.
    func follow(_ partition: Partition, source key: FetchSessionKey) {
        eventLoop.execute { [self] in
            guard !isClosed else { return }
            begin(partition, key)
            step()
        }
    }

    func stop(source key: FetchSessionKey) {
        eventLoop.execute { [self] in
            mirrors[key] = nil
            plan.stop(key)
        }
    }

    func close() {
        eventLoop.execute { [self] in
            isClosed = true
            timer?.cancel()
            mirrors = [:]
            plan = ReplicaFetchPlan()
        }
    }

    // MARK: On the loop

    private func begin(_ partition: Partition, _ key: FetchSessionKey) {
        guard let position = partition.mirrorPosition else { return }
        let (session, question) = MirrorSession.begin(position)
        mirrors[key] = Mirror(partition: partition, session: session)
        plan.follow(key, from: fetchPosition(question))
    }

    func fetchPosition(_ question: MirrorQuestion) -> FetchPosition {
        let (offset, bytes, epoch) =
            switch question {
            case .records(let offset, let sourceEpoch): (offset, settings.fetchMaxBytes, sourceEpoch)
            case .batch(let offset): (offset, min(Self.comparedBytes, settings.fetchMaxBytes), LeaderEpoch(-1))
            }
        return FetchPosition(
            fetchOffset: offset, maxBytes: bytes, currentLeaderEpoch: -1, lastFetchedEpoch: epoch, logStartOffset: -1)
    }

    /// Goes on after something that was not an answer.
    func resume() { step() }

    private func step() {
        guard !isBusy, !isClosed else { return }
        let now = SystemClock.monotonicMilliseconds()
        timer?.cancel()
        timer = nil
        let pause = throttle.isLimited ? throttle.pauseMilliseconds : 0
        if pause > 0 { return wake(after: min(pause, 1_000)) }
        switch plan.next(now: now) {
        case .idle: break
        case .wait(let time): wake(after: max(1, time - now))
        case .send(let request): send(request)
        }
    }

    private func wake(after milliseconds: Int64) {
        timer?.cancel()
        timer = eventLoop.scheduleTask(in: .milliseconds(milliseconds)) { [self] in step() }
    }

    private func send(_ request: ReplicaFetchRequest) {
        isBusy = true
        sentAt = SystemClock.monotonicMilliseconds()
        let message = message(request)
        connections.send(
            to: address, api: ApiKey.fetch.rawValue, timeoutMilliseconds: Self.timeoutMilliseconds, on: eventLoop,
            encode: { offered in
                guard offered.overlaps(Self.versions) else { return nil }
                let version = offered.clamped(to: Self.versions).upperBound
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
        message.isolationLevel = 0
        // While logs are compared nobody waits for new records.
        if mirrors.values.contains(where: { !$0.session.isFollowing }) { message.maxWaitMs = 0 }
        return message
    }

    private func finish(_ result: Result<PeerResponse, PeerFailure>) {
        let response: FetchResponse
        do {
            let answer = try result.get()
            response = try FetchResponse(decoding: answer.body, version: answer.version)
        } catch {
            plan.resetSession()
            connectionFailures += 1
            let reason = Self.words(error)
            for mirror in mirrors.values { note(mirror.partition, problem: reason) }
            // Leaders move when brokers go.
            if connectionFailures == 1 || connectionFailures % 8 == 0 {
                for mirror in mirrors.values { owner?.lostLeader(mirror.partition, reason) }
            }
            return wake(after: backoff(connectionFailures))
        }
        guard response.errorCode == .none else {
            plan.resetSession()
            connectionFailures += 1
            return wake(after: response.errorCode == .fetchSessionIdNotFound ? 1 : backoff(connectionFailures))
        }
        connectionFailures = 0
        plan.answered(sessionID: response.sessionId)
        clock.askedAt.store(sentAt, ordering: .relaxed)
        for topic in response.responses {
            for data in topic.partitions {
                take(data, FetchSessionKey(topicID: topic.topicId, topicName: "", partition: data.partitionIndex))
            }
        }
        step()
    }

    private static func words(_ error: any Error) -> String {
        if let failure = error as? PeerFailure, failure == .unsupportedVersion {
            return "the source's brokers are too old: they know no Fetch of version 13, which came with Apache Kafka 3.1"
        }
        return "\(error)"
    }

    func backoff(_ failures: Int) -> Int64 {
        min(Self.maximumBackoffMilliseconds, Self.firstBackoffMilliseconds << Int64(min(failures - 1, 10)))
    }

    /// Lets a partition rest after an error.
    func rest(_ key: FetchSessionKey, _ reason: String) {
        guard var mirror = mirrors[key] else { return }
        mirror.failures += 1
        mirrors[key] = mirror
        note(mirror.partition, problem: reason)
        plan.delay(key, until: SystemClock.monotonicMilliseconds() + backoff(mirror.failures))
    }

    func note(_ partition: Partition, problem: String) {
        board.update(partition.topicPartition, link: link) { $0.problem = problem }
    }

    /// Gives a partition up until it is asked for again.
    func drop(_ key: FetchSessionKey) {
        mirrors[key] = nil
        plan.stop(key)
    }
}
