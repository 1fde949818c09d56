// Leaders change their in-sync replicas: what is accepted, what is refused with which code, and what is remembered of who left.
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives
import Testing

@testable import Controlling

@Suite("Controlling: AlterPartition")
struct AlterPartitionTests {
    @Test(arguments: [2, 3] as [Int16])
    func anIsrShrinksAndExpands(apiVersion: Int16) throws {
        var cluster = try Cluster(brokers: 3, features: [FeatureName.eligibleLeaderReplicas: 0])
        try cluster.createTopic("t", [[0, 1, 2]])
        var answer = try cluster.alterPartition("t", isr: [0, 2], apiVersion: apiVersion)
        #expect(answer.errorCode == .none && answer.isr == [0, 2] && answer.partitionEpoch == 1 && answer.leaderEpoch == 0)
        #expect(answer.leaderId == 0 && answer.leaderRecoveryState == 0)
        #expect(cluster.records.count == 1 && cluster.records.first?.version == 2)
        let change = try #require(cluster.partitionChanges.first)
        #expect(change.isr == [0, 2] && change.leader == -2 && change.directories == nil && change.replicas == nil)
        answer = try cluster.alterPartition("t", isr: [0, 2, 1], apiVersion: apiVersion)
        #expect(answer.errorCode == .none && answer.partitionEpoch == 2)
        #expect(try cluster.partition("t").isr == [0, 2, 1])
        answer = try cluster.alterPartition("t", isr: [0, 2, 1], apiVersion: apiVersion)
        #expect(answer.errorCode == .none && answer.partitionEpoch == 2 && cluster.records.isEmpty, "nothing to do is no error")
    }

    @Test func requestsThatDoNotFitAreRefused() throws {
        var cluster = try Cluster(brokers: 4, features: [FeatureName.eligibleLeaderReplicas: 0])
        try cluster.createTopic("t", [[0, 1, 2]])
        #expect(try cluster.alterPartition("t", isr: [0, 1]).errorCode == .none)
        func code(
            _ isr: [NodeID], by leader: NodeID? = nil, recovering: Bool = false, leaderEpoch: Int32 = 0, partitionEpoch: Int32 = 1,
            brokerEpochs: [NodeID: Int64] = [:]
        ) throws -> ErrorCode {
            let answer = try cluster.alterPartition(
                "t", isr: isr, by: leader, isRecovering: recovering, leaderEpoch: leaderEpoch, partitionEpoch: partitionEpoch,
                brokerEpochs: brokerEpochs)
            #expect(answer.errorCode == .none || cluster.records.isEmpty)
            return answer.errorCode
        }
        #expect(try code([0, 1, 2], leaderEpoch: 1) == .notController)
        #expect(try code([0, 1, 2], partitionEpoch: 2) == .notController)
        #expect(try code([0, 1, 2], leaderEpoch: -1) == .fencedLeaderEpoch)
        #expect(try code([0, 1, 2], by: 1) == .invalidRequest)
        #expect(try code([0, 1, 2], partitionEpoch: 0) == .invalidUpdateVersion)
        #expect(try code([0, 3]) == .invalidRequest)
        #expect(try code([0, 0]) == .invalidRequest)
        #expect(try code([1, 2]) == .invalidRequest)
        #expect(try code([]) == .invalidRequest)
        #expect(try code([0], recovering: true) == .invalidRequest)
        #expect(try code([0, 1, 2], brokerEpochs: [2: 1]) == .ineligibleReplica)
        #expect(try code([0, 1, 2], brokerEpochs: [2: -1]) == .none, "epoch -1 is not looked at")
    }

    @Test(arguments: [2, 3] as [Int16])
    func brokersThatAreGoneOrGoingDoNotJoin(apiVersion: Int16) throws {
        var cluster = try Cluster(brokers: 4, features: [FeatureName.eligibleLeaderReplicas: 0])
        try cluster.createTopic("t", [[0, 1, 2, 3], [2, 0, 1, 3]])
        try cluster.fence(1)
        #expect(try cluster.alterPartition("t", isr: [0, 1, 2, 3], apiVersion: apiVersion).errorCode == .ineligibleReplica)
        try cluster.heartbeat(1)
        try cluster.heartbeat(2, wantShutDown: true)
        #expect(try cluster.broker(2).isInControlledShutdown && !cluster.broker(2).isFenced)
        #expect(try cluster.alterPartition("t", isr: [0, 2, 3], apiVersion: apiVersion).errorCode == .ineligibleReplica)
        #expect(try cluster.alterPartition("t", isr: [0, 1, 3], apiVersion: apiVersion).errorCode == .none)
    }

