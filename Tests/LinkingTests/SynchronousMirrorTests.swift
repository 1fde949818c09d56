import Primitives
import Testing

@testable import Linking

/// What a source's leader waits for, and for how long.
struct SynchronousMirrorTests {
    private func mirror() -> SynchronousMirror { SynchronousMirror(leaderEpoch: 3, timeoutMilliseconds: 1_000) }

    @Test func producersWaitForWhatTheMirrorHas() {
        var mirror = mirror()
        #expect(mirror.acknowledged(100, leaderEpoch: 3) == -1, "nothing is known of the mirror yet")
        #expect(mirror.report(40, highWatermark: 100, leaderEpoch: 3, now: 0) == .none)
        #expect(mirror.acknowledged(100, leaderEpoch: 3) == 40)
        #expect(mirror.report(100, highWatermark: 100, leaderEpoch: 3, now: 1) == .none)
        #expect(mirror.acknowledged(100, leaderEpoch: 3) == 100)
        #expect(mirror.acknowledged(90, leaderEpoch: 3) == 90, "what is not committed here counts for nothing")
    }

    @Test func anotherLeaderHasHeardNothing() {
        var mirror = mirror()
        _ = mirror.report(100, highWatermark: 100, leaderEpoch: 3, now: 0)
        #expect(mirror.acknowledged(100, leaderEpoch: 4) == -1)
        #expect(mirror.report(80, highWatermark: 100, leaderEpoch: 4, now: 1) == .none)
        #expect(mirror.acknowledged(100, leaderEpoch: 4) == 80)
    }

    @Test func aMirrorWithMoreThanTheSourceHasSomethingElse() {
        var mirror = mirror()
        _ = mirror.report(100, highWatermark: 90, leaderEpoch: 3, now: 0)
        #expect(mirror.acknowledged(120, leaderEpoch: 3) == -1)
    }

    @Test func aMirrorThatMovesUnderLoadIsWaitedForHoweverFarBehindItIs() {
        var mirror = mirror()
        for step in 1...100 {
            let now = Int64(step) * 100
            #expect(mirror.tick(highWatermark: Offset(step * 10), leaderEpoch: 3, now: now) == .none)
            // What was committed 700 ms ago.
            _ = mirror.report(Offset(max(0, step - 7) * 10), highWatermark: Offset(step * 10), leaderEpoch: 3, now: now)
        }
        #expect(!mirror.isDegraded)
    }

    @Test func aMirrorThatStandsStillIsGivenUpInTime() {
        var mirror = mirror()
        _ = mirror.report(10, highWatermark: 10, leaderEpoch: 3, now: 0)
        // Idle, as long as it may be.
        #expect(mirror.tick(highWatermark: 10, leaderEpoch: 3, now: 50_000) == .none)
        var degradedAt: Int64?
        for now in stride(from: Int64(50_100), through: 53_000, by: 100) {
            let change = mirror.tick(highWatermark: 11 + (now - 50_100) / 100, leaderEpoch: 3, now: now)
            if change == .degraded { degradedAt = now }
        }
        #expect(degradedAt == 51_100)
        #expect(mirror.acknowledged(500, leaderEpoch: 3) == 500 && mirror.degradations == 1)
    }

    @Test func whatHasCaughtUpIsWaitedForAgain() {
        var mirror = mirror()
        _ = mirror.tick(highWatermark: 10, leaderEpoch: 3, now: 0)
        #expect(mirror.tick(highWatermark: 10, leaderEpoch: 3, now: 1_000) == .degraded)
        #expect(mirror.report(5, highWatermark: 10, leaderEpoch: 3, now: 1_100) == .none)
        // More has come meanwhile, but it has what there was a moment ago.
        #expect(mirror.report(10, highWatermark: 14, leaderEpoch: 3, now: 1_600) == .restored)
        #expect(mirror.acknowledged(14, leaderEpoch: 3) == 10)
    }

    @Test func whatHasWhatWasThereLongAgoHasNotCaughtUp() {
        var mirror = mirror()
        _ = mirror.tick(highWatermark: 10, leaderEpoch: 3, now: 0)
        _ = mirror.tick(highWatermark: 10, leaderEpoch: 3, now: 1_000)
        _ = mirror.report(5, highWatermark: 10, leaderEpoch: 3, now: 1_100)
        #expect(mirror.report(12, highWatermark: 400, leaderEpoch: 3, now: 60_000) == .none)
        #expect(mirror.isDegraded)
    }

    @Test func theSourceIsToldWhatIsNewAndNowAndThenEverything() {
        var round = SynchronizationRound()
        func looks(_ wanted: Set<String>, _ now: Int64) -> Bool { round.mayLook(wanted, now: now) }
        func tells(_ wanted: Set<String>, _ ready: Set<String>, _ now: Int64) -> Bool { round.mustTell(wanted, ready: ready, now: now) }
        func isNewProblem(_ problem: String) -> Bool { round.failed(problem) }
        // Once, so that what an earlier link of that name asked for ends.
        #expect(looks([], 0))
        #expect(tells([], [], 0))
        round.told([], ready: [], now: 0)
        #expect(!looks([], 100_000))
        #expect(looks(["a", "b"], 100_000))
        #expect(tells(["a", "b"], ["a"], 100_000))
        #expect(isNewProblem("gone"))
        #expect(!isNewProblem("gone"))
        #expect(!looks(["a", "b"], 100_100), "not in a hurry when it fails")
        #expect(looks(["a", "b"], 100_500))
        round.told(["a", "b"], ready: ["a"], now: 100_500)
        #expect(looks(["a", "b"], 101_000))
        #expect(!tells(["a", "b"], ["a"], 101_000))
        #expect(tells(["a", "b"], ["b"], 101_000))
        round.told(["a", "b"], ready: ["b"], now: 101_000)
        #expect(!looks(["a", "b"], 110_900))
        #expect(looks(["a", "b"], 111_000))
        #expect(tells(["a"], [], 111_000), "one is no mirror any more")
    }
}
