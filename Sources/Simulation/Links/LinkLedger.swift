// The judge of clusters with links: knows what was accepted, committed, fenced, cut and kept, and holds all of it against the promises.
import Linking
import Primitives

/// What happened in a world with links, and what may never have.
final class LinkLedger {
    private struct Place: Hashable {
        var cluster: String
        var topic: String
    }

    private unowned let world: LinkWorld
    /// Topics that were fenced for good: their brokers all know, and nothing is on its way.
    private var fenced: Set<Place> = []
    /// Topics that were promoted away from a cluster, and to which one.
    private var promoted: [Place: Place] = [:]
    /// Mirrors that all brokers have heard of.
    private var announced: Set<Place> = []
    /// Since when mirrors are being promoted, in milliseconds.
    private var promotedSince: [Place: Int64] = [:]
    /// Mirrors that were promoted and have everything, of topics that are no mirrors themselves.
    private var drained: Set<Place> = []
    private var kept: Set<UInt64> = []
    /// How often the history of some partition has changed.
    private(set) var changes = 0
    private(set) var acknowledged = 0
    let transactions: TransactionLedger
    /// When topics were found to be fenced for a take-over, in milliseconds.
    private var fencedAt: [Place: Int64] = [:]
    /// When topics were opened again, in milliseconds.
    private var unfencedAt: [Place: Int64] = [:]

    init(_ world: LinkWorld) {
        self.world = world
        transactions = TransactionLedger(world)
    }

    // MARK: Writing

    /// A client's write is about to be appended.
    func accepts(_ cluster: ModelCluster, _ topic: ModelTopic, _ partition: ModelPartition, _ replica: ModelReplica) {
        let place = Place(cluster: cluster.name, topic: topic.name)
        let name = "\(cluster.name)'s \(partition.name)"
        let mirror = cluster.committedImage.mirrors[topic.name]
        if let mirror, mirror.topicID == topic.id || mirror.topicID == .zero, !mirror.state.isWritable, announced.contains(place) {
            world.fail(
                .mirrorsTakeNoWrites,
                "\(name) takes a write from a client on broker \(partition.leader) while it is \(mirror.state.rawValue)")
        }
        if fenced.contains(place) { world.fail(.oneClusterTakesWrites, "\(name) takes a write although it is fenced") }
        if let other = promoted[place] {
            world.fail(.oneClusterTakesWrites, "\(name) takes a write although \(other.cluster) has taken over")
        }
        // What is lost by an unclean election is lost.
        if let mirror, mirror.state == .stopped, mirror.topicID == topic.id, partition.uncleanAt < mirror.since {
            let left = replica.log.openTransactions.map(\.number).filter { transactions.origin(of: $0) != cluster.name }
            if !left.isEmpty {
                world.fail(.mirroredTransactionsEnd, "\(name) takes a write while transactions \(left) of its source are open")
            }
        }
    }

    func committed(_ partition: ModelPartition, by replica: ModelReplica) {
        let end = partition.committed.end
        // A log may begin in the midst of a batch.
        let start = min(replica.log.start, replica.log.batches.first?.base ?? .max)
        if end < start || partition.committed.isEmpty && end != start && end > replica.highWatermark {
            partition.committed.restart(at: start)
        }
        if let last = partition.committed.batch(at: partition.committed.end - 1), last.last < replica.highWatermark,
            let own = replica.log.batch(at: last.base), !own.isSame(last)
        {
            world.fail(
                .replicasMatch, "\(partition.name) of broker \(partition.leader) has another batch at \(last.base) than was committed")
        }
        for batch in replica.log.batches(from: partition.committed.end, to: replica.highWatermark, count: .max / 2)
        where batch.base >= partition.committed.end {
            partition.committed.append(batch)
            acknowledged += 1
            if batch.marker == nil { acknowledges(partition) }
        }
    }

    /// A client is told that its write is committed.
    private func acknowledges(_ partition: ModelPartition) {
        guard let cluster = world.clusters.first(where: { $0.topic(id: partition.topicID) != nil }) else { return }
        let place = Place(cluster: cluster.name, topic: partition.name.topic)
        guard fenced.contains(place), let time = fencedAt[place], partition.uncleanAt < time else { return }
        world.fail(.oneClusterTakesWrites, "\(cluster.name)'s \(partition.name) acknowledges a write although it is fenced")
    }

