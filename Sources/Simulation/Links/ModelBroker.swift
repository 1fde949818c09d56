// One broker of a cluster with links: its replicas, the image of links that it goes by, and what it does about that, step by step as
// `LinkServices` does.
import Linking
import Primitives

/// How far a mirror partition is, as its leader's board has it.
struct ModelProgress {
    var sourceEnd: Offset = -1
    var failure: String?
    private var logEnd: Offset = 0
    private var caughtUpAt: Int64?
    private var sourceEnds: [(askedAt: Int64, end: Offset)] = []

    init() {}

    /// As `MirrorProgress.noteSourceEnd`.
    mutating func note(sourceEnd end: Offset, logEnd: Offset, committed: Offset, askedAt: Int64) {
        (sourceEnd, self.logEnd) = (end, logEnd)
        if logEnd >= end { caughtUpAt = askedAt }
        while sourceEnds.count > 1, sourceEnds[1].end <= committed { sourceEnds.removeFirst() }
        if sourceEnds.count >= 64 { sourceEnds.remove(at: 1) }
        sourceEnds.append((askedAt, end))
    }

    /// As `MirrorProgress.noteBreak`.
    mutating func noteBreak() {
        sourceEnds = []
        caughtUpAt = nil
        sourceEnd = -1
    }

    /// As `MirrorProgress.coveredAt`.
    func coveredAt(_ committed: Offset) -> Int64? {
        let known = sourceEnds.last { $0.end <= committed }?.askedAt
        guard logEnd <= committed, let caughtUpAt else { return known }
        return max(known ?? .min, caughtUpAt)
    }
}

extension ModelBroker {
    /// As `MirrorBoard.noteBreak`.
    func noteBreak(_ partition: TopicPartition) {
        breaks[partition, default: (0, .min)].count += 1
        breaks[partition]?.at = world.now
        board[partition]?.noteBreak()
    }
}

/// A broker.
final class ModelBroker {
    let id: NodeID
    unowned let cluster: ModelCluster
    private(set) var isRunning = false
    private(set) var incarnation = 0
    /// Its session is over, or it has not registered.
    var isFenced = true
    /// Hears nothing of links.
    var isDeaf = false
    private(set) var publication: (revision: Offset, image: LinkImage)?
    private var askedAt: Int64 = .min
    private var leading: [TopicPartition: (epoch: LeaderEpoch, since: Int64)] = [:]
    private(set) var runs: [TopicPartition: MirrorRun] = [:]
    var board: [TopicPartition: ModelProgress] = [:]
    fileprivate(set) var breaks: [TopicPartition: (count: Int, at: Int64)] = [:]
    private var isReconciling = false
    /// What the coordinator says of the mirrors of links, by link.
    var settledMirrors: [String: ModelSettledMirrors] = [:]
    /// Mirrors that are being ended here, and those that are.
    var ending: Set<TopicPartition> = []
    var ended: Set<TopicPartition> = []

    init(_ id: NodeID, _ cluster: ModelCluster) {
        self.id = id
        self.cluster = cluster
    }

    var world: LinkWorld { cluster.world }
    var name: String { "\(cluster.name)\(id)" }

    func note(_ text: @autoclosure () -> String) { world.note(name, text()) }

    // MARK: Life

    func start() {
        guard !isRunning else { return }
        isRunning = true
        incarnation += 1
        publication = nil
        askedAt = .min
        leading = [:]
        (settledMirrors, ending, ended) = ([:], [], [])
        for partition in cluster.partitions { place(partition) }
        note("starts")
        cluster.returned(self)
        follow()
        tick()
    }

    func crash() {
        guard isRunning else { return }
        isRunning = false
        incarnation += 1
        for run in runs.values { run.isStopped = true }
        runs = [:]
        board = [:]
        breaks = [:]
        isReconciling = false
        note("crashes")
        cluster.crashed(self)
    }

    /// Runs later unless the process ends before.
    func later(_ range: ClosedRange<Int64>, _ action: @escaping () -> Void) {
        let incarnation = incarnation
        world.after(range) { [self] in if isRunning, self.incarnation == incarnation { action() } }
    }

    // MARK: Replicas

    func place(_ partition: ModelPartition) {
        guard let replica = partition.replicas[id] else { return }
        replica.access = publication?.image.access(toTopic: partition.name.topic, id: partition.topicID) ?? .undecided
        replica.show(replica.access == .open || replica.access == .fenced ? .none : .unknown)
    }

