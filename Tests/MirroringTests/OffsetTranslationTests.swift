// Translation of offsets against a model that knows every single record.
import Mirroring
import Primitives
import Testing

@Suite("Translation of offsets")
struct OffsetTranslationTests {
    /// Both sides, record by record.
    private struct Model {
        var translation = OffsetTranslation()
        /// What a topic of offset syncs would hold.
        var syncs: [(upstream: Int64, downstream: Int64)] = []
        /// Where the copy of each record of the source is, the last copy counting.
        var copies: [Int64: Int64] = [:]
        /// Where the target has records.
        var written: Set<Int64> = []
        var nextUpstream: Int64 = 0
        var nextDownstream: Int64 = 0

        mutating func copy(_ count: Int64) {
            if translation.copied(upstream: nextUpstream, downstream: nextDownstream, count: count) {
                syncs.append((nextUpstream, nextDownstream))
            }
            for index in 0..<count {
                copies[nextUpstream + index] = nextDownstream + index
                written.insert(nextDownstream + index)
            }
            nextUpstream += count
            nextDownstream += count
        }

        mutating func pass(_ count: Int64) {
            nextUpstream += count
            translation.passed(upstream: nextUpstream)
        }

        /// The target's offset of the first copy at or behind an offset.
        func expected(_ upstream: Int64) -> Int64 {
            let behind = copies.filter { $0.key >= upstream }.min { $0.key < $1.key }
            return behind?.value ?? nextDownstream
        }

        /// Whether a reader that begins there meets that copy first: what lies between can only be markers of the target.
        func isExact(_ found: Int64?, _ upstream: Int64) -> Bool {
            guard let found else { return false }
            let expected = expected(upstream)
            return found <= expected && !(found..<expected).contains(where: written.contains)
        }
    }

    @Test("Every offset translates exactly, whatever gaps both sides have", arguments: 0..<40)
    func exact(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        var model = Model()
        for _ in 0..<200 {
            switch Int.random(in: 0..<6, using: &random) {
            case 0: model.pass(Int64.random(in: 1...3, using: &random))
            case 1: model.nextDownstream += 1
            default: model.copy(Int64.random(in: 1...9, using: &random))
            }
        }
        model.copy(1)
        let first = model.copies.keys.min() ?? 0
        for upstream in first...(model.nextUpstream + 3) {
            #expect(model.isExact(model.translation.downstream(of: upstream), upstream), "seed \(seed), offset \(upstream)")
        }
        for downstream in 0...(model.nextDownstream + 3) {
            // The first record whose copy is not before it; what lies in front of that record can only be what was passed.
            let behind = model.copies.filter { $0.value >= downstream }.keys.min() ?? model.nextUpstream
            let found = try #require(model.translation.upstream(of: downstream))
            #expect(found <= behind && !(found..<behind).contains { model.copies[$0] != nil }, "seed \(seed), back from \(downstream)")
        }
    }

    @Test("What is read back from the topic of syncs translates the same", arguments: 0..<40)
    func readBack(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed) &+ 1000)
        var model = Model()
        model.copy(3)
        for _ in 0..<100 {
            switch Int.random(in: 0..<6, using: &random) {
            case 0: model.pass(Int64.random(in: 1...3, using: &random))
            case 1: model.nextDownstream += 1
            default: model.copy(Int64.random(in: 1...9, using: &random))
            }
        }
        model.copy(2)
        var read = OffsetTranslation()
        for (upstream, downstream) in model.syncs { read.load(upstream: upstream, downstream: downstream, isRun: true) }
        read.loaded(upstream: model.nextUpstream, downstream: model.nextDownstream)
        for upstream in 0...model.nextUpstream {
            #expect(model.isExact(read.downstream(of: upstream), upstream), "seed \(seed), offset \(upstream)")
        }
        // And copying goes on from there.
        model.translation = read
        model.copy(5)
        model.pass(1)
        model.copy(2)
        for upstream in 0...(model.nextUpstream + 1) {
            #expect(model.isExact(model.translation.downstream(of: upstream), upstream), "seed \(seed), offset \(upstream)")
        }
    }

    @Test("Copied again after a crash: the later copy counts, and no record is passed over")
    func copiedAgain() {
        var model = Model()
        model.copy(100)
        model.nextUpstream = 60
        model.translation.loaded(upstream: 60, downstream: 100)
        model.copy(50)
        for upstream in Int64(0)...111 { #expect(model.translation.downstream(of: upstream) == model.expected(upstream)) }
    }

    @Test("Pairs that MirrorMaker wrote are only known where they stand: never too late")
    func sparse() {
        var read = OffsetTranslation()
        for upstream in stride(from: Int64(0), through: 900, by: 100) { read.load(upstream: upstream, downstream: upstream, isRun: false) }
        read.loaded(upstream: 950, downstream: 950)
        #expect(read.downstream(of: 300) == 300 && read.downstream(of: 301) == 301 && read.downstream(of: 399) == 301)
        #expect(read.downstream(of: 950) == 950 && read.downstream(of: 2000) == 950)
    }

    @Test("After compaction took pairs away, translation is coarse and never too late")
    func compacted() {
        var read = OffsetTranslation()
        read.load(upstream: 0, downstream: 0, isRun: true)
        read.loadingSkipped()
        read.load(upstream: 500, downstream: 400, isRun: true)
        read.loaded(upstream: 600, downstream: 500)
        #expect(read.downstream(of: 450) == 1 && read.downstream(of: 500) == 400 && read.downstream(of: 550) == 450)
    }

    @Test("Memory is bounded; what is thinned out is coarse and never too late", arguments: 0..<5)
    func bounded(seed: Int) {
        var model = Model()
        model.translation = OffsetTranslation(limit: 16)
        for _ in 0..<500 {
            model.copy(4)
            model.pass(1)
        }
        #expect(model.translation.runs.count <= 16)
        for upstream in Int64(0)..<model.nextUpstream {
            let found = model.translation.downstream(of: upstream)
            #expect(found != nil && (found ?? .max) <= model.expected(upstream), "offset \(upstream)")
        }
        for upstream in (model.nextUpstream - 20)..<model.nextUpstream {
            #expect(model.translation.downstream(of: upstream) == model.expected(upstream))
        }
    }

    @Test("Nothing is known before anything was copied")
    func unknown() {
        var translation = OffsetTranslation()
        #expect(translation.downstream(of: 5) == nil)
        translation.loaded(upstream: 10, downstream: 20)
        #expect(translation.downstream(of: 9) == nil && translation.downstream(of: 10) == 20 && translation.downstream(of: 99) == 20)
        _ = translation.copied(upstream: 10, downstream: 20, count: 5)
        #expect(translation.downstream(of: 9) == nil && translation.downstream(of: 12) == 22)
    }

    @Test("Pairs are written at least every offset.lag.max records")
    func pace() {
        func due(_ pace: inout OffsetSyncPace, _ downstream: Int64) -> Bool { pace.isDue(downstream: downstream) }
        var pace = OffsetSyncPace(maximumLag: 100)
        let first = [0, 50, 100, 101].map { due(&pace, $0) }
        #expect(first == [true, false, false, true])
        #expect(pace.isBehind(downstream: 102) && !pace.isBehind(downstream: 101))
        let truncated = due(&pace, 5)
        #expect(truncated, "the target lost its end")
        var every = OffsetSyncPace(maximumLag: 0)
        let all = [1, 2].map { due(&every, $0) }
        #expect(all == [true, true])
    }
}
