// Rates and tokens as Kafka's quotas measure them; the numbers are those of Kafka's `Rate` and `TokenBucket` worked out by hand.
import Testing

@testable import Primitives

@Suite("Primitives: rates over samples")
struct SampledRateTests {
    @Test func aBurstCountsOverAllSamplesButOne() {
        var rate = SampledRate(samples: 11, milliseconds: 1000)
        rate.record(5000, now: 100)
        // Ten seconds are taken for what has just begun.
        #expect(rate.measured(now: 100) == 500)
        #expect(rate.wait(above: 500, now: 100) == 0)
        // (1000 - 400) / 400 × 10 s and half of that.
        #expect(rate.wait(above: 400, now: 100) == 2500)
        #expect(rate.wait(above: 250, now: 100) == 10_000)
    }

    @Test func aSteadyRateIsMeasuredAsItIs() {
        var rate = SampledRate(samples: 11, milliseconds: 1000)
        for second in 0..<60 as Range<Int64> { rate.record(300, now: second * 1000) }
        let measured = rate.perSecond(now: 59_999)
        #expect(measured > 280 && measured <= 330, "\(measured)")
        #expect(rate.wait(above: 330, now: 59_999) == 0)
    }

    @Test func whatIsOldIsForgotten() {
        var rate = SampledRate(samples: 3, milliseconds: 1000)
        rate.record(900, now: 0)
        #expect(rate.measured(now: 2999) > 0)
        #expect(!rate.isQuiet(now: 2999))
        #expect(rate.measured(now: 3000) == 0)
        #expect(rate.isQuiet(now: 3000))
    }

    @Test func whatIsTakenBackDoesNotCount() {
        var rate = SampledRate(samples: 11, milliseconds: 1000)
        rate.record(100, now: 0)
        rate.record(7000, now: 5)
        rate.record(-7000, now: 5)
        // 100 in ten seconds and five milliseconds.
        #expect(abs(rate.measured(now: 5) - 100 / 10.005) < 0.001)
    }

    /// Whoever waits as long as it is told is within its bound when it comes back.
    @Test func afterTheWaitTheRateIsWithinItsBound() {
        var random = SeededRandom(seed: 4)
        for _ in 0..<500 {
            let bound = Double.random(in: 1...10_000, using: &random)
            var rate = SampledRate(samples: Int.random(in: 2...12, using: &random), milliseconds: 1000)
            var now = Int64.random(in: 0...5000, using: &random)
            var sent = 0.0
            let began = now
            for _ in 0..<200 {
                let size = Double.random(in: 0...bound, using: &random)
                rate.record(size, now: now)
                sent += size
                now += rate.millisecondsAbove(bound, now: now) + 1
            }
            // All in all never faster than the bound, save for the burst at the beginning and one message at the end.
            let allowed = bound * (Double(now - began) / 1000 + Double(rate.sampleCount) + 1)
            #expect(sent <= allowed, "\(sent) of \(allowed)")
        }
    }

    @Test func anAverageIsOfTheLastMinute() {
        var average = SampledAverage()
        #expect(average.shown(now: 0).isNaN)
        average.record(10, now: 0)
        average.record(20, now: 29_000)
        #expect(average.shown(now: 29_000) == 15)
        average.record(60, now: 31_000)
        #expect(average.shown(now: 31_000) == 30)
        #expect(average.shown(now: 70_000) == 60)
        #expect(average.shown(now: 200_000).isNaN)
    }
}

@Suite("Primitives: tokens")
struct TokenBucketTests {
    @Test func aFullBucketMayBeEmptiedAndIndebted() {
        var bucket = TokenBucket(rate: 5, burstSeconds: 10)
        #expect(bucket.left(now: 0) == 50)
        bucket.take(60, now: 0)
        #expect(bucket.left(now: 0) == -10)
        #expect(bucket.debt(now: 0) == 2000)
        #expect(bucket.debt(now: 1500) == 500)
        #expect(bucket.debt(now: 2000) == 0)
        #expect(bucket.left(now: 100_000) == 50)
    }

    @Test func anotherRateHoldsAtOnce() {
        var bucket = TokenBucket(rate: 5, burstSeconds: 10)
        bucket.take(60, now: 0)
        bucket.rate = 1
        #expect(bucket.debt(now: 0) == 10_000)
        #expect(bucket.left(now: 60_000) == 10)
    }
}

// Asking purges; `#expect` cannot ask what is changed by it.
extension SampledRate {
    fileprivate func measured(now: Int64) -> Double {
        var copy = self
        return copy.perSecond(now: now)
    }

    fileprivate func wait(above bound: Double, now: Int64) -> Int64 {
        var copy = self
        return copy.millisecondsAbove(bound, now: now)
    }

    fileprivate func isQuiet(now: Int64) -> Bool {
        var copy = self
        return copy.isIdle(now: now)
    }
}

extension SampledAverage {
    fileprivate func shown(now: Int64) -> Double {
        var copy = self
        return copy.average(now: now)
    }
}

extension TokenBucket {
    fileprivate func left(now: Int64) -> Double {
        var copy = self
        return copy.tokens(now: now)
    }

    fileprivate func debt(now: Int64) -> Int64 {
        var copy = self
        return copy.debtMilliseconds(now: now)
    }
}