    private func tick() {
        for partition in cluster.partitions where partition.placed.contains(id) {
            if partition.leader == id { lead(partition) } else { fetch(partition) }
        }
        later(5...world.plan.fetchInterval) { [self] in tick() }
    }

    /// Moves the high watermark as far as everybody in sync is.
    func lead(_ partition: ModelPartition) {
        guard let replica = partition.leading else { return }
        let ends = partition.inSync.map { $0 == id ? replica.log.end : replica.followers[$0] ?? -1 }
        let committed = ends.min() ?? -1
        guard committed > replica.highWatermark else { return }
        replica.highWatermark = committed
        world.ledger.committed(partition, by: replica)
        followSourceStart(partition, replica)
    }

    private func fetch(_ partition: ModelPartition) {
        guard let own = partition.replicas[id], let leader = partition.leading, let broker = cluster.broker(partition.leader),
            broker.isRunning
        else { return }
        while true {
            let last = own.log.lastEpoch
            guard last >= 0, !own.log.isEmpty else { break }
            let (epoch, end) = leader.log.endOfEpoch(last)
            guard epoch < last || end < own.log.end else { break }
            let target = min(end, own.log.endOfEpoch(epoch).end)
            guard target < own.log.end else { break }
            own.truncate(to: max(target, own.log.start))
            own.highWatermark = min(own.highWatermark, own.log.end)
        }
        if own.log.end < leader.log.start || own.log.end > leader.log.end { own.log.restart(at: leader.log.start) }
        leader.followers[id] = own.log.end
        broker.lead(partition)
        let batches = leader.log.batches(from: own.log.end, to: .max, count: 5)
        // An empty log begins where the leader's first batch does, though that is before what was let go of.
        if own.log.isEmpty, let first = batches.first, first.base < own.log.end { own.log.restart(at: first.base) }
        for batch in batches where batch.base >= own.log.end { own.log.append(batch) }
        if leader.log.end > own.log.end, leader.log.batches(from: own.log.end, to: .max, count: 1).isEmpty {
            own.log.restart(at: leader.log.end)
        }
        own.highWatermark = min(max(own.highWatermark, leader.highWatermark), own.log.end)
        own.log.delete(before: min(leader.log.start, own.log.end))
        if !partition.inSync.contains(id), own.log.end >= leader.log.end, leader.followers[id] == own.log.end {
            partition.inSync.append(id)
        }
    }

    /// Lets go of what a mirror's source has let go of, as far as that is committed.
    func followSourceStart(_ partition: ModelPartition, _ replica: ModelReplica) {
        guard replica.access == .mirror else { return }
        replica.log.delete(before: min(replica.sourceStart, replica.highWatermark))
        partition.committed.delete(before: replica.log.start)
    }

    // MARK: The image of links

    private func follow() {
        later(20...400) { [self] in
            askForImage(publication?.revision ?? -1) { [self] in follow() }
        }
    }

    private func askForImage(_ revision: Offset, _ done: @escaping () -> Void) {
        let asked = world.now
        if isDeaf { return later(100...600, done) }
        world.ask(self, cluster) { [self] () -> (revision: Offset, image: LinkImage)? in
            guard let coordinator = cluster.coordinator, coordinator.isActive else { return nil }
            if revision >= 0 { coordinator.acknowledged[id] = revision }
            return coordinator.publication
        } _: { [self] answer in
            if let answer { publish(answer, asked) }
            done()
        }
    }

    private func publish(_ news: (revision: Offset, image: LinkImage), _ asked: Int64) {
        if let publication, news.revision < publication.revision { return }
        askedAt = max(askedAt, asked)
        publication = news
        reconcile()
    }

    func metadataChanged() {
        guard isRunning else { return }
        later(0...60) { [self] in reconcile() }
    }

