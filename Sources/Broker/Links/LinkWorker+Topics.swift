// Mirror topics follow their sources: created with as many partitions and the same settings, grown and changed when the source is.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import Linking
import Logging
import MartletClient
import Primitives
import Runtime

extension LinkWorker {
    /// Creates the topics of mirrors that have been recorded.
    func createPending(_ steps: LinkSteps) async throws {
        let pending = mirrors.filter { $0.state == .pendingMirror }
        guard !pending.isEmpty, let source, let services = links.services else { return }
        // Until brokers know of a mirror, they would let clients write to it.
        let behind = await links.awaitFollowers(milliseconds: LinkSteps.announcementMilliseconds)
        guard behind.isEmpty else {
            throw LinkCallFailure(description: "brokers \(behind) have not heard of new mirror topics yet")
        }
        let described = try await source.admin.describeTopics(pending.map(\.sourceName))
        let configs = try await topicConfigs(pending.map(\.sourceName), source)
        var request = CreateTopicsRequest()
        request.timeoutMs = 30_000
        var refused: [String: String] = [:]
        for mirror in pending {
            guard let outcome = described.first(where: { $0.item == mirror.sourceName }) else { continue }
            let topic: TopicDescription
            switch outcome.result {
            case .success(let found): topic = found
            case .failure(let error):
                if error.errorCode == .unknownTopicOrPartition { refused[mirror.name] = "the source topic '\(mirror.sourceName)' is gone" }
                continue
            }
            var created = CreateTopicsRequest.CreatableTopic()
            created.name = mirror.name
            created.numPartitions = Int32(topic.partitions.count)
            created.replicationFactor =
                mirror.replicationFactor > 0 ? mirror.replicationFactor : source.settings.synchronization.replicationFactor
            created.configs = (configs[mirror.sourceName] ?? [:]).sorted { $0.key < $1.key }.map { name, value in
                var config = CreateTopicsRequest.CreatableTopicConfig()
                config.name = name
                config.value = value
                return config
            }
            request.topics.append(created)
        }
        var ids: [String: TopicID] = [:]
        let results = request.topics.isEmpty ? [] : try await links.decide(request).topics
        for result in results {
            switch result.errorCode {
            case .none: ids[result.name] = result.topicId
            // Created in an attempt whose end was not recorded.
            case .topicAlreadyExists: ids[result.name] = services.image.topics.topic(named: result.name)?.id
            default: refused[result.name] = result.errorMessage ?? result.errorCode.name
            }
        }
        try await record(steps.created(pending, ids, refused: refused))
    }

    /// Compares the source's topics with their mirrors.
    func followTopics(_ settings: LinkSettings, _ rounds: inout LinkRounds) async {
        guard let source else { return }
        do {
            let topics = try await source.admin.listTopics()
            if rounds.steps.failuresOfSource > 0 {
                logger.notice("a link's source answers again", metadata: ["link": "\(link.name)"])
            }
            try await record(rounds.steps.sourceAnswered(mirrors))
            try await followExisting(topics, settings, source)
            if settings.autoCreatesMirrors { try await mirrorNew(topics, settings, source) }
        } catch let error as LinkCallFailure {
            // Of this cluster: the source has nothing to do with it.
            logger.warning("mirror topics cannot follow their sources", metadata: ["link": "\(link.name)", "reason": "\(error)"])
        } catch {
            let isRefused = (error as? KafkaError)?.refusesLink ?? false
            let steps = rounds.steps.sourceFailed(
                mirrors, threshold: settings.availabilityFailureThreshold, "\(error)", isRefused: isRefused)
            if rounds.steps.failuresOfSource == 1 {
                logger.warning("a link's source cannot be followed", metadata: ["link": "\(link.name)", "reason": "\(error)"])
            }
            try? await record(steps)
        }
    }

    private func followExisting(_ topics: [TopicDescription], _ settings: LinkSettings, _ source: LinkSource) async throws {
        guard let services = links.services else { return }
        let mirrors = mirrors
        var theirs: [String: LinkedTopic] = [:]
        for topic in topics {
            theirs[topic.name] = LinkedTopic(name: topic.name, id: topic.topicID, partitions: topic.partitions.count)
        }
        let own = services.image.linkedTopics(mirrors.map(\.name))
        let verdicts = TopicVerdicts(mirrors, own: own, source: theirs, now: SystemClock.now())
        try await record(verdicts.steps)
        for growth in verdicts.growing { await grow(growth.topic, to: Int32(growth.partitions)) }
        try await followConfigs(verdicts.living, settings, source)
    }

    func grow(_ name: String, to count: Int32) async {
        var topic = CreatePartitionsRequest.CreatePartitionsTopic()
        topic.name = name
        topic.count = count
        topic.assignments = nil
        var request = CreatePartitionsRequest()
        request.topics = [topic]
        request.timeoutMs = 30_000
        do throws(LinkCallFailure) {
            let response = try await links.decide(request)
            // Grown already, and not seen yet.
            for result in response.results where result.errorCode != .none && result.errorCode != .invalidPartitions {
                throw LinkCallFailure(description: result.errorMessage ?? result.errorCode.name)
            }
            logger.info("a mirror topic grew with its source", metadata: ["topic": "\(name)", "partitions": "\(count)"])
        } catch {
            logger.warning(
                "a mirror topic cannot grow with its source",
                metadata: ["topic": "\(name)", "partitions": "\(count)", "reason": "\(error)"])
        }
    }

