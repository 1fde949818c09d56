// What a seed makes of a cluster: nodes and their roles, distances, timeouts, features, and which faults it will meet.
import ClusterMetadata
import Primitives

/// One kind of trouble for a cluster.
enum ClusterFaultKind: Hashable {
    /// What happens to processes, disks and links.
    case node(FaultKind)
    case preferredElection
    case uncleanElection
    case reassignment
    case cancelReassignment
    case unregister

    static let all: [ClusterFaultKind] =
        FaultKind.ofProcesses.map { .node($0) } + [.preferredElection, .uncleanElection, .reassignment, .cancelReassignment, .unregister]
}

/// The shape of a run, drawn from its seed.
struct ClusterPlan: CustomStringConvertible {
    var controllerCount = 3
    var brokerCount = 3
    /// Controllers and brokers in the same processes.
    var isCombined = false
    var dataCenters = 1
    var version = MetadataVersion.latest
    var hasEligibleLeaderReplicas = false
    /// Milliseconds, as the keys of the same meaning.
    var sessionTimeout: Int64 = 9000
    var heartbeatInterval: Int64 = 2000
    var lagTime: Int64 = 10_000
    var fetchWait: Int64 = 500
    /// Batches of a partition in one answer.
    var fetchBatches = 10
    /// `flush.messages` is 1: then even a loss of all power loses nothing.
    var flushesAppends = false
    var safePartitions = 2
    var loosePartitions = 1
    /// Milliseconds between what a producer sends, at most.
    var produceInterval: Int64 = 100
    var inFlight = 1
    var faults: [ClusterFaultKind] = []
    var faultInterval: Int64 = 3000
    var duration: VirtualTime = .seconds(20)
    var recoveryLimit: VirtualTime = .seconds(90)
    /// The part that the quorum's world needs.
    var quorum: QuorumPlan

    init(seed: UInt64, isBrief: Bool) {
        var random = SeededRandom(seed: seed)
        quorum = QuorumPlan(seed: random.next(), isBrief: isBrief)
        controllerCount = random.pick([1, 3, 3, 3])
        brokerCount = random.pick([3, 3, 4, 5])
        isCombined = random.chance(400)
        if isCombined { brokerCount = max(brokerCount, controllerCount) }
        dataCenters = random.pick([1, 1, 2, 3])
        let versions: [MetadataVersion] = [
            .scram, .transactions, .directoryAssignment, .version39, .eligibleLeaderReplicas, .defaultForNewClusters, .latest,
        ]
        version = random.pick(versions)
        hasEligibleLeaderReplicas = version >= .eligibleLeaderReplicas && random.chance(600)
        sessionTimeout = random.pick([2000, 4000, 9000])
        heartbeatInterval = random.pick([300, 500, 900])
        lagTime = random.pick([600, 2000, 6000])
        fetchWait = random.pick([100, 300, 500])
        fetchBatches = random.pick([3, 10, 50])
        flushesAppends = random.chance(250)
        safePartitions = Int(random.between(1...3))
        loosePartitions = Int(random.between(0...1))
        produceInterval = random.pick([20, 60, 200])
        inFlight = random.pick([1, 1, 3])
        let share = random.between(150...800)
        faults = ClusterFaultKind.all.filter { _ in random.chance(share) }
        faultInterval = random.pick([400, 1000, 3000])
        duration = .milliseconds(random.between(6_000...20_000))
        if isBrief {
            duration /= 3
            produceInterval = max(produceInterval, 60)
            faultInterval = min(faultInterval, 700)
        }
        settleQuorum(&random)
    }

    private mutating func settleQuorum(_ random: inout SeededRandom) {
        quorum.voterCount = controllerCount
        quorum.observerCount = isCombined ? brokerCount - controllerCount : brokerCount
        quorum.dataCenters = dataCenters
        quorum.distances = (0..<dataCenters).map { _ in Array(repeating: 0, count: dataCenters) }
        for first in 0..<dataCenters {
            for second in 0..<first {
                let distance = random.between(1_000...30_000)
                quorum.distances[first][second] = distance
                quorum.distances[second][first] = distance
            }
        }
        quorum.recordsBetweenSnapshots = random.pick([0, 30, 100])
        quorum.snapshotChunkBytes = 2_000
        quorum.isDynamic = false
        quorum.faults = []
    }

    var description: String {
        "\(controllerCount) controllers, \(brokerCount) brokers\(isCombined ? " in the same processes" : ""), \(dataCenters) data centres, "
            + "metadata.version \(version.rawValue)\(hasEligibleLeaderReplicas ? " with eligible leader replicas" : ""), session "
            + "\(sessionTimeout) ms, lag \(lagTime) ms, flush \(flushesAppends), \(safePartitions)+\(loosePartitions) partitions, "
            + "\(inFlight) in flight, snapshots every \(quorum.recordsBetweenSnapshots) records, faults within \(faultInterval) ms of \(faults)"
    }
}
