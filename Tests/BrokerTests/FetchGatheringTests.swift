// When a follower's fetch waits for more records though there are some.
import NIOCore
import NIOEmbedded
import Primitives
import Replication
import Testing

@testable import Broker
@testable import Observability

@Suite("A distant follower's fetches")
struct FetchGatheringTests {
    private static let millisecond: Int64 = 1_000_000

    /// One fetch of the second replica at the first, on a loop whose time the test moves.
    private final class Fetch {
        let eventLoop = EmbeddedEventLoop()
        private let operation: FetchOperation
        private let box = Box()

        private final class Box { var answers: [[FetchPartitionResult]] = [] }

        init(_ set: TestReplicaSet, from offset: Offset, maxBytes: Int32 = 1 << 20, gathering: FetchGathering?) throws {
            let topic = TopicPartitions(
                name: TestReplica.name.topic, id: TestReplica.topicID, partitions: [try set[1].partition], metrics: TopicMetrics())
            let position = FetchPosition(
                fetchOffset: offset, maxBytes: maxBytes, currentLeaderEpoch: 0, lastFetchedEpoch: -1, logStartOffset: 0)
            let box = box
            operation = FetchOperation(
                asked: [
                    .init(
                        key: FetchSessionKey(topicID: TestReplica.topicID, topicName: "", partition: 0), position: position, topic: topic,
                        isDenied: false)
                ], limits: .init(minBytes: 1, maxBytes: 10 << 20, maxWaitMilliseconds: 500), version: 16,
                reader: FetchReader(replicaID: 2, replicaEpoch: 20, isolation: .logEnd)
            ) { box.answers.append($0) }
            operation.start(on: eventLoop, gathering: gathering)
        }

        /// Bytes of records in the answer; nil before it.
        var answered: Int? {
            eventLoop.run()
            return box.answers.first?[0].recordBytes
        }

        func pass(milliseconds: Int64) { eventLoop.advanceTime(by: .milliseconds(milliseconds)) }
    }

    private let gathering = FetchGathering(nanoseconds: 2 * millisecond, end: .max)

    @Test("Records that come while it gathers go along")
    func gathers() throws {
        let set = try TestReplicaSet()
        _ = try set[1].append("a")
        let one = try #require(try Fetch(set, from: 0, gathering: nil).answered)
        let fetch = try Fetch(set, from: 0, gathering: gathering)
        #expect(fetch.answered == nil)
        fetch.pass(milliseconds: 1)
        _ = try set[1].append("b")
        #expect(fetch.answered == nil)
        fetch.pass(milliseconds: 1)
        #expect(fetch.answered == 2 * one)
    }

    @Test("One that waited for the first record gathers as well, as long as records come in a stream")
    func gathersAfterWaiting() throws {
        let set = try TestReplicaSet()
        let fetch = try Fetch(set, from: 0, gathering: gathering)
        fetch.pass(milliseconds: 100)
        #expect(fetch.answered == nil)
        _ = try set[1].append("a")
        #expect(fetch.answered == nil)
        _ = try set[1].append("b")
        #expect(fetch.answered == nil)
        fetch.pass(milliseconds: 2)
        let both = try #require(fetch.answered)
        #expect(both == (try Fetch(set, from: 0, gathering: nil)).answered)

        let late = try Fetch(set, from: 2, gathering: FetchGathering(nanoseconds: 2 * Self.millisecond, end: 0))
        #expect(late.answered == nil)
        _ = try set[1].append("c")
        #expect(late.answered == both / 2)
    }

    @Test("What fills half of an answer leaves at once")
    func leavesWhenFull() throws {
        let set = try TestReplicaSet()
        _ = try set[1].append("a")
        let one = try #require(try Fetch(set, from: 0, gathering: nil).answered)
        #expect(try Fetch(set, from: 0, maxBytes: Int32(2 * one), gathering: gathering).answered == nil)
        #expect(try Fetch(set, from: 0, maxBytes: Int32(2 * one - 1), gathering: gathering).answered == one)
    }

    @Test("Errors leave at once")
    func errorsLeave() throws {
        let set = try TestReplicaSet()
        try set.change(leader: 3)
        #expect(try Fetch(set, from: 0, gathering: gathering).answered == 0)
    }

    @Test("Only followers that take long to ask again are waited for, an eighth of that and 3 ms at most")
    func pace() {
        var pace = FollowerPace()
        #expect(pace.asked(at: 5) == nil)
        pace.answered(at: 0)
        #expect(pace.asked(at: 4 * Self.millisecond - 1) == nil)
        pace.answered(at: 0)
        #expect(pace.asked(at: 8 * Self.millisecond) == FetchGathering(nanoseconds: Self.millisecond, end: 16 * Self.millisecond))
        // Nothing was sent since: it has only waited.
        #expect(pace.asked(at: 500 * Self.millisecond) == nil)
        pace.answered(at: 0)
        #expect(pace.asked(at: 80 * Self.millisecond)?.nanoseconds == 3 * Self.millisecond)
    }
}
