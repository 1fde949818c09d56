// Random histories by seed: brokers come, die and stop, leaders change their ISR, operators move partitions, controllers fail over. What
// must always be true is checked after every step (`Invariants`).
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives
import Testing

@testable import Controlling

@Suite("Controlling: random histories")
struct PropertyTests {
    struct Setting: Sendable, CustomTestStringConvertible {
        var version: MetadataVersion
        var eligible: Int16
        var testDescription: String { "\(version), eligible leader replicas \(eligible)" }
    }

    static let settings = [
        Setting(version: .minimum, eligible: 0), Setting(version: .controllerRegistration, eligible: 0),
        Setting(version: .version39, eligible: 0), Setting(version: .defaultForNewClusters, eligible: 0),
        Setting(version: .defaultForNewClusters, eligible: 1), Setting(version: .latest, eligible: 1),
    ]

    @Test(arguments: settings)
    func nothingBreaksWhatMustHold(setting: Setting) throws {
        var counts = Counts()
        for seed in 1...20 as ClosedRange<UInt64> {
            var history = try History(seed: seed, setting: setting)
            for _ in 0..<150 { try history.step() }
            counts.add(history.counts)
        }
        // A history in which nothing happens proves nothing.
        #expect(counts.elections > 300 && counts.isrChanges > 200 && counts.reassignmentsEnded > 10 && counts.failovers > 20)
        #expect(counts.leaderless > 20)
        if setting.eligible == 1 { #expect(counts.eligible > 20) }
    }

    /// The same seed gives the same records.
    @Test func historiesRepeat() throws {
        func history() throws -> MetadataImage {
            var history = try History(seed: 7, setting: Self.settings[4])
            for _ in 0..<200 { try history.step() }
            return history.cluster.controller.image
        }
        let (one, other) = (try history(), try history())
        let isEqual = one == other
        #expect(isEqual)
    }
}

struct Counts {
    var elections = 0
    var isrChanges = 0
    var reassignmentsEnded = 0
    var failovers = 0
    var leaderless = 0
    var eligible = 0

    mutating func add(_ other: Counts) {
        elections += other.elections
        isrChanges += other.isrChanges
        reassignmentsEnded += other.reassignmentsEnded
        failovers += other.failovers
        leaderless += other.leaderless
        eligible += other.eligible
    }
}

struct History {
    static let brokerCount: NodeID = 6
    var cluster: Cluster
    var random: SeededRandom
    var counts = Counts()
    private var incarnation: UInt64 = 1
    private let isMultiDirectory: Bool

    init(seed: UInt64, setting: PropertyTests.Setting) throws {
        random = SeededRandom(seed: seed)
        isMultiDirectory = setting.version.supportsDirectoryAssignment && seed.isMultiple(of: 3)
        cluster = try Cluster(
            version: setting.version, features: setting.eligible > 0 ? [FeatureName.eligibleLeaderReplicas: setting.eligible] : [:],
            seed: seed)
        for id in 0..<Self.brokerCount {
            try cluster.register(id, directories: directories(id))
            try cluster.heartbeat(id)
        }
        for number in 0..<4 {
            let assignments = (0..<3).map { _ in Array((0..<Self.brokerCount).shuffled(using: &random).prefix(3)) }
            var configs = ["min.insync.replicas": "2"]
            if number.isMultiple(of: 2) { configs = ["unclean.leader.election.enable": "true"] }
            try cluster.createTopic("t\(number)", assignments, configs: .init(uniqueKeysWithValues: configs.sorted { $0.key < $1.key }))
        }
    }

    private func directories(_ id: NodeID) -> [KafkaUUID] {
        isMultiDirectory ? [Cluster.directory(id, 0), Cluster.directory(id, 1)] : [Cluster.directory(id)]
    }

    mutating func step() throws {
        let before = cluster.controller.image
        let id = NodeID.random(in: 0..<Self.brokerCount, using: &random)
        switch Int.random(in: 0..<20, using: &random) {
        case 0..<5: try heartbeat(id)
        case 5..<7: try restart(id)
        case 7: try lose(id)
        case 8..<14: try alterPartition()
        case 14, 15: try reassign()
        case 16: try elect()
        case 17:
            cluster.now += Int64.random(in: 1...12_000, using: &random)
            try cluster.tick()
        case 18: try failOver()
        default:
            for id in 0..<Self.brokerCount where cluster.controller.image.cluster.broker(id) != nil { try cluster.heartbeat(id) }
        }
        count(since: before)
    }

    private mutating func count(since before: MetadataImage) {
        for topic in cluster.controller.image.topics.all {
            guard let old = before.topics.topic(id: topic.id), old !== topic else { continue }
            for (was, now) in zip(old.partitions, topic.partitions) where was != now {
                if was.leader != now.leader { counts.elections += 1 }
                if was.isr != now.isr { counts.isrChanges += 1 }
                if was.isReassigning && !now.isReassigning { counts.reassignmentsEnded += 1 }
                if !now.hasLeader { counts.leaderless += 1 }
                if !now.eligibleLeaderReplicas.isEmpty { counts.eligible += 1 }
            }
        }
    }

