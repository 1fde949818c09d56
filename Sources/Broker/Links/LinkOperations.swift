// What operators ask of the coordinator of links, step by step: check, ask the source where that has to be, record, and answer when it is so.
import ClusterMetadata
import Collections
import Controlling
import KafkaMessages
import KafkaWire
import Linking
import Logging
import MartletClient
import NIOCore
import Primitives
import Runtime

/// A request that is answered with an error.
struct LinkOperationError: Error {
    var code: ErrorCode
    var message: String

    init(_ code: ErrorCode, _ message: String) {
        self.code = code
        self.message = message
    }
}

extension LinkServices {
    /// Most topics that one request may name.
    static let maximumTopics = 100_000
    static let announcementMilliseconds: Int64 = 10_000
    /// How long an answer waits, so that what it says is what all brokers go by; one that hangs holds nobody up for longer.
    static let settlingMilliseconds: Int64 = 1_000

    func perform(_ operation: LinkOperation, _ body: JSONValue, principal: String) async -> ManageLinksResponse {
        guard runtime.isActive else {
            let coordinator = services?.image.topics.partition(TopicPartition(TopicName.clusterLinks, 0))?.leader ?? -1
            return ManageLinksResponse(
                coordinator == nodeID ? .coordinatorLoadInProgress : .notCoordinator, "another broker coordinates links",
                ["coordinator": .integer(Int64(coordinator))])
        }
        do throws(LinkOperationError) {
            let answer: JSONValue
            switch operation {
            case .createLink: answer = try await createLink(body, principal)
            case .alterLink: answer = try await alterLink(body)
            case .deleteLink: answer = try await deleteLink(body)
            case .createMirrors: answer = try await createMirrors(body)
            case .changeMirrors: answer = try await changeMirrors(body)
            case .describe: answer = try await described()
            case .fence: answer = try await fence(body)
            case .unfence: answer = try await unfence(body)
            case .claimGroups: answer = try await submit { coordinator throws(LinkRefusal) in try coordinator.claimGroups(body) }
            case .synchronize: answer = try await synchronize(body)
            case .progress, .follow, .syncOffsets, .credentials, .newEpoch, .putCredentials, .settleMirrors, .endTransactions,
                .awaitTransactions, .putOffsets, .offer, .positions:
                preconditionFailure("answered elsewhere: \(operation)")
            }
            if ![.describe, .claimGroups, .synchronize].contains(operation) {
                logger.notice("links", metadata: ["operation": "\(operation.rawValue)", "by": "\(principal)"])
            }
            return ManageLinksResponse(answer)
        } catch {
            return ManageLinksResponse(error.code, error.message)
        }
    }

    func submit<Value: Sendable>(
        _ step: @escaping LinkCoordinatorRuntime.Step<Value>
    ) async throws(LinkOperationError) -> Value {
        let outcome = await withCheckedContinuation { continuation in
            runtime.submit(now: SystemClock.now(), step) { continuation.resume(returning: $0) }
        }
        switch outcome {
        case .success(let value): return value
        case .failure(.coordinator(let code)): throw LinkOperationError(code, code.defaultMessage)
        case .failure(.refused(let refusal)):
            let code: ErrorCode =
                switch refusal.kind {
                case .invalid, .wrongState: .invalidRequest
                case .exists: .topicAlreadyExists
                case .unknownLink, .unknownMirror: .resourceNotFound
                }
            throw LinkOperationError(code, refusal.description)
        }
    }

    func text(_ body: JSONValue, _ member: String) throws(LinkOperationError) -> String {
        guard let text = body[member]?.stringValue, !text.isEmpty else {
            throw LinkOperationError(.invalidRequest, "the request lacks '\(member)'")
        }
        return text
    }

    private static func properties(_ value: JSONValue?) -> OrderedDictionary<String, String> {
        var properties: OrderedDictionary<String, String> = [:]
        for member in value?.objectValue?.members ?? [] { properties[member.name] = member.value.stringValue ?? "" }
        return properties
    }

    // MARK: Links

    private func createLink(_ body: JSONValue, _ principal: String) async throws(LinkOperationError) -> JSONValue {
        let name = try text(body, "name")
        var configuration = Self.properties(body["configuration"])
        if let problem = LinkDefinition.problem(withName: name) { throw LinkOperationError(.invalidRequest, problem) }
        let settings = try settings(configuration)
        if settings.offersConnections, settings.localPrincipal.isEmpty { configuration["link.local.principal"] = principal }
        // Who waits to be connected to learns by that who the other is.
        let sourceID = settings.connectionMode == .inbound ? "" : try await sourceClusterID(settings, name: name)
        let link = LinkDefinition(
            name: name, id: .random(), configuration: configuration, sourceClusterID: sourceID, createdAt: SystemClock.now())
        if body["validateOnly"]?.boolValue != true {
            try await submit { coordinator throws(LinkRefusal) in ((), try coordinator.createLink(link)) }
            workers.imageChanged()
        }
        return ["name": .string(name), "id": .string("\(link.id)"), "sourceClusterId": .string(sourceID)]
    }

