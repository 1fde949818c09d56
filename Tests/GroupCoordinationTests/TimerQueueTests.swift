// The timer queue against a list of deadlines.
import Primitives
import Runtime
import Testing

@Suite("Timer queue")
struct TimerQueueTests {
    @Test("Behaves like a list that is searched, whatever is set, moved and cancelled")
    func againstModel() {
        for seed in 0..<20 as Range<UInt64> {
            var random = SeededRandom(seed: seed)
            var queue = TimerQueue<Int>()
            var model: [Int: (deadline: Int64, order: Int)] = [:]
            var now: Int64 = 0
            for order in 0..<2_000 {
                let id = Int.random(in: 0..<40, using: &random)
                switch Int.random(in: 0..<10, using: &random) {
                case 0..<6:
                    let deadline = now + Int64.random(in: 0..<100, using: &random)
                    queue.set(id, deadline: deadline)
                    model[id] = (deadline, order)
                case 6..<8:
                    queue.cancel(id)
                    model[id] = nil
                default:
                    now += Int64.random(in: 0..<30, using: &random)
                    let due = model.filter { $0.value.deadline <= now }.sorted {
                        ($0.value.deadline, $0.value.order) < ($1.value.deadline, $1.value.order)
                    }
                    for entry in due {
                        #expect(queue.popDue(now: now) == entry.key)
                        model[entry.key] = nil
                    }
                    #expect(queue.popDue(now: now) == nil)
                }
                #expect(queue.count == model.count)
                #expect(queue.nextDeadline == model.values.map(\.deadline).min())
            }
        }
    }
}