    /// The history of a partition goes on from another point.
    func historyChanged(_ partition: ModelPartition) {
        changes += 1
        guard let log = partition.leading?.log else { return }
        var common = max(partition.committed.start, log.start)
        for batch in partition.committed.batches where batch.last >= common {
            guard let own = log.batch(at: max(batch.base, log.start)), own.isSame(batch) else { break }
            common = batch.last + 1
        }
        partition.committed.truncate(to: min(common, log.end))
        // Of transactions whose ends are cut off because the source has others nothing counts as shown.
        partition.shown = min(partition.shown, partition.committed.end, log.openTransactions.first?.first ?? .max)
    }

    // MARK: Mirrors

    /// A mirror takes records of its source.
    func follows(_ cluster: ModelCluster, _ partition: ModelPartition) {
        guard let mirror = cluster.committedImage.mirrors[partition.name.topic], mirror.topicID == partition.topicID,
            mirror.state == .stopped
        else { return }
        world.fail(.stoppedMirrorsFollowNobody, "\(cluster.name)'s \(partition.name) takes records of its source and is STOPPED")
    }

    /// A mirror goes on at an offset; if that is behind its end, the source must not have let go of anything between.
    func goesOn(_ partition: ModelPartition, _ replica: ModelReplica, at offset: Offset, sourceStart: Offset) {
        if offset > replica.log.end, sourceStart > replica.log.end, !world.plan.skipsGaps {
            world.fail(.gapsAreNeverSilent, "\(partition.name) goes on at \(offset), its log ends at \(replica.log.end)")
        }
    }

    func kept(_ batches: [ModelBatch]) { for batch in batches { kept.insert(batch.id) } }

    /// - Parameter source: nil where it is gone, or a mirror whose end moves by itself.
    func cut(_ partition: ModelPartition, _ replica: ModelReplica, to offset: Offset, _ source: ModelTopic?) {
        let removed = replica.log.batches(from: offset, to: .max, count: .max / 2)
        if let lost = removed.first(where: { !kept.contains($0.id) }) {
            world.fail(.whatIsCutIsKept, "\(partition.name) is cut at \(offset), and the batch at \(lost.base) is not kept")
        }
        guard let source, Int(partition.name.partition) < source.partitions.count, let first = removed.first else { return }
        let theirs = source.partitions[Int(partition.name.partition)]
        if let same = theirs.committed.batch(at: first.base), same.isSame(first), theirs.leading?.log.batch(at: first.base) == same {
            world.fail(.cutsOnlyWhatDiffers, "\(partition.name) is cut at \(offset), where its source has the same batch")
        }
    }

    func copied(_ offset: Offset, _ name: TopicPartition, _ cluster: ModelCluster) {
        guard let topic = cluster.topics[name.topic], Int(name.partition) < topic.partitions.count else { return }
        let end = topic.partitions[Int(name.partition)].committed.end
        if offset > end { world.fail(.mirroredOffsetsFit, "a group gets offset \(offset) of \(name), which ends at \(end)") }
    }

    // MARK: States

    /// All brokers of the cluster know that the topic is fenced, and nothing is on its way.
    func fenced(_ cluster: ModelCluster, _ topic: String) {
        let place = Place(cluster: cluster.name, topic: topic)
        if fenced.insert(place).inserted { fencedAt[place] = world.now }
    }

    func recorded(_ cluster: ModelCluster, _ record: LinkRecord, _ former: LinkImage) {
        switch record {
        case .link, .linkRemoved: break
        case .fence: break
        // What goes beside the data and synchronous mirrors are not simulated; transactions have a judge of their own.
        case .synchronized, .synchronizedRemoved, .synchronization, .synchronizationRemoved, .synchronous, .synchronousRemoved,
            .settledMirror, .settledMirrorRemoved, .settledDecisions, .settledDecisionsRemoved, .settledOffsets, .settledOffsetsRemoved:
            break
        case .fenceRemoved(let topic):
            forget(Place(cluster: cluster.name, topic: topic))
            unfencedAt[Place(cluster: cluster.name, topic: topic)] = world.now
        case .mirrorRemoved(let topic):
            announced.remove(Place(cluster: cluster.name, topic: topic))
            // As after a take-over that somebody has ended by hand.
            promoted = promoted.filter { $0.value != Place(cluster: cluster.name, topic: topic) }
        case .mirror(let mirror): entered(cluster, mirror, former.mirrors[mirror.name])
        }
        let limit = 4 * (world.plan.topics + 1)
        if cluster.committedImage.mirrors.count > limit {
            world.fail(.linksNeverLoop, "\(cluster.name) has \(cluster.committedImage.mirrors.count) mirrors")
        }
    }

