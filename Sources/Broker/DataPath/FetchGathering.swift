// How long a distant follower's fetch that finds records still waits for more.
//
// A fetch tells its leader that what came before is replicated, and so lets producers send their next records. Those arrive a moment
// later, one after the other: all but the first would leave with the next fetch only, a whole round trip later, and a producer with five
// requests in flight would get half of them through per round trip. A follower nearby asks again so soon that waiting would cost more than
// it brings; and records that come alone, when the follower has been waiting for long, are not kept.

/// How a fetch gathers records.
struct FetchGathering: Equatable {
    /// How long it waits for more once there are some.
    var nanoseconds: Int64
    /// Until when; what comes later comes alone. By the monotonic clock in nanoseconds.
    var end: Int64
}

/// A follower's pace on one connection. Lives on its event loop.
struct FollowerPace {
    /// Followers that ask again sooner than this are not waited for.
    static let nearbyNanoseconds: Int64 = 4_000_000
    /// The part of a follower's round trip that is waited at most.
    static let part: Int64 = 8
    static let maximumNanoseconds: Int64 = 3_000_000

    /// When records last left for the follower, by the monotonic clock in nanoseconds, unless it has asked again since.
    private var answeredAt: Int64?

    /// Records are on their way to the follower.
    mutating func answered(at now: Int64) {
        answeredAt = now
    }

    /// How a fetch that was received now gathers records; nil when it does not.
    mutating func asked(at now: Int64) -> FetchGathering? {
        guard let answeredAt else { return nil }
        self.answeredAt = nil
        let roundTrip = now - answeredAt
        guard roundTrip >= Self.nearbyNanoseconds else { return nil }
        return FetchGathering(nanoseconds: min(roundTrip / Self.part, Self.maximumNanoseconds), end: now + roundTrip)
    }
}
