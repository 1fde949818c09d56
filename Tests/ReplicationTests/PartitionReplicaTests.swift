import Primitives
import Replication
import Testing

@Suite struct PartitionReplicaTests {
    private let live: LiveBrokers = {
        var live = LiveBrokers()
        for id in NodeID(1)...3 { live[id] = Int64(id) * 10 }
        return live
    }()

    private func log(_ end: Offset, _ highWatermark: Offset = 0) -> ReplicaLogOffsets {
        ReplicaLogOffsets(startOffset: 0, endOffset: end, highWatermark: highWatermark)
    }

    private func leader(isr: [NodeID] = [1, 2, 3], end: Offset = 0) -> PartitionReplica {
        var replica = PartitionReplica(id: 1)
        let assignment = PartitionAssignment(replicas: [1, 2, 3], isr: isr, leader: 1, leaderEpoch: 4, partitionEpoch: 7)
        let outcome1 = replica.apply(assignment, log: log(end), now: 1000)
        #expect(outcome1 == .leads(isNewEpoch: true))
        return replica
    }

    private func advanced(_ replica: PartitionReplica, _ log: ReplicaLogOffsets, minimum: Int = 1, now: Int64 = 1000) -> Offset? {
        replica.advancedHighWatermark(log: log, minimumInSync: minimum, lagMilliseconds: 500, live: live, now: now)
    }

    @Test func theHighWatermarkIsTheSmallestEndOfTheReplicasInSync() {
        var replica = leader()
        #expect(advanced(replica, log(10)) == nil)
        replica.followerFetched(2, offset: 7, startOffset: 0, brokerEpoch: 20, log: log(10), now: 1001)
        #expect(advanced(replica, log(10)) == nil)
        replica.followerFetched(3, offset: 4, startOffset: 0, brokerEpoch: 30, log: log(10), now: 1001)
        #expect(advanced(replica, log(10)) == 4)
        replica.followerFetched(3, offset: 9, startOffset: 0, brokerEpoch: 30, log: log(10), now: 1002)
        #expect(advanced(replica, log(10, 4)) == 7)
    }

    /// As when its log directory failed: a broker that is alive and was caught up a moment ago would else be waited for.
    @Test func aReplicaThatTheControllerPutOutIsNotWaitedForUntilItFetchesAgain() {
        var replica = leader()
        for follower in [NodeID(2), 3] {
            replica.followerFetched(follower, offset: 10, startOffset: 0, brokerEpoch: Int64(follower) * 10, log: log(10), now: 1001)
        }
        replica.followerFetched(2, offset: 15, startOffset: 0, brokerEpoch: 20, log: log(15, 10), now: 1002)
        #expect(advanced(replica, log(15, 10), now: 1003) == nil)
        let without3 = PartitionAssignment(replicas: [1, 2, 3], isr: [1, 2], leader: 1, leaderEpoch: 4, partitionEpoch: 8)
        let outcome = replica.apply(without3, log: log(15, 10), now: 1003)
        #expect(outcome == .leads(isNewEpoch: false))
        #expect(advanced(replica, log(15, 10), now: 1003) == 15)
        // Once it fetches, it is about to join, and is waited for.
        replica.followerFetched(3, offset: 15, startOffset: 0, brokerEpoch: 30, log: log(15, 15), now: 1004)
        replica.followerFetched(2, offset: 20, startOffset: 0, brokerEpoch: 20, log: log(20, 15), now: 1005)
        #expect(advanced(replica, log(20, 15), now: 1005) == nil)
    }

    @Test func tooFewReplicasInSyncHoldTheHighWatermark() {
        let replica = leader(isr: [1])
        #expect(replica.isUnderMinimum(2))
        #expect(advanced(replica, log(10), minimum: 2, now: 9000) == nil)
        #expect(advanced(replica, log(10), minimum: 1, now: 9000) == 10)
    }

    @Test func aReplicaJoinsOnceItHasTheHighWatermarkAndTheEpochsStart() throws {
        var replica = leader(isr: [1, 2], end: 5)
        replica.followerFetched(3, offset: 4, startOffset: 0, brokerEpoch: 30, log: log(8, 2), now: 1001)
        let outcome2 = replica.proposeExpansion(3, log: log(8, 2), live: live)
        #expect(outcome2 == nil)
        replica.followerFetched(3, offset: 5, startOffset: 0, brokerEpoch: 30, log: log(8, 2), now: 1002)
        let proposed = replica.proposeExpansion(3, log: log(8, 2), live: live)
        let proposal = try #require(proposed)
        #expect(proposal.members.map(\.id) == [1, 2, 3])
        #expect(proposal.members.map(\.brokerEpoch) == [-1, -1, 30])
        // From now on the high watermark waits for it, whatever becomes of the proposal.
        replica.followerFetched(2, offset: 8, startOffset: 0, brokerEpoch: 20, log: log(8, 2), now: 1003)
        #expect(advanced(replica, log(8, 2), now: 9000) == 5)
        #expect(replica.maximalISRCount == 3)
        let outcome3 = replica.answered(proposal, .committed(leaderEpoch: 4, partitionEpoch: 8, isr: [1, 2, 3]))
        #expect(outcome3 == .committed)
        #expect(replica.isr == [1, 2, 3])
        #expect(replica.assignment.partitionEpoch == 8)
        let outcome4 = replica.answered(proposal, .refused)
        #expect(outcome4 == .ignored)
    }

