import Testing

@testable import Linking

struct ThroughputTests {
    @Test func ratesAreThoseOfTheLastSeconds() throws {
        var rate = Throughput()
        #expect(rate.perSecond(records: 0, bytes: 0, at: 0) == nil)
        // Ten records a second for twenty seconds, in steps of a tenth.
        for step in 0..<200 { rate.note(records: Int64(step), bytes: Int64(step * 100), at: Int64(step * 100)) }
        let found = try #require(rate.perSecond(records: 200, bytes: 20_000, at: 20_000))
        #expect(abs(found.records - 10) < 1.5 && abs(found.bytes - 1_000) < 150, "\(found)")
        // Nothing comes any more.
        let quiet = try #require(rate.perSecond(records: 200, bytes: 20_000, at: 60_000))
        #expect(quiet.records < 0.5, "\(quiet)")
    }

    @Test func spreadsKnowTheirBounds() {
        var spread = FigureSpread()
        for value in [5, 1, 9] { spread.note(Int64(value)) }
        #expect(spread.least == 1 && spread.largest == 9 && spread.average == 5)
    }
}
