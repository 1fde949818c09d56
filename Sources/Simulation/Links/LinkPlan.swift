// What a seed makes of clusters with links: how many, how they are linked, how large, and which faults they will meet.
import Primitives

/// One kind of trouble for clusters with links.
enum LinkFaultKind: CaseIterable {
    case crash
    case crashCoordinator
    case moveCoordinator
    case moveLeader
    /// A replica that is not in sync is elected at a cluster that others mirror.
    case uncleanElection
    /// Nothing gets from one cluster to another for a while.
    case cutOff
    /// Brokers do not hear of links for a while.
    case deafen
    /// Old records are deleted at a source.
    case deleteRecords
    case recreateTopic
    case deleteMirrorTopic
    case addPartitions
}

/// The shape of a run, drawn from its seed.
struct LinkPlan: CustomStringConvertible {
    enum Shape: String {
        /// Two clusters, linked both ways without a prefix: taking over and giving back.
        case pair
        /// A to B to C, and back.
        case chain
        /// Two clusters that mirror everything of each other under a prefix, by themselves.
        case prefixed
    }

    var shape = Shape.pair
    var brokers = 3
    var replication = 3
    var topics = 1
    var partitions = 2
    var skipsGaps = false
    var faults: Set<LinkFaultKind> = []
    var faultInterval: VirtualTime = .seconds(2)
    var commandInterval: VirtualTime = .seconds(2)
    var produceInterval: VirtualTime = .milliseconds(80)
    var duration: VirtualTime = .seconds(40)
    /// Milliseconds between what followers fetch, at most.
    var fetchInterval: Int64 = 25
    /// Of a thousand messages.
    var lost: Int64 = 5
    /// Of a thousand batches.
    var transactional: Int64 = 300
    /// Whether producers use one epoch for all of their transactions, as before transaction.version 2.
    var keepsEpochs = false
    /// Whether links keep transactions whole (`mirror.transactions.atomic.enable`).
    var isAtomic = true
    /// How long mirrors wait for one that does not get on, in milliseconds.
    var transactionHold: Int64 = 10_000

    /// Whether operators mostly take over and give back, one after the other.
    var takesTurns = false

    init(seed: UInt64, isBrief: Bool) {
        var random = SeededRandom(seed: seed)
        shape = random.pick([.pair, .pair, .pair, .chain, .prefixed])
        replication = random.pick([1, 3, 3, 3])
        topics = Int(random.between(1...2))
        partitions = Int(random.between(1...3))
        skipsGaps = random.chance(300)
        for kind in LinkFaultKind.allCases where random.chance(500) { faults.insert(kind) }
        faultInterval = .milliseconds(random.pick([500, 1500, 3000]))
        commandInterval = .milliseconds(random.pick([500, 1500, 4000]))
        produceInterval = .milliseconds(random.pick([30, 80, 200]))
        lost = random.pick([0, 5, 30])
        transactional = random.pick([0, 200, 500])
        keepsEpochs = random.chance(500)
        transactionHold = random.pick([1_000, 10_000, 10_000])
        fetchInterval = random.pick([25, 25, 300])
        duration = .seconds(isBrief ? random.between(10...20) : random.between(20...60))
        takesTurns = shape == .pair && random.chance(500)
        isAtomic = !random.chance(200)
    }

    var description: String {
        let kinds = LinkFaultKind.allCases.filter { faults.contains($0) }.map { "\($0)" }.joined(separator: " ")
        let transactions = isAtomic ? "held for \(transactionHold) ms" : "not kept whole"
        return "\(shape.rawValue)\(takesTurns ? " taking turns" : ""), \(replication) of \(brokers) brokers, \(topics) topics of "
            + "\(partitions) partitions, \(skipsGaps ? "gaps skipped, " : "")\(keepsEpochs ? "epochs kept, " : "")transactions "
            + "\(transactions), \(duration / 1_000_000) s, faults: \(kinds)"
    }
}
