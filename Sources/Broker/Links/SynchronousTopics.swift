// The source's side of synchronous mirrors: which topics of this cluster have some, what their leaders here hear of them, and what operators see.
import KafkaMessages
import KafkaWire
import Linking
import Logging
import MartletClient
import Observability
import Primitives

extension LinkServices {
    /// Tells partitions here which mirrors to wait for. Not for leaders only: whoever comes to lead waits from the first record on.
    func applySynchronous(_ services: BrokerServices, _ image: LinkImage) {
        var wanted: [String: [SynchronousTopic]] = [:]
        for topic in image.synchronous.values { wanted[topic.topic, default: []].append(topic) }
        let names = Set(wanted.keys)
        let former = state.withLock { state in
            defer { state.synchronousTopics = names }
            return state.synchronousTopics
        }
        for name in former.union(names) {
            guard let topic = services.partitions.topic(name) else { continue }
            let mirrors = (wanted[name] ?? []).filter { $0.topicID == topic.id }
            for partition in topic.all { partition.setSynchronous(mirrors) }
        }
    }

    /// Which mirrors of a topic here are waited for, for partitions that are new: whoever sees one may write to it.
    func synchronousMirrors(ofTopic name: String, id: TopicID) -> [SynchronousTopic] {
        image.synchronous.values.filter { $0.topic == name && $0.topicID == id }
    }

    /// Looks for mirrors that have been waited for long enough. Called several times a second.
    func checkSynchronous() {
        let names = state.withLock { $0.synchronousTopics }
        guard !names.isEmpty, let services else { return }
        let now = SystemClock.monotonicMilliseconds()
        for name in names {
            for partition in services.partitions.topic(name)?.all ?? [] { tell(partition.checkSynchronous(now: now)) }
        }
    }

    private func tell(_ changes: [SynchronousChange]) {
        for change in changes {
            let topic = image.synchronous[change.key]
            let place: Logger.Metadata = [
                "partition": "\(change.partition)", "cluster": "\(topic?.cluster ?? "")", "link": "\(topic?.link ?? "")",
            ]
            if change.isDegraded {
                logger.warning(
                    "a synchronous mirror does not keep up: producers are answered without it, and what they write now may be missing there",
                    metadata: place.merging(["afterMs": "\(topic?.timeoutMilliseconds ?? 0)"]) { first, _ in first })
            } else {
                logger.notice("a synchronous mirror has caught up: producers wait for it again", metadata: place)
            }
        }
    }

    /// The leader of mirrors elsewhere says how far they are; it hears whether they are waited for.
    func takePositions(_ body: JSONValue, _ services: BrokerServices, mayReport: (String) -> Bool) -> JSONValue {
        guard let cluster = body["cluster"]?.stringValue, let link = body["link"]?.stringValue else { return .object([]) }
        let now = SystemClock.monotonicMilliseconds()
        var permitted: [String: Bool] = [:]
        var states: [JSONValue] = []
        for entry in body["partitions"]?.arrayValue ?? [] {
            guard let id = entry["topicId"]?.stringValue.flatMap({ KafkaUUID($0) }), let number = entry["partition"]?.integerValue,
                let offset = entry["offset"]?.integerValue, let topic = services.partitions.topic(id),
                let partition = topic[Int32(clamping: number)]
            else { continue }
            if permitted[topic.name] == nil { permitted[topic.name] = mayReport(topic.name) }
            guard permitted[topic.name] == true else { continue }
            let key = SynchronousTopic.key(topic: topic.name, cluster: cluster, link: link)
            let outcome = partition.mirrorReported(key, offset, now: now)
            tell(outcome?.change ?? [])
            let state = outcome.map { $0.isDegraded ? "degraded" : "synchronous" } ?? "asynchronous"
            states.append(["topicId": .string("\(id)"), "partition": .integer(number), "state": .string(state)])
        }
        return ["partitions": .array(states)]
    }

    // MARK: The coordinator's part

