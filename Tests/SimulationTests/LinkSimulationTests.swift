// Seeds of simulated clusters with links, and faults put in on purpose that they must notice. `make simulate-mutations` tries them all.
import Simulation
import Testing

@Suite("Simulated clusters with links")
struct LinkSimulationTests {
    @Test("Keep every promise whatever fails", arguments: 0..<4 as Range<UInt64>)
    func keepTheirPromises(block: UInt64) {
        for seed in (1 + block * 5)..<(6 + block * 5) {
            let outcome = Simulation.runLinks(seed: seed, isBrief: true)
            #expect(outcome.violation == nil, "seed \(seed): \(outcome.violation.map(\.description) ?? "")")
        }
    }

    @Test("One seed is one run, with and without a trace")
    func linksAreDeterministic() {
        let first = Simulation.runLinks(seed: 1, isBrief: true)
        let second = Simulation.runLinks(seed: 1, isBrief: true, isTracing: true)
        #expect(first.digest == second.digest && first.events == second.events)
        #expect(first.trace.isEmpty && !second.trace.isEmpty)
        #expect(first.acknowledged > 0)
    }

    @Test(
        "Notice faults that were put in on purpose",
        arguments: [
            LinkMutation.cutTooFar, .cutWithoutKeeping, .promoteWithoutFencing, .stopWithoutAborting, .keepUnsettled, .copyOffsetsAhead,
            .mirrorOwnMirrors,
        ])
    func noticeLinkMutations(mutation: LinkMutation) {
        let outcome = Simulation.firstSeedThatNotices(mutation, count: 40, isBrief: true)
        #expect(outcome?.violation != nil, "\(mutation.rawValue) was not noticed")
    }
}
