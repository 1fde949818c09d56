// What a seed makes of a quorum: how many members, how far apart, how fast their disks, and which faults they will meet. Every seed
// leaves some kinds of faults out, because too much of one hides what another would find.
import Primitives

/// One kind of trouble.
enum FaultKind: String, CaseIterable {
    case isolate
    case split
    case oneWay
    case cutLink
    case dataCenterLost
    case heal
    case resetConnections
    case kill
    case killAtStep
    case powerLoss
    case pause
    case slowDisk
    case fullDisk
    case resign
    case shutDown
    /// A voter is added or removed (KIP-853), where the voters stand in the log.
    case changeVoters
    /// A member starts again at another port.
    case move

    /// Those of single processes, disks and links.
    static let ofProcesses = allCases.filter { $0 != .changeVoters && $0 != .move }
}

/// The shape of a run, drawn from its seed.
struct QuorumPlan: CustomStringConvertible {
    var voterCount = 3
    var observerCount = 1
    var dataCenters = 1
    /// Microseconds between data centres.
    var distances: [[Int64]] = []
    /// Voters in the log (KIP-853) instead of in the configuration.
    var isDynamic = false
    var recordsBetweenSnapshots: Offset = 0
    var snapshotChunkBytes = 100
    var faults: [FaultKind] = []
    /// Milliseconds between faults, at most.
    var faultInterval: Int64 = 3000
    /// Milliseconds between proposals, at most.
    var proposalInterval: Int64 = 60
    /// How long faults go on.
    var duration: VirtualTime = .seconds(20)
    /// How long the cluster may take to be whole again.
    var recoveryLimit: VirtualTime = .seconds(30)
    /// Whether messages go through their encoding.
    var encodesMessages = false

    init(seed: UInt64, isBrief: Bool) {
        var random = SeededRandom(seed: seed)
        voterCount = random.pick([1, 2, 3, 3, 3, 3, 4, 5, 5, 7])
        observerCount = Int(random.below(3))
        dataCenters = random.pick([1, 1, 2, 3])
        distances = (0..<dataCenters).map { _ in Array(repeating: 0, count: dataCenters) }
        for first in 0..<dataCenters {
            for second in 0..<first {
                let distance = random.between(1_000...60_000)
                distances[first][second] = distance
                distances[second][first] = distance
            }
        }
        recordsBetweenSnapshots = random.pick([0, 0, 20, 50, 200])
        snapshotChunkBytes = random.pick([40, 100, 1000])
        let share = random.between(150...800)
        faults = FaultKind.allCases.filter { _ in random.chance(share) }
        faultInterval = random.pick([300, 1000, 3000, 6000])
        proposalInterval = random.pick([10, 60, 300])
        duration = .milliseconds(random.between(8_000...25_000))
        encodesMessages = random.chance(250)
        isDynamic = random.chance(400)
        if isDynamic {
            observerCount = max(observerCount, 1)
            faults += [.changeVoters, .changeVoters, .changeVoters, .move]
        }
        if isBrief {
            duration /= 3
            proposalInterval = max(proposalInterval, 60)
            faultInterval = min(faultInterval, 1000)
        }
    }

    var description: String {
        "\(voterCount) \(isDynamic ? "dynamic " : "")voters, \(observerCount) observers, \(dataCenters) data centres, snapshots every \(recordsBetweenSnapshots) "
            + "records, faults within \(faultInterval) ms of \(faults.map(\.rawValue))"
    }
}
