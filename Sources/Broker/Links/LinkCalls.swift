// What the coordinator of links asks of its own cluster: of the controller, and of the other brokers. For tasks, which may wait.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import Linking
import NIOCore
import Network
import Primitives
import Runtime

/// A request to this cluster that came to nothing, for people.
struct LinkCallFailure: Error, CustomStringConvertible {
    var description: String
}

extension LinkServices {
    /// Lets the controller decide.
    func decide<Request: ControllerDecidedRequest>(_ request: Request) async throws(LinkCallFailure) -> Request.Response {
        guard let services else { throw LinkCallFailure(description: "this broker stops") }
        let outcome = await withCheckedContinuation { continuation in
            services.forward(own: request) { continuation.resume(returning: $0) }
        }
        switch outcome {
        case .success(let response): return response
        case .failure(let failure): throw LinkCallFailure(description: failure.description)
        }
    }

    /// A step of the coordinator's.
    func change<Value: Sendable>(_ step: @escaping LinkCoordinatorRuntime.Step<Value>) async throws(LinkCallFailure) -> Value {
        let outcome = await withCheckedContinuation { continuation in
            runtime.submit(now: SystemClock.now(), step) { continuation.resume(returning: $0) }
        }
        switch outcome {
        case .success(let value): return value
        case .failure(.refused(let refusal)): throw LinkCallFailure(description: refusal.description)
        case .failure(.coordinator(let code)): throw LinkCallFailure(description: code.name)
        }
    }

    /// Brokers that clients can reach.
    var liveBrokers: [NodeID] { services?.image.cluster.brokers.values.filter { !$0.isFenced }.map(\.id) ?? [] }

    /// Asks one broker, which may be this one.
    func ask(_ broker: NodeID, _ operation: LinkOperation, _ body: JSONValue) async throws(LinkCallFailure) -> JSONValue {
        guard let services, let connections else { throw LinkCallFailure(description: "this broker stops") }
        if broker == nodeID {
            switch operation {
            case .progress: return progress
            case .syncOffsets: return await syncOffsetsNow(body)
            case .putOffsets: return await putOffsets(body)
            case .settleMirrors:
                return await withCheckedContinuation { continuation in
                    services.backgroundWork.run { [self] in continuation.resume(returning: settleMirrors(body)) }
                }
            default: preconditionFailure("not asked of brokers: \(operation)")
            }
        }
        guard let address = services.replication.address(of: broker) else {
            throw LinkCallFailure(description: "broker \(broker) cannot be reached")
        }
        let outcome = await withCheckedContinuation { continuation in
            connections.send(ManageLinksRequest(operation, body), to: address, timeoutMilliseconds: 15_000) {
                continuation.resume(returning: $0)
            }
        }
        switch outcome {
        case .success(let response):
            guard response.errorCode == .none, let json = response.json else {
                throw LinkCallFailure(description: "broker \(broker): \(response.errorMessage ?? response.errorCode.name)")
            }
            return json
        case .failure(let failure): throw LinkCallFailure(description: "broker \(broker): \(failure)")
        }
    }

    /// Waits until every live broker has taken over what the coordinator knows now.
    ///
    /// - Returns: those that have not when the time is over.
    func awaitFollowers(milliseconds: Int64) async -> [NodeID] {
        let deadline = SystemClock.monotonicMilliseconds() + milliseconds
        // Not what is recorded meanwhile, which may never end.
        let revision = runtime.revision
        while true {
            let behind = runtime.behind(liveBrokers, revision: revision) ?? []
            if behind.isEmpty || SystemClock.monotonicMilliseconds() >= deadline || Task.isCancelled { return behind }
            try? await Task.sleep(for: .milliseconds(5))
        }
    }
}

// MARK: - Progress

extension LinkServices {
    /// The mirrors that this broker leads, for the coordinator and for operators.
    var progress: JSONValue {
        let now = SystemClock.monotonicMilliseconds()
        let publication = publication
        var known: [TopicPartition: MirrorProgress] = [:]
        for source in sources {
            for entry in source.board.all { known[entry.partition] = entry }
        }
        var partitions: [JSONValue] = []
        let mirrors = publication.map { Array($0.image.mirrors.values) } ?? []
        let ended = state.withLock { $0.ended }
        for mirror in mirrors where mirror.state != .stopped {
            for partition in services?.partitions.topic(mirror.name)?.all ?? [] where partition.leadership.leader == nodeID {
                let isEnded = ended.contains(partition.topicPartition) && partition.hasEndedMirroring
                partitions.append(Self.json(partition, known[partition.topicPartition], isEnded: isEnded, now: now))
            }
        }
        return [
            "broker": .integer(Int64(nodeID)), "revision": .integer(publication?.revision ?? -1), "partitions": .array(partitions),
            "synchronizations": synchronizations.json,
            "connections": connectionStates,
            "traffic": trafficStates,
            "settled": .array(settledFences(publication?.image)),
        ]
    }