    /// Another cluster says which topics it mirrors synchronously; or an operator that some no longer count.
    func synchronize(_ body: JSONValue) async throws(LinkOperationError) -> JSONValue {
        func strings(_ member: String) -> [String] { (body[member]?.arrayValue ?? []).compactMap(\.stringValue) }
        if body["release"] != nil {
            let released = strings("release")
            try await submit { coordinator in ((), coordinator.endSynchronous(released)) }
            return .object([])
        }
        let (cluster, link) = (try text(body, "cluster"), try text(body, "link"))
        let (wanted, ready) = (strings("topics"), strings("ready"))
        guard wanted.count <= Self.maximumTopics, ready.count <= wanted.count, let services else {
            throw LinkOperationError(.invalidRequest, "the request names more than \(Self.maximumTopics) topics")
        }
        let timeout = min(max(body["timeoutMs"]?.integerValue ?? 10_000, 500), 600_000)
        let now = SystemClock.now()
        let topics = ready.compactMap { name -> SynchronousTopic? in
            guard wanted.contains(name), let topic = services.image.topics.topic(named: name) else { return nil }
            return SynchronousTopic(
                topic: name, topicID: topic.id, cluster: cluster, link: link, timeoutMilliseconds: timeout, since: now)
        }
        let changes = try await submit { coordinator in
            let records = coordinator.synchronize(Set(wanted), ready: topics, cluster: cluster, link: link)
            return (records.count, records)
        }
        if changes > 0 {
            // It counts once every broker that may lead one of the topics knows.
            let behind = await awaitFollowers(milliseconds: Self.announcementMilliseconds)
            guard behind.isEmpty else {
                throw LinkOperationError(.requestTimedOut, "brokers \(behind) have not heard of it in time")
            }
        }
        return .object([])
    }
}

extension LinkServices {
    /// Tells the source of a link that is gone that nobody mirrors over it any longer, as far as the source can be reached.
    func endSynchronous(_ link: LinkDefinition) async {
        guard let settings = try? LinkSettings(link.configuration), settings.isSynchronous, settings.mirrors, let services,
            var configuration = try? clientConfiguration(settings, name: link.name)
        else { return }
        configuration.operationTimeout = .seconds(5)
        let admin = AdminClient(configuration)
        defer { admin.close() }
        do throws(KafkaError) {
            _ = try await admin.manageLinks(
                .synchronize,
                ["cluster": .string(services.clusterID), "link": .string(link.name), "topics": .array([]), "ready": .array([])])
        } catch {
            logger.warning(
                "the source may still wait for mirrors of a link that is gone; `martlet link asynchronous` there ends that",
                metadata: ["link": "\(link.name)", "reason": "\(error.explanation)"])
        }
    }
}

// MARK: - Metrics

extension LinkServices {
    /// The synchronous mirrors that leaders here wait for.
    func writeSynchronous(to text: inout PrometheusText) {
        let names = state.withLock { $0.synchronousTopics }
        guard !names.isEmpty, let services else { return }
        let image = image
        let partitions = names.sorted().flatMap { services.partitions.topic($0)?.all ?? [] }
        func family(_ name: String, _ type: PrometheusText.MetricType, _ help: String, _ value: (SynchronousMirror) -> Int) {
            text.family(name, type, help: help)
            for partition in partitions {
                for wait in partition.synchronousMirrors {
                    let topic = image.synchronous[wait.key]
                    text.sample(
                        name,
                        [
                            "link": topic?.link ?? "", "cluster": topic?.cluster ?? "", "topic": partition.topicPartition.topic,
                            "partition": "\(partition.topicPartition.partition)",
                        ], value(wait.mirror))
                }
            }
        }
        family("martlet_link_synchronous", .gauge, "Whether producers here wait for the mirror: 0 while it does not keep up.") {
            $0.isDegraded ? 0 : 1
        }
        family("martlet_link_synchronous_degraded_total", .counter, "How often a mirror was waited for no longer, as it did not keep up.") {
            $0.degradations
        }
    }
}

extension BrokerServices {
    /// Whether a request about synchronous mirrors may be served: ALTER on each topic that it is about, those that it lets go too.
    func maySynchronize(_ body: JSONValue, _ access: Access) -> Bool {
        if access.allowsCluster(.alter, isLogged: false) { return true }
        guard body["release"] == nil else { return access.allowsCluster(.alter) }
        let (cluster, link) = (body["cluster"]?.stringValue, body["link"]?.stringValue)
        let known = links.image.synchronous.values.filter { $0.cluster == cluster && $0.link == link }.map(\.topic)
        let named = ((body["topics"]?.arrayValue ?? []) + (body["ready"]?.arrayValue ?? [])).compactMap(\.stringValue)
        return Set(known + named).allSatisfy { access.allows(.alter, .topic, $0) }
    }
}
