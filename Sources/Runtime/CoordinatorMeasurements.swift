// How often things happen to groups, transactions and share groups, how fast lately, and how long coordinators take to load: for metrics.
import Primitives
import Synchronization

/// A count, and how fast it grew lately: Kafka's Meter, over two samples of 30 seconds.
public struct EventReading: Sendable, Equatable {
    public var count = 0
    public var perSecond = 0.0

    public init(count: Int = 0, perSecond: Double = 0) {
        self.count = count
        self.perSecond = perSecond
    }
}

/// Counts one kind of event. Thread-safe.
final class EventMeter: Sendable {
    private let state = Mutex((count: 0, samples: WindowedSamples()))

    func record(_ times: Int = 1) {
        let now = SystemClock.monotonicNanoseconds()
        state.withLock { state in
            state.count += times
            state.samples.record(Double(times), now: now)
        }
    }

    var reading: EventReading {
        let now = SystemClock.monotonicNanoseconds()
        return state.withLock { EventReading(count: $0.count, perSecond: $0.samples.perSecond(now: now)) }
    }
}

/// Milliseconds of the last 30 to 60 seconds; NaN when nothing was measured, as in Kafka.
public struct RecentTimes: Sendable {
    public var average = Double.nan
    public var maximum = Double.nan
}

/// Measures how long something takes. Thread-safe.
final class TimeMeter: Sendable {
    private let samples = Mutex(WindowedSamples())

    /// - Parameter start: monotonic nanoseconds.
    func record(since start: Int64) {
        let now = SystemClock.monotonicNanoseconds()
        samples.withLock { $0.record(Double(now - start) / 1_000_000, now: now) }
    }

    var reading: RecentTimes {
        let now = SystemClock.monotonicNanoseconds()
        return samples.withLock { RecentTimes(average: $0.average(now: now), maximum: $0.maximum(now: now)) }
    }
}

/// How a coordinator's partition is on this broker.
enum CoordinatorCondition: Sendable {
    case elsewhere
    case loading
    case active
    /// Its log could not be read: requests are told that it is elsewhere.
    case failed
}

/// Partitions that are coordinated here, or should be.
public struct CoordinatorPartitionCounts: Sendable, Equatable {
    public var loading = 0
    public var active = 0
    public var failed = 0

    init(_ conditions: some Sequence<CoordinatorCondition>) {
        for condition in conditions {
            switch condition {
            case .elsewhere: break
            case .loading: loading += 1
            case .active: active += 1
            case .failed: failed += 1
            }
        }
    }
}
