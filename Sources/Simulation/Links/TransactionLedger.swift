// The judge of transactions over links: no mirror shows a part of one, what has been shown stays, and what was committed before a take-over
// with nothing lost is there after.
import Linking
import Primitives

/// What is known of the transactions of all clusters, of how far their mirrors were settled, and of what readers have seen.
final class TransactionLedger {
    /// A mirror that is waited for.
    private struct Joined {
        var step: Int
        var end: Offset
    }

    private struct Place: Hashable {
        var cluster: String
        var link: String
        /// Nil for all of the link.
        var partition: TopicPartition?
    }

    private struct Shown: Hashable {
        var cluster: String
        var link: String
        var transaction: UInt64
    }

    private unowned let world: LinkWorld
    private var known: [UInt64: ModelTransaction] = [:]
    private var joined: [Place: Joined] = [:]
    /// Mirrors that were cut, because their sources have other records, since they are waited for.
    private var cut: [String: Set<TopicPartition>] = [:]
    /// What was decided by then, in milliseconds, a link does not read.
    private var begun: [Place: Int64] = [:]
    /// With which step a link has shown a transaction first.
    private var shown: [Shown: Int] = [:]
    private var step = 0
    /// What was decided by then may be shown in part: a mirror or a decision was given up waiting for, as the gate counts it.
    private var incompleteUntil: [Place: Int64] = [:]
    private(set) var settled = 0

    init(_ world: LinkWorld) {
        self.world = world
    }

    func begun(_ transaction: ModelTransaction) { known[transaction.number] = transaction }

    func origin(of transaction: UInt64) -> String? { known[transaction]?.cluster.name }

    /// A link begins to read what its source has decided since a time.
    func begins(_ cluster: ModelCluster, _ link: String, at time: Int64) { begun[Place(cluster: cluster.name, link: link)] = time }

    /// The source has other records: where the mirror is settled to counts for nothing until it is waited for anew.
    func wasCut(_ partition: TopicPartition, _ cluster: ModelCluster) { cut[cluster.name, default: []].insert(partition) }

    private func isCut(_ partition: TopicPartition, _ cluster: ModelCluster) -> Bool { cut[cluster.name]?.contains(partition) == true }

    // MARK: What is settled

    /// The records of a batch are committed.
    func recorded(_ cluster: ModelCluster, _ batch: ModelLinkBatch, _ former: LinkCoordinator) {
        guard batch.records.contains(where: \.concernsTransactions) else { return }
        step += 1
        let links = Set(former.transactions.keys).union(cluster.committedLinks.transactions.keys)
        for link in links.sorted() {
            let before = former.transactions[link]?.mirrors ?? [:]
            let after = cluster.committedLinks.transactions[link]?.mirrors ?? [:]
            if before != after { settled(cluster, link, before, after, batch) }
        }
    }

    private func settled(
        _ cluster: ModelCluster, _ link: String, _ before: [TopicPartition: SettledMirror], _ after: [TopicPartition: SettledMirror],
        _ batch: ModelLinkBatch
    ) {
        var new: [UInt64: TopicPartition] = [:]
        for (partition, mirror) in after.sorted(by: { $0.key < $1.key }) {
            let place = Place(cluster: cluster.name, link: link, partition: partition)
            guard let former = before[partition], !batch.left.contains(partition), joined[place] != nil else {
                joined[place] = Joined(step: step, end: mirror.end)
                cut[cluster.name]?.remove(partition)
                continue
            }
            guard mirror.end > former.end, let log = cluster.partition(partition)?.committed else { continue }
            for entry in log.batches[log.index(at: former.end)...] where entry.base >= former.end && entry.base < mirror.end {
                if entry.marker == .commit, let transaction = entry.transaction { new[transaction] = partition }
            }
        }
        for partition in before.keys where after[partition] == nil {
            joined[Place(cluster: cluster.name, link: link, partition: partition)] = nil
        }
        if batch.hasIncomplete { incompleteUntil[Place(cluster: cluster.name, link: link)] = world.now }
        for (transaction, partition) in new.sorted(by: { $0.key < $1.key }) {
            let entry = Shown(cluster: cluster.name, link: link, transaction: transaction)
            if shown[entry] == nil {
                shown[entry] = step
                settled += 1
            }
            check(transaction, partition, cluster, link, after)
        }
    }