    @Test func aBrokerThatIsNotAliveOrHasRestartedDoesNotJoin() {
        var replica = leader(isr: [1])
        replica.followerFetched(2, offset: 0, startOffset: 0, brokerEpoch: 19, log: log(0), now: 1001)
        let outcome5 = replica.proposeExpansion(2, log: log(0), live: live)
        #expect(outcome5 == nil)
        var without = live
        without[3] = nil
        replica.followerFetched(3, offset: 0, startOffset: 0, brokerEpoch: 30, log: log(0), now: 1001)
        let outcome6 = replica.proposeExpansion(3, log: log(0), live: without)
        #expect(outcome6 == nil)
        #expect(throws: FollowerFetchFailure.staleBroker) { try replica.checkFetch(from: 2, brokerEpoch: 19, live: live) }
        #expect(throws: FollowerFetchFailure.unknownReplica) { try replica.checkFetch(from: 9, brokerEpoch: -1, live: live) }
    }

    @Test func aReplicaBehindForTooLongLeavesButHoldsTheHighWatermarkUntilThen() throws {
        var replica = leader()
        replica.followerFetched(2, offset: 10, startOffset: 0, brokerEpoch: 20, log: log(10), now: 1400)
        replica.followerFetched(3, offset: 3, startOffset: 0, brokerEpoch: 30, log: log(10), now: 1400)
        let outcome7 = replica.proposeShrink(log: log(10), lagMilliseconds: 500, now: 1500)
        #expect(outcome7 == nil)
        let proposed = replica.proposeShrink(log: log(10), lagMilliseconds: 500, now: 1501)
        let proposal = try #require(proposed)
        #expect(proposal.members.map(\.id) == [1, 2])
        #expect(advanced(replica, log(10, 3), now: 1501) == nil)
        let outcome8 = replica.answered(proposal, .failed)
        #expect(outcome8 == .sendAgain)
        let outcome9 = replica.answered(proposal, .committed(leaderEpoch: 4, partitionEpoch: 8, isr: [1, 2]))
        #expect(outcome9 == .committed)
        #expect(advanced(replica, log(10, 3), now: 1501) == 10)
    }

    @Test func oldMetadataIsIgnoredAndNewMetadataEndsAProposal() throws {
        var replica = leader(isr: [1, 2])
        replica.followerFetched(3, offset: 0, startOffset: 0, brokerEpoch: 30, log: log(0), now: 1001)
        let proposed = replica.proposeExpansion(3, log: log(0), live: live)
        let proposal = try #require(proposed)
        var assignment = replica.assignment
        assignment.partitionEpoch = 6
        let outcome10 = replica.apply(assignment, log: log(0), now: 1002)
        #expect(outcome10 == .unchanged)
        assignment.partitionEpoch = 9
        assignment.isr = [1]
        let outcome11 = replica.apply(assignment, log: log(0), now: 1002)
        #expect(outcome11 == .leads(isNewEpoch: false))
        let outcome12 = replica.answered(proposal, .committed(leaderEpoch: 4, partitionEpoch: 8, isr: [1, 2, 3]))
        #expect(outcome12 == .ignored)
        #expect(replica.isr == [1])
        assignment.leader = 2
        assignment.leaderEpoch = 5
        assignment.partitionEpoch = 10
        let outcome13 = replica.apply(assignment, log: log(0), now: 1003)
        #expect(outcome13 == .follows(isNewEpoch: true))
        #expect(replica.followers.isEmpty)
    }

    @Test func truncationGoesBackEpochByEpoch() {
        func offset(_ leader: EpochEnd, _ local: EpochEnd?) -> Offset {
            FollowerTruncation.offset(leader: leader, local: local, logEndOffset: 20, highWatermark: 3)
        }
        #expect(offset(EpochEnd(epoch: 2, endOffset: 12), EpochEnd(epoch: 2, endOffset: 15)) == 12)
        #expect(offset(EpochEnd(epoch: 2, endOffset: 12), EpochEnd(epoch: 2, endOffset: 9)) == 9)
        #expect(offset(EpochEnd(epoch: 2, endOffset: 12), EpochEnd(epoch: 1, endOffset: 7)) == 7)
        #expect(offset(EpochEnd(epoch: 2, endOffset: 12), nil) == 12)
        #expect(offset(EpochEnd(epoch: -1, endOffset: -1), nil) == 3)
        #expect(FollowerTruncation.outOfRange(logEndOffset: 20, leaderStartOffset: 0, leaderEndOffset: 8) == .truncate(to: 8))
        #expect(FollowerTruncation.outOfRange(logEndOffset: 20, leaderStartOffset: 30, leaderEndOffset: 40) == .restart(at: 30))
        #expect(FollowerTruncation.outOfRange(logEndOffset: 20, leaderStartOffset: 0, leaderEndOffset: 40) == .fetchAgain)
    }

