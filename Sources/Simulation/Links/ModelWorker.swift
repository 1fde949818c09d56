// A link's worker on the coordinator: asks and records what `LinkSteps` decides, as `LinkWorker` does, with time passing and processes ending
// between any two of its steps.
import Linking
import Primitives

/// The work of one link for one term.
final class ModelWorker {
    let link: LinkDefinition
    private let coordinator: ModelCoordinator
    private var steps = LinkSteps()
    private var remembered: [String: [Offset]] = [:]
    private var nextTopics: Int64 = 0
    private var nextSurvey: Int64 = 0
    private var nextOffsets: Int64 = 0
    var isStopped = false
    private(set) var watch: ModelWatch?

    init(_ link: LinkDefinition, _ coordinator: ModelCoordinator) {
        self.link = link
        self.coordinator = coordinator
    }

    static func isPaused(_ link: LinkDefinition) -> Bool { link.configuration["cluster.link.paused"] == "true" }

    private var broker: ModelBroker { coordinator.broker }
    private var cluster: ModelCluster { broker.cluster }
    private var world: LinkWorld { broker.world }
    private var source: ModelCluster? { world.cluster(link.sourceClusterID) }
    private var mirrors: [MirrorTopic] { coordinator.core.image.mirrors(of: link.name) }

    func start() {
        later(0...30) { [self] in round() }
        later(0...30) { [self] in keepWatch() }
    }

    /// As `TransactionWatch.run`.
    private func keepWatch() {
        guard world.plan.isAtomic else { return }
        var beginning: SettlingBeginning?
        let name = link.name
        // By way of the log: nothing that an earlier coordinator recorded may be missing.
        coordinator.change {
            let found = $0.beginSettling(link: name)
            beginning = found.beginning
            return found.records
        } _: { [self] _ in
            guard coordinator.isActive, !isStopped, let beginning else { return }
            watch = ModelWatch(link, coordinator, beginning) { [self] in
                guard !isStopped else { return true }
                return !coordinator.isActive
            }
            watch?.run { [self] in
                watch = nil
                later(50...80) { [self] in keepWatch() }
            }
        }
    }

    private func later(_ range: ClosedRange<Int64>, _ action: @escaping () -> Void) {
        broker.later(range) { [self] in if coordinator.isActive, !isStopped { action() } }
    }

    private func round() {
        // A part that comes to nothing does not keep the others from being done.
        createPending { [self] in
            advancePending { [self] in
                followTopics { [self] in
                    takeFailures { [self] in
                        copyOffsets { [self] in
                            let isBusy = mirrors.contains { $0.state.isPassing }
                            later(isBusy ? 10...40 : 100...300) { [self] in round() }
                        }
                    }
                }
            }
        }
    }

    private func record(_ steps: [MirrorStep], _ done: @escaping () -> Void) {
        guard !steps.isEmpty else { return later(0...0, done) }
        let now = world.now
        later(0...3) { [self] in
            coordinator.change {
                $0.records(of: steps, now: now)
            } _: { [self] _ in
                later(0...3, done)
            }
        }
    }

    /// Asks the source and goes on with the answer, or with nil.
    private func ask<Answer>(_ work: @escaping (ModelCluster) -> Answer?, _ done: @escaping (Answer?) -> Void) {
        guard let source else { return later(1...1) { done(nil) } }
        world.ask(broker, source, { work(source) }) { [self] answer in if coordinator.isActive, !isStopped { done(answer) } }
    }

    // MARK: Creating

    private func createPending(_ done: @escaping () -> Void) {
        let pending = mirrors.filter { $0.state == .pendingMirror }
        guard !pending.isEmpty else { return done() }
        awaitFollowers(until: world.now + LinkSteps.announcementMilliseconds) { [self] isAnnounced in
            guard isAnnounced else { return done() }
            ask({ $0.linkedTopics() }) { [self] topics in
                guard let topics else { return done() }
                later(0...20) { [self] in create(pending, topics, done) }
            }
        }
    }

    private func awaitFollowers(until deadline: Int64, _ done: @escaping (Bool) -> Void) {
        if coordinator.behind(cluster.liveBrokers).isEmpty || world.mutation == .createUnannounced { return done(true) }
        guard world.now < deadline else { return done(false) }
        later(5...30) { [self] in awaitFollowers(until: deadline, done) }
    }

    private func create(_ pending: [MirrorTopic], _ topics: [String: LinkedTopic], _ done: @escaping () -> Void) {
        var created: [String: TopicID] = [:]
        var refused: [String: String] = [:]
        for mirror in pending {
            guard let topic = topics[mirror.sourceName] else {
                refused[mirror.name] = "gone"
                continue
            }
            let new = cluster.create(mirror.name, partitions: topic.partitions)
            created[mirror.name] = (new ?? cluster.topics[mirror.name])?.id
        }
        later(0...20) { [self] in record(steps.created(pending, created, refused: refused), done) }
    }

    // MARK: States

