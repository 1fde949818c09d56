// One drill from the making of its topic to its removal.
import Collections
import Linking
import MartletClient
import Primitives

struct DrillRun {
    private static let patienceMilliseconds: Int64 = 60_000
    /// Around a change, for the longest gap that belongs to it.
    private static let marginNanoseconds: Int64 = 500_000_000

    let kind: DrillKind
    let sides: LinkSides
    let options: DrillOptions
    let back: DrillReturnOptions?
    private let topic: String
    private let mirror: String
    private let returnLink: String

    init(_ kind: DrillKind, _ sides: LinkSides, _ options: DrillOptions, _ back: DrillReturnOptions?) {
        self.kind = kind
        self.sides = sides
        self.options = options
        self.back = back
        let id = String(UInt32.random(in: .min ... .max), radix: 36)
        topic = "martlet-drill-\(id)"
        mirror = sides.settings.topicPrefix + topic
        returnLink = "martlet-drill-\(id)"
    }

    func run() async throws -> DrillReport {
        let isMartlet = try await sides.isSourceMartlet()
        if mirror != topic {
            throw CommandFailure("link '\(sides.link.name)' has a cluster.link.prefix, with which clients cannot go over and back")
        }
        if kind == .failback, !isMartlet {
            throw CommandFailure("failing back needs a source that is Martlet's: Kafka has no links to restore by")
        }
        if sides.settings.isPaused { throw CommandFailure("link '\(sides.link.name)' is paused; `martlet link resume \(sides.link.name)`") }
        let here = try await sides.here.describeCluster().clusterID ?? ""
        do {
            let report = try await rehearse(isMartlet: isMartlet, clusterID: here)
            await cleanUp(isMartlet)
            return report
        } catch {
            await cleanUp(isMartlet)
            throw error
        }
    }

    // MARK: The course

    private func rehearse(isMartlet: Bool, clusterID: String) async throws -> DrillReport {
        say("Making topic \(topic) at the source, and its mirror")
        try await sides.source.createTopics([NewTopic(topic, partitions: options.partitions)]).values()
        try await mirrorTopic()
        try await wait("the mirror is ACTIVE") { try await state(sides.here) == .active }
        let clients = [sides.source.cluster.configuration, sides.here.cluster.configuration]
        let lanes = (0..<options.partitions).map { TopicPartition(topic, $0) }
        let producers = DrillProducers(lanes: lanes, clients: clients, rate: options.rate, size: options.size, target: .source)
        let positions = Dictionary(uniqueKeysWithValues: lanes.map { ($0, Offset(0)) })
        let consumer = DrillConsumer(run: producers.run, clients: clients, positions: positions, side: .source)
        let startedAt = SystemClock.now()
        producers.start()
        consumer.start()
        do {
            let (steps, restored) = try await course(producers, consumer, isMartlet)
            return try await conclude(producers, consumer, steps, restored, startedAt, clusterID)
        } catch {
            await producers.stop()
            _ = await consumer.stop()
            throw error
        }
    }

    private func mirrorTopic() async throws(KafkaError) {
        do throws(KafkaError) {
            _ = try await sides.here.manageLinks(
                .createMirrors, ["link": .string(sides.link.name), "topics": .strings([topic])])
        } catch {
            // A link that mirrors new topics by itself may have been quicker.
            if error.codeName != "TOPIC_ALREADY_EXISTS" { throw error }
        }
    }

    private func course(
        _ producers: DrillProducers, _ consumer: DrillConsumer, _ isMartlet: Bool
    ) async throws -> (steps: [DrillStep], restored: Int64?) {
        try await wait("the first record is acknowledged") { producers.ledger.count > 0 }
        try await work()
        switch kind {
        case .failover:
            let step = try await failOver(producers, consumer)
            try await work()
            return ([step], nil)
        case .switchover:
            let step = try await promote(sides.here, sides.link.name, from: .source, producers, consumer, isFenced: isMartlet)
            try await work()
            return ([step], nil)
        case .failback:
            let over = try await promote(sides.here, sides.link.name, from: .source, producers, consumer, isFenced: true)
            try await work()
            let restored = try await restore()
            try await work()
            let returned = try await promote(sides.source, returnLink, from: .here, producers, consumer, isFenced: true)
            try await work()
            return ([over, returned], restored)
        }
    }

