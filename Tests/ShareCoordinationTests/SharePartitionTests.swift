// One share partition: who gets what, until when, how often, and what is left to store.
import KafkaWire
import Primitives
import ShareCoordination
import Testing

@Suite("Share partition")
struct SharePartitionTests {
    private let lock: Int64 = 1_000

    private func partition(
        startOffset: Offset = 0, batches: [ShareStateBatch] = [], limit: Int16 = 5, maximum: Int = 100
    ) -> SharePartition {
        var settings = SharePartitionSettings()
        settings.lockDurationMilliseconds = lock
        settings.deliveryCountLimit = limit
        settings.maximumInFlight = maximum
        let state = SharePartitionState(
            stateEpoch: 3, leaderEpoch: 0, startOffset: startOffset, deliveryCompleteCount: 0, batches: batches)
        return SharePartition(state: state, leaderEpoch: 7, startOffset: 0, settings: settings)
    }

    /// Batches of ten records from the one that holds `offset` on, up to `end`.
    private func log(from offset: Offset, upTo end: Offset) -> ShareRead {
        var batches: [ShareRead.Batch] = []
        var base = offset / 10 * 10
        while base < end {
            batches.append(.init(baseOffset: base, lastOffset: min(base + 9, end - 1)))
            base += 10
        }
        return ShareRead(fetchOffset: offset, batches: batches)
    }

    private func acquire(
        _ partition: inout SharePartition, _ member: String, end: Offset = 30, records: Int = 500, batchSize: Int = 500,
        isStrict: Bool = false, now: Int64 = 0
    ) -> [AcquiredRecords] {
        guard partition.canAcquire, partition.nextFetchOffset < end else { return [] }
        return partition.acquire(
            member, log(from: partition.nextFetchOffset, upTo: end),
            ShareFetchLimits(maximumRecords: records, batchSize: batchSize, isStrict: isStrict), now: now)
    }

    private func acknowledge(
        _ partition: inout SharePartition, _ member: String, _ first: Offset, _ last: Offset, _ types: AcknowledgeType..., now: Int64 = 0
    ) throws(ShareStateRefusal) {
        let transition = try partition.acknowledge(
            member, [ShareAcknowledgement(firstOffset: first, lastOffset: last, types: types)], now: now)
        if let transition { _ = partition.complete(transition.id, isStored: true, now: now) }
    }

    private func expire(_ partition: inout SharePartition, now: Int64) -> ShareTransition? { partition.expire(now: now) }
    private func release(_ partition: inout SharePartition, _ member: String) -> ShareTransition? { partition.release(member) }
    private func complete(_ partition: inout SharePartition, _ id: UInt64, isStored: Bool, now: Int64) -> Bool {
        partition.complete(id, isStored: isStored, now: now)
    }

    private func entry(_ first: Offset, _ last: Offset, _ count: Int16 = 1) -> AcquiredRecords {
        AcquiredRecords(firstOffset: first, lastOffset: last, deliveryCount: count)
    }

    @Test("Records go to one member at a time, whole batches of the log together")
    func wholeBatches() throws {
        var partition = partition()
        #expect(acquire(&partition, "a", records: 5) == [entry(0, 9)])
        #expect(acquire(&partition, "b", records: 15) == [entry(10, 29)])
        #expect(acquire(&partition, "c").isEmpty)
        #expect(partition.startOffset == 0 && partition.endOffset == 29)
        try acknowledge(&partition, "b", 10, 29, .accept)
        #expect(partition.startOffset == 0, "what is before is not done")
        try acknowledge(&partition, "a", 0, 9, .accept)
        #expect(partition.startOffset == 30 && partition.inFlightCount == 0)
    }

    @Test("An answer is parted where batches begin; a strict client never gets more than it asked for")
    func sizes() {
        var partition = partition()
        #expect(acquire(&partition, "a", batchSize: 10) == [entry(0, 9), entry(10, 19), entry(20, 29)])
        var strict = self.partition()
        #expect(acquire(&strict, "a", records: 5, isStrict: true) == [entry(0, 4)])
        #expect(acquire(&strict, "b", records: 7, isStrict: true) == [entry(5, 11)])
    }

