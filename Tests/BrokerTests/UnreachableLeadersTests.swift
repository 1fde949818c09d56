// How long questions for metadata wait for the controller's decision about a leader that was lost.
import ClusterMetadata
import KafkaRecords
import Primitives
import Testing

@testable import Broker

@Suite("Broker: unreachable leaders")
struct UnreachableLeadersTests {
    private func image(fenced: Bool) throws -> MetadataImage {
        var replay = MetadataReplay(from: .empty)
        for id in [1, 2] as [NodeID] {
            var record = RegisterBrokerRecord()
            record.brokerId = id
            record.brokerEpoch = Int64(id)
            record.fenced = fenced
            try replay.replay(.registerBroker(record), offset: Offset(id), epoch: 1, timestamp: 0)
        }
        let published = replay.publish()
        return try #require(published).image
    }

    @Test func aQuestionWaitsForAMomentAfterALeaderWasLost() throws {
        let cluster = try image(fenced: false).cluster
        let leaders = UnreachableLeaders()
        #expect(!leaders.isDecisionPending(cluster, now: 0))
        leaders.failed(1, now: 1000)
        #expect(leaders.isDecisionPending(cluster, now: 1000) && leaders.isDecisionPending(cluster, now: 1399))
        // The decision is there.
        #expect(try !leaders.isDecisionPending(image(fenced: true).cluster, now: 1001))
        #expect(!leaders.isDecisionPending(MetadataImage.empty.cluster, now: 1001), "unregistered meanwhile")
        // Attempts go on, and the connection stays away: nobody waits for that.
        for now in stride(from: 1010, through: 20_000, by: 1000) as StrideThrough<Int64> { leaders.failed(1, now: now) }
        #expect(!leaders.isDecisionPending(cluster, now: 1400) && !leaders.isDecisionPending(cluster, now: 19_010))
        // Lost another time, long after.
        leaders.failed(1, now: 30_000)
        #expect(leaders.isDecisionPending(cluster, now: 30_001))
    }

    @Test func whoIsReachedAgainHoldsNothingUp() throws {
        let cluster = try image(fenced: false).cluster
        let leaders = UnreachableLeaders()
        leaders.failed(1, now: 1000)
        leaders.failed(2, now: 1100)
        leaders.reached(1)
        #expect(leaders.isDecisionPending(cluster, now: 1101))
        leaders.reached(2)
        #expect(!leaders.isDecisionPending(cluster, now: 1101))
        leaders.failed(1, now: 1200)
        #expect(leaders.isDecisionPending(cluster, now: 1599) && !leaders.isDecisionPending(cluster, now: 1600))
    }
}