    @Test(arguments: UInt64(1)...200) func nothingCommittedIsMissingOnAReplicaInSync(seed: UInt64) {
        var cluster = PartitionClusterModel(count: 3 + Int(seed % 2), minimum: 1 + Int(seed % 3), seed: seed)
        for step in 0..<1500 {
            cluster.step()
            if let violation = cluster.violation {
                Issue.record("seed \(seed), step \(step): \(violation)")
                return
            }
        }
    }

    @Test func theModelCommits() {
        var records = 0
        for seed in UInt64(1)...20 {
            var cluster = PartitionClusterModel(count: 3, minimum: 2, seed: seed)
            for _ in 0..<1500 { cluster.step() }
            records += cluster.committed.count
        }
        #expect(records > 200)
    }
}

@Suite struct ReplicaSelectionTests {
    private func replica(_ id: NodeID, _ rack: String?, _ end: Offset) -> ReadableReplica {
        ReadableReplica(id: id, rack: rack, logEndOffset: end, lastCaughtUpAt: 0)
    }

    @Test func theNearestThatIsFurthest() {
        let leader = replica(1, "a", 10)
        let followers = [replica(2, "b", 8), replica(3, "b", 9), replica(4, "c", 10)]
        #expect(rackAwareReplica(clientRack: "b", leader: leader, followers: followers) == 3)
        #expect(rackAwareReplica(clientRack: "a", leader: leader, followers: followers) == 1)
        #expect(rackAwareReplica(clientRack: "z", leader: leader, followers: followers) == 1)
        #expect(rackAwareReplica(clientRack: "", leader: leader, followers: followers) == 1)
    }
}

@Suite struct ReplicaFetchPlanTests {
    private func key(_ partition: Int32) -> FetchSessionKey { FetchSessionKey(topicID: .one, topicName: "", partition: partition) }
    private func position(_ offset: Offset) -> FetchPosition { FetchPosition(fetchOffset: offset, maxBytes: 1000, currentLeaderEpoch: 1) }

    private enum Failure: Error { case nothingToSend }

    private func request(_ plan: inout ReplicaFetchPlan, now: Int64 = 0) throws -> ReplicaFetchRequest {
        guard case .send(let request) = plan.next(now: now) else { throw Failure.nothingToSend }
        return request
    }

    @Test func afterTheFirstRequestOnlyChangesAreNamed() throws {
        var plan = ReplicaFetchPlan()
        for partition in Int32(0)..<3 { plan.follow(key(partition), from: position(0)) }
        let first = try request(&plan)
        #expect(first.sessionEpoch == 0)
        #expect(first.partitions.map(\.key.partition) == [0, 1, 2])
        plan.answered(sessionID: 77)
        plan.advance(key(1), to: position(5))
        plan.stop(key(2))
        let second = try request(&plan)
        #expect(second.sessionID == 77)
        #expect(second.sessionEpoch == 1)
        #expect(second.partitions.map(\.key.partition) == [1])
        #expect(second.forgotten.map(\.partition) == [2])
        plan.answered(sessionID: 77)
        let third = try request(&plan)
        #expect(third.sessionEpoch == 2)
        #expect(third.partitions.isEmpty)
        plan.resetSession()
        let fourth = try request(&plan)
        #expect(fourth.sessionID == 0)
        #expect(fourth.partitions.map(\.position.fetchOffset) == [0, 5])
    }

    @Test func aPartitionThatRestsIsForgottenUntilItsTimeComes() throws {
        var plan = ReplicaFetchPlan()
        plan.follow(key(0), from: position(0))
        _ = try request(&plan)
        plan.answered(sessionID: 5)
        #expect(plan.isCurrent(key(0)))
        plan.delay(key(0), until: 100)
        #expect(!plan.isCurrent(key(0)))
        let closing = try request(&plan, now: 50)
        #expect(closing.sessionEpoch == FetchSessionCache.finalEpoch)
        plan.answered(sessionID: 0)
        guard case .wait(until: 100) = plan.next(now: 60) else {
            Issue.record("a request was made before its time")
            return
        }
        let again = try request(&plan, now: 100)
        #expect(again.partitions.map(\.key.partition) == [0])
    }

    @Test func anAnswerToAnOldPositionIsRecognised() throws {
        var plan = ReplicaFetchPlan()
        plan.follow(key(0), from: position(0))
        _ = try request(&plan)
        plan.follow(key(0), from: position(3))
        #expect(!plan.isCurrent(key(0)))
    }
}