    @Test("What is released goes out again, counted; after the last delivery it is archived")
    func deliveries() throws {
        var partition = partition(limit: 2)
        #expect(acquire(&partition, "a", end: 10) == [entry(0, 9)])
        try acknowledge(&partition, "a", 0, 9, .accept, .release, .reject, .gap, .release, .accept, .accept, .accept, .accept, .accept)
        #expect(partition.startOffset == 1)
        #expect(partition.nextFetchOffset == 1)
        #expect(acquire(&partition, "b", end: 10) == [entry(1, 1, 2), entry(4, 4, 2)])
        try acknowledge(&partition, "b", 1, 1, .release)
        #expect(partition.startOffset == 4, "delivered twice and released: done")
        try acknowledge(&partition, "b", 4, 4, .accept)
        #expect(partition.startOffset == 10)
    }

    @Test("A lock ends with time, and with the session of who has it")
    func locks() throws {
        var partition = partition()
        #expect(acquire(&partition, "a", end: 10) == [entry(0, 9)])
        #expect(partition.nextDeadline == lock)
        #expect(expire(&partition, now: lock - 1) == nil)
        let expired = try #require(expire(&partition, now: lock))
        #expect(expired.update.batches == [ShareStateBatch(firstOffset: 0, lastOffset: 9, deliveryState: 0, deliveryCount: 1)])
        #expect(expired.update.stateEpoch == 3 && expired.update.leaderEpoch == 7)
        #expect(throws: ShareStateRefusal.self) { try acknowledge(&partition, "a", 0, 9, .accept) }
        #expect(acquire(&partition, "b", end: 10, now: lock) == [entry(0, 9, 2)])
        let released = try #require(release(&partition, "b"))
        #expect(acquire(&partition, "c", end: 10).isEmpty, "not before it is stored")
        #expect(complete(&partition, released.id, isStored: true, now: lock))
        #expect(acquire(&partition, "c", end: 10) == [entry(0, 9, 3)])
    }

    @Test("A renewal begins the lock anew, and needs no storing")
    func renewal() throws {
        var partition = partition()
        #expect(acquire(&partition, "a", end: 10) == [entry(0, 9)])
        let renewal = ShareAcknowledgement(firstOffset: 0, lastOffset: 9, types: [.renew])
        #expect(try partition.acknowledge("a", [renewal], now: 600) == nil)
        #expect(expire(&partition, now: lock) == nil)
        #expect(partition.nextDeadline == 600 + lock)
        partition.settings.isRenewEnabled = false
        #expect(throws: ShareStateRefusal.self) { try partition.acknowledge("a", [renewal], now: 600) }
    }

    @Test("Nobody acknowledges what it does not have, and a bad acknowledgement leaves nothing behind")
    func refusals() throws {
        var partition = partition()
        #expect(acquire(&partition, "a", end: 10) == [entry(0, 9)])
        #expect(throws: ShareStateRefusal.self) { try acknowledge(&partition, "b", 0, 9, .accept) }
        #expect(throws: ShareStateRefusal.self) { try acknowledge(&partition, "a", 0, 10, .accept) }
        let twice = [
            ShareAcknowledgement(firstOffset: 0, lastOffset: 4, types: [.accept]),
            ShareAcknowledgement(firstOffset: 4, lastOffset: 9, types: [.accept]),
        ]
        #expect(throws: ShareStateRefusal.self) { try partition.acknowledge("a", twice, now: 0) }
        try acknowledge(&partition, "a", 0, 9, .accept)
        #expect(partition.startOffset == 10)
        try acknowledge(&partition, "a", 0, 9, .accept)
    }

    @Test("What could not be stored did not happen")
    func lostWrites() throws {
        var partition = partition()
        #expect(acquire(&partition, "a", end: 10) == [entry(0, 9)])
        let acceptance = ShareAcknowledgement(firstOffset: 0, lastOffset: 9, types: [.accept])
        let first = try #require(try partition.acknowledge("a", [acceptance], now: 0))
        #expect(throws: ShareStateRefusal.self) { try partition.acknowledge("a", [acceptance], now: 0) }
        #expect(complete(&partition, first.id, isStored: false, now: 10))
        let second = try #require(try partition.acknowledge("a", [acceptance], now: 0))
        #expect(complete(&partition, second.id, isStored: false, now: lock), "its time is over by now")
        #expect(acquire(&partition, "b", end: 10) == [entry(0, 9, 2)])
    }