    private mutating func heartbeat(_ id: NodeID) throws {
        guard cluster.controller.image.cluster.broker(id) != nil else { return try restart(id) }
        let isOffline = isMultiDirectory && Int.random(in: 0..<12, using: &random) == 0
        try cluster.heartbeat(
            id, wantFence: Int.random(in: 0..<10, using: &random) == 0, wantShutDown: Int.random(in: 0..<5, using: &random) == 0,
            behind: Int64.random(in: 0...2, using: &random), offline: isOffline ? [Cluster.directory(id, 0)] : [])
    }

    private mutating func restart(_ id: NodeID) throws {
        incarnation += 1
        let isClean = Bool.random(using: &random)
        let request = Cluster.registration(
            id, incarnation: incarnation, previousEpoch: isClean ? cluster.controller.image.cluster.broker(id)?.epoch ?? -1 : -1,
            directories: directories(id))
        let now = cluster.now
        let code = try cluster.refusal { (controller, offset) throws(RequestFailure) in
            try controller.registerBroker(request, nextOffset: offset, now: now)
        }
        #expect(code == nil || code == .duplicateBrokerRegistration)
    }

    /// Dies and is noticed by its connection, or is unregistered.
    private mutating func lose(_ id: NodeID) throws {
        guard let broker = cluster.controller.image.cluster.broker(id) else { return }
        if Int.random(in: 0..<8, using: &random) == 0 {
            var request = UnregisterBrokerRequest()
            request.brokerId = id
            let final = request
            try cluster.run { (controller, _) throws(RequestFailure) in try controller.unregisterBroker(final) }
            return
        }
        guard let probe = cluster.controller.brokerConnectionLost(id, epoch: broker.epoch, now: cluster.now) else { return }
        var refusals: [Int64] = []
        // Its listeners may go on accepting for a while; it may be heard of after all.
        for _ in 0..<Int.random(in: 2...8, using: &random) {
            let now = cluster.now
            let outcome: BrokerProbeOutcome = [.refused, .refused, .refused, .accepted, .unknown][Int.random(in: 0..<5, using: &random)]
            let verdict = try cluster.run { (controller, _) throws(RequestFailure) in controller.brokerProbed(probe, outcome, now: now) }
            if outcome == .refused { refusals.append(now) } else { refusals = [] }
            switch verdict {
            case .gone:
                #expect(refusals.count > 1 && now - refusals[0] >= Controller.probeInterval, "fenced for less than two refusals")
                #expect(cluster.controller.image.cluster.broker(id)?.isFenced == true)
                return
            case .probeAgain(_, let time): cluster.now = time
            case .settled: Issue.record("suspected, and not tried any more")
            }
            if Int.random(in: 0..<20, using: &random) == 0 {
                try cluster.heartbeat(id)
                return
            }
        }
    }

    private mutating func pick() -> (topic: String, partition: PartitionImage)? {
        guard let topic = Array(cluster.controller.image.topics.all).randomElement(using: &random),
            let partition = topic.partitions.randomElement(using: &random)
        else { return nil }
        return (topic.name, partition)
    }

    private mutating func alterPartition() throws {
        guard let (topic, partition) = pick(), partition.hasLeader else { return }
        var isr = [partition.leader]
        for replica in partition.replicas where replica != partition.leader && Int.random(in: 0..<4, using: &random) > 0 {
            // Mostly as a leader does: it proposes only who is there.
            if cluster.controller.image.cluster.isActive(replica) || Int.random(in: 0..<6, using: &random) == 0 { isr.append(replica) }
        }
        let isStale = Int.random(in: 0..<10, using: &random) == 0
        _ = try cluster.alterPartition(
            topic, partition.index, isr: isr, apiVersion: Bool.random(using: &random) ? 2 : 3,
            isRecovering: partition.isRecovering && Bool.random(using: &random),
            partitionEpoch: isStale ? partition.partitionEpoch - 1 : nil)
    }

    private mutating func reassign() throws {
        guard let (topic, partition) = pick() else { return }
        var target = AlterPartitionReassignmentsRequest.ReassignablePartition()
        target.partitionIndex = partition.index
        if Int.random(in: 0..<4, using: &random) > 0 {
            let count = Int.random(in: 1...4, using: &random)
            target.replicas = Array((0..<Self.brokerCount).shuffled(using: &random).prefix(count))
        }
        var data = AlterPartitionReassignmentsRequest.ReassignableTopic()
        data.name = topic
        data.partitions = [target]
        var request = AlterPartitionReassignmentsRequest()
        request.topics = [data]
        let final = request
        try cluster.run { (controller, _) throws(RequestFailure) in try controller.alterPartitionReassignments(final) }
    }

    private mutating func elect() throws {
        var request = ElectLeadersRequest()
        request.electionType = 0
        request.topicPartitions = nil
        let final = request
        try cluster.run { (controller, _) throws(RequestFailure) in try controller.electLeaders(final) }
    }

    /// Another controller takes over with nothing but what is in the log.
    private mutating func failOver() throws {
        counts.failovers += 1
        cluster.controller = Controller(
            cluster.controller.configuration, image: cluster.controller.image, seed: UInt64.random(in: 0...(.max), using: &random))
        cluster.controller.activated(now: cluster.now)
        try cluster.run { (controller, _) throws(RequestFailure) in try controller.activationRecords(bootstrap: nil) }
    }
}