    private func forget(_ place: Place) {
        fenced.remove(place)
        promoted[place] = nil
    }

    private func entered(_ cluster: ModelCluster, _ mirror: MirrorTopic, _ former: MirrorTopic?) {
        let place = Place(cluster: cluster.name, topic: mirror.name)
        let source = cluster.committedImage.links[mirror.link]?.sourceClusterID ?? ""
        switch mirror.state {
        case .active:
            announced.insert(place)
            // Any of them may lead next.
            let writable = cluster.brokers.first { broker in
                guard broker.isRunning, !broker.isFenced, let image = broker.publication?.image else { return false }
                return image.access(toTopic: mirror.name, id: mirror.topicID) == .open
            }
            if former?.state == .pendingRestore, let writable {
                world.fail(.mirrorsTakeNoWrites, "\(cluster.name)'s \(mirror.name) is ACTIVE, and broker \(writable.id) would take writes")
            }
        case .pendingRestore, .pendingMirror:
            announced.remove(place)
            forget(place)
            promoted = promoted.filter { $0.value != place }
        case .pendingStopped: if former?.state.isPromoting != true { promotedSince[place] = world.now }
        case .stopping where mirror.reason == "promoted":
            if isOriginal(Place(cluster: source, topic: mirror.sourceName), mirror.sourceID) { drained.insert(place) }
            checkPromoted(cluster, mirror, source)
        case .stopped:
            announced.remove(place)
            // A source that was a mirror itself may have gone on since.
            if mirror.reason == "promoted", drained.remove(place) != nil {
                checkPromoted(cluster, mirror, source)
                let other = Place(cluster: source, topic: mirror.sourceName)
                // Somebody may have opened the source again.
                let isClosed = unfencedAt[other] ?? -1 < promotedSince[place] ?? 0
                if former?.state == .stopping, isClosed, isOriginal(other, mirror.sourceID) { promoted[other] = place }
            }
            transactions.stopped(cluster, mirror)
        default: break
        }
    }

    /// Whether a topic is the one that was mirrored, and no mirror itself.
    private func isOriginal(_ place: Place, _ id: TopicID) -> Bool {
        guard let cluster = world.cluster(place.cluster), cluster.topics[place.topic]?.id == id else { return false }
        return cluster.committedImage.mirrors[place.topic]?.state.isWritable ?? true
    }

    /// Everything that the source acknowledged is in the mirror.
    private func checkPromoted(_ cluster: ModelCluster, _ mirror: MirrorTopic, _ source: String) {
        guard isOriginal(Place(cluster: source, topic: mirror.sourceName), mirror.sourceID), let own = cluster.topics[mirror.name],
            own.id == mirror.topicID, let theirs = world.cluster(source)?.topics[mirror.sourceName]
        else { return }
        let since = promotedSince[Place(cluster: cluster.name, topic: mirror.name)] ?? 0
        let other = Place(cluster: source, topic: mirror.sourceName)
        // Somebody has opened the source again.
        if unfencedAt[other] ?? -1 >= since { return }
        if mirror.state == .stopped, fenced.contains(other), let time = fencedAt[other] {
            transactions.promoted(cluster, mirror, since: since, fencedAt: time)
        }
        for (index, partition) in theirs.partitions.enumerated() {
            // What is lost here by an unclean election is lost.
            if index < own.partitions.count, own.partitions[index].uncleanAt >= since { continue }
            let log = index < own.partitions.count ? own.partitions[index].committed : ModelLog()
            for batch in partition.committed.batches where batch.base >= log.start && batch.marker == nil {
                guard let same = log.batch(at: batch.base), same.isSame(batch) else {
                    return world.fail(
                        .promotingLosesNothing,
                        "\(cluster.name)'s \(mirror.name)-\(index) is \(mirror.state.rawValue) and lacks the batch at \(batch.base) of \(source)"
                    )
                }
            }
        }
    }

    // MARK: The end

    /// What has not come to its end yet; nil when everything has.
    func unfinished() -> String? {
        for cluster in world.clusters {
            guard let coordinator = cluster.coordinator, coordinator.isActive, coordinator.publication != nil else {
                return "nobody coordinates the links of \(cluster.name)"
            }
            for partition in cluster.partitions {
                if partition.leader < 0 || partition.inSync.count < partition.placed.count {
                    return "\(cluster.name)'s \(partition.name) is not whole"
                }
            }
            for mirror in cluster.committedImage.mirrors.values {
                if let open = unfinished(cluster, mirror) { return open }
            }
        }
        return nil
    }

