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
        for mirror in pending {
            guard let topic = try described.first(where: { $0.item == mirror.sourceName })?.result.get() else { continue }
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
        let response = try await links.decide(request)
        var ids: [String: TopicID] = [:]
        var refused: [String: String] = [:]
        for result in response.topics {
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
            if settings.autoCreatesMirrors { try await mirrorNew(topics, settings) }
        } catch let error as LinkCallFailure {
            // Of this cluster: the source has nothing to do with it.
            logger.warning("mirror topics cannot follow their sources", metadata: ["link": "\(link.name)", "reason": "\(error)"])
        } catch {
            let steps = rounds.steps.sourceFailed(mirrors, threshold: settings.availabilityFailureThreshold, "\(error)")
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

    private func grow(_ name: String, to count: Int32) async {
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
        let excluded = source.settings.excludedTopicConfigs
        var found: [String: [String: String]] = [:]
        for outcome in try await source.admin.describeConfigs(names.map { .topic($0) }) {
            guard case .success(let entries) = outcome.result else { continue }
            var values: [String: String] = [:]
            for entry in entries where entry.source == .topic && !excluded.contains(entry.name) {
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
            for name in present.keys where values[name] == nil && !settings.excludedTopicConfigs.contains(name) { alter(name, 1, nil) }
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

    private func mirrorNew(_ topics: [TopicDescription], _ settings: LinkSettings) async throws {
        guard let services = links.services, let image = links.runtime.image else { return }
        let now = SystemClock.now()
        var added: [MirrorTopic] = []
        let circular = try await mirrorsOfTheOtherSide(settings)
        for topic in topics where !topic.isInternal && !topic.name.hasPrefix("__") && settings.autoCreateFilter.admits(topic.name) {
            let name = settings.topicPrefix + topic.name
            guard !circular.contains(topic.name), image.mirrors[name] == nil, services.image.topics.topic(named: name) == nil else {
                continue
            }
            added.append(
                MirrorTopic(
                    name: name, link: link.name, sourceName: topic.name, sourceID: topic.topicID, state: .pendingMirror, since: now))
        }
        guard !added.isEmpty else { return }
        let mirrors = added
        try await links.change { coordinator throws(LinkRefusal) in
            var records: [LinkRecord] = []
            for mirror in mirrors { records += try coordinator.addMirror(mirror) }
            return ((), records)
        }
    }
}