    /// A transaction is shown by a mirror: it is by all others that were waited for.
    private func check(
        _ number: UInt64, _ first: TopicPartition, _ cluster: ModelCluster, _ link: String, _ mirrors: [TopicPartition: SettledMirror]
    ) {
        guard let since = shown[Shown(cluster: cluster.name, link: link, transaction: number)],
            !isCut(first, cluster)
        else { return }
        for (source, other) in mirrored(number, cluster, link) where other != first {
            // Failing over some topics of a link and not others tears what they share.
            guard let settled = mirrors[other], cluster.committedImage.mirrors[other.topic]?.state.fetches == true,
                let joined = joined[Place(cluster: cluster.name, link: link, partition: other)], joined.step < since,
                !isCut(other, cluster)
            else { continue }
            // Somebody may have deleted the mirror topic.
            guard let partition = cluster.partition(other) else { continue }
            if let marker = partition.committed.commit(of: number), marker < settled.end { continue }
            guard isPresent(number, source) else { continue }
            world.fail(
                .mirroredTransactionsAreWhole,
                "\(cluster.name)'s \(first) shows transaction \(number), and \(other), settled to \(settled.end), does not")
        }
    }

    /// The partitions that a transaction of a link's source wrote to, as far as they are mirrored, and their mirrors.
    private func mirrored(_ number: UInt64, _ cluster: ModelCluster, _ link: String) -> [(source: ModelPartition, mirror: TopicPartition)] {
        guard let transaction = known[number], transaction.isCommit == true,
            transaction.decidedAt ?? 0 > begun[Place(cluster: cluster.name, link: link)] ?? .max,
            transaction.decidedAt ?? 0 > incompleteUntil[Place(cluster: cluster.name, link: link)] ?? .min,
            cluster.committedImage.links[link]?.sourceClusterID == transaction.cluster.name
        else { return [] }
        let mirrors = cluster.committedImage.mirrors(of: link)
        return transaction.partitions.compactMap { partition in
            mirrors.first { $0.sourceName == partition.name.topic && $0.sourceID == partition.topicID }
                .map { (partition, TopicPartition($0.name, partition.name.partition)) }
        }
    }

    /// Whether the source has a transaction's commit in a partition, or will have it: it has not been lost or deleted there.
    private func isPresent(_ number: UInt64, _ partition: ModelPartition) -> Bool {
        guard let transaction = known[number], transaction.cluster.topic(id: partition.topicID) != nil else { return false }
        if !transaction.marked.contains(partition.name) {
            return partition.leading?.log.batches.contains { $0.transaction == number } ?? true
        }
        return partition.committed.commit(of: number) != nil || partition.leading?.log.commit(of: number) != nil
    }

    // MARK: What is shown

    /// A reader of committed transactions asks a leader.
    func read(_ cluster: ModelCluster, _ partition: ModelPartition, _ replica: ModelReplica) {
        guard replica.access == .mirror || replica.access == .ending, let mirror = cluster.committedImage.mirrors[partition.name.topic],
            mirror.topicID == partition.topicID
        else { return }
        let settled = cluster.committedLinks.transactions[mirror.link]?.mirrors[partition.name]
        let end = replica.lastStableOffset
        guard end > partition.shown else { return }
        partition.shown = end
        guard let settled, !isCut(partition.name, cluster) else { return }
        // What has been deleted is not shown.
        let start = replica.log.start
        guard let early = replica.log.ended(by: settled.end).first(where: { max($0.first, start) < end && $0.marker == .commit })
        else { return }
        world.fail(
            .mirroredTransactionsAreWhole,
            "\(cluster.name)'s \(partition.name) shows transaction \(early.number), which ends behind \(settled), \(replica.limit)")
    }