    private func unfinished(_ cluster: ModelCluster, _ mirror: MirrorTopic) -> String? {
        let name = "\(cluster.name)'s \(mirror.name)"
        if mirror.state == .stopped { return nil }
        guard mirror.state == .active else {
            let standing = cluster.topics[mirror.name]?.partitions.map { "\($0.name.partition): \($0.runState(cluster))" } ?? []
            return "\(name) is still \(mirror.state.rawValue) (\(mirror.reason)), \(standing.joined(separator: ", "))"
        }
        guard let link = cluster.committedImage.links[mirror.link], let source = world.cluster(link.sourceClusterID),
            let own = cluster.topics[mirror.name], let theirs = source.topics[mirror.sourceName]
        else { return "\(name) is a mirror of nothing" }
        guard own.partitions.count >= theirs.partitions.count else { return "\(name) has fewer partitions than its source" }
        for (left, right) in zip(own.partitions, theirs.partitions) where left.committed.end != right.committed.end {
            return "\(cluster.name)'s \(left.name) ends at \(left.committed.end), its source at \(right.committed.end)"
        }
        return nil
    }

    /// Where a mirror is not what its source is.
    func difference() -> String? {
        for cluster in world.clusters {
            for mirror in cluster.committedImage.mirrors.values where mirror.state == .active {
                guard let link = cluster.committedImage.links[mirror.link], let source = world.cluster(link.sourceClusterID),
                    let own = cluster.topics[mirror.name], let theirs = source.topics[mirror.sourceName]
                else { continue }
                for (left, right) in zip(own.partitions, theirs.partitions) {
                    guard let base = difference(left.committed, right.committed) else { continue }
                    return "\(cluster.name)'s \(left.name) has another batch at \(base) than its source"
                }
            }
        }
        return nil
    }

    private func difference(_ own: ModelLog, _ theirs: ModelLog) -> Offset? {
        theirs.batches.first { batch in
            batch.base >= own.start && batch.base >= theirs.start && own.batch(at: batch.base)?.isSame(batch) != true
        }?.base
    }

    func checkAtEnd() {
        for cluster in world.clusters {
            for partition in cluster.partitions { checkReplicas(cluster, partition) }
        }
    }

    private func checkReplicas(_ cluster: ModelCluster, _ partition: ModelPartition) {
        guard let leader = partition.leading else { return }
        for (node, replica) in partition.replicas {
            for batch in leader.log.batches where batch.base >= replica.log.start && batch.last < replica.highWatermark {
                guard let same = replica.log.batch(at: batch.base), same.isSame(batch) else {
                    return world.fail(
                        .replicasMatch, "broker \(node) has another batch at \(batch.base) of \(cluster.name)'s \(partition.name)")
                }
            }
        }
    }

    static func words(_ record: LinkRecord) -> String {
        switch record {
        case .link(let link): "link \(link.name)"
        case .linkRemoved(let name): "link \(name) is removed"
        case .mirror(let mirror): "mirror \(mirror.name) of \(mirror.link) is \(mirror.state.rawValue) (\(mirror.reason))"
        case .mirrorRemoved(let name): "mirror \(name) is removed"
        case .fence(let fence): "\(fence.topic) is fenced by \(fence.by)"
        case .fenceRemoved(let name): "\(name) is not fenced any more"
        case .settledMirror(let link, let topic, let offsets):
            "mirror \(topic) of \(link) is settled to \(offsets.map { $0.map { "\($0.end)" } ?? "none" }.joined(separator: " "))"
        case .settledDecisions(let link, let decisions):
            "decisions of \(link) are settled to \(decisions.positions.map { "\($0.key): \($0.value)" }.joined(separator: ", "))"
        case .settledMirrorRemoved, .settledDecisionsRemoved, .settledOffsets, .settledOffsetsRemoved, .synchronized, .synchronizedRemoved,
            .synchronization,
            .synchronizationRemoved, .synchronous, .synchronousRemoved:
            "\(record.encoded.key)"
        }
    }
}

extension ModelPartition {
    /// What its leader is doing about it, for people.
    fileprivate func runState(_ cluster: ModelCluster) -> String {
        guard let run = cluster.broker(leader)?.runs[name] else { return "not fetched" }
        return "\(run.session.phase)"
    }
}
