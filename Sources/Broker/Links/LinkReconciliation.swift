// Makes this broker do what the newest image of links says: which topics clients may write to, and which mirrors it fetches. Called
// whenever the image changes, or leadership of a mirror.
import KafkaMessages
import KafkaWire
import Linking
import Logging
import NIOCore
import Primitives
import Runtime
import Storage

extension LinkServices {
    func reconcile() {
        reconciling.withLock { _ in
            guard let services, let image = state.withLock({ $0.publication?.image }) else { return }
            let sources = openSources(image)
            var wanted: [String: Set<TopicPartition>] = [:]
            var closed: Set<String> = []
            var needsBarrier = false
            for mirror in image.mirrors.values {
                guard let topic = services.partitions.topic(mirror.name), mirror.topicID == .zero || topic.id == mirror.topicID else {
                    if !mirror.state.isWritable { closed.insert(mirror.name) }
                    continue
                }
                let access = image.access(toTopic: topic.name, id: topic.id)
                if access != .open { closed.insert(topic.name) }
                for partition in topic.all {
                    show(access, in: partition, of: image.links[mirror.link])
                    guard leads(partition), access == .mirror || access == .ending else { continue }
                    guard isUpToDate(partition) else {
                        needsBarrier = true
                        continue
                    }
                    if mirror.state == .stopping { endOpenTransactions(partition, link: mirror.link) }
                    guard mirror.state.fetches, let source = sources[mirror.link], !source.settings.isPaused else { continue }
                    source.follow(partition, of: mirror)
                    wanted[mirror.link, default: []].insert(partition.topicPartition)
                }
            }
            for (name, source) in sources {
                for partition in source.followed where wanted[name]?.contains(partition) != true { source.stop(partition) }
            }
            for name in image.fences.keys { closed.insert(name) }
            reopen(services, image, closed)
            applySynchronous(services, image)
            let mustAsk = needsBarrier
            state.withLock { state in
                state.awaitsNewerImage = mustAsk
                state.leading = state.leading.filter { image.mirrors[$0.key.topic] != nil }
                state.ended = state.ended.filter { image.mirrors[$0.topic]?.state == .stopping }
                state.settled = state.settled.filter { image.links[$0.key] != nil }
            }
            if mustAsk { askNow() }
        }
    }

    /// Topics that were closed and are so no longer, and those that are closed without being mirrors.
    private func reopen(_ services: BrokerServices, _ image: LinkImage, _ closed: Set<String>) {
        let former = state.withLock { state in
            defer { state.closedTopics = closed }
            return state.closedTopics
        }
        for name in former.union(closed) where image.mirrors[name] == nil {
            guard let topic = services.partitions.topic(name) else { continue }
            let access = image.access(toTopic: name, id: topic.id)
            for partition in topic.all { partition.setWriteAccess(access, showing: StableLimit.none) }
        }
    }

    private func show(_ access: WriteAccess, in partition: Partition, of link: LinkDefinition?) {
        let isMirror = access == .mirror || access == .ending
        partition.setWriteAccess(access, showing: isMirror ? stableLimit(of: partition.topicPartition, link: link) : StableLimit.none)
    }

    /// The first image is there: what was undecided is decided.
    func openUndecided() {
        guard let services, let image = state.withLock({ $0.publication?.image }) else { return }
        // Before anybody may write.
        applySynchronous(services, image)
        for topic in services.partitions.topics {
            let access = image.access(toTopic: topic.name, id: topic.id)
            let link = image.mirrors[topic.name].flatMap { image.links[$0.link] }
            for partition in topic.all where partition.writeAccess == .undecided { show(access, in: partition, of: link) }
        }
    }

    private func leads(_ partition: Partition) -> Bool {
        let leadership = partition.leadership
        guard leadership.leader == nodeID else {
            state.withLock { $0.leading[partition.topicPartition] = nil }
            return false
        }
        state.withLock { state in
            if state.leading[partition.topicPartition]?.epoch != leadership.leaderEpoch {
                state.leading[partition.topicPartition] = (leadership.leaderEpoch, SystemClock.monotonicMilliseconds())
            }
        }
        return true
    }

    /// Whether the image was asked for after this broker came to lead the partition: an older one may have it mirror what has been promoted
    /// meanwhile under another leader.
    private func isUpToDate(_ partition: Partition) -> Bool {
        state.withLock { state in
            guard let leading = state.leading[partition.topicPartition] else { return false }
            return state.askedAt >= leading.since
        }
    }

    private func openSources(_ image: LinkImage) -> [String: LinkSource] {
        var left: [LinkSource] = []
        let group = state.withLock { state -> (any EventLoopGroup)? in
            for (name, source) in state.sources where image.links[name] != source.definition {
                left.append(source)
                state.sources[name] = nil
            }
            return state.eventLoopGroup
        }
        for source in left { source.close() }
        guard let group else { return [:] }
        for link in image.links.values where state.withLock({ $0.sources[link.name] == nil }) {
            do {
                let settings = try LinkSettings(link.configuration)
                guard settings.mirrors else { continue }
                let source = try LinkSource(
                    link, nodeID: nodeID, events: self, eventLoopGroup: group, clusterID: services?.clusterID ?? "",
                    dialler: dialler(link.name, settings), logger: logger)
                state.withLock { $0.sources[link.name] = source }
            } catch {
                logger.error("a link cannot be used", metadata: ["link": "\(link.name)", "reason": "\(error)"])
            }
        }
        return state.withLock { $0.sources }
    }
}

extension LinkServices: LinkEvents {
    func mirrorFailed(_ partition: TopicPartition, _ reason: String) {
        guard let link = image.mirrors[partition.topic]?.link else { return }
        // The coordinator asks for progress now and then, and sees it.
        source(of: link)?.board.update(partition, link: link) { $0.failure = reason }
    }

    func willCut(_ partition: Partition, to offset: Offset, end: Offset, done: @escaping @Sendable (Bool) -> Void) {
        guard let services else { return done(false) }
        services.backgroundWork.run { [self] in
            let place: Logger.Metadata = [
                "partition": "\(partition.topicPartition)", "from": "\(offset)", "to": "\(end - 1)",
            ]
            do throws(StorageError) {
                let path = try keepCutRecords(of: partition, from: offset)
                logger.warning(
                    "records that the source does not have are cut off a mirror",
                    metadata: place.merging(["keptIn": "\(path)"]) { first, _ in first })
                done(true)
            } catch {
                logger.error(
                    "records that the source does not have cannot be kept aside, so the mirror is not cut",
                    metadata: place.merging(["reason": "\(error)"]) { first, _ in first })
                done(false)
            }
        }
    }

    func needsNewEpoch(_ partition: Partition, _ leaderEpoch: LeaderEpoch) {
        guard let services else { return }
        let body: JSONValue = [
            "topicId": .string("\(partition.topicID)"), "partition": .integer(Int64(partition.topicPartition.partition)),
            "leaderEpoch": .integer(Int64(leaderEpoch)), "broker": .integer(Int64(nodeID)),
        ]
        services.controllerChannel.send(ManageLinksRequest(.newEpoch, body), timeoutMilliseconds: 10_000) { [logger] outcome in
            let problem: String
            switch outcome {
            case .success(let response) where response.errorCode == .none: return
            case .success(let response): problem = response.errorMessage ?? response.errorCode.name
            case .failure(let failure): problem = "\(failure)"
            }
            logger.warning(
                "a mirror needs a new leader epoch before it can be cut",
                metadata: ["partition": "\(partition.topicPartition)", "reason": "\(problem)"])
        }
    }
}
