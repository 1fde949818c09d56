import Testing

@testable import Linking

/// What a drill on real topics does next, read off how the topics stand.
struct DrillStandingTests {
    private static let martlet = DrillSource(isMartlet: true, hasNoProducers: false)
    private static let kafka = DrillSource(isMartlet: false, hasNoProducers: false)

    private func standing(
        _ here: MirrorState?, source: MirrorState? = nil, fencedHere: Bool = false, fencedAtSource: Bool = false
    ) -> DrillStanding {
        DrillStanding(topic: "a", here: here, source: source, isFencedHere: fencedHere, isFencedAtSource: fencedAtSource)
    }

    @Test func aSwitchoverGoesOnUntilTheMirrorIsStopped() {
        for state in [MirrorState.active, .pendingStopped, .stopping] {
            #expect(standing(state).stages(of: .switchover, Self.martlet) == [.promote])
        }
        #expect(standing(.stopped, fencedAtSource: true).stages(of: .switchover, Self.martlet).isEmpty)
    }

    @Test func aFailoverClosesTheSourceFirst() {
        #expect(standing(.active).stages(of: .failover, Self.martlet) == [.fenceSource, .failOver])
        #expect(standing(.active, fencedAtSource: true).stages(of: .failover, Self.martlet) == [.failOver])
        // Broken off behind a failover of somebody else's: the source is still closed.
        #expect(standing(.stopped).stages(of: .failover, Self.martlet) == [.fenceSource])
        #expect(standing(.stopped, fencedAtSource: true).stages(of: .failover, Self.martlet).isEmpty)
        #expect(standing(.active).stages(of: .failover, Self.kafka) == [.failOver])
    }

    @Test func aFailbackGoesOnWhereItWasBrokenOff() {
        func left(_ standing: DrillStanding) -> [DrillStage] { standing.stages(of: .failback, Self.martlet) }
        let all: [DrillStage] = [.restoreSource, .promoteSource, .restoreHere]
        #expect(left(standing(.stopped, fencedAtSource: true)) == all)
        // After a failover without a fence.
        #expect(left(standing(.stopped)) == all)
        #expect(left(standing(.stopped, source: .pendingRestore)) == all)
        #expect(left(standing(.stopped, source: .active)) == all)
        #expect(left(standing(.stopped, source: .pendingStopped, fencedHere: true)) == [.promoteSource, .restoreHere])
        #expect(left(standing(.stopped, source: .stopped, fencedHere: true)) == [.restoreHere])
        #expect(left(standing(.pendingRestore, source: .stopped)) == [.restoreHere])
        #expect(left(standing(.active, source: .stopped)).isEmpty)
        // Given back once, and handed over again since: everything is to be done anew.
        #expect(left(standing(.stopped, source: .stopped, fencedAtSource: true)) == all)
        #expect(left(standing(.stopped, source: .stopped, fencedHere: true, fencedAtSource: true)) == all)
    }

    @Test func whoTakesWritesIsSaid() {
        #expect(standing(.active).writable == [.source])
        #expect(standing(.active, fencedAtSource: true).writable.isEmpty)
        #expect(standing(.stopped, fencedAtSource: true).writable == [.here])
        #expect(standing(.stopped).writable == [.source, .here])
        #expect(standing(.stopped, source: .active).writable == [.here])
        #expect(standing(.stopped, source: .stopped, fencedHere: true).writable == [.source])
    }

    @Test func whatCannotTakePartIsRefused() {
        func refusal(_ kind: DrillKind, _ state: MirrorState?, _ source: DrillSource = Self.martlet, lag: Int64? = 0) -> String? {
            standing(state).refusal(of: kind, source, lag: lag)
        }
        for kind in [DrillKind.switchover, .failover] {
            #expect(refusal(kind, .active) == nil)
            #expect(refusal(kind, .stopped) == nil)
            #expect(refusal(kind, .active, lag: nil) != nil)
            for state in [MirrorState.failed, .paused, .sourceUnavailable, .pendingMirror, .pendingRestore] {
                #expect(refusal(kind, state) != nil)
            }
            #expect(refusal(kind, .active, Self.kafka)?.contains("--producers-stopped") == true)
            #expect(refusal(kind, .active, DrillSource(isMartlet: false, hasNoProducers: true)) == nil)
        }
        #expect(refusal(.switchover, .pendingStopped) == nil)
        #expect(refusal(.failover, .pendingStopped) != nil)
        #expect(refusal(.failback, .stopped) == nil)
        #expect(refusal(.failback, .failed) != nil)
        #expect(refusal(.failback, .stopped, Self.kafka) != nil)
        #expect(refusal(.switchover, nil) != nil)
    }

    @Test func topicsAreNamedByPatterns() {
        let names = ["eu.a", "eu.b", "orders", "orders-old"]
        #expect(DrillSelection("orders, eu.*").choose(among: names).chosen == ["eu.a", "eu.b", "orders"])
        #expect(DrillSelection("*").choose(among: names).chosen == names)
        #expect(DrillSelection("orders,us.*").choose(among: names).unmatched == ["us.*"])
        #expect(DrillSelection(" , ").patterns.isEmpty)
    }
}
