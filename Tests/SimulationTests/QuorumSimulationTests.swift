// Seeds of the simulated metadata quorum, and the proof that its judge has eyes.
import Primitives
import Simulation
import Testing

@Suite("A simulated metadata quorum")
struct QuorumSimulationTests {
    @Test("Keeps every promise whatever fails", arguments: 0..<8 as Range<UInt64>)
    func keepsItsPromises(block: UInt64) {
        for seed in (1 + block * 25)..<(26 + block * 25) {
            let outcome = Simulation.runQuorum(seed: seed, isBrief: true)
            #expect(outcome.violation == nil, "seed \(seed): \(outcome.violation.map(\.description) ?? "")")
        }
    }

    @Test("One seed is one run, with and without a trace")
    func isDeterministic() {
        for seed in 1...3 as ClosedRange<UInt64> {
            let first = Simulation.runQuorum(seed: seed, isBrief: true)
            let second = Simulation.runQuorum(seed: seed, isBrief: true, isTracing: true)
            #expect(first.digest == second.digest && first.events == second.events)
            #expect(first.trace.isEmpty && !second.trace.isEmpty)
        }
    }

    @Test("Notices every fault that was put in on purpose", arguments: Mutation.allCases)
    func noticesMutations(mutation: Mutation) {
        let outcome =
            Simulation.firstSeedThatNotices(mutation, count: mutation.seedsNeeded, isBrief: true)
            ?? Simulation.firstSeedThatNotices(mutation, count: mutation.seedsNeeded)
        #expect(outcome?.violation != nil, "\(mutation.rawValue) was not noticed by \(mutation.seedsNeeded) seeds")
    }
}