    @Test func unknownTopicsAndPartitionsAreTold() throws {
        var cluster = try Cluster(brokers: 1)
        let id = try cluster.createTopic("t", [[0]])
        var request = AlterPartitionRequest()
        request.brokerId = 0
        request.brokerEpoch = try cluster.broker(0).epoch
        request.topics = [KafkaUUID.one, id].map { topic in
            var data = AlterPartitionRequest.TopicData()
            data.topicId = topic
            var partition = AlterPartitionRequest.PartitionData()
            partition.partitionIndex = 3
            data.partitions = [partition]
            return data
        }
        var final = request
        let response = try cluster.run { (controller, _) throws(RequestFailure) in try controller.alterPartition(final, apiVersion: 3) }
        #expect(response.topics.map { $0.partitions.map(\.errorCode) } == [[.unknownTopicId], [.unknownTopicOrPartition]])
        request.brokerEpoch += 1
        final = request
        let code = try cluster.refusal { (controller, _) throws(RequestFailure) in try controller.alterPartition(final, apiVersion: 3) }
        #expect(code == .staleBrokerEpoch)
    }

    /// Until metadata.version 12 followers noticed a smaller ISR by its leader epoch alone (KAFKA-15021).
    @Test func oldVersionsBumpTheLeaderEpoch() throws {
        let old = try #require(MetadataVersion(rawValue: 11))
        var cluster = try Cluster(brokers: 3, version: old)
        try cluster.createTopic("t", [[0, 1, 2]])
        let answer = try cluster.alterPartition("t", isr: [0, 1], apiVersion: 2)
        #expect(answer.leaderEpoch == 1 && answer.errorCode == .none)
        #expect(cluster.records.map(\.version) == [0] && cluster.partitionChanges.map(\.leader) == [0])
        #expect(try cluster.alterPartition("t", isr: [0, 1, 2], apiVersion: 2).leaderEpoch == 1)
    }

    @Test func membersThatLeaveBelowMinIsrStayEligible() throws {
        var cluster = try Cluster(brokers: 4, features: [FeatureName.eligibleLeaderReplicas: 1])
        try cluster.createTopic("t", [[0, 1, 2, 3]], configs: ["min.insync.replicas": "3"])
        try cluster.fence(1, 2, 3)
        #expect(try cluster.partition("t").eligibleLeaderReplicas == [2, 3], "with three left, nobody was eligible yet")
        try cluster.heartbeat(2)
        try cluster.fence(0)
        let partition = try cluster.partition("t")
        #expect(partition.leader == 2 && partition.isr == [2] && partition.eligibleLeaderReplicas == [0, 3])
        #expect(partition.lastKnownElr.isEmpty && !partition.isRecovering)
        try cluster.heartbeat(0)
        #expect(try cluster.alterPartition("t", isr: [2, 0]).errorCode == .none)
        #expect(try cluster.partition("t").eligibleLeaderReplicas == [3])
        try cluster.heartbeat(1)
        #expect(try cluster.alterPartition("t", isr: [2, 0, 1]).errorCode == .none)
        #expect(try cluster.partition("t").eligibleLeaderReplicas.isEmpty)
    }

