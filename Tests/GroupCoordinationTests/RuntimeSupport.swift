// What tests of the runtime over a log in memory need besides: answers that come later, a clock that stands still, topics.
import GroupCoordination
import KafkaWire
import Primitives
import Runtime
import Synchronization

/// Holds what a completion brought.
final class Answer<Value: Sendable>: Sendable {
    private let state = Mutex<[Value]>([])

    var values: [Value] { state.withLock { $0 } }
    var value: Value? { values.last }

    var completion: @Sendable (Value) -> Void {
        { value in self.state.withLock { $0.append(value) } }
    }
}

/// A clock that tests move.
final class ManualClock: Sendable {
    private let milliseconds = Atomic<Int64>(0)

    func advance(_ amount: Int64) { milliseconds.add(amount, ordering: .relaxed) }

    var now: CoordinatorInstant {
        let elapsed = milliseconds.load(ordering: .relaxed)
        return CoordinatorInstant(timestamp: 1_700_000_000_000 + elapsed, monotonicMilliseconds: elapsed)
    }
}

/// Topics that exist: `t` and `u` with two partitions each.
struct FixedTopics: GroupTopicLookup {
    static let id = KafkaUUID(mostSignificantBits: 0, leastSignificantBits: 20)
    static let ids = [
        "t": KafkaUUID(mostSignificantBits: 0, leastSignificantBits: 20), "u": KafkaUUID(mostSignificantBits: 0, leastSignificantBits: 21),
    ]

    func topicName(for id: TopicID) -> String? { ["t", "u"].first { Self.ids[$0] == id } }
    func topicID(for name: String) -> TopicID? { Self.ids[name] }
    func hasPartition(topic: String, partition: Int32) -> Bool { Self.ids[topic] != nil && (0..<2).contains(partition) }
}
