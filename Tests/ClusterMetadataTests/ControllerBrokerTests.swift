// Brokers come and go: epochs, leaders, in-sync and eligible replicas.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import Primitives
import Testing

@Suite("Controller: brokers and leaders")
struct ControllerBrokerTests {
    private static func stop(_ harness: inout ControllerHarness, _ id: NodeID) throws {
        let epoch = try harness.broker(id).epoch
        try harness.run { (controller, _) throws(RequestFailure) in try controller.beginControlledShutdown(id, epoch: epoch) }
        try harness.run { (controller, _) throws(RequestFailure) in try controller.fenceBroker(id, epoch: epoch) }
    }

    private static func start(_ harness: inout ControllerHarness, _ id: NodeID, incarnation: UInt64, previousEpoch: Int64) throws {
        let epoch = try harness.register(id, incarnation: incarnation, previousEpoch: previousEpoch)
        try harness.run { (controller, _) throws(RequestFailure) in try controller.unfenceBroker(id, epoch: epoch) }
    }

    /// As fixtures of Apache Kafka have it: leaderless is one epoch, led again the next.
    @Test(arguments: [MetadataVersion.version39, .defaultForNewClusters], [0, 1] as [Int16])
    func leaderEpochsGrowByTwoPerCleanRestart(version: MetadataVersion, eligible: Int16) throws {
        if eligible > 0 && !version.supportsEligibleLeaderReplicas { return }
        var harness = try ControllerHarness(version: version, features: [FeatureName.eligibleLeaderReplicas: eligible])
        try harness.createTopic("t", partitions: 2)
        for round in 1...3 as ClosedRange<UInt64> {
            let epoch = try harness.broker(1).epoch
            try Self.stop(&harness, 1)
            let stopped = try harness.broker(1)
            #expect(stopped.isFenced && stopped.isInControlledShutdown)
            #expect(try harness.topic("t").partitions.allSatisfy { $0.leader == -1 && $0.leaderEpoch == Int32(round * 2 - 1) })
            try Self.start(&harness, 1, incarnation: round + 1, previousEpoch: epoch)
            let started = try harness.broker(1)
            #expect(started.isActive && started.epoch > epoch)
            let partitions = try harness.topic("t").partitions
            #expect(partitions.allSatisfy { $0.leader == 1 && $0.leaderEpoch == Int32(round * 2) && $0.isr == [1] })
            #expect(partitions.allSatisfy { !$0.isRecovering && $0.eligibleLeaderReplicas.isEmpty && $0.lastKnownElr.isEmpty })
        }
    }

    @Test(arguments: [0, 1] as [Int16])
    func killedNodeLeadsAgain(eligible: Int16) throws {
        var harness = try ControllerHarness(features: [FeatureName.eligibleLeaderReplicas: eligible])
        try harness.createTopic("t")
        try Self.start(&harness, 1, incarnation: 2, previousEpoch: -1)
        var partition = try #require(try harness.topic("t").partitions.first)
        #expect(partition.leader == 1 && partition.leaderEpoch == 2 && partition.isr == [1])
        // With eligible replicas on, a node that was killed may have lost records: the election counts as unclean.
        #expect(partition.isRecovering == (eligible == 1))
        try harness.run { (controller, _) throws(RequestFailure) in controller.completeLeaderRecovery(of: 1) }
        partition = try #require(try harness.topic("t").partitions.first)
        #expect(!partition.isRecovering && partition.leader == 1 && partition.leaderEpoch == 2)
    }

