// Seeds of the simulated metadata quorum, and the proof that its judge has eyes.
import Primitives
import Simulation
import Testing

@Suite("A simulated metadata quorum")
struct QuorumSimulationTests {
    @Test("Keeps every promise whatever fails", arguments: 0..<6 as Range<UInt64>)
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

    @Test(
        "Notices faults that were put in on purpose", arguments: [Mutation.persistLate, .grantEveryVote, .skipTruncation, .dropTailAtStart])
    func noticesMutations(mutation: Mutation) {
        let outcome = Simulation.firstSeedThatNotices(mutation, count: 60, isBrief: true)
        #expect(outcome?.violation != nil, "\(mutation.rawValue) was not noticed")
    }

    @Test("A voter that starts again remembers its vote, and one that does not is noticed")
    func remembersItsVote() {
        #expect(Simulation.runForgottenVote().violation == nil)
        #expect(Simulation.runForgottenVote(mutation: .forgetVoteAtStart).violation?.invariant == .oneVotePerEpoch)
    }
}
