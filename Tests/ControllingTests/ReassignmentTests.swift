// Partitions move: what a reassignment writes, when it ends, how it is taken back, and what ListPartitionReassignments shows.
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives
import Testing

@testable import Controlling

@Suite("Controlling: reassignments")
struct ReassignmentTests {
    /// - Parameter targets: nil takes a reassignment back.
    private func reassign(
        _ cluster: inout Cluster, _ topic: String, _ targets: [(Int32, [NodeID]?)], allowsFactorChange: Bool = true
    ) throws -> [AlterPartitionReassignmentsResponse.ReassignablePartitionResponse] {
        var request = AlterPartitionReassignmentsRequest()
        request.allowReplicationFactorChange = allowsFactorChange
        var data = AlterPartitionReassignmentsRequest.ReassignableTopic()
        data.name = topic
        data.partitions = targets.map { index, replicas in
            var partition = AlterPartitionReassignmentsRequest.ReassignablePartition()
            partition.partitionIndex = index
            partition.replicas = replicas
            return partition
        }
        request.topics = [data]
        let final = request
        return try cluster.run { (controller, _) throws(RequestFailure) in
            try controller.alterPartitionReassignments(final)
        }.responses.flatMap(\.partitions)
    }

    private func listed(_ cluster: Cluster) -> [ListPartitionReassignmentsResponse.OngoingPartitionReassignment] {
        cluster.controller.listPartitionReassignments(ListPartitionReassignmentsRequest()).topics.flatMap(\.partitions)
    }

    @Test func replicasAreAddedBesideTheOldOnesAndThenTakeOver() throws {
        var cluster = try Cluster(brokers: 4)
        try cluster.createTopic("foo", [[1, 2, 3], [3, 2, 1]])
        #expect(listed(cluster).isEmpty)
        let answers = try reassign(&cluster, "foo", [(0, [3, 2, 1]), (1, [0, 2, 1]), (2, [0, 2, 1])])
        #expect(answers.map(\.errorCode) == [.none, .none, .unknownTopicOrPartition])
        #expect(answers.map(\.errorMessage) == [nil, nil, "Unable to find partition foo:2."])
        #expect(cluster.records.map(\.version) == [2, 2])
        let changes = cluster.partitionChanges
        #expect(changes[0].replicas == [3, 2, 1] && changes[0].removingReplicas == nil && changes[0].addingReplicas == nil)
        #expect(changes[0].leader == -2 && changes[0].directories == [3, 2, 1].map { Cluster.directory($0) })
        #expect(changes[1].replicas == [0, 2, 1, 3] && changes[1].removingReplicas == [3] && changes[1].addingReplicas == [0])
        #expect(changes[1].leader == -2 && changes[1].isr == nil)
        let ongoing = listed(cluster)
        #expect(ongoing.count == 1 && ongoing.first?.partitionIndex == 1 && ongoing.first?.replicas == [0, 2, 1, 3])
        #expect(ongoing.first?.addingReplicas == [0] && ongoing.first?.removingReplicas == [3])
        // The leader is among those that go: it is told to read metadata, and yet the change is made.
        let answer = try cluster.alterPartition("foo", 1, isr: [3, 0, 2, 1])
        #expect(answer.errorCode == .newLeaderElected)
        let change = try #require(cluster.partitionChanges.first)
        #expect(change.replicas == [0, 2, 1] && change.isr == [0, 2, 1] && change.leader == 0)
        #expect(change.addingReplicas == [] && change.removingReplicas == [])
        #expect(change.directories == [0, 2, 1].map { Cluster.directory($0) })
        #expect(listed(cluster).isEmpty)
    }

    @Test func aReassignmentIsTakenBack() throws {
        var cluster = try Cluster(brokers: 4)
        try cluster.createTopic("foo", [[3, 2, 1]])
        #expect(try reassign(&cluster, "foo", [(0, nil)]).map(\.errorCode) == [.noReassignmentInProgress])
        #expect(try reassign(&cluster, "foo", [(0, [0, 2, 1])]).map(\.errorCode) == [.none])
        #expect(try cluster.alterPartition("foo", isr: [3, 2]).errorCode == .none)
        #expect(try reassign(&cluster, "foo", [(0, nil)]).map(\.errorCode) == [.none])
        let change = try #require(cluster.partitionChanges.first)
        #expect(change.replicas == [2, 1, 3] && change.leader == 3 && change.addingReplicas == [] && change.removingReplicas == [])
        #expect(change.directories == [2, 1, 3].map { Cluster.directory($0) } && change.isr == nil)
        #expect(try cluster.partition("foo").leaderEpoch == 1, "who is no replica any more has to notice")
    }