    private func advancePending(_ done: @escaping () -> Void) {
        let mirrors = mirrors
        let unfenced = steps.toFence(mirrors, now: world.now)
        guard mirrors.contains(where: { $0.state.isPassing && $0.state != .pendingMirror }) else { return done() }
        fence(unfenced) { [self] in
            let revision = coordinator.revision
            let changes = world.ledger.changes
            let isAnnounced = coordinator.behind(cluster.liveBrokers).isEmpty
            survey { [self] survey in
                let topics = cluster.linkedTopics()
                for growth in steps.growing(topics) {
                    if let topic = cluster.topics[growth.topic] { cluster.grow(topic, to: growth.partitions) }
                }
                let caughtUp = steps.drained(mirrors, topics: topics, survey)
                let drained = caughtUp.filter { step in
                    guard step.mirror.state == .pendingSynchronize else { return false }
                    return watch?.isSettled(step.mirror.name, before: steps.ends(of: step.mirror.name)) ?? !world.plan.isAtomic
                }
                record(caughtUp.filter { $0.mirror.state == .pendingStopped }) { [self] in
                    awaitTransactions(drained) { [self] drained in
                        synchronize(drained.isEmpty ? nil : survey, changes) { [self] in
                            record(drained) { [self] in
                                let settled = steps.settled(
                                    mirrors, topics: topics, survey, revision: revision,
                                    isAnnounced: isAnnounced || world.mutation == .restoreUnannounced, now: world.now)
                                record(settled, done)
                            }
                        }
                    }
                }
            }
        }
    }

    /// Mirrors have everything once all that the source has decided by now is settled.
    private func awaitTransactions(_ drained: [MirrorStep], _ done: @escaping ([MirrorStep]) -> Void) {
        guard !drained.isEmpty, world.plan.isAtomic else { return done(drained) }
        ask({ $0.transactions.ends() }) { [self] ends in
            guard let ends else { return done([]) }
            awaitSettled(ends, Set(drained.map(\.mirror.name)), until: world.now + 5_000) { done($0 ? drained : []) }
        }
    }

    private func awaitSettled(
        _ ends: [Int32: Offset], _ topics: Set<String>, until deadline: Int64, _ done: @escaping (Bool) -> Void
    ) {
        if watch?.hasSettled(before: ends, in: topics) == true { return done(true) }
        guard world.now < deadline else { return done(false) }
        later(5...40) { [self] in awaitSettled(ends, topics, until: deadline, done) }
    }

    private func fence(_ mirrors: [MirrorTopic], _ done: @escaping () -> Void) {
        guard let mirror = mirrors.first else { return done() }
        let next = { [self] in fence(Array(mirrors.dropFirst()), done) }
        let count = world.mutation == .forgetPartitions ? cluster.topics[mirror.name]?.partitions.count ?? 0 : .max
        let failed = { [self] in record(steps.fencingFailed([mirror], "no answer"), next) }
        if world.mutation == .rememberFences, let ends = remembered[mirror.name] {
            steps.fenced(mirror, ends: ends, at: world.now)
            return next()
        }
        if world.mutation == .drainBeforeFencing {
            return askEnds(mirror) { [self] ends in
                askFence(mirror) { [self] isFenced in
                    guard isFenced, let ends else { return failed() }
                    steps.fenced(mirror, ends: ends, at: world.now)
                    next()
                }
            }
        }
        askFence(mirror) { [self] isFenced in
            guard isFenced else { return failed() }
            askEnds(mirror) { [self] ends in
                guard let ends else { return failed() }
                remembered[mirror.name] = ends
                steps.fenced(mirror, ends: Array(ends.prefix(count)), at: world.now)
                next()
            }
        }
    }

    private func askEnds(_ mirror: MirrorTopic, _ done: @escaping ([Offset]?) -> Void) {
        ask({ source -> [Offset]? in
            let ends = source.topics[mirror.sourceName]?.partitions.map { source.bounds($0)?.end }
            return ends?.contains(nil) == true ? nil : ends?.compactMap { $0 }
        }) { done($0) }
    }

    private func askFence(_ mirror: MirrorTopic, _ done: @escaping (Bool) -> Void) {
        guard world.mutation != .promoteWithoutFencing, let source else { return done(true) }
        world.call(broker, source) { [name = cluster.name] answer in
            source.fence(mirror.sourceName, by: name, answer)
        } _: { [self] (answer: Bool?) in
            if coordinator.isActive, !isStopped { done(answer ?? false) }
        }
    }

    /// What all brokers that live say of their mirrors, as far as they answer.
    private func survey(_ done: @escaping (MirrorSurvey) -> Void) {
        var survey = MirrorSurvey()
        var open = cluster.liveBrokers.count
        guard open > 0 else { return later(1...1) { done(survey) } }
        for id in cluster.liveBrokers {
            guard let other = cluster.broker(id) else { continue }
            world.ask(broker, cluster) {
                other.isRunning ? other.progress() : nil
            } _: { [self] answer in
                for (name, entry) in answer ?? [:] { survey.entries[name] = entry }
                open -= 1
                if open == 0, coordinator.isActive, !isStopped { done(survey) }
            }
        }
    }

