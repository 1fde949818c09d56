// Plans of reassignments, what is asked of the cluster, and what its answers mean.
import KafkaMessages
import KafkaWire
import Primitives
import Testing

@testable import MartletClient

@Suite("Reassignments")
struct ReassignmentTests {
    private func partitions(_ replicas: [[Int32]]) -> [(partition: TopicPartition, replicas: [Int32])] {
        replicas.enumerated().map { (TopicPartition("t", Int32($0.offset)), $0.element) }
    }

    private func loads(_ plan: ReassignmentPlan, _ before: [[Int32]]) -> [Int32: Int] {
        var placements = before
        for move in plan.moves { placements[Int(move.partition.partition)] = move.after }
        return placements.flatMap(\.self).reduce(into: [:]) { $0[$1, default: 0] += 1 }
    }

    @Test("Draining moves only what lies on the drained broker")
    func drain() {
        let before: [[Int32]] = [[1, 2, 3], [2, 3, 4], [4, 1, 2], [1, 2, 4]]
        let plan = ReassignmentPlan(partitions(before), brokers: [1, 2, 4].map { ($0, nil) }, balances: false)
        #expect(plan.moves.map(\.partition.partition) == [0, 1])
        #expect(plan.moves.allSatisfy { $0.adding.count == 1 && !$0.after.contains(3) && Set($0.after).count == 3 })
    }

    @Test("A new broker gets its share, by moving no more than that")
    func balance() {
        let before: [[Int32]] = Array(repeating: [1, 2], count: 9)
        let plan = ReassignmentPlan(partitions(before), brokers: [1, 2, 3].map { ($0, nil) }, balances: true)
        #expect(loads(plan, before) == [1: 6, 2: 6, 3: 6])
        #expect(plan.moves.reduce(0) { $0 + $1.adding.count } == 6)
        let leaders = plan.moves.reduce(into: [Int32: Int]()) { $0[$1.after[0], default: 0] += 1 }
        #expect((leaders[3] ?? 0) >= 2)
    }

    @Test("Replicas of one partition go to different racks where there are enough")
    func racks() {
        let brokers: [(id: Int32, rack: String?)] = [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c"), (6, "c")]
        let before: [[Int32]] = Array(repeating: [1], count: 12)
        let plan = ReassignmentPlan(partitions(before), brokers: brokers, replicationFactor: 3, balances: true)
        let racks: [Int32: String] = [1: "a", 2: "a", 3: "b", 4: "b", 5: "c", 6: "c"]
        #expect(plan.moves.count == 12)
        #expect(plan.moves.allSatisfy { Set($0.after.compactMap { racks[$0] }).count == 3 })
        #expect(loads(plan, before).values.allSatisfy { $0 == 6 })
    }

    @Test("Nothing is moved when everything lies well, nor more replicas wanted than there are brokers")
    func nothing() {
        let before: [[Int32]] = [[1, 2], [2, 1]]
        #expect(ReassignmentPlan(partitions(before), brokers: [(1, nil), (2, nil)], balances: true).moves.isEmpty)
        #expect(ReassignmentPlan(partitions(before), brokers: [(1, nil), (2, nil)], replicationFactor: 5, balances: true).moves.isEmpty)
        let fewer = ReassignmentPlan(partitions(before), brokers: [(1, nil), (2, nil)], replicationFactor: 1, balances: false)
        #expect(fewer.moves.map(\.after) == [[1], [2]])
    }

    @Test("Targets are asked for by topic, cancelling by no replicas at all")
    func request() throws {
        let request = AdminClient.reassignmentRequest(
            [(TopicPartition("a", 1), [2, 1]), (TopicPartition("a", 0), nil)], timeout: 7, allowReplicationFactorChange: false)
        #expect(request.topics.count == 1)
        #expect(request.topics.first?.partitions.map(\.partitionIndex) == [0, 1])
        #expect(request.topics.first?.partitions.map(\.replicas) == [nil, [2, 1]])
        for version in ApiKey.alterPartitionReassignments.validVersions {
            // Version 0 changes the number of replicas without asking.
            var sent = request
            if version == 0 { sent.allowReplicationFactorChange = true }
            let decoded = try AlterPartitionReassignmentsRequest(decoding: try sent.encoded(version: version), version: version)
            #expect(decoded == sent)
        }
    }

    @Test("That no election was needed is no failure")
    func elections() {
        var result = ElectLeadersResponse.PartitionResult()
        result.partitionId = 3
        #expect(AdminClient.outcome(result, of: "t").result == .success(true))
        result.errorCode = .electionNotNeeded
        #expect(AdminClient.outcome(result, of: "t").result == .success(false))
        result.errorCode = .preferredLeaderNotAvailable
        #expect(AdminClient.outcome(result, of: "t").error?.codeName == "PREFERRED_LEADER_NOT_AVAILABLE")
    }
}