    /// Everybody in sync is new: going back needs a leader that lags.
    @Test(arguments: [false, true])
    func goingBackMayBeUnclean(isAllowed: Bool) throws {
        var cluster = try Cluster(brokers: 4, features: [FeatureName.eligibleLeaderReplicas: 0])
        try cluster.createTopic("foo", [[0, 1]], configs: ["unclean.leader.election.enable": isAllowed ? "true" : "false"])
        #expect(try reassign(&cluster, "foo", [(0, [2, 3])]).map(\.errorCode) == [.none])
        #expect(try cluster.alterPartition("foo", isr: [0, 2]).errorCode == .none)
        try cluster.fence(0)
        #expect(try cluster.partition("foo").leader == 2 && cluster.partition("foo").isr == [2])
        let code = try reassign(&cluster, "foo", [(0, nil)]).map(\.errorCode)
        #expect(code == [isAllowed ? .none : .invalidReplicaAssignment])
        if isAllowed { #expect(try cluster.partition("foo").replicas == [0, 1] && cluster.partition("foo").leader == 1) }
    }

    @Test func aSecondReassignmentReplacesTheFirst() throws {
        var cluster = try Cluster(brokers: 6)
        try cluster.createTopic("foo", [[0, 1]])
        _ = try reassign(&cluster, "foo", [(0, [2, 3])])
        #expect(listed(cluster).first?.replicas == [2, 3, 0, 1] && listed(cluster).first?.removingReplicas == [0, 1])
        #expect(try cluster.alterPartition("foo", isr: [0, 1, 2]).isr == [0, 1, 2])
        _ = try reassign(&cluster, "foo", [(0, [4, 5])])
        let ongoing = try #require(listed(cluster).first)
        #expect(ongoing.removingReplicas == [0, 1, 2, 3] && ongoing.addingReplicas == [4, 5])
        #expect(ongoing.replicas == [4, 5, 0, 1, 2, 3])
        #expect(try cluster.alterPartition("foo", isr: [0, 1, 2, 4]).errorCode == .none)
        #expect(try cluster.alterPartition("foo", isr: [0, 1, 2, 4, 5]).errorCode == .newLeaderElected)
        #expect(try cluster.partition("foo").replicas == [4, 5] && cluster.partition("foo").isr == [4, 5])
    }

    @Test func theReplicationFactorChangesOnlyWhereAllowed() throws {
        var cluster = try Cluster(brokers: 4)
        try cluster.createTopic("foo", [[0, 1]])
        #expect(try reassign(&cluster, "foo", [(0, [0, 1, 2])], allowsFactorChange: false).map(\.errorCode) == [.invalidReplicationFactor])
        #expect(try reassign(&cluster, "foo", [(0, [2, 3])], allowsFactorChange: false).map(\.errorCode) == [.none])
        #expect(try reassign(&cluster, "foo", [(0, [0])], allowsFactorChange: false).map(\.errorCode) == [.invalidReplicationFactor])
        #expect(try reassign(&cluster, "foo", [(0, [1, 3])], allowsFactorChange: false).map(\.errorCode) == [.none])
        #expect(try reassign(&cluster, "foo", [(0, nil)], allowsFactorChange: false).map(\.errorCode) == [.none])
    }

    @Test func impossibleTargetsAreRefused() throws {
        var cluster = try Cluster(brokers: 3)
        try cluster.createTopic("foo", [[0, 1]])
        let answers = try reassign(&cluster, "foo", [(0, []), (0, [0, 9]), (0, [1, 1])])
        #expect(answers.map(\.errorCode) == [.invalidReplicaAssignment, .invalidReplicaAssignment, .invalidReplicaAssignment])
        #expect(cluster.records.isEmpty)
        #expect(try reassign(&cluster, "bar", [(0, [0])]).map(\.errorMessage) == ["Unable to find a topic named bar."])
    }

    /// Facts from the tests of Apache Kafka's own arithmetic.
    @Test func reassignmentsEndWhenTheyMay() {
        let plain = PartitionReassignment(from: [3, 2, 1], to: [3, 2, 1])
        #expect(plain.adding.isEmpty && plain.removing.isEmpty && plain.completed(isr: [1, 2, 3]) == nil)
        let move = PartitionReassignment(from: [3, 2, 1], to: [5, 6])
        #expect(move == PartitionReassignment(replicas: [5, 6, 1, 2, 3], adding: [5, 6], removing: [1, 2, 3]))
        #expect(move.completed(isr: [1, 2, 3]) == nil && move.completed(isr: [1, 2, 3, 5]) == nil)
        let shrink = PartitionReassignment(replicas: [0, 1, 2, 3, 4, 5], adding: [5], removing: [0, 1])
        #expect(shrink.completed(isr: [0, 1, 5]) == nil, "fewer replicas than before, and some of them lag")
        #expect(shrink.completed(isr: [2, 3, 4, 5])?.replicas == [2, 3, 4, 5])
        let removal = PartitionReassignment(replicas: [0, 1, 2], adding: [], removing: [2])
        #expect(removal.completed(isr: [2]) == nil, "nobody would be left in sync")
        #expect(removal.completed(isr: [0, 1, 2])?.isr == [0, 1])
    }

    /// A broker that is no replica any more has deleted its log, and must not keep the last leader from leading again.
    @Test func whoIsNoReplicaAnyLongerIsNotEligible() throws {
        var cluster = try Cluster(brokers: 3, features: [FeatureName.eligibleLeaderReplicas: 1])
        try cluster.createTopic("foo", [[0, 1, 2]], configs: ["min.insync.replicas": "2"])
        #expect(try reassign(&cluster, "foo", [(0, [0])]).map(\.errorCode) == [.none])
        #expect(try cluster.partition("foo").isr == [0] && cluster.partition("foo").eligibleLeaderReplicas.isEmpty)
        // Killed and started again.
        try cluster.fence(0)
        cluster.now += 20_000
        try cluster.register(0, incarnation: 2)
        #expect(try cluster.partition("foo").leader == -1 && cluster.partition("foo").lastKnownElr == [0])
        try cluster.heartbeat(0)
        #expect(try cluster.partition("foo").leader == 0)
    }
}