    private func settings(_ configuration: OrderedDictionary<String, String>) throws(LinkOperationError) -> LinkSettings {
        do throws(LinkSettingError) {
            return try LinkSettings(configuration)
        } catch {
            throw LinkOperationError(.invalidConfig, "\(error)")
        }
    }

    /// Makes sure that the source can be reached before a link to it is recorded.
    private func sourceClusterID(_ settings: LinkSettings, name: String) async throws(LinkOperationError) -> String {
        do throws(KafkaError) {
            var configuration = try clientConfiguration(settings, name: name)
            configuration.operationTimeout = .seconds(5)
            let admin = AdminClient(configuration)
            defer { admin.close() }
            // Once, without trying again: whoever makes a link wants to know at once that nobody is there.
            _ = try await admin.cluster.connection(to: .bootstrap)
            let id = try await admin.describeCluster().clusterID ?? ""
            if id == services?.clusterID {
                throw KafkaError(.invalidArgument, "bootstrap.servers leads back to this cluster, \(id); a link leads to another one")
            }
            return id
        } catch {
            throw LinkOperationError(.invalidConfig, "the source of link '\(name)' cannot be used: \(error.explanation)")
        }
    }

    private func alterLink(_ body: JSONValue) async throws(LinkOperationError) -> JSONValue {
        let name = try text(body, "name")
        let set = Self.properties(body["set"])
        let remove = (body["remove"]?.arrayValue ?? []).compactMap(\.stringValue)
        try await submit { coordinator throws(LinkRefusal) in ((), try coordinator.alterLink(name, set: set, remove: remove)) }
        return .object([])
    }

    private func deleteLink(_ body: JSONValue) async throws(LinkOperationError) -> JSONValue {
        let name = try text(body, "name")
        let isForced = body["force"]?.boolValue ?? false
        // While there is still a way to the source.
        let farewell = runtime.image?.links[name]
        try await submit { coordinator throws(LinkRefusal) in ((), try coordinator.deleteLink(name, force: isForced)) }
        if let farewell { await endSynchronous(farewell) }
        return .object([])
    }

    // MARK: Mirrors

    private func createMirrors(_ body: JSONValue) async throws(LinkOperationError) -> JSONValue {
        let linkName = try text(body, "link")
        guard let link = runtime.image?.links[linkName] else {
            throw LinkOperationError(.resourceNotFound, "there is no link '\(linkName)'; `martlet link list` shows the links")
        }
        let settings = try settings(link.configuration)
        guard settings.mirrors else { throw LinkOperationError(.invalidRequest, LinkMode.noMirrors(over: linkName)) }
        let names = (body["topics"]?.arrayValue ?? []).compactMap(\.stringValue)
        guard !names.isEmpty, names.count <= Self.maximumTopics else {
            throw LinkOperationError(.invalidRequest, "the request names no topics, or more than \(Self.maximumTopics)")
        }
        let factor = try replicationFactor(body)
        // The other side may ask again for what has been done: it may not have heard of it.
        let isReversal = body["reversal"]?.boolValue ?? false
        let isPaused = body["paused"]?.boolValue ?? false
        let (found, sources) = try await sourceTopics(names, link, settings)
        let isRestoring = body["restore"]?.boolValue ?? false
        for topic in found where isRestoring {
            if let problem = NewMirrors.problem(withRestoring: topic.name, sources[topic.name], clusterID: services?.clusterID ?? "") {
                throw LinkOperationError(.invalidRequest, "the source of link '\(linkName)': \(problem)")
            }
        }
        let mirrors = try found.map { (topic) throws(LinkOperationError) in
            var mirror = try mirror(of: topic, link: linkName, prefix: settings.topicPrefix, isRestoring: isRestoring)
            mirror.replicationFactor = factor
            return mirror
        }
        try await submit { coordinator throws(LinkRefusal) in
            var records: [LinkRecord] = []
            for mirror in mirrors {
                records += try isReversal ? coordinator.follow(reversed: mirror, isPaused: isPaused) : coordinator.addMirror(mirror)
            }
            return ((), records)
        }
        return ["topics": .array(mirrors.map { .string($0.name) })]
    }

