// Partitions that lead and follow over real logs: what is acknowledged, what is visible, what is cut off.
import NIOCore
import NIOPosix
import Primitives
import Replication
import Storage
import Synchronization
import TestKit
import Testing

@testable import Broker

@Suite struct PartitionReplicationTests {
    private func isDone(_ progress: ReplicationProgress) -> Bool { if case .done = progress { true } else { false } }
    private func isWaiting(_ progress: ReplicationProgress) -> Bool { if case .waiting = progress { true } else { false } }

    @Test func recordsAreCommittedOnceEveryReplicaInSyncHasThem() throws {
        let set = try TestReplicaSet()
        let append = try set[1].append("a", "b")
        #expect(append.isCommitted == false)
        #expect(try set[1].consume() == [])
        try set[2].fetch(from: set[1])
        try set[2].fetch(from: set[1])
        #expect(isWaiting(try set[1].partition.progress(of: append.requiredOffset, term: append.term)))
        try set[3].fetch(from: set[1])
        try set[3].fetch(from: set[1])
        #expect(isDone(try set[1].partition.progress(of: append.requiredOffset, term: append.term)))
        #expect(try set[1].consume() == ["a", "b"])
        // A follower learns of it with its next fetch, and serves it (KIP-392).
        #expect(try set[2].consume() == [])
        try set[2].fetch(from: set[1])
        #expect(try set[2].consume() == ["a", "b"])
        #expect(throws: PartitionError.self) { try set[2].consume(reader: FetchReader(onlyLeader: true)) }
    }

    @Test func tooFewReplicasInSyncRefuseRecordsBeforeAndAfterTheAppend() throws {
        let set = try TestReplicaSet(minInSync: 2)
        let append = try set[1].append("a")
        try set.change(isr: [1])
        #expect(throws: PartitionError.self) { try set[1].append("b") }
        // The high watermark stays as well: what is written below the minimum is not promised to anybody.
        #expect(try isWaiting(set[1].partition.progress(of: append.requiredOffset, term: append.term)))
        #expect(try set[1].append("c", requireInSync: false).isCommitted == false)
        try set.change(isr: [1, 2])
        try set.settle(2, 3, from: 1)
        #expect(try set[1].consume() == ["a", "c"])
        try set.change(isr: [1])
        guard case .notEnoughReplicas = try set[1].partition.progress(of: append.requiredOffset, term: append.term) else {
            Issue.record("one replica is not two")
            return
        }
    }

    /// KIP-73: out of sync it gets nothing while the leader has sent more than it may; in sync it is never held back.
    @Test func aThrottledLeaderHoldsBackOnlyWhoIsOutOfSync() throws {
        let set = try TestReplicaSet()
        let leader = try set[1]
        try set.change(isr: [1, 2])
        leader.partition.update(configuration: LogConfiguration(), throttling: ReplicaThrottling(leader: true))
        leader.environment.leaderThrottle.update(bytesPerSecond: 10)
        leader.environment.leaderThrottle.record(bytes: 10_000)
        _ = try leader.append("a", "b")
        try set.settle(2, 3, from: 1)
        #expect(try set[2].offsets.endOffset == 2)
        #expect(try set[3].offsets.endOffset == 0)
        leader.environment.leaderThrottle.update(bytesPerSecond: .max)
        try set.settle(3, from: 1)
        #expect(try set[3].offsets.endOffset == 2)
    }

    @Test func aFailedDirectoryEndsLeadingAndFollowing() throws {
        let set = try TestReplicaSet()
        let append = try set[1].append("a")
        set.replicas[1]?.partition.takeOffline()
        guard case .offline = try set[1].partition.progress(of: append.requiredOffset, term: append.term) else {
            Issue.record("who waits for it is told that the directory failed")
            return
        }
        #expect(throws: PartitionError.self) { try set[1].append("b") }
        #expect(throws: PartitionError.self) { try set[1].consume() }
        // New metadata do not bring it back.
        try set.change(leader: 1)
        #expect(throws: PartitionError.self) { try set[1].append("c") }
        try set.change(leader: 2, isr: [2, 3])
        #expect(try set[1].partition.fetchPosition(maxBytes: 1) == nil)
    }

    @Test func aNewLeaderKnowsTheProducersAndTheOldOneIsCutBack() throws {
        let set = try TestReplicaSet()
        _ = try set[1].append("a", producer: 5, sequence: 0)
        try set.settle(2, 3, from: 1)
        // The old leader writes on alone, does not hear of the new one, and then does.
        let lost = try set[1].append("lost-1", "lost-2", producer: 5, sequence: 1)
        try set.change(leader: 2, isr: [2, 3], tell: [2, 3])
        let again = try set[2].append("a", producer: 5, sequence: 0)
        #expect(again.log.isDuplicate)
        #expect(again.log.firstOffset == 0)
        _ = try set[2].append("b", producer: 5, sequence: 1)
        try set.settle(3, from: 2)
        #expect(try set[2].consume() == ["a", "b"])
        try set.publish(to: [1])
        guard case .notLeader = try set[1].partition.progress(of: lost.requiredOffset, term: lost.term) else {
            Issue.record("a deposed leader must not acknowledge")
            return
        }
        try set.settle(1, from: 2)
        #expect(try set[1].offsets == ReplicaLogOffsets(startOffset: 0, endOffset: 2, highWatermark: 2))
        #expect(try set[1].consume() == ["a", "b"])
        #expect(try set[2].proposals.list.withLock { $0.last?.members.map(\.id) } == [2, 3, 1])
        let producers = try set[1].partition.withLog { log throws(StorageError) in log.activeProducers }
        #expect(producers.map(\.lastSequence) == [1])
    }

