// What a share coordinator keeps: that it survives, whom it hears, and that updates over a snapshot are what a snapshot would be.
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import ShareCoordination
import Testing

@Suite("Share coordinator")
struct ShareCoordinatorTests {
    private static let topic = TopicID(mostSignificantBits: 1, leastSignificantBits: 2)
    private let key = SharePartitionKey(group: "g", topicID: topic, partition: 0)

    /// A coordinator with its log.
    private struct Shard {
        var core: ShareCoordinator
        var log: [ShareStateRecord] = []

        mutating func take<Response>(_ result: ShareCoordinatorResult<Response>) -> Response {
            for record in result.records {
                core.replay(record, offset: Offset(log.count))
                log.append(record)
            }
            return result.response
        }
    }

    private func shard(updates: Int = 500) -> Shard {
        var configuration = ShareCoordinatorConfiguration()
        configuration.updatesPerSnapshot = updates
        return Shard(core: ShareCoordinator(configuration: configuration))
    }

    private func batch(_ first: Offset, _ last: Offset, _ state: Int8, _ count: Int16) -> ShareStateBatch {
        ShareStateBatch(firstOffset: first, lastOffset: last, deliveryState: state, deliveryCount: count)
    }

    private func update(
        _ batches: [ShareStateBatch], start: Offset = 0, leaderEpoch: LeaderEpoch = 1, stateEpoch: Int32 = 1, done: Int32 = 0
    ) -> SharePartitionUpdate {
        SharePartitionUpdate(
            stateEpoch: stateEpoch, leaderEpoch: leaderEpoch, startOffset: start, deliveryCompleteCount: done, batches: batches)
    }

    @Test("State is initialized, read, written, summed up and deleted")
    func life() throws {
        var shard = shard()
        #expect(throws: ShareStateRefusal.self) { try shard.core.read(key, leaderEpoch: 1, now: 0) }
        #expect(try shard.core.summary(key).startOffset == -1)
        shard.take(try shard.core.initialize(key, stateEpoch: 1, startOffset: -1, now: 5))
        #expect(try shard.core.initialize(key, stateEpoch: 1, startOffset: -1, now: 5).records.isEmpty, "a second time changes nothing")
        #expect(shard.take(try shard.core.read(key, leaderEpoch: 1, now: 5)).startOffset == -1)
        shard.take(try shard.core.write(key, update([batch(0, 9, 2, 1)], done: 10), now: 6))
        shard.take(try shard.core.write(key, update([batch(12, 12, 0, 2)], start: 10), now: 7))
        let state = shard.take(try shard.core.read(key, leaderEpoch: 1, now: 7))
        #expect(state.startOffset == 10 && state.batches == [batch(12, 12, 0, 2)] && state.stateEpoch == 1)
        #expect(try shard.core.summary(key).deliveryCompleteCount == 0)
        shard.take(try shard.core.delete(key))
        #expect(shard.core.count == 0)
        #expect(try shard.core.delete(key).records.isEmpty)
    }

    @Test("A leader of the past is not heard, nor one that reads for a group of the past")
    func fencing() throws {
        var shard = shard()
        shard.take(try shard.core.initialize(key, stateEpoch: 2, startOffset: 0, now: 0))
        _ = shard.take(try shard.core.read(key, leaderEpoch: 4, now: 0))
        func code(_ body: () throws -> Void) -> ErrorCode? {
            do { try body() } catch { return (error as? ShareStateRefusal)?.code }
            return nil
        }
        #expect(code { _ = try shard.core.read(key, leaderEpoch: 3, now: 0) } == .fencedLeaderEpoch)
        #expect(code { _ = try shard.core.write(key, update([], leaderEpoch: 3, stateEpoch: 2), now: 0) } == .fencedLeaderEpoch)
        #expect(code { _ = try shard.core.write(key, update([], leaderEpoch: 4, stateEpoch: 1), now: 0) } == .fencedStateEpoch)
        #expect(code { _ = try shard.core.initialize(key, stateEpoch: 1, startOffset: 0, now: 0) } == .fencedStateEpoch)
        #expect(code { _ = try shard.core.write(key, update([], leaderEpoch: 4, stateEpoch: 2), now: 0) } == nil)
        #expect(code { _ = try shard.core.write(key, update([], leaderEpoch: -1), now: 0) } == .invalidRequest)
    }

