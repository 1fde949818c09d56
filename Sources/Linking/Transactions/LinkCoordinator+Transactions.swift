// Which transactions of a source may be shown as committed. Decided where verbs are: what is settled before a fail-over is recorded is
// shown by all mirrors, everything else by none.
import Collections
import Primitives

extension LinkCoordinator {
    /// Records a step, if all mirrors that it changes fetch still.
    ///
    /// - Returns: nil when they do not: what a mirror that stops is settled to is not to be changed any more.
    public func settle(_ step: SettlingStep, link: String) -> [LinkRecord]? {
        guard image.links[link] != nil else { return nil }
        let known = transactions[link] ?? SettledTransactions()
        var changed: OrderedSet<String> = []
        var mirrors = known.mirrors
        for (partition, settled) in step.mirrors.sorted(by: { $0.key < $1.key }) {
            if partition.topic == OffsetsLog.topic {
                mirrors[partition] = settled
                changed.append(partition.topic)
                continue
            }
            guard let mirror = image.mirrors[partition.topic], mirror.link == link, mirror.state != .stopping else { return nil }
            // What has been settled once stays so: a mirror that stops is left as it is.
            guard mirror.state.fetches || settled == nil else { return nil }
            mirrors[partition] = settled
            changed.append(partition.topic)
        }
        var records = changed.map { topic in LinkRecord.settledMirror(link, topic, Self.offsets(of: topic, mirrors)) }
        if known.decisions != step.decisions { records.append(.settledDecisions(link, step.decisions)) }
        var offsets = known.groupOffsets.subtracting(step.givenOffsets)
        // A mirror that stops gets no more than what was settled before.
        offsets.merge(step.groupOffsets.mapValues { $0.filter { isFollowed($0.key.topic, by: link) } })
        return records + groupOffsets(of: link, become: offsets)
    }

    private func isFollowed(_ topic: String, by link: String) -> Bool {
        image.mirrors[topic].map { $0.link == link && $0.state.fetches } ?? false
    }

    /// The records by which what groups do not have yet becomes something else.
    private func groupOffsets(of link: String, become offsets: GroupOffsets) -> [LinkRecord] {
        let known = transactions[link]?.groupOffsets ?? [:]
        return Set(known.keys).union(offsets.keys).sorted().compactMap { group in
            let (former, new) = (known[group] ?? [:], offsets[group] ?? [:])
            if former == new { return nil }
            return new.isEmpty ? .settledOffsetsRemoved(link, group) : .settledOffsets(link, group, new)
        }
    }

    /// Lets go of what groups were to get in mirror topics, which are writable now, or none any more.
    func forgetGroupOffsets(link: String, topics: Set<String>) -> [LinkRecord] {
        guard let known = transactions[link]?.groupOffsets, !topics.isEmpty else { return [] }
        return groupOffsets(of: link, become: known.mapValues { $0.filter { !topics.contains($0.key.topic) } })
    }

    /// How a watch over a link's transactions begins.
    public func beginSettling(link: String) -> (beginning: SettlingBeginning, records: [LinkRecord]) {
        let records = forgetStoppedMirrors(link: link)
        var after = self
        for record in records { after.replay(record) }
        let known = after.transactions[link] ?? SettledTransactions()
        var recorded = known
        recorded.mirrors = known.mirrors.filter { $0.key.topic == OffsetsLog.topic || isFollowed($0.key.topic, by: link) }
        return (SettlingBeginning(recorded: recorded, news: MirrorNews(known.mirrors)), records)
    }

    /// Lets go of what is recorded of mirrors that are none any more, or that the others do not wait for. One that stops still needs it.
    func forgetStoppedMirrors(link: String) -> [LinkRecord] {
        let known = transactions[link] ?? SettledTransactions()
        let free = Set(known.mirrors.keys.map(\.topic)).filter { topic in
            topic != OffsetsLog.topic
                && image.mirrors[topic].map { $0.link != link || !$0.state.fetches && $0.state != .stopping } ?? true
        }
        let stopped = Set(known.groupOffsets.values.joined().map(\.key.topic)).filter { topic in
            image.mirrors[topic].map { $0.link != link || $0.state == .stopped } ?? true
        }
        return free.sorted().map { .settledMirrorRemoved(link, $0) } + forgetGroupOffsets(link: link, topics: stopped)
    }

    /// What a topic was settled to counts in its life as a mirror and not in the next: it is written to and cut between them.
    func forgetSettled(_ topic: String) -> [LinkRecord] {
        transactions.filter { $0.value.mirrors.keys.contains { $0.topic == topic } }.keys.sorted().map { .settledMirrorRemoved($0, topic) }
    }

    private static func offsets(of topic: String, _ mirrors: [TopicPartition: SettledMirror]) -> [SettledMirror?] {
        var offsets: [SettledMirror?] = []
        for (partition, settled) in mirrors where partition.topic == topic && partition.partition >= 0 {
            while offsets.count <= partition.partition { offsets.append(nil) }
            offsets[Int(partition.partition)] = settled
        }
        return offsets
    }

    /// What goes with a link.
    func forgetTransactions(of link: String) -> [LinkRecord] {
        guard let known = transactions[link] else { return [] }
        let topics = Set(known.mirrors.keys.map(\.topic)).sorted()
        return topics.map { .settledMirrorRemoved(link, $0) } + groupOffsets(of: link, become: [:]) + [.settledDecisionsRemoved(link)]
    }

    mutating func replayTransactions(_ record: LinkRecord) {
        switch record {
        case .settledMirror(let link, let topic, let offsets):
            forget(topic, of: link)
            for (partition, settled) in offsets.enumerated() {
                transactions[link, default: SettledTransactions()].mirrors[TopicPartition(topic, Int32(partition))] = settled
            }
        case .settledMirrorRemoved(let link, let topic): forget(topic, of: link)
        case .settledDecisions(let link, let decisions): transactions[link, default: SettledTransactions()].decisions = decisions
        case .settledDecisionsRemoved(let link): transactions[link] = nil
        case .settledOffsets(let link, let group, let offsets):
            transactions[link, default: SettledTransactions()].groupOffsets[group] = offsets
        case .settledOffsetsRemoved(let link, let group): transactions[link]?.groupOffsets[group] = nil
        case .link, .linkRemoved, .mirror, .mirrorRemoved, .fence, .fenceRemoved, .synchronized, .synchronizedRemoved, .synchronous,
            .synchronousRemoved:
            break
        case .synchronization, .synchronizationRemoved: break
        }
    }

    private mutating func forget(_ topic: String, of link: String) {
        guard let mirrors = transactions[link]?.mirrors, mirrors.keys.contains(where: { $0.topic == topic }) else { return }
        transactions[link]?.mirrors = mirrors.filter { $0.key.topic != topic }
    }
}
