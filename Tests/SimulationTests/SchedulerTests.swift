import Primitives
import Simulation
import Testing

@Suite("Scheduler")
struct SchedulerTests {
    @Test func draws() {
        var random = SeededRandom(seed: 1)
        #expect((0..<100).allSatisfy { _ in random.below(10) < 10 })
    }
}
