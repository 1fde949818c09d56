import Primitives
import Testing

@testable import Linking

struct CommonPointSearchTests {
    /// Two logs as the first offsets of their batches: equal up to a point.
    private struct Logs {
        var own: [Range<Offset>]
        var source: [Range<Offset>]
        /// Batches with these first offsets are the same on both sides.
        var common: Int

        func search() -> (found: Offset, probes: Int) {
            let start = max(own.first?.lowerBound ?? 0, source.first?.lowerBound ?? 0)
            let end = min(own.last?.upperBound ?? 0, source.last?.upperBound ?? 0)
            var search = CommonPointSearch(start: start, end: end)
            var probes = 0
            while case .probe(let offset) = search.step {
                probes += 1
                if probes > 1_000 { break }
                let mine = own.firstIndex { $0.contains(offset) }
                if let mine, mine < common {
                    search.agreed(endingAt: own[mine].upperBound)
                } else {
                    search.differed(beginningAt: mine.map { own[$0].lowerBound } ?? offset)
                }
            }
            guard case .found(let offset) = search.step else { return (-1, probes) }
            return (offset, probes)
        }
    }

    private static func batches(_ sizes: [Offset], from start: Offset) -> [Range<Offset>] {
        var next = start
        return sizes.map { size in
            defer { next += size }
            return next..<(next + size)
        }
    }

    @Test(arguments: 0..<400)
    func findsWhereLogsPart(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        let count = Int(random.next() % 60)
        let common = count == 0 ? 0 : Int(random.next() % UInt64(count + 1))
        let start = Offset(random.next() % 1_000)
        let sizes = (0..<count).map { _ in Offset(random.next() % 50 + 1) }
        let own = Self.batches(sizes, from: start)
        let point = common == 0 ? start : own[common - 1].upperBound
        let tail = (0..<Int(random.next() % 60)).map { _ in Offset(random.next() % 50 + 1) }
        let source = Array(own.prefix(common)) + Self.batches(tail, from: point)
        let (found, probes) = Logs(own: own, source: source, common: common).search()
        // The source may be shorter than what both share; then all of it is common.
        #expect(found == min(point, max(own.last?.upperBound ?? start, start)) || own.isEmpty || source.isEmpty)
        #expect(probes < 60)
    }

    @Test func equalLogsNeedOneProbe() {
        let batches = Self.batches(Array(repeating: 10, count: 1_000), from: 0)
        #expect(Logs(own: batches, source: batches, common: 1_000).search() == (10_000, 1))
    }

    @Test func aLongCommonPartNeedsFewProbes() {
        let own = Self.batches(Array(repeating: 1, count: 100_000), from: 0)
        let (found, probes) = Logs(own: own, source: own, common: 40_000).search()
        #expect(found == 40_000)
        #expect(probes < 40)
    }
}
