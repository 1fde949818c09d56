// A drill on real topics: the steps of a change of clusters, one after the other for all topics, with what clients see of them measured. Every step
// is one that the clusters carry out and record themselves; one that has been taken already is passed over, so a drill that was broken off goes on
// when it is said again.
import Linking
import MartletClient
import NIOCore
import Primitives
import RecordBatches

struct RealDrillRun {
    /// Marks the drill's own records.
    static let header = "martlet-drill"
    /// Before the first step at most: producers that write at all do so within it.
    private static let maximumLookSeconds = 10.0
    /// Around a change, for the longest gap of the drill's own records that belongs to it.
    private static let marginNanoseconds: Int64 = 500_000_000

    let plan: RealDrillPlan
    let sides: LinkSides
    let options: DrillOptions
    let back: DrillReturnOptions?
    let observer: DrillObserver
    let producers: DrillProducers?
    let consumer: DrillConsumer?
    private let starts: [TopicPartition: Offset]

    init(_ plan: RealDrillPlan, _ sides: LinkSides, _ options: DrillOptions, _ back: DrillReturnOptions?) async throws {
        self.plan = plan
        self.sides = sides
        self.options = options
        self.back = back
        let clients = [sides.source.cluster.configuration, sides.here.cluster.configuration]
        observer = DrillObserver(plan.partitions, clients: clients)
        guard options.real.probe else {
            (producers, consumer, starts) = (nil, nil, [:])
            return
        }
        // Where the mirror is now both have the same, so what the drill writes lies behind it on both sides.
        let queries = plan.partitions.map { (partition: $0, query: OffsetQuery.latest) }
        let follower = plan.begin == .source ? sides.here : sides.source
        var starts: [TopicPartition: Offset] = [:]
        for (partition, listed) in try await follower.cluster.offsets(queries) { starts[partition] = listed.offset }
        let made = DrillProducers(
            lanes: plan.partitions, clients: clients, rate: options.rate, size: options.size, target: plan.begin,
            headers: RecordHeaders([RecordHeader(Self.header, sides.link.name)]))
        self.starts = starts
        producers = made
        consumer = DrillConsumer(run: made.run, clients: clients, positions: starts, side: plan.begin)
    }

    func run() async throws -> RealDrillReport {
        var report = RealDrillReport(
            kind: plan.kind, link: sides.link.name, sourceClusterID: sides.link.sourceClusterID,
            clusterID: try await sides.here.describeCluster().clusterID ?? "", startedAt: SystemClock.now())
        observer.start()
        producers?.start()
        consumer?.start()
        do {
            try await look()
            for stage in plan.stages { try await take(stage, &report) }
        } catch {
            report.problems.append("\(error)")
        }
        await conclude(&report)
        return report
    }