    private func takeFailures(_ done: @escaping () -> Void) {
        guard world.now >= nextSurvey, mirrors.contains(where: \.state.fetches) else { return done() }
        nextSurvey = world.now + 1_000
        let (mirrors, revision) = (mirrors, coordinator.revision)
        survey { [self] survey in record(steps.failures(mirrors, survey, revision: revision), done) }
    }

    // MARK: The source's topics

    private func followTopics(_ done: @escaping () -> Void) {
        guard !Self.isPaused(link), world.now >= nextTopics else { return done() }
        nextTopics = world.now + 500
        ask({ source in (source.linkedTopics(), source.committedImage.sourceMirrors) }) { [self] answer in
            guard let (topics, sources) = answer else { return record(steps.sourceFailed(mirrors, threshold: 3, "no answer"), done) }
            record(steps.sourceAnswered(mirrors)) { [self] in
                let verdicts = TopicVerdicts(mirrors, own: cluster.linkedTopics(), source: topics, now: world.now)
                record(verdicts.steps) { [self] in
                    for growth in verdicts.growing {
                        if let topic = cluster.topics[growth.topic] { cluster.grow(topic, to: growth.partitions) }
                    }
                    mirrorNew(topics, sources, done)
                }
            }
        }
    }

    private func mirrorNew(_ topics: [String: LinkedTopic], _ sources: [String: SourceMirror], _ done: @escaping () -> Void) {
        guard let settings = try? LinkSettings(link.configuration), settings.autoCreatesMirrors else { return done() }
        let image = coordinator.core.image
        let added = NewMirrors.found(
            topics.values.sorted { $0.name < $1.name }, link, settings, image, own: Set(cluster.topics.keys),
            sources: world.mutation == .mirrorOwnMirrors ? [:] : sources, clusterID: cluster.name, now: world.now)
        guard !added.isEmpty else { return done() }
        later(0...5) { [self] in
            coordinator.change { core throws(LinkRefusal) in
                var records: [LinkRecord] = []
                for mirror in added { records += try core.addMirror(mirror) }
                return records
            } _: { [self] _ in
                later(0...5, done)
            }
        }
    }

    // MARK: Groups

    private func copyOffsets(_ done: @escaping () -> Void) {
        guard world.now >= nextOffsets, !Self.isPaused(link), mirrors.contains(where: \.state.fetches) else { return done() }
        nextOffsets = world.now + 1_000
        let changes = world.ledger.changes
        survey { [self] survey in synchronize(survey, changes, done) }
    }

    private func synchronize(_ survey: MirrorSurvey?, _ changes: Int, _ done: @escaping () -> Void) {
        guard let survey else { return done() }
        let mirrors = mirrors.filter(\.state.fetches)
        ask({ $0.groups }) { [self] groups in
            for (group, offsets) in groups ?? [:] {
                let admitted = MirrorOffsets.admitted(offsets, mirrors, survey)
                var wanted = admitted.map { ($0.key, $0.value) }
                if world.mutation == .copyOffsetsAhead {
                    wanted = mirrors.flatMap { mirror in
                        offsets.keys.filter { $0.topic == mirror.sourceName }.map { (TopicPartition(mirror.name, $0.partition), $0) }
                    }
                }
                for (name, theirs) in wanted {
                    guard let offset = offsets[theirs] else { continue }
                    cluster.groups[group, default: [:]][name] = offset
                    if world.ledger.changes == changes { world.ledger.copied(offset, name, cluster) }
                }
            }
            later(0...3, done)
        }
    }
}

extension ModelCluster {
    /// Another cluster takes over a topic: nothing is acknowledged here any more when this answers.
    func fence(_ topic: String, by other: String, _ answer: @escaping (Bool?) -> Void) {
        guard let coordinator, coordinator.isActive, let id = topics[topic]?.id else { return answer(nil) }
        let now = world.now
        coordinator.change {
            $0.fence([topic], by: other, now: now)
        } _: { [self] _ in
            guard world.mutation != .fenceWithoutWaiting else { return answer(true) }
            awaitFence(topic, id, coordinator, until: now + LinkSteps.announcementMilliseconds, answer)
        }
    }

    private func awaitFence(
        _ topic: String, _ id: TopicID, _ coordinator: ModelCoordinator, until deadline: Int64, _ answer: @escaping (Bool?) -> Void
    ) {
        guard coordinator.isActive, world.now < deadline, topics[topic]?.id == id else { return answer(nil) }
        if coordinator.behind(liveBrokers).isEmpty {
            let isMirror = coordinator.core.image.mirrors[topic].map { !$0.state.isWritable } ?? false
            let settled = brokers.filter(\.isRunning).reduce(into: Set<TopicPartition>()) { $0.formUnion($1.settled()) }
            let isSettled = topics[topic]?.partitions.allSatisfy { settled.contains($0.name) } ?? false
            if isMirror || isSettled || world.mutation == .fenceUnsettled {
                if !isMirror { world.ledger.fenced(self, topic) }
                return answer(true)
            }
        }
        world.after(10...40) { [self] in awaitFence(topic, id, coordinator, until: deadline, answer) }
    }
}