    /// Time for producers and the consumer.
    private func work() async throws {
        let end = SystemClock.monotonicMilliseconds() + Int64(options.seconds * 1000)
        while SystemClock.monotonicMilliseconds() < end {
            if Interruption.isWanted { throw CommandFailure("interrupted; what was made for the drill is removed") }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    private func failOver(_ producers: DrillProducers, _ consumer: DrillConsumer) async throws -> DrillStep {
        say("Failing over, while producers write to the source")
        let at = SystemClock.now()
        let began = SystemClock.monotonicNanoseconds()
        try await change(.failover, sides.here, sides.link.name)
        try await wait("the mirror is STOPPED") { try await state(sides.here) == .stopped }
        let writable = SystemClock.monotonicNanoseconds()
        producers.goOver(to: .here)
        consumer.goOver(to: .here)
        return try await step("fail over", .source, at, began, writable, producers)
    }

    /// Promotes by a link of the cluster that takes over.
    private func promote(
        _ admin: AdminClient, _ link: String, from: DrillSide, _ producers: DrillProducers, _ consumer: DrillConsumer, isFenced: Bool
    ) async throws -> DrillStep {
        say("Promoting \(from == .source ? "here" : "the old source")")
        let at = SystemClock.now()
        let began = SystemClock.monotonicNanoseconds()
        // A source that cannot refuse writes must be left by its producers first, as by those of a real switchover.
        if isFenced { producers.followRefusals(true) } else { producers.goOver(to: from.other) }
        try await change(.promote, admin, link)
        try await wait("the mirror is STOPPED") { try await state(admin) == .stopped }
        let writable = SystemClock.monotonicNanoseconds()
        producers.goOver(to: from.other)
        consumer.goOver(to: from.other)
        let step = try await step("promote \(from == .source ? "here" : "the old source")", from, at, began, writable, producers)
        producers.followRefusals(false)
        producers.goOver(to: from.other)
        return step
    }

    private func step(
        _ name: String, _ from: DrillSide, _ at: Timestamp, _ began: Int64, _ writable: Int64, _ producers: DrillProducers
    ) async throws -> DrillStep {
        var first: Int64?
        try await wait("a record is acknowledged by \(from.other.name)") {
            first = producers.ledger.firstWrite(on: from.other, after: began)
            return first != nil
        }
        return DrillStep(
            name: name, from: from, to: from.other, at: at, writable: writable - began, firstWrite: (first ?? writable) - began)
    }

    /// Makes the old source a mirror again; returns the nanoseconds until it has everything.
    private func restore() async throws -> Int64 {
        say("Restoring the old source by a link back")
        let settings = try (back ?? DrillReturnOptions()).settings(options.cluster)
        _ = try await sides.source.links(
            .createLink, ["name": .string(returnLink), "configuration": settings.json, "validateOnly": false])
        let began = SystemClock.monotonicNanoseconds()
        _ = try await sides.source.links(
            .createMirrors, ["link": .string(returnLink), "topics": .strings([topic]), "restore": true])
        try await wait("the old source follows") { try await state(sides.source) == .active }
        try await wait("the old source has everything") {
            let progress = try await sides.source.linkProgress().flatMap { $0["partitions"]?.arrayValue ?? [] }
            let partitions = progress.filter { $0["topic"]?.stringValue == topic }
            return partitions.count == Int(options.partitions)
                && partitions.allSatisfy { partition in
                    guard let end = partition["sourceEndOffset"]?.integerValue, end >= 0 else { return false }
                    // Producers go on: at some moment it had what was there when it was asked for.
                    return (partition["logEndOffset"]?.integerValue ?? 0) + Int64(options.rate) / 4 >= end
                }
        }
        return SystemClock.monotonicNanoseconds() - began
    }

    private func change(_ verb: MirrorVerb, _ admin: AdminClient, _ link: String) async throws {
        let answer = try await admin.links(
            .changeMirrors,
            ["link": .string(link), "verb": .string(verb.rawValue), "topics": .strings([topic]), "dryRun": false])
        if let refusal = answer["topics"]?.arrayValue?.compactMap({ $0["refusal"]?.stringValue }).first { throw CommandFailure(refusal) }
    }

    private func state(_ admin: AdminClient) async throws -> MirrorState? {
        let mirror = try await LinkView(admin).mirrors.first { $0.topic == topic }
        if let mirror, mirror.state == MirrorState.failed.rawValue { throw CommandFailure("the mirror has FAILED: \(mirror.reason)") }
        return mirror.flatMap { MirrorState(rawValue: $0.state) }
    }

    private func wait(_ what: String, _ condition: () async throws -> Bool) async throws {
        let deadline = SystemClock.monotonicMilliseconds() + Self.patienceMilliseconds
        while try await !condition() {
            if Interruption.isWanted { throw CommandFailure("interrupted; what was made for the drill is removed") }
            guard SystemClock.monotonicMilliseconds() < deadline else {
                throw CommandFailure("not within \(Self.patienceMilliseconds / 1000) s: \(what)")
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    // MARK: The end

    private func conclude(
        _ producers: DrillProducers, _ consumer: DrillConsumer, _ steps: [DrillStep], _ restored: Int64?, _ startedAt: Timestamp,
        _ clusterID: String
    ) async throws -> DrillReport {
        say("Reading everything")
        await producers.stop()
        let counts = await consumer.stop()
        let ledger = producers.ledger
        let final: DrillSide = kind == .failback ? .source : .here
        let client = (final == .source ? sides.source : sides.here).cluster.configuration
        let found = try await DrillReading.everything(of: producers.lanes, run: producers.run, client)
        let writes = ledger.writes
        let findings = DrillFindings(writes, found: found, final: final)
        var report = DrillReport(
            kind: kind.rawValue, link: sides.link.name, sourceClusterID: sides.link.sourceClusterID, clusterID: clusterID, topic: topic,
            partitions: options.partitions, rate: options.rate, recordSize: options.size, startedAt: startedAt, findings: findings)
        report.endedAt = SystemClock.now()
        let offset = SystemClock.monotonicNanoseconds() - SystemClock.now() * 1_000_000
        report.steps = steps.map { step in
            var step = step
            let began = step.at * 1_000_000 + offset
            step.gap = ledger.longestGap(from: began - Self.marginNanoseconds, to: began + step.firstWrite + Self.marginNanoseconds)
            return step
        }
        report.acknowledged = writes.count
        report.acknowledgedAtSource = writes.count { $0.side == .source }
        report.failures = ledger.failures.count
        report.consumer = counts
        report.restored = restored
        report.problems = problems(findings, consumer, counts, writes.count)
        return report
    }

    private func problems(
        _ findings: DrillFindings, _ consumer: DrillConsumer, _ counts: DrillConsumer.Counts, _ acknowledged: Int
    ) -> [String] {
        var problems: [String] = []
        if findings.missing > 0 {
            problems.append("\(findings.missing) records were acknowledged by the cluster that clients are with now, and are not there")
        }
        if kind != .failover, findings.lost > 0 {
            problems.append("\(findings.lost) acknowledged records are lost, although this was planned")
        }
        if let problem = consumer.problem, counts.records < acknowledged - findings.lost {
            problems.append("the consumer did not get everything: \(problem)")
        }
        return problems
    }

    /// Removes what was made, as far as that is possible.
    private func cleanUp(_ isMartlet: Bool) async {
        say("Removing what was made")
        if kind == .failback {
            _ = try? await sides.source.manageLinks(.deleteLink, ["name": .string(returnLink), "force": true])
        }
        // The source first: a link that mirrors new topics by itself would begin anew.
        for admin in [sides.source, sides.here] { _ = try? await admin.deleteTopics([topic]) }
        let body: JSONValue = ["topics": .strings([topic])]
        _ = try? await sides.here.manageLinks(.unfence, body)
        if isMartlet { _ = try? await sides.source.manageLinks(.unfence, body) }
    }

    private func say(_ text: String) { Terminal.complain("\(text) …") }
}
