import Replication
import Testing

@Suite struct ReplicationQuotaTests {
    private func quota(_ rate: Int64) -> ReplicationQuota {
        var quota = ReplicationQuota(samples: 11, milliseconds: 1000)
        quota.bytesPerSecond = rate
        return quota
    }

    @Test func nothingIsHeldBackWithoutABound() {
        var quota = ReplicationQuota()
        quota.record(bytes: 1 << 40, now: 0)
        #expect(!quota.isLimited)
        #expect(quota.millisecondsUntilWithin(now: 0) == 0)
    }

    @Test func aReadThatOvershootsIsPaidForInTime() {
        var quota = quota(1000)
        quota.record(bytes: 5000, now: 10_000)
        #expect(quota.millisecondsUntilWithin(now: 10_000) == 5000)
        #expect(quota.millisecondsUntilWithin(now: 14_999) == 1)
        #expect(quota.millisecondsUntilWithin(now: 15_000) == 0)
    }

    @Test func theFirstSampleCountsAsWhole() {
        var quota = quota(1000)
        quota.record(bytes: 1000, now: 0)
        #expect(quota.millisecondsUntilWithin(now: 1) == 0)
        quota.record(bytes: 1, now: 2)
        #expect(quota.millisecondsUntilWithin(now: 2) > 0)
    }

    @Test func whatIsOlderThanTheWindowIsForgotten() {
        var quota = quota(1000)
        quota.record(bytes: 1_000_000, now: 0)
        #expect(quota.millisecondsUntilWithin(now: 10_999) > 0)
        #expect(quota.millisecondsUntilWithin(now: 11_000) == 0)
    }

    /// Whoever asks before each read and reads whenever it may moves as much as the bound says, up to one read.
    @Test(arguments: [Int64(100), 1000, 50_000]) func theAverageIsTheBound(rate: Int64) {
        var quota = quota(rate)
        var moved: Int64 = 0
        let step = max(1, rate / 10)
        for now in stride(from: Int64(0), to: 60_000, by: 5) where quota.millisecondsUntilWithin(now: now) == 0 {
            quota.record(bytes: Int(step), now: now)
            moved += step
        }
        #expect(moved >= rate * 60 * 9 / 10)
        #expect(moved <= rate * 60 * 11 / 10 + step)
    }
}
