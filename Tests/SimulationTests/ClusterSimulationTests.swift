// Seeds of whole simulated clusters, and faults put in on purpose that they must notice. `make simulate-mutations` tries them all.
import Simulation
import Testing

@Suite("A simulated cluster")
struct ClusterSimulationTests {
    @Test("Keeps every promise whatever fails", arguments: 0..<10 as Range<UInt64>)
    func keepsItsPromises(block: UInt64) {
        for seed in (1 + block * 10)..<(11 + block * 10) {
            let outcome = Simulation.runCluster(seed: seed, isBrief: true)
            #expect(outcome.violation == nil, "seed \(seed): \(outcome.violation.map(\.description) ?? "")")
        }
    }

    @Test("One seed is one run, with and without a trace")
    func isDeterministic() {
        for seed in 1...2 as ClosedRange<UInt64> {
            let first = Simulation.runCluster(seed: seed, isBrief: true)
            let second = Simulation.runCluster(seed: seed, isBrief: true, isTracing: true)
            #expect(first.digest == second.digest && first.events == second.events)
            #expect(first.trace.isEmpty && !second.trace.isEmpty)
            #expect(first.acknowledged > 0)
        }
    }

    @Test(
        "Notices faults that were put in on purpose",
        arguments: [
            ClusterMutation.advanceWithoutFollowers, .inflateFollowerOffset, .acknowledgeUnreplicated, .exposeUncommitted, .forgetProducers,
            .shrinkWithoutWaiting, .truncateToHighWatermark,
        ])
    func noticesMutations(mutation: ClusterMutation) {
        let outcome = Simulation.firstSeedThatNotices(mutation, count: 40, isBrief: true)
        #expect(outcome?.violation != nil, "\(mutation.rawValue) was not noticed")
    }
}