    /// How many replicas new mirrors are to have; -1 for what the link or else the cluster says.
    private func replicationFactor(_ body: JSONValue) throws(LinkOperationError) -> Int16 {
        guard let factor = body["replicationFactor"]?.integerValue, factor != -1 else { return -1 }
        let brokers = liveBrokers.count
        guard (1...Int64(max(1, brokers))).contains(factor) else {
            throw LinkOperationError(
                .invalidReplicationFactor,
                "a replication factor of \(factor) cannot be had: there are \(brokers) brokers that take replicas")
        }
        return Int16(factor)
    }

    /// A new mirror: of a topic that is not here yet, or of one that was written to here and is to follow now.
    private func mirror(
        of topic: TopicDescription, link: String, prefix: String, isRestoring: Bool
    ) throws(LinkOperationError) -> MirrorTopic {
        let name = prefix + topic.name
        if let problem = TopicName.problem(with: name) { throw LinkOperationError(.invalidTopicException, problem) }
        let own = services?.image.topics.topic(named: name)
        var mirror = MirrorTopic(
            name: name, link: link, sourceName: topic.name, sourceID: topic.topicID, state: .pendingMirror, since: SystemClock.now())
        guard isRestoring else {
            // What clients wrote here would have to give way; restoring says so and keeps it.
            guard own == nil else {
                throw LinkOperationError(
                    .topicAlreadyExists,
                    "there is a topic '\(name)' here already; `martlet link restore` makes it a mirror from where both agree, or delete it, or "
                        + "give the link a cluster.link.prefix")
            }
            return mirror
        }
        guard let own else {
            throw LinkOperationError(.unknownTopicOrPartition, "there is no topic '\(name)' here; `martlet link mirror` makes one")
        }
        guard own.partitions.count <= topic.partitions.count else {
            throw LinkOperationError(
                .invalidPartitions,
                "'\(name)' has \(own.partitions.count) partitions here and \(topic.partitions.count) at the source; a mirror has no more than "
                    + "its source")
        }
        mirror.topicID = own.id
        mirror.state = .pendingRestore
        return mirror
    }

    private func sourceTopics(
        _ names: [String], _ link: LinkDefinition, _ settings: LinkSettings
    ) async throws(LinkOperationError) -> (topics: [TopicDescription], mirrors: [String: SourceMirror]) {
        do throws(KafkaError) {
            let configuration = try clientConfiguration(settings, name: link.name)
            let admin = AdminClient(configuration)
            defer { admin.close() }
            let topics = try await admin.describeTopics(names).values()
            // One that is no Martlet's has none, and one that does not say is taken at the operator's word.
            return (topics, (try? await admin.mirrors()) ?? [:])
        } catch {
            throw LinkOperationError(
                error.errorCode == .unknownTopicOrPartition ? .unknownTopicOrPartition : .invalidRequest,
                "the source of link '\(link.name)': \(error.explanation)")
        }
    }

    private func changeMirrors(_ body: JSONValue) async throws(LinkOperationError) -> JSONValue {
        let link = try text(body, "link")
        let word = try text(body, "verb")
        guard let verb = MirrorVerb(rawValue: word) else {
            let known = MirrorVerb.allCases.map(\.rawValue).joined(separator: ", ")
            throw LinkOperationError(.invalidRequest, "'\(word)' is no verb of mirror topics; there is \(known)")
        }
        let topics = body["topics"]?.arrayValue?.compactMap(\.stringValue)
        let isDry = body["dryRun"]?.boolValue ?? false
        if verb == .reverse || verb == .reverseAndPause { try await checkReversal(of: link) }
        let reason = "\(verb.rawValue) was asked for"
        let now = SystemClock.now()
        let changes = try await submit { coordinator throws(LinkRefusal) in
            let plan = try coordinator.plan(verb, link: link, topics: topics)
            return (plan, isDry ? [] : coordinator.records(verb, plan, reason: reason, now: now))
        }
        if !isDry { _ = await awaitFollowers(milliseconds: Self.settlingMilliseconds) }
        let survey = await gatherProgress()
        return [
            "topics": .array(changes.map { change in Self.json(change, verb, survey) })
        ]
    }

    private static func json(_ change: MirrorChange, _ verb: MirrorVerb, _ survey: MirrorSurvey) -> JSONValue {
        let partitions = survey.entries.filter { $0.key.topic == change.mirror.name }.values
        let lags = partitions.map { $0.sourceEndOffset < 0 ? nil : max(0, $0.sourceEndOffset - $0.logEndOffset) }
        return [
            "topic": .string(change.mirror.name), "state": .string(change.mirror.state.rawValue),
            "target": verb.target(from: change.mirror.state).map { .string($0.rawValue) } ?? .null,
            "refusal": change.refusal.map { .string($0) } ?? .null,
            // What the source has and the mirror has not, as far as is known; null where a partition has never heard of its source.
            "lag": lags.contains(nil) ? .null : .integer(lags.reduce(0) { $0 + ($1 ?? 0) }),
        ]
    }

