// Fetch: opens, uses or closes the session, reads, waits if there is too little, answers with file ranges.
import KafkaWire
import NIOCore
import Network
import Primitives
import Replication
import Storage

extension BrokerServices {
    func fetch(_ context: RequestContext, _ state: ConnectionState) {
        let request: FetchRequestView
        do throws(FrameCursorError) {
            request = try FetchRequestView(context.body, version: context.version)
        } catch {
            return refuse(context, "Fetch version \(context.version): \(error.field) at offset \(error.offset) cannot be read")
        }
        if let expected = request.clusterID, expected != clusterID {
            return answer(context, error: .inconsistentClusterId, sessionID: 0, results: [])
        }
        let decision = fetchSessions.withLock { sessions in
            sessions.begin(
                sessionID: request.sessionID, epoch: request.sessionEpoch, usesTopicIDs: context.version >= 13,
                changes: request.partitions, forgotten: request.forgotten, now: SystemClock.monotonicMilliseconds())
        }
        switch decision {
        case .failed(let failure): answer(context, error: failure.errorCode, sessionID: 0, results: [])
        case .sessionless: serve(request, request.partitions, sessionID: 0, isIncremental: false, context, state)
        case .opened(let id): serve(request, request.partitions, sessionID: id, isIncremental: false, context, state)
        case .incremental(let id, let partitions): serve(request, partitions, sessionID: id, isIncremental: true, context, state)
        }
    }

    private func serve(
        _ request: FetchRequestView, _ asked: [(key: FetchSessionKey, position: FetchPosition)], sessionID: Int32, isIncremental: Bool,
        _ context: RequestContext, _ state: ConnectionState
    ) {
        var maxBytes = min(Int(request.maxBytes), configuration.network.fetchMaxBytes)
        if quotas.fetch.isActive, request.replicaID < 0 { maxBytes = min(maxBytes, maximumFetchBytes(context)) }
        let permits = fetchPermission(context, isFollower: request.replicaID >= 0)
        let operation = FetchOperation(
            asked: asked.map { key, position in
                let topic = context.version >= 13 ? partitions.topic(key.topicID) : partitions.topic(key.topicName)
                let name = topic?.name ?? (context.version >= 13 ? nil : key.topicName)
                return .init(key: key, position: position, topic: topic, isDenied: name.map { !permits($0) } ?? false)
            },
            limits: .init(
                minBytes: min(Int(request.minBytes), maxBytes), maxBytes: maxBytes, maxWaitMilliseconds: request.maxWaitMilliseconds),
            version: context.version,
            reader: reader(request, context.version)
        ) { [self, unowned state] results in
            state.fetch = nil
            let isCounted = request.replicaID < 0 && (quotas.fetch.isActive || quotas.request.isActive)
            if isCounted, isHeldBack(context, state, sessionID: sessionID, isIncremental: isIncremental, results) { return }
            finish(context, sessionID: sessionID, isIncremental: isIncremental, isFollower: request.replicaID >= 0, results)
            if request.replicaID >= 0, results.contains(where: { $0.recordBytes > 0 }) {
                state.pace.answered(at: SystemClock.monotonicNanoseconds())
            }
        }
        state.fetch = operation
        operation.start(
            on: context.connection.eventLoop, gathering: request.replicaID < 0 ? nil : state.pace.asked(at: context.receivedAt))
    }

    /// Which topics the sender may read: followers need a right on the cluster, consumers one on each topic.
    private func fetchPermission(_ context: RequestContext, isFollower: Bool) -> (String) -> Bool {
        guard let access = dataAccess(context) else { return { _ in true } }
        if isFollower {
            let isPermitted = access.allowsCluster(.clusterAction)
            return { _ in isPermitted }
        }
        // Partitions of one topic come together.
        var last: (name: String, isPermitted: Bool)?
        return { name in
            if let last, last.name == name { return last.isPermitted }
            let isPermitted = access.allows(.read, .topic, name)
            last = (name, isPermitted)
            return isPermitted
        }
    }

    private func reader(_ request: FetchRequestView, _ version: Int16) -> FetchReader {
        let isFollower = request.replicaID >= 0
        return FetchReader(
            replicaID: request.replicaID, replicaEpoch: request.replicaEpoch,
            isolation: isFollower ? .logEnd : request.isolationLevel == 1 ? .lastStable : .highWatermark,
            onlyLeader: isFollower || version < 11, rack: request.rackID)
    }

    /// Counts the answer against the client's quotas. One that is too much is not sent: an empty one goes in its place (KIP-219).
    private func isHeldBack(
        _ context: RequestContext, _ state: ConnectionState, sessionID: Int32, isIncremental: Bool, _ results: [FetchPartitionResult]
    ) -> Bool {
        let encoder = FetchResponseEncoder(version: context.version, correlationID: context.correlationID)
        let sent = isIncremental ? results.filter { $0.recordBytes > 0 || $0.error != .none } : results
        let frame = encoder.encode(error: .none, sessionID: sessionID, results: sent, allocator: allocator)
        let milliseconds = throttleFetch(context, state, bytes: frame.totalLength - OutboundFrame.sizePrefixLength)
        guard milliseconds > 0 else { return false }
        // A session that the client was not told of yet is given up.
        if !isIncremental, sessionID != 0 { fetchSessions.withLock { $0.remove(sessionID) } }
        sendFetched(
            encoder.encode(
                error: .none, sessionID: isIncremental ? sessionID : 0, results: [], throttleMilliseconds: milliseconds,
                allocator: allocator), context)
        return true
    }

    private func finish(
        _ context: RequestContext, sessionID: Int32, isIncremental: Bool, isFollower: Bool, _ results: [FetchPartitionResult]
    ) {
        guard sessionID != 0 else { return answer(context, error: .none, sessionID: 0, results: results, isFollower: isFollower) }
        let outcomes = results.map { (key: $0.key, outcome: $0.outcome) }
        let report = fetchSessions.withLock { $0.finish(sessionID: sessionID, outcomes: outcomes) }
        let reported = isIncremental ? zip(results, report).compactMap { $1 ? $0 : nil } : results
        answer(context, error: .none, sessionID: sessionID, results: reported, isFollower: isFollower)
    }

    private func answer(
        _ context: RequestContext, error: ErrorCode, sessionID: Int32, results: [FetchPartitionResult], isFollower: Bool = false
    ) {
        let encoder = FetchResponseEncoder(version: context.version, correlationID: context.correlationID)
        sendFetched(encoder.encode(error: error, sessionID: sessionID, results: results, allocator: allocator), context)
        replication.environment.leaderThrottle.record(bytes: results.reduce(0) { $0 + ($1.isThrottled ? $1.recordBytes : 0) })
        for result in results {
            guard let metrics = result.topic?.metrics else { continue }
            metrics.totalFetchRequests.increment()
            if result.recordBytes > 0 {
                // What replicas take is no traffic of clients.
                (isFollower ? self.metrics.replicationBytesOut : metrics.bytesOut).increment(by: result.recordBytes)
            }
            if result.error != .none { metrics.failedFetchRequests.increment() }
        }
    }
}

extension FetchSessionFailure {
    fileprivate var errorCode: ErrorCode {
        switch self {
        case .sessionNotFound: .fetchSessionIdNotFound
        case .invalidEpoch: .invalidFetchSessionEpoch
        case .topicIDMismatch: .fetchSessionTopicIdError
        }
    }
}
