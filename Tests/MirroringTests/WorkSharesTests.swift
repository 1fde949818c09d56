// Processes that share work by a log: each share has one of them, whatever happens at the same time, and as few as possible move.
import NIOCore
import Primitives
import Testing

@testable import Mirroring

@Suite("Shared work")
struct WorkSharesTests {
    /// Members at one log; time goes on by steps of 100 ms.
    private struct World {
        var log: [WorkRecord] = []
        var members: [String: (shares: WorkShares, read: Int, beat: Int64)] = [:]
        var now: Int64 = 0
        let count: Int
        /// Shares that changed from one living member to another.
        var moves = 0

        init(_ count: Int) { self.count = count }

        mutating func start(_ name: String) {
            members[name] = (WorkShares(member: name, shares: count, timeout: 1000), 0, .min)
        }

        /// What a member does in one turn; `isPaused` ones do nothing.
        mutating func turn(_ name: String) {
            guard var (shares, read, beat) = members[name] else { return }
            for record in log[read...] { shares.apply(record, now: now) }
            read = log.count
            if now - 300 >= beat {
                log.append(.alive(member: name))
                beat = now
            }
            log += shares.claims(now: now)
            let given = shares.giveUp(now: now)
            log += shares.releases(given)
            members[name] = (shares, read, beat)
        }

        mutating func run(_ turns: Int, paused: Set<String> = [], _ random: inout SeededRandom) {
            for _ in 0..<turns {
                now += 100
                for name in members.keys.filter({ !paused.contains($0) }).shuffled(using: &random) { turn(name) }
            }
        }

        var owned: [String: Set<Int>] { members.mapValues { $0.shares.owned(now: now) } }
    }

    private static func isSpread(_ world: World, over names: Set<String>) -> Bool {
        let owned = world.owned.filter { names.contains($0.key) }
        let sizes = owned.map(\.value.count)
        return Set(owned.values.joined()).count == world.count && sizes.reduce(0, +) == world.count
            && (sizes.max() ?? 0) - (sizes.min() ?? 0) <= 1
    }

    @Test(
        "Shares are spread evenly, a new member takes only its part, and those of a dead one go to the others", arguments: [1, 2, 3, 8, 17])
    func spreads(count: Int) {
        var random = SeededRandom(seed: UInt64(count))
        var world = World(count)
        world.start("a")
        world.run(10, &random)
        #expect(world.owned["a"]?.count == count)
        world.start("b")
        world.run(20, &random)
        #expect(Self.isSpread(world, over: ["a", "b"]), "\(world.owned)")
        let before = world.owned
        world.start("c")
        world.run(30, &random)
        #expect(Self.isSpread(world, over: ["a", "b", "c"]), "\(world.owned)")
        for name in ["a", "b"] { #expect(world.owned[name]?.isSubset(of: before[name] ?? []) == true, "only c took something") }
        let kept = world.owned
        world.members["b"] = nil
        world.run(40, &random)
        #expect(Self.isSpread(world, over: ["a", "c"]), "\(world.owned)")
        for name in ["a", "c"] { #expect(world.owned[name]?.isSuperset(of: kept[name] ?? []) == true, "nothing else moved") }
    }

    @Test("A member that was held up does nothing any more before others take over")
    func heldUp() {
        var random = SeededRandom(seed: 4)
        var world = World(6)
        for name in ["a", "b"] { world.start(name) }
        world.run(30, &random)
        for _ in 0..<15 {
            world.run(1, paused: ["b"], &random)
            let owned = world.owned
            #expect(owned["a"]?.isDisjoint(with: owned["b"] ?? []) == true)
        }
        #expect(world.owned["b"]?.isEmpty == true && world.owned["a"]?.count == 6)
        world.run(30, &random)
        #expect(Self.isSpread(world, over: ["a", "b"]), "\(world.owned)")
    }

    @Test("Whoever comes, goes and is held up: two never do the same share, and all agree at the end")
    func chaos() {
        for seed in 0..<40 {
            var random = SeededRandom(seed: UInt64(seed))
            var world = World(1 + Int.random(in: 0..<10, using: &random))
            for step in 0..<40 {
                let name = ["a", "b", "c", "d"].randomElement(using: &random) ?? "a"
                if world.members[name] == nil { world.start("\(name)") } else if step % 3 == 0 { world.members[name] = nil }
                let paused = ["a", "b", "c", "d"].randomElement(using: &random) ?? "a"
                for _ in 0..<Int.random(in: 1..<25, using: &random) {
                    world.run(1, paused: [paused], &random)
                    let owned = world.owned.values.map { $0 }
                    let all = owned.reduce(0) { $0 + $1.count }
                    #expect(Set(owned.joined()).count == all, "seed \(seed): \(world.owned)")
                }
            }
            world.start("z")
            world.run(60, &random)
            #expect(Self.isSpread(world, over: Set(world.members.keys)), "seed \(seed): \(world.owned)")
        }
    }

    @Test("The records' form, and a log of which only the last record of each key is left")
    func records() {
        for record in [
            WorkRecord.alive(member: "a"), .left(member: "a"), .claimed(share: 3, member: "a", term: 7),
            .released(share: 3, member: "a", term: 7),
        ] {
            #expect(WorkRecord(key: record.key, value: record.value(time: 5)) == record)
        }
        #expect(WorkRecord(key: ByteBuffer(string: "share:x"), value: ByteBuffer(string: "{}")) == nil)
        #expect(WorkRecord(key: nil, value: nil) == nil)

        var shares = WorkShares(member: "a", shares: 2, timeout: 1000)
        shares.apply(.alive(member: "a"), now: 0)
        shares.apply(.alive(member: "b"), now: 0)
        shares.apply(.claimed(share: 0, member: "a", term: 57), now: 0)
        #expect(shares.owned(now: 10) == [0])
        // Too late, but the last record of its key: the claim is written once more.
        shares.apply(.claimed(share: 0, member: "b", term: 57), now: 10)
        #expect(shares.owner(of: 0) == "a")
        #expect(shares.claims(now: 10).first == .claimed(share: 0, member: "a", term: 58))
    }
}