    private func reconcile() {
        guard let image = publication?.image else { return }
        var wanted: Set<TopicPartition> = []
        var mustAsk = false
        for topic in cluster.sortedTopics {
            let access = image.access(toTopic: topic.name, id: topic.id)
            let mirror = image.mirrors[topic.name]
            for partition in topic.partitions {
                guard let replica = partition.replicas[id] else { continue }
                replica.access = access == .ending && world.mutation == .appendWhileEnding ? .mirror : access
                let isMirror = replica.access == .mirror || replica.access == .ending
                replica.show(isMirror ? limit(of: partition.name, mirror.flatMap { image.links[$0.link] }) : .none)
                guard leads(partition), let mirror, access == .mirror || access == .ending else { continue }
                guard isUpToDate(partition) else {
                    mustAsk = true
                    continue
                }
                if mirror.state == .stopping { endOpenTransactions(partition, mirror) }
                if mirror.state == .stopping, world.mutation == .appendWhileEnding { wanted.insert(partition.name) }
                guard mirror.state.fetches, let link = image.links[mirror.link], !ModelWorker.isPaused(link) else { continue }
                wanted.insert(partition.name)
                begin(partition, mirror, link)
            }
        }
        for (name, run) in runs.sorted(by: { $0.key < $1.key }) where !wanted.contains(name) {
            runs[name] = nil
            // On the fetcher's own thread, a moment later.
            later(0...60) { run.isStopped = true }
        }
        board = board.filter { wanted.contains($0.key) }
        ended = ended.filter { image.mirrors[$0.topic]?.state == .stopping }
        settledMirrors = settledMirrors.filter { image.links[$0.key] != nil }
        if mustAsk { askForImage(-1) {} }
    }

    /// Looks again at what is to be done.
    func reconcileLater(_ range: ClosedRange<Int64>) { later(range) { [self] in reconcile() } }

    private func leads(_ partition: ModelPartition) -> Bool {
        guard partition.leader == id else {
            leading[partition.name] = nil
            return false
        }
        if leading[partition.name]?.epoch != partition.epoch { leading[partition.name] = (partition.epoch, world.now) }
        return true
    }

    private func isUpToDate(_ partition: ModelPartition) -> Bool {
        if world.mutation == .leadByOlderImages { return true }
        guard let leading = leading[partition.name] else { return false }
        return askedAt >= leading.since
    }

    private func begin(_ partition: ModelPartition, _ mirror: MirrorTopic, _ link: LinkDefinition) {
        if let run = runs[partition.name] {
            if run.session.leaderEpoch == partition.epoch, run.mirror.sourceID == mirror.sourceID, run.link == link,
                run.partition === partition
            {
                return
            }
            run.isStopped = true
        }
        guard let run = MirrorRun(self, partition, mirror, link) else { return }
        runs[partition.name] = run
        // As `MirrorBoard.forgetSource`.
        board[partition.name] = board[partition.name] ?? ModelProgress()
        board[partition.name]?.noteBreak()
        run.lookUp()
    }

    /// Fetches nothing more of a mirror.
    func stop(_ name: TopicPartition) {
        runs[name]?.isStopped = true
        runs[name] = nil
        board[name] = nil
    }

    func forget(_ run: MirrorRun) {
        run.isStopped = true
        if runs[run.partition.name] === run { runs[run.partition.name] = nil }
    }

    // MARK: Progress

    /// What the coordinator is told when it asks.
    func progress() -> [TopicPartition: MirrorSurvey.Entry] {
        var entries: [TopicPartition: MirrorSurvey.Entry] = [:]
        for mirror in publication?.image.mirrors.values.map({ $0 }) ?? [] where mirror.state != .stopped {
            for partition in cluster.topics[mirror.name]?.partitions ?? [] where partition.leader == id {
                guard let replica = partition.leading else { continue }
                let entry = board[partition.name]
                let isClosed = replica.access == .ending || world.mutation == .appendWhileEnding
                let isDone = ended.contains(partition.name) && replica.log.openTransactions.isEmpty
                let hasNothingOpen = isDone || world.mutation == .stopWithoutAborting
                entries[partition.name] = MirrorSurvey.Entry(
                    logEndOffset: replica.log.end,
                    highWatermark: world.mutation == .drainUncommitted ? replica.log.end : replica.highWatermark,
                    sourceEndOffset: entry?.sourceEnd ?? -1,
                    isEnded: isClosed && replica.highWatermark >= replica.log.end && hasNothingOpen, failure: entry?.failure,
                    revision: publication?.revision ?? -1)
            }
        }
        return entries
    }

    /// Partitions of fenced topics in which nothing more is going to be committed.
    func settled() -> Set<TopicPartition> {
        Set(
            cluster.partitions.filter { partition in
                guard partition.leader == id, let replica = partition.leading else { return false }
                return replica.access == .fenced && replica.highWatermark >= replica.log.end
            }.map(\.name))
    }
}
