// The windows behind the quorum's latencies and rates.
import Testing

@testable import Runtime

@Suite("Quorum measurements")
struct QuorumMeasurementsTests {
    private static let second: Int64 = 1_000_000_000

    @Test func nothingIsMeasuredAtFirst() {
        let rates = QuorumMeasurements().rates(now: 5)
        #expect(rates.commitLatencyAverage.isNaN && rates.commitLatencyMaximum.isNaN)
        #expect(rates.electionLatencyAverage.isNaN && rates.electionLatencyMaximum.isNaN)
        #expect(rates.appendedRecordsPerSecond == 0 && rates.fetchedRecordsPerSecond == 0)
    }

    @Test func commitsAreMeasuredPerRecord() {
        var measurements = QuorumMeasurements()
        measurements.appended(count: 1, endOffset: 1, now: 0)
        measurements.appended(count: 4, endOffset: 5, now: 0)
        measurements.appended(count: 1, endOffset: 6, now: 0)
        measurements.committed(upTo: 5, now: 8_000_000)
        var rates = measurements.rates(now: Self.second)
        #expect(rates.commitLatencyMaximum == 8 && rates.commitLatencyAverage == 5)
        #expect(rates.appendedRecordsPerSecond == 6.0 / 31)
        // What a leader did not get committed before it lost its office is not measured.
        measurements.resigned()
        measurements.committed(upTo: 100, now: 2 * Self.second)
        #expect(measurements.rates(now: 2 * Self.second).commitLatencyMaximum == 8)
        rates = measurements.rates(now: 61 * Self.second)
        #expect(rates.commitLatencyAverage.isNaN && rates.appendedRecordsPerSecond == 0, "too old")
    }

    @Test func electionsAreMeasuredFromTheFirstAttempt() {
        var measurements = QuorumMeasurements()
        measurements.leaderKnown(now: 5)
        #expect(measurements.rates(now: 6).electionLatencyMaximum.isNaN, "it did not stand")
        measurements.standsForElection(now: Self.second)
        measurements.standsForElection(now: 2 * Self.second)
        measurements.leaderKnown(now: 3 * Self.second)
        #expect(measurements.rates(now: 4 * Self.second).electionLatencyAverage == 2000)
    }

    @Test func ratesGoOverTwoWindows() {
        var measurements = QuorumMeasurements()
        for second in 0..<50 as Range<Int64> { measurements.fetched(count: 10, now: second * Self.second) }
        let rate = measurements.rates(now: 50 * Self.second).fetchedRecordsPerSecond
        #expect(rate == 10)
    }
}