    /// Sees who writes before anything is changed.
    private func look() async throws {
        try await wait("both clusters have been looked at") { observer.hasBegun }
        if let producers { try await wait("the first record of the drill is acknowledged") { producers.ledger.count > 0 } }
        let end = SystemClock.monotonicMilliseconds() + Int64(min(options.seconds, Self.maximumLookSeconds) * 1000)
        while SystemClock.monotonicMilliseconds() < end {
            if Interruption.isWanted { throw CommandFailure("interrupted before anything was changed") }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    // MARK: Steps

    private func take(_ stage: DrillStage, _ report: inout RealDrillReport) async throws {
        if Interruption.isWanted { throw CommandFailure("interrupted before the step '\(stage.rawValue)'") }
        let topics = plan.topics(of: stage)
        say("\(stage.rawValue): \(topics.count) topic\(topics.count == 1 ? "" : "s")")
        let shared = try await stableOffsets(stage, topics)
        let at = SystemClock.now()
        let began = SystemClock.monotonicNanoseconds()
        if stage.writesGo != nil, plan.isSourceMartlet { producers?.followRefusals(true) }
        if let side = stage.writesGo, !plan.isSourceMartlet { producers?.goOver(to: side) }
        try await perform(stage, topics)
        let done = SystemClock.monotonicNanoseconds()
        var step = RealDrillStep(stage: stage, topics: topics.count, at: at, duration: done - began)
        if let side = stage.writesGo {
            producers?.goOver(to: side)
            consumer?.goOver(to: side)
            step.change = try await observe(to: side, topics, from: shared, began: began, done: done)
            producers?.followRefusals(false)
            producers?.goOver(to: side)
        }
        report.steps.append(step)
    }

    /// Up to where the side that takes over keeps what it has: a failover cuts transactions that are not whole, which are not stable.
    private func stableOffsets(_ stage: DrillStage, _ topics: [String]) async throws -> [TopicPartition: Offset] {
        guard let side = stage.writesGo else { return [:] }
        let partitions = plan.partitions.filter { topics.contains($0.topic) }
        let queries = partitions.map { (partition: $0, query: OffsetQuery.latest) }
        return try await observer.cluster(side).offsets(queries, isolation: .readCommitted).mapValues(\.offset)
    }

    private func perform(_ stage: DrillStage, _ topics: [String]) async throws {
        switch stage {
        case .promote:
            try await change(.promote, sides.here, sides.link.name, topics)
            try await wait(for: .stopped, of: topics) { $0.here }
        case .fenceSource: try await fenceSource(topics)
        case .failOver:
            do {
                try await change(.failover, sides.here, sides.link.name, topics)
            } catch {
                await reopen(topics)
                throw error
            }
            try await wait(for: .stopped, of: topics) { $0.here }
        case .restoreSource:
            let link = try await linkBack()
            let standings = try await sides.standings(topics, isSourceMartlet: true)
            // Those that follow already are not told again.
            let left = standings.filter { $0.source == nil || $0.source == .stopped }.map(\.topic)
            if !left.isEmpty {
                _ = try await sides.source.links(.createMirrors, ["link": .string(link), "topics": .strings(left), "restore": true])
            }
            try await wait(for: .active, of: topics) { $0.source }
            try await waitCaughtUp(sides.source, topics)
        case .promoteSource:
            let mirrors = try await LinkView(sides.source).mirrors.filter { topics.contains($0.topic) }
            for (link, group) in Dictionary(grouping: mirrors, by: \.link) {
                try await change(.promote, sides.source, link, group.map(\.topic))
            }
            try await wait(for: .stopped, of: topics) { $0.source }
        case .restoreHere:
            let standings = try await sides.standings(topics, isSourceMartlet: true)
            let left = standings.filter { $0.here == .stopped }.map(\.topic)
            if !left.isEmpty {
                _ = try await sides.here.links(
                    .createMirrors, ["link": .string(sides.link.name), "topics": .strings(left), "restore": true])
            }
            try await wait(for: .active, of: topics) { $0.here }
            try await waitCaughtUp(sides.here, topics)
            // Without --force: it stays where something else is mirrored over it.
            _ = try? await sides.source.manageLinks(.deleteLink, ["name": .string(Self.linkBack(of: sides.link.name)), "force": false])
        }
    }

    private func change(_ verb: MirrorVerb, _ admin: AdminClient, _ link: String, _ topics: [String]) async throws {
        func ask(isDry: Bool) async throws {
            let answer = try await admin.links(
                .changeMirrors,
                ["link": .string(link), "verb": .string(verb.rawValue), "topics": .strings(topics), "dryRun": .bool(isDry)])
            for change in answer["topics"]?.arrayValue ?? [] {
                guard let refusal = change["refusal"]?.stringValue else { continue }
                throw CommandFailure("'\(change["topic"]?.stringValue ?? "")' cannot be changed, so none was: \(refusal)")
            }
        }
        // All topics or none.
        try await ask(isDry: true)
        try await ask(isDry: false)
    }

    /// The source refuses writes, as if it were gone: whatever it had acknowledged before can still be fetched, and no writes go on to be taken
    /// by a cluster that has been left.
    private func fenceSource(_ topics: [String]) async throws {
        do {
            _ = try await sides.source.links(
                .fence, ["topics": .strings(topics), "by": .string("a drill of a failover over link '\(sides.link.name)'")])
        } catch {
            await reopen(topics)
            throw error
        }
    }

    /// Lets the source take writes again where the mirror has not taken over.
    private func reopen(_ topics: [String]) async {
        guard let standings = try? await sides.standings(topics, isSourceMartlet: true) else { return }
        let open = standings.filter { $0.here == .active && $0.isFencedAtSource }.map(\.topic)
        guard !open.isEmpty else { return }
        say("Nothing has taken over \(open.joined(separator: ", ")): letting the source take writes again")
        _ = try? await sides.source.manageLinks(.unfence, ["topics": .strings(open)])
    }

    // MARK: The link back

    static func linkBack(of link: String) -> String { "martlet-drill-return-\(link)" }

    /// A link from the old source to this cluster: one that is there already, or a new one.
    private func linkBack() async throws -> String {
        let own = try await sides.here.describeCluster().clusterID ?? ""
        let view = try await LinkView(sides.source)
        let fitting = view.links.filter { link in
            link.sourceClusterID == own && link.configuration["link.mode"] != LinkMode.source.rawValue
                && (link.configuration["cluster.link.prefix"] ?? "").isEmpty && !link.isPaused
        }
        if let found = fitting.first(where: { $0.name == sides.link.name }) ?? fitting.first { return found.name }
        let name = Self.linkBack(of: sides.link.name)
        let settings = try (back ?? DrillReturnOptions()).settings(options.cluster)
        _ = try await sides.source.links(.createLink, ["name": .string(name), "configuration": settings.json, "validateOnly": false])
        return name
    }

    // MARK: Waiting

    private func wait(
        for state: MirrorState, of topics: [String], _ side: @escaping (DrillStanding) -> MirrorState?
    ) async throws {
        var last: [DrillStanding] = []
        do {
            try await wait("all mirrors are \(state.rawValue)") {
                last = try await sides.standings(topics, isSourceMartlet: plan.isSourceMartlet)
                if let failed = last.first(where: { side($0) == .failed }) {
                    throw CommandFailure("the mirror '\(failed.topic)' has FAILED: \(failed.reason)")
                }
                return last.allSatisfy { side($0) == state }
            }
        } catch {
            guard let late = last.first(where: { side($0) != state }) else { throw error }
            let reason = late.reason.isEmpty ? "" : " (\(late.reason))"
            throw CommandFailure(
                "\(error); '\(late.topic)' is \(side(late)?.rawValue ?? "no mirror")\(reason). The clusters go on by themselves; "
                    + "say the drill again to go on with what comes then")
        }
    }

    /// Waits until mirrors have what their sources had when they were asked.
    private func waitCaughtUp(_ admin: AdminClient, _ topics: [String]) async throws {
        let source = admin === sides.here ? sides.source : sides.here
        let partitions = plan.partitions.filter { topics.contains($0.topic) }
        let queries = partitions.map { (partition: $0, query: OffsetQuery.latest) }
        let wanted = try await source.cluster.offsets(queries)
        try await wait("the mirrors have everything") {
            let found = try await admin.cluster.offsets(queries)
            return partitions.allSatisfy { (found[$0]?.offset ?? -1) >= (wanted[$0]?.offset ?? 0) }
        }
    }

    private func wait(_ what: String, _ condition: () async throws -> Bool) async throws {
        let seconds = max(60, options.cluster.timeout)
        let deadline = SystemClock.monotonicMilliseconds() + Int64(seconds * 1000)
        while try await !condition() {
            if Interruption.isWanted { throw CommandFailure("interrupted while waiting until \(what)") }
            guard SystemClock.monotonicMilliseconds() < deadline else { throw CommandFailure("not within \(Int(seconds)) s: \(what)") }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    // MARK: Measuring

    /// Waits for writers to come over, and says what the change cost.
    ///
    /// - Parameter shared: offsets before which both sides have the same.
    private func observe(
        to side: DrillSide, _ topics: [String], from shared: [TopicPartition: Offset], began: Int64, done: Int64
    ) async throws -> DrillChange {
        let partitions = plan.partitions.filter { topics.contains($0.topic) }
        let written = partitions.filter { observer.timeline($0, side.other).lastGrowth(until: done) != nil }
        say("Waiting for writers to come over to \(side.name), \(options.seconds) s at most")
        let deadline = SystemClock.monotonicMilliseconds() + Int64(options.seconds * 1000)
        while SystemClock.monotonicMilliseconds() < deadline, !Interruption.isWanted {
            let isOver = written.allSatisfy { partition in
                let timeline = observer.timeline(partition, side)
                return timeline.end ?? 0 > timeline.end(at: done) ?? 0
            }
            if isOver { break }
            try await Task.sleep(for: .milliseconds(20))
        }
        var change = DrillChange(from: side.other, writtenBefore: written.count)
        for partition in partitions {
            let (old, new) = (observer.timeline(partition, side.other), observer.timeline(partition, side))
            change.exposure += max(0, (old.end(at: began) ?? 0) - (new.end(at: began) ?? 0))
            let parting = try await DrillParting.find(
                partition, left: observer.cluster(side.other), right: observer.cluster(side), from: shared[partition] ?? 0)
            change.lost += parting.lost
            change.lostMilliseconds = max(change.lostMilliseconds, parting.lostMilliseconds)
            guard let first = parting.firstNew.flatMap({ new.firstBeyond($0) }) else { continue }
            change.firstWrite = min(change.firstWrite ?? .max, max(0, first - began))
            guard let last = old.lastGrowth(until: done) else { continue }
            change.writtenAfter += 1
            change.recoveryTime = max(change.recoveryTime ?? 0, first - last)
        }
        if let ledger = producers?.ledger {
            let end = (ledger.firstWrite(on: side, after: began) ?? done) + Self.marginNanoseconds
            change.probeGap = ledger.longestGap(from: began - Self.marginNanoseconds, to: end)
        }
        return change
    }

    // MARK: The end

    private func conclude(_ report: inout RealDrillReport) async {
        if let producers, let consumer { await conclude(producers, consumer, &report) }
        await observer.stop()
        let after = try? await sides.standings(plan.items.map(\.standing.topic), isSourceMartlet: plan.isSourceMartlet)
        for (index, item) in plan.items.enumerated() {
            report.topics.append(
                RealDrillTopic(partitions: item.partitions.count, before: item.standing, after: after?[index] ?? item.standing))
        }
        report.endedAt = SystemClock.now()
        judge(&report, isLookedUp: after != nil)
    }

    private func conclude(_ producers: DrillProducers, _ consumer: DrillConsumer, _ report: inout RealDrillReport) async {
        await producers.stop()
        let counts = await consumer.stop()
        let changed = report.steps.compactMap { $0.stage.writesGo }.last
        let final = changed ?? plan.begin
        let client = (final == .source ? sides.source : sides.here).cluster.configuration
        do {
            let found = try await DrillReading.everything(of: producers.lanes, run: producers.run, starts: starts, client)
            let writes = producers.ledger.writes
            let findings = DrillFindings(writes, found: found, final: final)
            report.probe = DrillProbe(
                rate: options.rate, recordSize: options.size, acknowledged: writes.count, failures: producers.ledger.failures.count,
                findings: findings, consumer: counts)
            if findings.missing > 0 {
                report.problems.append(
                    "\(findings.missing) of the drill's records were acknowledged by the cluster that clients are with now, and are not there"
                )
            }
        } catch {
            report.problems.append("what the drill wrote could not be read again: \(error)")
        }
    }

    private func judge(_ report: inout RealDrillReport, isLookedUp: Bool) {
        let lost = report.steps.compactMap(\.change).reduce(0) { $0 + $1.lost }
        if lost > 0, plan.kind != .failover {
            report.problems.append("\(lost) acknowledged records are lost, although this was planned")
        }
        if !isLookedUp { report.problems.append("how the topics stand in the end could not be found out; `martlet link mirrors` shows it") }
        for topic in report.topics.map(\.after) where topic.writable.count != 1 && isLookedUp {
            let remedy =
                topic.writable.isEmpty
                ? "say the drill again to go on, or `martlet link unfence \(topic.topic)` at the source to stay there"
                : "stop producers of the side that was left, or what they write is lost"
            report.problems.append("'\(topic.topic)' takes writes at \(RealDrillReport.writers(topic)): \(remedy)")
        }
        let command = "martlet drill failback --link \(sides.link.name) --topics \(options.real.topics ?? "") --for-real"
        if plan.kind != .failback, report.isPassed, plan.isSourceMartlet { report.advice = "`\(command)` leads back." }
    }

    private func say(_ text: String) { Terminal.complain("\(text) …") }
}