    @Test func severalEpochsOfDivergenceAreCutBackOneAfterTheOther() throws {
        let set = try TestReplicaSet()
        _ = try set[1].append("a")
        try set.settle(2, 3, from: 1)
        _ = try set[1].append("x")
        try set.change(leader: 2, tell: [2])
        _ = try set[2].append("y", "y")
        try set.change(leader: 1, tell: [1])
        _ = try set[1].append("x")
        try set.change(leader: 3, tell: [3])
        _ = try set[3].append("z")
        try set.publish()
        try set.settle(1, 2, from: 3)
        for id in NodeID(1)...3 { #expect(try set[id].consume() == ["a", "z"]) }
    }

    @Test func aRestartedFollowerTakesItsHighWatermarkFromTheCheckpointAndGoesOn() throws {
        let set = try TestReplicaSet()
        _ = try set[1].append("a", "b")
        try set.settle(2, 3, from: 1)
        try set[3].restart()
        #expect(try set[3].offsets.highWatermark == 2)
        try set.publish(to: [3])
        _ = try set[1].append("c")
        try set.settle(2, 3, from: 1)
        #expect(try set[3].consume() == ["a", "b", "c"])
    }

    @Test func theLogsStartFollowsTheLeaders() throws {
        let set = try TestReplicaSet()
        for value in ["a", "b", "c"] { _ = try set[1].append(value) }
        try set.settle(2, from: 1)
        try set.settle(3, from: 1)
        try set[1].partition.withLog { log throws(StorageError) in _ = try log.deleteRecords(before: 2, now: 0) }
        try set.settle(2, 3, from: 1)
        #expect(try set[2].offsets.startOffset == 2)
        try set.settle(2, 3, from: 1)
        #expect(try set[1].partition.replica.followers.map(\.logStartOffset) == [2, 2])
    }

    @Test func epochsOfTheReaderAreChecked() throws {
        let set = try TestReplicaSet()
        try set.change(leader: 1)
        func read(_ epoch: LeaderEpoch, _ reader: FetchReader) throws -> PartitionRead {
            try set[1].partition.read(
                FetchRead(fetchOffset: 0, maxBytes: 10, minOneBatch: true, currentLeaderEpoch: epoch), reader, followerStartOffset: 0)
        }
        func code(_ body: () throws -> PartitionRead) -> String {
            do {
                _ = try body()
                return "NONE"
            } catch let error as PartitionError { return error.errorCode.name } catch { return "\(error)" }
        }
        #expect(code { try read(0, FetchReader()) } == "FENCED_LEADER_EPOCH")
        #expect(code { try read(2, FetchReader()) } == "UNKNOWN_LEADER_EPOCH")
        #expect(code { try read(1, FetchReader(replicaID: 9, isolation: .logEnd)) } == "UNKNOWN_LEADER_EPOCH")
        #expect(code { try read(1, FetchReader(replicaID: 2, replicaEpoch: 3, isolation: .logEnd)) } == "NOT_LEADER_OR_FOLLOWER")
        #expect(code { try read(1, FetchReader(replicaID: 2, replicaEpoch: 20, isolation: .logEnd)) } == "NONE")
    }

    @Test func consumersAreSentToAReplicaInTheirRack() throws {
        var settings = ReplicationSettings()
        settings.isRackAware = true
        let set = try TestReplicaSet(settings: settings, racks: [1: "a", 2: "b", 3: "c"])
        _ = try set[1].append("a")
        try set.settle(2, 3, from: 1)
        func preferred(_ rack: String) throws -> NodeID {
            try set[1].partition.read(
                FetchRead(fetchOffset: 0, maxBytes: 1000, minOneBatch: true, currentLeaderEpoch: -1),
                FetchReader(onlyLeader: false, rack: rack)
            ).preferredReadReplica
        }
        #expect(try preferred("b") == 2)
        #expect(try preferred("c") == 3)
        #expect(try preferred("a") == -1)
        #expect(try preferred("elsewhere") == -1)
        #expect(try set[2].consume(reader: FetchReader(onlyLeader: false, rack: "b")) == ["a"])
    }

    @Test func waitingProducesAreAnsweredWhenTheHighWatermarkComesOrTimeIsOver() throws {
        let set = try TestReplicaSet()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        func outcome(of append: PartitionAppend, timeout: Int32, after start: () throws -> Void) throws -> [String] {
            let promise = loop.makePromise(of: [String].self)
            let partition = try set[1].partition
            try loop.submit {
                var codes: [String] = []
                let wait = ProduceWait(index: 0, partition: partition, offset: append.requiredOffset, term: append.term)
                let operation = ProduceOperation([wait]) {
                    codes.append($1.name)
                } complete: {
                    promise.succeed(codes)
                }
                operation.start(on: loop, timeoutMilliseconds: timeout)
            }.wait()
            try start()
            return try promise.futureResult.wait()
        }
        let first = try set[1].append("a")
        #expect(try outcome(of: first, timeout: 60_000) { try set.settle(2, 3, from: 1) } == [])
        let second = try set[1].append("b")
        #expect(try outcome(of: second, timeout: 20) {} == ["REQUEST_TIMED_OUT"])
        let third = try set[1].append("c")
        #expect(try outcome(of: third, timeout: 60_000) { try set.change(leader: 2) } == ["NOT_LEADER_OR_FOLLOWER"])
        try group.syncShutdownGracefully()
    }
}
