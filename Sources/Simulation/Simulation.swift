// The way in: one seed is one run.
import Primitives

/// What came of a run.
public struct SimulationOutcome: Sendable {
    public let seed: UInt64
    /// The first promise that was broken; nil when all held.
    public let violation: Violation?
    /// The same for every run of a seed.
    public let digest: UInt64
    public let events: Int
    /// How long the simulated world lived.
    public let duration: VirtualTime
    /// Records that clients were told are safe.
    public let acknowledged: Int
    /// The highest leader epoch that was led in.
    public let epochs: Int
    /// What happened, when it was asked for.
    public let trace: [String]
}

/// Runs simulated clusters, each in the calling thread from a seed alone.
public enum Simulation {
    /// Runs a whole cluster through its faults.
    public static func runCluster(
        seed: UInt64, mutation: ClusterMutation? = nil, isBrief: Bool = false, isTracing: Bool = false
    ) -> SimulationOutcome {
        let world = ClusterWorld(seed: seed, mutation: mutation, isBrief: isBrief, isTracing: isTracing)
        world.run()
        return SimulationOutcome(
            seed: seed, violation: world.violation, digest: world.scheduler.digest, events: world.scheduler.count,
            duration: world.scheduler.now, acknowledged: world.ledger.acknowledgements, epochs: Int(world.quorum.ledger.highestEpoch),
            trace: world.quorum.trace.lines)
    }

    /// Runs two or three clusters with links through their faults.
    public static func runLinks(
        seed: UInt64, mutation: LinkMutation? = nil, isBrief: Bool = false, isTracing: Bool = false
    ) -> SimulationOutcome {
        let world = LinkWorld(seed: seed, mutation: mutation, isBrief: isBrief, isTracing: isTracing)
        world.run()
        return SimulationOutcome(
            seed: seed, violation: world.violation, digest: world.scheduler.digest, events: world.scheduler.count,
            duration: world.scheduler.now, acknowledged: world.ledger.acknowledged, epochs: 0, trace: world.trace.lines)
    }

    /// Runs a metadata quorum through its faults.
    ///
    /// - Parameters:
    ///   - mutation: a deliberate fault, which should end in a violation.
    ///   - isBrief: fewer seconds and fewer records, for tests that are built without optimisation.
    public static func runQuorum(
        seed: UInt64, mutation: Mutation? = nil, isBrief: Bool = false, isTracing: Bool = false
    ) -> SimulationOutcome {
        let world = QuorumWorld(seed: seed, mutation: mutation, isBrief: isBrief, isTracing: isTracing)
        world.run()
        return SimulationOutcome(
            seed: seed, violation: world.violation, digest: world.scheduler.digest, events: world.scheduler.count,
            duration: world.scheduler.now, acknowledged: world.acknowledgements.count, epochs: Int(world.ledger.highestEpoch),
            trace: world.trace.lines)
    }

    /// Plays the scenario of a fault that no seed shows: two candidates of one epoch ask a voter that started again between them.
    public static func runForgottenVote(mutation: Mutation? = nil) -> SimulationOutcome {
        let world = QuorumWorld.forgottenVote(mutation: mutation)
        return SimulationOutcome(
            seed: 0, violation: world.violation, digest: world.scheduler.digest, events: world.scheduler.count,
            duration: world.scheduler.now, acknowledged: 0, epochs: 0, trace: world.trace.lines)
    }

    /// The first of `count` seeds from `first` on at which a deliberate fault is noticed; nil when it never is.
    public static func firstSeedThatNotices(
        _ mutation: Mutation, from first: UInt64 = 1, count: Int, isBrief: Bool = false
    ) -> SimulationOutcome? {
        if !mutation.isNoticedByChance { return runForgottenVote(mutation: mutation) }
        for seed in first..<(first + UInt64(count)) {
            let outcome = runQuorum(seed: seed, mutation: mutation, isBrief: isBrief)
            if outcome.violation != nil { return outcome }
        }
        return nil
    }

    /// As above, for the faults of clusters.
    public static func firstSeedThatNotices(
        _ mutation: ClusterMutation, from first: UInt64 = 1, count: Int, isBrief: Bool = false
    ) -> SimulationOutcome? {
        for seed in first..<(first + UInt64(count)) {
            let outcome = runCluster(seed: seed, mutation: mutation, isBrief: isBrief)
            if outcome.violation != nil { return outcome }
        }
        return nil
    }

    /// As above, for the faults of links.
    public static func firstSeedThatNotices(
        _ mutation: LinkMutation, from first: UInt64 = 1, count: Int, isBrief: Bool = false
    ) -> SimulationOutcome? {
        for seed in first..<(first + UInt64(count)) {
            let outcome = runLinks(seed: seed, mutation: mutation, isBrief: isBrief)
            if outcome.violation != nil { return outcome }
        }
        return nil
    }
}