    @Test("The start never goes back")
    func monotonousStart() throws {
        var shard = shard()
        shard.take(try shard.core.initialize(key, stateEpoch: 1, startOffset: 0, now: 0))
        _ = shard.take(try shard.core.read(key, leaderEpoch: 1, now: 0))
        shard.take(try shard.core.write(key, update([], start: 10, done: 3), now: 0))
        shard.take(try shard.core.write(key, update([batch(2, 12, 2, 1)], start: 5, done: 9), now: 0))
        let state = try shard.core.read(key, leaderEpoch: 1, now: 0).response
        #expect(state.startOffset == 10 && state.deliveryCompleteCount == 3 && state.batches == [batch(10, 12, 2, 1)])
    }

    @Test("Snapshots and updates in the log, in Kafka's format, give the same state again", arguments: [0, 3, 500])
    func replay(updatesPerSnapshot: Int) throws {
        var random = SeededRandom(seed: UInt64(updatesPerSnapshot))
        var shard = shard(updates: updatesPerSnapshot)
        shard.take(try shard.core.initialize(key, stateEpoch: 1, startOffset: 0, now: 0))
        _ = shard.take(try shard.core.read(key, leaderEpoch: 1, now: 0))
        var start: Offset = 0
        for _ in 0..<50 {
            if Int.random(in: 0..<5, using: &random) == 0 { start += 3 }
            let first = start + Offset.random(in: 0..<20, using: &random)
            let last = first + Offset.random(in: 0..<5, using: &random)
            let written = batch(first, last, [0, 2, 4].randomElement(using: &random) ?? 0, Int16.random(in: 1..<5, using: &random))
            shard.take(try shard.core.write(key, update([written], start: start), now: 1))
        }
        #expect(shard.log.contains { if case .update = $0 { true } else { false } } == (updatesPerSnapshot > 0))
        var again = ShareCoordinator(configuration: shard.core.configuration)
        for (offset, record) in shard.log.enumerated() {
            let (encodedKey, value) = try record.encoded()
            let decoded = try #require(try ShareStateRecord(key: encodedKey, value: value))
            #expect(decoded == record)
            again.replay(decoded, offset: Offset(offset))
        }
        #expect(try again.read(key, leaderEpoch: 1, now: 2).response == shard.core.read(key, leaderEpoch: 1, now: 2).response)
        #expect(again.redundantOffset(end: 1_000) == shard.core.redundantOffset(end: 1_000))
    }

    @Test("The log is needed from the oldest snapshot on; cold state is written anew so that it moves")
    func pruning() throws {
        var shard = shard(updates: 2)
        let other = SharePartitionKey(group: "h", topicID: Self.topic, partition: 1)
        shard.take(try shard.core.initialize(key, stateEpoch: 1, startOffset: 0, now: 0))
        shard.take(try shard.core.initialize(other, stateEpoch: 1, startOffset: 0, now: 0))
        for _ in 0..<4 { shard.take(try shard.core.write(key, update([batch(0, 0, 0, 1)]), now: 400_000)) }
        #expect(shard.core.redundantOffset(end: Offset(shard.log.count)) == 1)
        shard.take(shard.core.coldSnapshots(now: 500_000))
        #expect(shard.core.redundantOffset(end: Offset(shard.log.count)) > 1)
        shard.take(shard.core.topicsDeleted([Self.topic]))
        #expect(shard.core.count == 0)
    }

    @Test("Batches laid over each other: the later delivery wins, then the later state; neighbours of a kind become one")
    func combining() {
        #expect([batch(0, 9, 0, 1), batch(3, 5, 2, 1)].combined(from: -1) == [batch(0, 2, 0, 1), batch(3, 5, 2, 1), batch(6, 9, 0, 1)])
        #expect([batch(3, 5, 2, 1), batch(0, 9, 0, 2)].combined(from: -1) == [batch(0, 9, 0, 2)])
        #expect([batch(0, 4, 2, 1), batch(5, 9, 2, 1)].combined(from: 3) == [batch(3, 9, 2, 1)])
        #expect([batch(0, 4, 2, 1)].combined(from: 5).isEmpty)
    }

    @Test("A coordinator key names group, topic and partition, also where the group has colons in it")
    func keys() {
        let odd = SharePartitionKey(group: "a:b", topicID: Self.topic, partition: 3)
        #expect(SharePartitionKey(coordinatorKey: odd.coordinatorKey) == odd)
        #expect(SharePartitionKey(coordinatorKey: "g:x:0") == nil)
        #expect(SharePartitionKey(coordinatorKey: "g:\(Self.topic):x") == nil)
        #expect(SharePartitionKey(coordinatorKey: ":\(Self.topic):0") == nil)
    }
}