    // MARK: Fences

    private func fence(_ body: JSONValue) async throws(LinkOperationError) -> JSONValue {
        let topics = (body["topics"]?.arrayValue ?? []).compactMap(\.stringValue)
        let by = try text(body, "by")
        guard !topics.isEmpty, topics.count <= Self.maximumTopics else {
            throw LinkOperationError(.invalidRequest, "the request names no topics, or more than \(Self.maximumTopics)")
        }
        for topic in topics where services?.image.topics.topic(named: topic) == nil {
            throw LinkOperationError(.unknownTopicOrPartition, "there is no topic '\(topic)' here")
        }
        let now = SystemClock.now()
        try await submit { coordinator in ((), coordinator.fence(topics, by: by, now: now)) }
        // Only what every broker knows of holds.
        let behind = await awaitFollowers(milliseconds: Self.announcementMilliseconds)
        guard behind.isEmpty else {
            throw LinkOperationError(.requestTimedOut, "brokers \(behind) have not heard of it in time and may still take writes")
        }
        // What was written before and is not committed yet may still be acknowledged.
        let own = topics.filter { image.mirrors[$0]?.state.isWritable ?? true }
        if let open = await awaitSettled(own, milliseconds: Self.announcementMilliseconds) {
            throw LinkOperationError(.requestTimedOut, "what was written to partition \(open) before is not committed in time")
        }
        return .object([])
    }

    private func unfence(_ body: JSONValue) async throws(LinkOperationError) -> JSONValue {
        let topics = (body["topics"]?.arrayValue ?? []).compactMap(\.stringValue)
        try await submit { coordinator in ((), coordinator.unfence(topics)) }
        return .object([])
    }

    // MARK: Looking

    /// Links, mirrors and fences as they are, without secrets.
    private func described() async throws(LinkOperationError) -> JSONValue {
        // By way of the log, so that what a new leader has not committed yet is not shown.
        let image = try await submit { coordinator in (coordinator.image, []) }
        _ = await awaitFollowers(milliseconds: Self.settlingMilliseconds)
        return Self.json(image, transactions: watches.withLock { $0.mapValues(\.status) })
    }

    static func json(_ image: LinkImage, transactions: [String: JSONValue] = [:]) -> JSONValue {
        let sources = image.sourceMirrors
        return [
            "links": .array(
                image.links.values.map { link in
                    [
                        "name": .string(link.name), "id": .string("\(link.id)"), "sourceClusterId": .string(link.sourceClusterID),
                        "createdAt": .integer(link.createdAt),
                        "configuration": .object(link.readableConfiguration.map { ($0.key, .string($0.value)) }),
                        "transactions": transactions[link.name] ?? .null,
                    ]
                }),
            "mirrors": .array(
                image.mirrors.values.map { mirror in
                    [
                        "topic": .string(mirror.name), "topicId": .string("\(mirror.topicID)"), "link": .string(mirror.link),
                        "sourceTopic": .string(mirror.sourceName), "sourceTopicId": .string("\(mirror.sourceID)"),
                        "state": .string(mirror.state.rawValue), "reason": .string(mirror.reason), "since": .integer(mirror.since),
                        "reversal": .string(mirror.reversal.rawValue),
                        "origins": .array((sources[mirror.name]?.origins ?? []).map { .string($0) }),
                    ]
                }),
            "synchronous": .array(image.synchronous.values.map(\.json)),
            "fences": .array(
                image.fences.values.map { ["topic": .string($0.topic), "by": .string($0.by), "since": .integer($0.since)] }),
        ]
    }
}

extension BrokerServices {
    /// Begins to coordinate links if this node leads their topic.
    func assignLinkCoordinator(_ topic: TopicImage) {
        guard let partition = topic.partitions.first, let placed = partitions.topic(topic.id) else { return }
        guard partition.leader == nodeID, let local = placed[0] else {
            links.epochs.end(0)
            links.runtime.endTerm()
            placed[0]?.onHighWatermark(nil)
            links.workers.imageChanged()
            return
        }
        guard links.epochs.begin(0, partition.leaderEpoch) else { return }
        let term = links.runtime.beginTerm()
        local.onHighWatermark { [links] offset in links.runtime.highWatermarkAdvanced(to: offset) }
        backgroundWork.run { [links, logger] in
            do throws(CoordinatorLogError) {
                try links.runtime.load(term: term, from: PartitionCoordinatorLog(partition: local))
                links.workers.imageChanged()
            } catch {
                logger.error(
                    "links cannot be loaded; mirrors go on as they were",
                    metadata: ["partition": "\(local.topicPartition)", "reason": "\(error.code)"])
            }
        }
    }
}