    @Test func theLastLeaderIsElectedWhenNobodyIsEligible() throws {
        var cluster = try Cluster(brokers: 2, features: [FeatureName.eligibleLeaderReplicas: 1])
        try cluster.createTopic("t", [[0, 1]], configs: ["min.insync.replicas": "1"])
        #expect(try cluster.alterPartition("t", isr: [0]).errorCode == .none)
        cluster.now += 10_000
        try cluster.heartbeat(1)
        try cluster.register(0, incarnation: 2)
        var partition = try cluster.partition("t")
        #expect(
            partition.leader == -1 && partition.isr.isEmpty && partition.eligibleLeaderReplicas.isEmpty && partition.lastKnownElr == [0])
        try cluster.heartbeat(0)
        partition = try cluster.partition("t")
        #expect(partition.leader == 0 && partition.isr == [0] && partition.isRecovering && partition.lastKnownElr.isEmpty)
        #expect(try cluster.alterPartition("t", isr: [0, 1], isRecovering: true).errorCode == .invalidRequest)
        #expect(try cluster.alterPartition("t", isr: [0], isRecovering: false).errorCode == .none)
        #expect(try !cluster.partition("t").isRecovering)
        #expect(try cluster.alterPartition("t", isr: [0, 1]).errorCode == .none)
    }

    @Test func uncleanElectionsNeedPermission() throws {
        for isAllowed in [false, true] {
            var cluster = try Cluster(brokers: 2, features: [FeatureName.eligibleLeaderReplicas: 0])
            try cluster.createTopic("t", [[0, 1]], configs: ["unclean.leader.election.enable": isAllowed ? "true" : "false"])
            #expect(try cluster.alterPartition("t", isr: [0]).errorCode == .none)
            try cluster.fence(0)
            let partition = try cluster.partition("t")
            #expect(partition.leader == (isAllowed ? 1 : -1) && partition.isr == (isAllowed ? [1] : [0]))
            #expect(partition.isRecovering == isAllowed)
        }
    }

    @Test func uncleanElectionsFollowPermissionByTheClock() throws {
        var cluster = try Cluster(brokers: 2, features: [FeatureName.eligibleLeaderReplicas: 0])
        try cluster.createTopic("t", [[0, 1]])
        #expect(try cluster.alterPartition("t", isr: [0]).errorCode == .none)
        try cluster.fence(0)
        var resource = IncrementalAlterConfigsRequest.AlterConfigsResource()
        resource.resourceType = 2
        resource.resourceName = "t"
        var config = IncrementalAlterConfigsRequest.AlterableConfig()
        config.name = "unclean.leader.election.enable"
        config.value = "true"
        resource.configs = [config]
        var request = IncrementalAlterConfigsRequest()
        request.resources = [resource]
        let final = request
        try cluster.run { (controller, _) throws(RequestFailure) in try controller.incrementalAlterConfigs(final) }
        cluster.now += 300_000
        // Both tasks are due; balancing finds nothing that it may do.
        try cluster.heartbeat(1)
        try cluster.tick()
        try cluster.tick()
        #expect(try cluster.partition("t").leader == 1 && cluster.partition("t").isRecovering)
    }

    @Test func leadershipReturnsToPreferredReplicas() throws {
        var cluster = try Cluster(brokers: 3, fixed: ["leader.imbalance.check.interval.seconds": "60"])
        try cluster.createTopic("t", [[0, 1, 2], [1, 0, 2], [0, 2, 1]])
        try cluster.fence(0)
        try cluster.heartbeat(0)
        #expect(try cluster.alterPartition("t", isr: [1, 2, 0]).errorCode == .none)
        cluster.now += 60_000
        for id in 0..<3 as Range<NodeID> { try cluster.heartbeat(id) }
        #expect(try #require(cluster.controller.nextDeadline) <= cluster.now)
        try cluster.tick()
        #expect(cluster.partitionChanges.map(\.partitionId) == [0] && cluster.partitionChanges.map(\.leader) == [0])
        #expect(try cluster.partition("t", 2).leader == 2, "not in sync, not elected")
        try cluster.tick()
        #expect(cluster.records.isEmpty)
        var off = try Cluster(brokers: 2, fixed: ["auto.leader.rebalance.enable": "false"])
        try off.createTopic("t", [[0, 1]])
        try off.fence(0)
        try off.heartbeat(0)
        #expect(try off.alterPartition("t", isr: [1, 0]).errorCode == .none)
        off.now += 1_000_000
        for id in 0..<2 as Range<NodeID> { try off.heartbeat(id) }
        try off.tick()
        #expect(off.records.isEmpty)
    }
}
