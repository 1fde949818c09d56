// What a broker does about transactions in its mirrors, as `LinkServices` does in the broker: shows what is settled, tells which have ended,
// and ends what is left when a mirror stops.
import Linking
import Primitives

/// As `SettledMirrors`.
struct ModelSettledMirrors {
    var epoch: LeaderEpoch
    var session: UInt64
    var mirrors: [TopicPartition: SettledMirror] = [:]
    var allReportedAt: Int64 = .min
    var reported: [TopicPartition: (epoch: LeaderEpoch, upTo: Offset, breaks: Int)] = [:]
}

/// What the coordinator of links says in a conversation.
struct ModelNews {
    var link: String
    var epoch: LeaderEpoch
    var session: UInt64
    var isFirst: Bool
    var settled: [TopicPartition: SettledMirror?]
}

extension ModelBroker {
    private static let reportMilliseconds: Int64 = 100

    func limit(of partition: TopicPartition, _ link: LinkDefinition?) -> ModelLimit {
        guard let link, world.plan.isAtomic else { return .none }
        if world.mutation == .showUnsettled { return .settled(SettledMirror(end: .max, stable: 0)) }
        guard let known = settledMirrors[link.name] else { return .unknown }
        return known.mirrors[partition].map { .settled($0) } ?? .none
    }

    /// - Returns: nil when the conversation has to begin anew.
    func settle(_ news: ModelNews) -> [(partition: TopicPartition, report: MirrorReport)]? {
        var known = settledMirrors[news.link] ?? ModelSettledMirrors(epoch: -1, session: 0)
        guard news.epoch >= known.epoch, news.isFirst || known.session == news.session else { return nil }
        if news.isFirst { known = ModelSettledMirrors(epoch: news.epoch, session: news.session) }
        for (partition, mirror) in news.settled { known.mirrors[partition] = mirror }
        settledMirrors[news.link] = known
        show(news.isFirst ? nil : Set(news.settled.keys), news.link)
        return reports(news.link)
    }

    private func show(_ partitions: Set<TopicPartition>?, _ name: String) {
        guard let image = publication?.image else { return }
        for mirror in image.mirrors(of: name) where !mirror.state.isWritable {
            for partition in cluster.topics[mirror.name]?.partitions ?? [] where partitions?.contains(partition.name) ?? true {
                guard let replica = partition.replicas[id], replica.access == .mirror || replica.access == .ending else { continue }
                replica.show(limit(of: partition.name, image.links[name]))
            }
        }
    }

    private func reports(_ name: String) -> [(partition: TopicPartition, report: MirrorReport)] {
        guard var known = settledMirrors[name], let image = publication?.image else { return [] }
        let isFull = world.now - Self.reportMilliseconds >= known.allReportedAt
        if isFull { known.allReportedAt = world.now }
        var reports: [(TopicPartition, MirrorReport)] = []
        for mirror in image.mirrors(of: name) where mirror.state.fetches {
            for partition in cluster.topics[mirror.name]?.partitions ?? [] where partition.leader == id {
                guard let replica = partition.leading else { continue }
                let place = partition.name
                let breaks = breaks[place] ?? (0, .min)
                let former = known.reported[place]
                var isBroken = former.map { $0.breaks != breaks.count } ?? (breaks.count > 0 && world.now - breaks.at < 60_000)
                let reported = former.flatMap { $0.epoch == partition.epoch ? $0.upTo : nil }
                var from = isBroken ? replica.highWatermark : reported ?? known.mirrors[place]?.end ?? replica.highWatermark
                let upTo = max(from, replica.highWatermark)
                // Markers may have been deleted before anybody knew of them.
                if replica.log.start > from { (isBroken, from) = (true, upTo) }
                let markers = replica.log.markers(from: from, to: upTo)
                guard isFull || !markers.isEmpty else { continue }
                known.reported[place] = (partition.epoch, upTo, breaks.count)
                var report = MirrorReport(
                    leaderEpoch: partition.epoch, from: from, upTo: upTo, markers: markers,
                    stableOffset: replica.lastStableOffset, isHeld: replica.limit != .none,
                    coveredAt: board[place]?.coveredAt(replica.highWatermark))
                report.isBroken = isBroken
                reports.append((place, report))
            }
        }
        settledMirrors[name] = known
        return reports
    }

    // MARK: Ending