    // MARK: Settings

    /// The settings of source topics that differ from their cluster's defaults, but for those that each cluster keeps to itself.
    private func topicConfigs(_ names: [String], _ source: LinkSource) async throws -> [String: [String: String]] {
        var found: [String: [String: String]] = [:]
        for outcome in try await source.admin.describeConfigs(names.map { .topic($0) }) {
            guard case .success(let entries) = outcome.result else { continue }
            var values: [String: String] = [:]
            for entry in entries where entry.source == .topic && !source.settings.excludesTopicConfig(entry.name) {
                if let value = entry.value { values[entry.name] = value }
            }
            found[outcome.item.name] = values
        }
        return found
    }

    private func followConfigs(_ mirrors: [MirrorTopic], _ settings: LinkSettings, _ source: LinkSource) async throws {
        guard !mirrors.isEmpty, let services = links.services else { return }
        let wanted = try await topicConfigs(mirrors.map(\.sourceName), source)
        var request = IncrementalAlterConfigsRequest()
        for mirror in mirrors {
            guard let values = wanted[mirror.sourceName] else { continue }
            let present = services.image.configurations.values(of: ConfigResource(.topic, mirror.name))
            var resource = IncrementalAlterConfigsRequest.AlterConfigsResource()
            resource.resourceType = 2
            resource.resourceName = mirror.name
            func alter(_ name: String, _ operation: Int8, _ value: String?) {
                var config = IncrementalAlterConfigsRequest.AlterableConfig()
                config.name = name
                config.configOperation = operation
                config.value = value
                resource.configs.append(config)
            }
            for (name, value) in values.sorted(by: { $0.key < $1.key }) where present[name] != value { alter(name, 0, value) }
            for name in present.keys where values[name] == nil && !settings.excludesTopicConfig(name) { alter(name, 1, nil) }
            if !resource.configs.isEmpty { request.resources.append(resource) }
        }
        guard !request.resources.isEmpty else { return }
        let response = try await links.decide(request)
        for result in response.responses where result.errorCode != .none {
            logger.warning(
                "settings of a mirror topic cannot follow the source's",
                metadata: ["topic": "\(result.resourceName)", "reason": "\(result.errorMessage ?? result.errorCode.name)"])
        }
    }

    // MARK: New topics

    private func mirrorNew(_ topics: [TopicDescription], _ settings: LinkSettings, _ source: LinkSource) async throws {
        guard let services = links.services, let image = links.runtime.image else { return }
        let circular = try await mirrorsOfTheOtherSide(settings)
        let candidates = topics.filter { !$0.isInternal && !$0.name.hasPrefix("__") && !circular.contains($0.name) }.map {
            LinkedTopic(name: $0.name, id: $0.topicID, partitions: $0.partitions.count)
        }
        let names = candidates.map { settings.topicPrefix + $0.name }
        let own = Set(names.filter { services.image.topics.topic(named: $0) != nil })
        func found(_ sources: [String: SourceMirror]) -> [MirrorTopic] {
            NewMirrors.found(
                candidates, link, settings, image, own: own, sources: sources, clusterID: services.clusterID, now: SystemClock.now())
        }
        // Asked for only when there is something to be added.
        guard !found([:]).isEmpty, let sources = await mirrors(of: source) else { return }
        let mirrors = found(sources)
        guard !mirrors.isEmpty else { return }
        try await links.change { coordinator throws(LinkRefusal) in
            var records: [LinkRecord] = []
            for mirror in mirrors { records += try coordinator.addMirror(mirror) }
            return ((), records)
        }
    }

    /// Those of the source's topics that are mirrors; nil when that cannot be found out.
    private func mirrors(of source: LinkSource) async -> [String: SourceMirror]? {
        do throws(KafkaError) {
            return try await source.admin.mirrors()
        } catch {
            // One that is no Martlet's has no mirrors of ours.
            if error.kind == .unsupportedVersion || error.errorCode == .unsupportedVersion { return [:] }
            logger.warning(
                "new topics are not mirrored, as the source does not say which are mirrors: that needs DESCRIBE on its cluster",
                metadata: ["link": "\(link.name)", "reason": "\(error.explanation)"])
            return nil
        }
    }
}

extension AdminClient {
    /// The mirror topics of a cluster, as far as others have to know who mirror them on.
    func mirrors() async throws(KafkaError) -> [String: SourceMirror] {
        var found: [String: SourceMirror] = [:]
        for mirror in try await manageLinks(.describe, .object([]))["mirrors"]?.arrayValue ?? [] {
            guard let name = mirror["topic"]?.stringValue else { continue }
            let state = mirror["state"]?.stringValue.flatMap { MirrorState(rawValue: $0) }
            found[name] = SourceMirror(
                origins: (mirror["origins"]?.arrayValue ?? []).compactMap(\.stringValue), isWritable: state?.isWritable ?? false)
        }
        return found
    }
}

extension KafkaError {
    /// Whether a source has refused a link as it is, rather than not answered it.
    fileprivate var refusesLink: Bool {
        isRefusal || [.clusterAuthorizationFailed, .topicAuthorizationFailed, .unsupportedVersion].contains(errorCode)
    }
}