    /// Partitions of fenced topics that this broker leads, and in which nothing is going to be committed any more.
    private func settledFences(_ image: LinkImage?) -> [JSONValue] {
        guard let image, let services else { return [] }
        return image.fences.keys.flatMap { services.partitions.topic($0)?.all ?? [] }.filter(\.hasSettled).map { partition in
            .string("\(partition.topicPartition)")
        }
    }

    /// Waits until nothing more is going to be committed in topics that were fenced.
    ///
    /// - Returns: a partition where that is not so when the time is over.
    func awaitSettled(_ topics: [String], milliseconds: Int64) async -> TopicPartition? {
        let deadline = SystemClock.monotonicMilliseconds() + milliseconds
        while true {
            let answers = await progressOfAll()
            let settled = Set(answers.flatMap { $0["settled"]?.arrayValue ?? [] }.compactMap(\.stringValue))
            let image = services?.image
            let open = topics.lazy.compactMap { image?.topics.topic(named: $0) }.flatMap { topic in
                topic.partitions.map { TopicPartition(topic.name, $0.index) }
            }.first { !settled.contains("\($0)") }
            guard let open else { return nil }
            if SystemClock.monotonicMilliseconds() >= deadline || Task.isCancelled { return open }
            try? await Task.sleep(for: .milliseconds(20))
        }
    }

    private static func json(_ partition: Partition, _ entry: MirrorProgress?, isEnded: Bool, now: Int64) -> JSONValue {
        func ago(_ time: Int64?) -> JSONValue { time.map { .integer(now - $0) } ?? .null }
        let (end, committed) = (try? partition.withLog { log in (log.logEndOffset, log.highWatermark) }) ?? (0, -1)
        var object = JSONObject()
        object.append("topic", .string(partition.topicPartition.topic))
        object.append("partition", .integer(Int64(partition.topicPartition.partition)))
        object.append("leaderEpoch", .integer(Int64(partition.leadership.leaderEpoch)))
        object.append("logEndOffset", .integer(end))
        object.append("highWatermark", .integer(committed))
        object.append("sourceEndOffset", .integer(entry?.sourceEndOffset ?? -1))
        object.append("caughtUpAgoMs", ago(entry?.upToDateAt))
        object.append("answeredAgoMs", ago(entry?.answeredAt))
        object.append("records", .integer(entry?.records ?? 0))
        object.append("bytes", .integer(entry?.bytes ?? 0))
        let rates = entry.map { $0.throughput.perSecond(records: $0.records, bytes: $0.bytes, at: now) ?? (0, 0) }
        object.append("recordsPerSecond", .number(rates?.records ?? 0))
        object.append("bytesPerSecond", .number(rates?.bytes ?? 0))
        object.append("latencyMs", entry?.latencyMilliseconds.map { .integer($0) } ?? .null)
        object.append("cutRecords", .integer(entry?.cutRecords ?? 0))
        object.append("problem", .string(entry?.problem ?? ""))
        object.append("lastError", .string(entry?.lastError ?? ""))
        object.append("lastErrorAgoMs", ago(entry.flatMap { $0.lastError.isEmpty ? nil : $0.lastErrorAt }))
        object.append("failure", entry?.failure.map { .string($0) } ?? .null)
        object.append("synchronous", .string(entry?.synchronous ?? ""))
        object.append("isEnded", .bool(isEnded))
        return .object(object)
    }

    /// The progress of all mirrors from all live brokers; of partitions whose leader did not answer there is none.
    func gatherProgress() async -> MirrorSurvey {
        let topics = services?.image.topics
        var survey = MirrorSurvey(await progressOfAll())
        // Who led before knows less than whoever leads now, and may not know that it does not lead any more.
        survey.entries = survey.entries.filter { partition, entry in entry.leaderEpoch >= topics?.partition(partition)?.leaderEpoch ?? -1 }
        return survey
    }

    func progressOfAll() async -> [JSONValue] {
        let brokers = liveBrokers
        return await withTaskGroup(of: JSONValue?.self) { group in
            for broker in brokers {
                group.addTask { [self] in try? await ask(broker, .progress, .object([])) }
            }
            var answers: [JSONValue] = []
            for await answer in group {
                if let answer { answers.append(answer) }
            }
            return answers
        }
    }
}