    @Test func registrationsAreChecked() throws {
        var harness = try ControllerHarness()
        var request = ControllerHarness.node(2).brokerRegistration
        func refusal() -> ErrorCode? {
            let final = request
            do {
                try harness.run { (controller, offset) throws(RequestFailure) in
                    try controller.registerBroker(final, nextOffset: offset)
                }
                return nil
            } catch {
                return (error as? RequestFailure)?.code
            }
        }
        request.clusterId = "another"
        #expect(refusal() == .inconsistentClusterId)
        request = ControllerHarness.node(2).brokerRegistration
        request.logDirs = []
        #expect(refusal() == .invalidRegistration)
        request.logDirs = ControllerHarness.node(1).logDirectories
        #expect(refusal() == .invalidRegistration)
        request = ControllerHarness.node(2).brokerRegistration
        request.features.removeAll { $0.name == MetadataVersion.featureName }
        #expect(refusal() == .invalidRegistration)
        request = ControllerHarness.node(2).brokerRegistration
        let index = try #require(request.features.firstIndex { $0.name == MetadataVersion.featureName })
        request.features[index].maxSupportedVersion = 21
        #expect(refusal() == .unsupportedVersion)
        request = ControllerHarness.node(2).brokerRegistration
        #expect(refusal() == nil)
        #expect(try harness.broker(2).isFenced)
    }

    /// The same process registers again, as with another listener: nothing happens to its partitions.
    @Test func amendedRegistrationKeepsTheEpoch() throws {
        var harness = try ControllerHarness()
        try harness.createTopic("t")
        let before = try harness.broker(1)
        #expect(try harness.register(1) == before.epoch)
        #expect(try harness.broker(1).isActive)
        #expect(try harness.topic("t").partitions.first?.leaderEpoch == 0)
    }

    @Test func leadershipMovesToTheInSyncReplica() throws {
        var harness = try ControllerHarness(brokers: 3)
        try harness.createTopic("t", assignments: [[1, 2, 3]])
        let epoch = try harness.broker(1).epoch
        try Self.stop(&harness, 1)
        var partition = try #require(try harness.topic("t").partitions.first)
        #expect(partition.leader == 2 && partition.leaderEpoch == 1 && partition.isr == [2, 3])
        try Self.stop(&harness, 2)
        try Self.stop(&harness, 3)
        partition = try #require(try harness.topic("t").partitions.first)
        #expect(partition.leader == -1 && partition.isr == [3], "the last one standing stays in the ISR")
        try Self.start(&harness, 1, incarnation: 2, previousEpoch: epoch)
        partition = try #require(try harness.topic("t").partitions.first)
        #expect(partition.leader == -1, "nobody may lead who is not in sync")
    }

    @Test func electsPreferredLeaders() throws {
        var harness = try ControllerHarness(brokers: 2, features: [FeatureName.eligibleLeaderReplicas: 0])
        try harness.createTopic("t", assignments: [[1, 2]])
        func elect(_ type: Int8) throws -> ElectLeadersResponse.PartitionResult {
            var topic = ElectLeadersRequest.TopicPartitions()
            topic.topic = "t"
            topic.partitions = [0]
            var request = ElectLeadersRequest()
            request.electionType = type
            request.topicPartitions = [topic]
            let final = request
            let response = try harness.run { (controller, _) throws(RequestFailure) in try controller.electLeaders(final) }
            return try #require(response.replicaElectionResults.first?.partitionResult.first)
        }
        #expect(try elect(0).errorCode == .electionNotNeeded)
        let epoch = try harness.broker(1).epoch
        try Self.stop(&harness, 1)
        #expect(try elect(0).errorCode == .preferredLeaderNotAvailable)
        #expect(try elect(1).errorCode == .electionNotNeeded)
        try Self.start(&harness, 1, incarnation: 2, previousEpoch: epoch)
        #expect(try elect(0).errorCode == .preferredLeaderNotAvailable, "back, but not in sync")
    }

    @Test func interruptedTransactionIsAborted() throws {
        var harness = try ControllerHarness()
        let before = harness.controller.image
        var begin = BeginTransactionProbe.records
        _ = try harness.controller.replay(begin, at: harness.nextOffset, epoch: 1, timestamp: 0)
        harness.nextOffset += Offset(begin.count)
        #expect(harness.controller.image === before, "nothing is shown of an open transaction")
        #expect(harness.controller.transactionStart != nil)
        begin = []
        try harness.run { (controller, _) throws(RequestFailure) in try controller.activationRecords(bootstrap: nil) }
        #expect(harness.controller.transactionStart == nil)
        #expect(harness.controller.image.hasSameContents(as: before))
    }
}