    /// A mirror is about to be cut, as it stops, and what is open aborted.
    ///
    /// - Parameter offset: nil when nothing is cut off.
    func ends(_ cluster: ModelCluster, _ partition: ModelPartition, _ replica: ModelReplica, from offset: Offset?) {
        guard world.plan.isAtomic else { return }
        if isCut(partition.name, cluster) { return }
        if let offset {
            guard offset < partition.shown else { return }
            world.fail(
                .whatWasShownStays, "\(cluster.name)'s \(partition.name) is cut at \(offset), and was read up to \(partition.shown)")
        } else if let open = replica.log.openTransactions.first(where: { max($0.first, replica.log.start) < partition.shown }) {
            world.fail(
                .whatWasShownStays,
                "\(cluster.name)'s \(partition.name) aborts transaction \(open.number), which begins at \(open.first), and was read up to "
                    + "\(partition.shown)")
        }
    }

    // MARK: After a take-over

    /// A mirror has become an ordinary topic: nothing is committed in it that was not settled, and others that stopped with it have the
    /// same transactions.
    func stopped(_ cluster: ModelCluster, _ mirror: MirrorTopic) {
        guard let topic = cluster.topics[mirror.name], topic.id == mirror.topicID else { return }
        let mirrors = cluster.committedLinks.transactions[mirror.link]?.mirrors ?? [:]
        for partition in topic.partitions {
            guard let settled = mirrors[partition.name],
                joined[Place(cluster: cluster.name, link: mirror.link, partition: partition.name)] != nil,
                !isCut(partition.name, cluster)
            else { continue }
            // Of one whose records were all deleted nothing is there.
            if let early = partition.committed.ended(by: settled.end).first(where: { $0.marker == .commit }) {
                return world.fail(
                    .mirroredTransactionsAreWhole,
                    "\(cluster.name)'s \(partition.name) is taken over with transaction \(early.number) committed, which ends behind "
                        + "\(settled.end)")
            }
        }
    }

    /// What was decided at the source before it took no more writes is there.
    func promoted(_ cluster: ModelCluster, _ mirror: MirrorTopic, since: Int64, fencedAt: Int64) {
        guard world.plan.isAtomic, let topic = cluster.topics[mirror.name] else { return }
        for transaction in known.values.sorted(by: { $0.number < $1.number }) where transaction.isCommit == true {
            guard let decidedAt = transaction.decidedAt, decidedAt <= fencedAt else { continue }
            for partition in transaction.partitions where partition.topicID == mirror.sourceID {
                guard Int(partition.name.partition) < topic.partitions.count, isPresent(transaction.number, partition) else { continue }
                let own = topic.partitions[Int(partition.name.partition)]
                guard own.uncleanAt < since, own.committed.commit(of: transaction.number) == nil,
                    own.committed.batches.contains(where: { $0.transaction == transaction.number && $0.marker == nil })
                else { continue }
                return world.fail(
                    .promotingLosesNothing,
                    "\(cluster.name)'s \(own.name) is \(mirror.state.rawValue), and transaction \(transaction.number) is not committed in it"
                )
            }
        }
    }
}

extension LinkRecord {
    fileprivate var concernsTransactions: Bool {
        switch self {
        case .settledMirror, .settledMirrorRemoved, .settledDecisions, .settledDecisionsRemoved: true
        default: false
        }
    }
}

extension ModelCluster {
    fileprivate func partition(_ name: TopicPartition) -> ModelPartition? {
        guard let topic = topics[name.topic], Int(name.partition) < topic.partitions.count else { return nil }
        return topic.partitions[Int(name.partition)]
    }
}

extension ModelLog {
    /// Transactions that end at an offset or behind it.
    fileprivate func ended(by offset: Offset) -> [(number: UInt64, first: Offset, marker: ModelBatch.Marker)] {
        var open: [ProducerID: Offset] = [:]
        var ended: [(UInt64, Offset, ModelBatch.Marker)] = []
        for batch in batches {
            guard let producer = batch.producer?.id, let number = batch.transaction else { continue }
            if let marker = batch.marker {
                if let first = open.removeValue(forKey: producer), batch.base >= offset { ended.append((number, first, marker)) }
            } else if open[producer] == nil {
                open[producer] = batch.base
            }
        }
        return ended
    }
}