    func endOpenTransactions(_ partition: ModelPartition, _ mirror: MirrorTopic) {
        guard world.mutation != .stopWithoutAborting, !ended.contains(partition.name), ending.insert(partition.name).inserted else {
            return
        }
        if world.mutation != .appendWhileEnding { stop(partition.name) }
        let link = mirror.link
        world.call(self, cluster) { [cluster] (answer: @escaping (SettledMirror??) -> Void) in
            guard let coordinator = cluster.coordinator, coordinator.isActive else { return answer(nil) }
            var settled: SettledMirror?
            // By way of the log: what is settled counts once it is committed.
            coordinator.change {
                settled = $0.transactions[link]?.mirrors[partition.name]
                return []
            } _: { _ in
                answer(.some(settled))
            }
        } _: { [self] (answer: SettledMirror??) in
            guard let settled = answer else { return endLater(partition) }
            later(0...30) { [self] in finish(partition, settled) }
        }
    }

    private func endLater(_ partition: ModelPartition) {
        ending.remove(partition.name)
        reconcileLater(100...130)
    }

    private func finish(_ partition: ModelPartition, _ settled: SettledMirror?) {
        guard partition.leader == id, let replica = partition.leading, replica.access == .ending || world.mutation == .appendWhileEnding
        else { return endLater(partition) }
        guard let settled, world.mutation != .keepUnsettled, let first = replica.log.firstCommit(behind: settled) else {
            return abort(partition, replica)
        }
        let epoch = partition.epoch
        guard partition.mayCut || world.mutation == .cutInTheSameEpoch else {
            world.after(1...40) { [self] in cluster.beginEpoch(partition, leader: id, after: epoch) }
            return endLater(partition)
        }
        let kept = replica.log.batches(from: first, to: .max, count: .max / 2)
        // Kept aside, which takes its time.
        later(0...50) { [self] in
            guard partition.leader == id, partition.epoch == epoch, replica.access == .ending || world.mutation == .appendWhileEnding
            else { return endLater(partition) }
            if world.mutation != .cutWithoutKeeping { world.ledger.kept(kept) }
            note("\(partition.name) is cut from \(replica.log.end) to \(first), which is not settled")
            world.ledger.transactions.ends(cluster, partition, replica, from: first)
            world.ledger.cut(partition, replica, to: first, nil)
            replica.cut(to: first, partition, isNewEpoch: world.mutation != .cutInTheSameEpoch)
            world.ledger.historyChanged(partition)
            abort(partition, replica)
        }
    }

    private func abort(_ partition: ModelPartition, _ replica: ModelReplica) {
        world.ledger.transactions.ends(cluster, partition, replica, from: nil)
        for transaction in replica.log.openTransactions {
            replica.log.append(
                ModelBatch(
                    base: replica.log.end, last: replica.log.end, id: world.fresh(), epoch: partition.epoch,
                    transaction: transaction.number, producer: transaction.producer, marker: .abort, timestamp: world.now))
        }
        ending.remove(partition.name)
        ended.insert(partition.name)
        lead(partition)
    }
}

extension ModelLog {
    fileprivate func markers(from offset: Offset, to end: Offset) -> [MirroredMarker] {
        batches[index(at: offset)...].prefix { $0.base < end }.compactMap { batch in
            guard let producer = batch.producer, let marker = batch.marker, batch.base >= offset else { return nil }
            return MirroredMarker(offset: batch.base, producer: producer, isCommit: marker == .commit, timestamp: batch.timestamp)
        }
    }

    /// As `MirroredMarkers.firstCommit`.
    fileprivate func firstCommit(behind settled: SettledMirror) -> Offset? {
        var open: Set<ProducerID> = []
        for batch in batches[index(at: min(settled.stable, settled.end))...] {
            guard let producer = batch.producer?.id else { continue }
            if batch.marker == nil {
                open.insert(producer)
            } else if open.remove(producer) != nil, batch.base >= settled.end, batch.marker == .commit {
                return batch.base
            }
        }
        return nil
    }
}

extension ModelReplica {
    /// Cuts a mirror, on its leader; the others follow.
    func cut(to offset: Offset, _ partition: ModelPartition, isNewEpoch: Bool) {
        truncate(to: offset)
        if isNewEpoch { log.assign(partition.epoch) }
        highWatermark = min(highWatermark, log.end)
        followers = [:]
        // As `PartitionReplica.logWasCut`.
        partition.epochBegan = min(partition.epochBegan, log.end)
        partition.committed.truncate(to: log.end)
    }
}
