import Primitives
import Replication
import Testing

@Suite struct FetchSessionCacheTests {
    private func key(_ partition: Int32) -> FetchSessionKey { FetchSessionKey(topicID: .one, topicName: "", partition: partition) }
    private func change(_ partition: Int32, offset: Offset = 0) -> (key: FetchSessionKey, position: FetchPosition) {
        (key(partition), FetchPosition(fetchOffset: offset, maxBytes: 1000))
    }
    private func outcome(_ partition: Int32, bytes: Int, highWatermark: Offset) -> (key: FetchSessionKey, outcome: FetchOutcome) {
        (key(partition), FetchOutcome(recordBytes: bytes, highWatermark: highWatermark, logStartOffset: 0, failed: false))
    }

    private func opened(_ cache: inout FetchSessionCache, now: Int64 = 0) throws -> Int32 {
        guard
            case .opened(let id) = cache.begin(
                sessionID: 0, epoch: 0, usesTopicIDs: true, changes: [change(0), change(1)], forgotten: [], now: now)
        else { throw Failure.notOpened }
        return id
    }
    private enum Failure: Error { case notOpened }

    @Test func incrementalRequestsSpeakOnlyOfChanges() throws {
        var cache = FetchSessionCache(slots: 2, seed: 1)
        let id = try opened(&cache)
        #expect(
            cache.finish(sessionID: id, outcomes: [outcome(0, bytes: 0, highWatermark: 5), outcome(1, bytes: 0, highWatermark: 5)]) == [
                true, true,
            ])
        guard
            case .incremental(id, let partitions) = cache.begin(
                sessionID: id, epoch: 1, usesTopicIDs: true, changes: [change(1, offset: 9)], forgotten: [], now: 1)
        else { throw Failure.notOpened }
        #expect(partitions.map(\.position.fetchOffset) == [0, 9])
        let report = cache.finish(
            sessionID: id, outcomes: [outcome(0, bytes: 10, highWatermark: 5), outcome(1, bytes: 0, highWatermark: 5)])
        #expect(report == [true, false])
        // The partition that returned records goes to the end of the line.
        guard
            case .incremental(id, let next) = cache.begin(
                sessionID: id, epoch: 2, usesTopicIDs: true, changes: [], forgotten: [], now: 2)
        else { throw Failure.notOpened }
        #expect(next.map(\.key.partition) == [1, 0])
    }

    @Test func wrongEpochsIdsAndKindsAreRefused() throws {
        var cache = FetchSessionCache(slots: 2, seed: 1)
        let id = try opened(&cache)
        func failure(_ sessionID: Int32, _ epoch: Int32, ids: Bool = true) -> FetchSessionFailure? {
            if case .failed(let failure) = cache.begin(
                sessionID: sessionID, epoch: epoch, usesTopicIDs: ids, changes: [], forgotten: [], now: 0)
            {
                failure
            } else {
                nil
            }
        }
        #expect(failure(id, 2) == .invalidEpoch)
        #expect(failure(id &+ 1, 1) == .sessionNotFound)
        #expect(failure(id, 1, ids: false) == .topicIDMismatch)
    }

    @Test func forgettingEverythingEndsTheSession() throws {
        var cache = FetchSessionCache(slots: 2, seed: 1)
        let id = try opened(&cache)
        guard
            case .sessionless = cache.begin(
                sessionID: id, epoch: 1, usesTopicIDs: true, changes: [], forgotten: [key(0), key(1)], now: 0)
        else { throw Failure.notOpened }
        #expect(cache.count == 0)
    }

    @Test func aFullCacheEvictsOnlyIdleSessions() throws {
        var cache = FetchSessionCache(slots: 1, evictionMilliseconds: 100, seed: 1)
        _ = try opened(&cache, now: 0)
        #expect(throws: Failure.notOpened) { try opened(&cache, now: 100) }
        _ = try opened(&cache, now: 101)
        #expect(cache.count == 1)
    }
}