    @Test("Only so many records are out; what came back may go out all the same")
    func bounds() throws {
        var partition = partition(maximum: 20)
        #expect(acquire(&partition, "a") == [entry(0, 19)])
        #expect(!partition.canAcquire)
        try acknowledge(&partition, "a", 5, 5, .release)
        #expect(partition.canAcquire)
        #expect(acquire(&partition, "b") == [entry(5, 5, 2)])
        try acknowledge(&partition, "a", 0, 4, .accept)
        #expect(acquire(&partition, "b") == [entry(20, 29)], "room for five, and batches stay whole")
    }

    @Test("A new leader goes on from what was stored; what was out then goes out again")
    func takingOver() throws {
        var partition = partition(
            startOffset: 2,
            batches: [
                ShareStateBatch(firstOffset: 4, lastOffset: 5, deliveryState: 2, deliveryCount: 1),
                ShareStateBatch(firstOffset: 6, lastOffset: 7, deliveryState: 0, deliveryCount: 1),
            ])
        #expect(partition.startOffset == 2 && partition.endOffset == 7)
        #expect(partition.nextFetchOffset == 2)
        #expect(acquire(&partition, "a", end: 12) == [entry(2, 3, 1), entry(6, 7, 2), entry(8, 11, 1)])
        var done = self.partition(batches: [ShareStateBatch(firstOffset: 0, lastOffset: 9, deliveryState: 2, deliveryCount: 1)])
        #expect(done.startOffset == 10)
        #expect(acquire(&done, "a", end: 20) == [entry(10, 19)])
    }

    @Test("What the log has lost is done")
    func logStart() throws {
        var partition = partition()
        #expect(acquire(&partition, "a") == [entry(0, 29)])
        partition.logStartMoved(to: 15)
        #expect(partition.startOffset == 15)
        try acknowledge(&partition, "a", 0, 29, .accept)
        #expect(partition.startOffset == 30)
    }

    @Test("Gaps that compaction left are passed over")
    func compactedAway() throws {
        var partition = partition()
        #expect(acquire(&partition, "a", end: 10) == [entry(0, 9)])
        try acknowledge(&partition, "a", 0, 9, .release)
        let read = ShareRead(fetchOffset: 0, batches: [.init(baseOffset: 5, lastOffset: 9), .init(baseOffset: 20, lastOffset: 29)])
        let acquired = partition.acquire("b", read, ShareFetchLimits(maximumRecords: 100, batchSize: 100, isStrict: false), now: 0)
        #expect(acquired == [entry(5, 9, 2), entry(10, 29, 1)])
        #expect(partition.startOffset == 5)
    }

    @Test("A group that reads committed records only never gets aborted ones, and does not wait for them")
    func aborted() throws {
        var partition = partition()
        let acquired = acquire(&partition, "a")
        #expect(partition.dropAborted([.init(baseOffset: 10, lastOffset: 19)], from: acquired) == [entry(0, 9), entry(20, 29)])
        try acknowledge(&partition, "a", 0, 9, .accept)
        #expect(partition.startOffset == 20)
    }

    @Test("What came back often goes out in smaller parts, in the end alone")
    func suspects() throws {
        var partition = partition(limit: 5)
        var sizes: [Int] = []
        for round in 0..<4 {
            let acquired = acquire(&partition, "a", end: 16)
            sizes.append(acquired.reduce(0) { $0 + $1.count })
            #expect(acquired.allSatisfy { $0.deliveryCount == Int16(round + 1) })
            for records in acquired { try acknowledge(&partition, "a", records.firstOffset, records.lastOffset, .release) }
        }
        #expect(sizes == [16, 16, 16, 8])
        #expect(acquire(&partition, "a", end: 16) == [entry(0, 0, 5)])
    }
}
