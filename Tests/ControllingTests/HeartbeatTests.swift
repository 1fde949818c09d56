// Brokers register, serve, stop and die: which records that makes, in Kafka's versions, and what the broker is told.
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives
import Testing

@testable import Controlling

@Suite("Controlling: heartbeats")
struct HeartbeatTests {
    @Test func aBrokerIsUnfencedOnceItHasSeenItsRegistration() throws {
        var cluster = try Cluster(brokers: 1)
        try cluster.register(1)
        #expect(cluster.records.count == 1 && cluster.records.first?.version == 3)
        var response = try cluster.heartbeat(1, behind: 1)
        #expect(response.isFenced && !response.isCaughtUp && !response.shouldShutDown && cluster.records.isEmpty)
        response = try cluster.heartbeat(1, wantFence: true)
        #expect(response.isFenced && response.isCaughtUp && cluster.records.isEmpty)
        response = try cluster.heartbeat(1)
        #expect(!response.isFenced && response.isCaughtUp)
        let change = try #require(cluster.registrationChanges.first)
        #expect(change.change.fenced == -1 && change.version == 0 && cluster.records.count == 1)
        response = try cluster.heartbeat(1, wantFence: true)
        #expect(response.isFenced && cluster.registrationChanges.map(\.change.fenced) == [1])
        #expect(try cluster.broker(1).isFenced)
    }

    @Test func staleEpochsAreRefused() throws {
        var cluster = try Cluster(brokers: 1)
        let epoch = try cluster.broker(0).epoch
        func code(_ id: NodeID, _ epoch: Int64) throws -> ErrorCode? {
            var request = BrokerHeartbeatRequest()
            request.brokerId = id
            request.brokerEpoch = epoch
            let final = request
            return try cluster.refusal { (controller, offset) throws(RequestFailure) in
                try controller.brokerHeartbeat(final, nextOffset: offset, now: 0)
            }
        }
        #expect(try code(0, epoch) == nil)
        #expect(try code(0, epoch + 1) == .staleBrokerEpoch)
        #expect(try code(7, 1) == .staleBrokerEpoch)
    }

    @Test func controlledShutdownWaitsForTheOthers() throws {
        var cluster = try Cluster(brokers: 3)
        try cluster.createTopic("t", [[0, 1, 2], [1, 2, 0]])
        for id in 0..<3 as Range<NodeID> { try cluster.heartbeat(id) }
        var response = try cluster.heartbeat(0, wantShutDown: true)
        #expect(!response.isFenced && !response.shouldShutDown)
        #expect(cluster.registrationChanges.map(\.change.inControlledShutdown) == [1])
        #expect(cluster.registrationChanges.map(\.version) == [1])
        #expect(cluster.partitionChanges.map(\.leader) == [1, -2] && cluster.partitionChanges.map(\.isr) == [[1, 2], [1, 2]])
        #expect(try cluster.partition("t").leader == 1 && cluster.partition("t").leaderEpoch == 1)
        #expect(try cluster.partition("t", 1).leaderEpoch == 0, "from metadata.version 12 on, a smaller ISR is no new epoch")
        response = try cluster.heartbeat(0, wantShutDown: true)
        #expect(!response.shouldShutDown, "the others have not seen who leads now")
        try cluster.heartbeat(1)
        response = try cluster.heartbeat(0, wantShutDown: true)
        #expect(!response.shouldShutDown)
        try cluster.heartbeat(2)
        response = try cluster.heartbeat(0, wantShutDown: true)
        #expect(response.shouldShutDown && response.isFenced)
        #expect(cluster.partitionChanges.isEmpty && cluster.registrationChanges.map(\.change.fenced) == [1])
    }

    /// Nothing to hand over: it may go at once.
    @Test func aBrokerThatLeadsNothingStopsAtOnce() throws {
        var cluster = try Cluster(brokers: 2)
        try cluster.createTopic("t", [[1, 0]])
        let response = try cluster.heartbeat(0, wantShutDown: true)
        #expect(response.shouldShutDown && response.isFenced)
        #expect(cluster.partitionChanges.map(\.isr) == [[1]] && cluster.registrationChanges.map(\.change.fenced) == [1])
    }

    /// The last replica stays in the ISR, or in the eligible ones where the feature is on; there is nobody to hand over to.
    @Test(arguments: [0, 1] as [Int16])
    func theLastReplicaStops(eligible: Int16) throws {
        var cluster = try Cluster(brokers: 2, features: [FeatureName.eligibleLeaderReplicas: eligible])
        try cluster.createTopic("t", [[0]])
        try cluster.heartbeat(0, wantShutDown: true)
        let partition = try cluster.partition("t")
        #expect(partition.leader == -1 && partition.leaderEpoch == 1)
        #expect(partition.isr == (eligible == 0 ? [0] : []) && partition.eligibleLeaderReplicas == (eligible == 0 ? [] : [0]))
        #expect(partition.lastKnownElr == (eligible == 0 ? [] : [0]))
        try cluster.heartbeat(1)
        #expect(try cluster.heartbeat(0, wantShutDown: true).shouldShutDown)
        let epoch = try cluster.broker(0).epoch
        try cluster.register(0, incarnation: 2, previousEpoch: epoch)
        try cluster.heartbeat(0)
        let after = try cluster.partition("t")
        #expect(after.leader == 0 && after.isr == [0] && after.lastKnownElr.isEmpty && after.eligibleLeaderReplicas.isEmpty)
        #expect(!after.isRecovering)
    }

    @Test func failedRecordsOfAShutdownAreDecidedAgain() throws {
        var cluster = try Cluster(brokers: 2)
        try cluster.createTopic("t", [[0, 1]])
        var request = BrokerHeartbeatRequest()
        request.brokerId = 0
        request.brokerEpoch = try cluster.broker(0).epoch
        request.wantShutDown = true
        // Decided, but never appended.
        let lost = try cluster.controller.brokerHeartbeat(request, nextOffset: cluster.nextOffset, now: cluster.now)
        #expect(lost.records.count == 2)
        try cluster.heartbeat(0, wantShutDown: true)
        #expect(cluster.records.count == 2, "the image does not show a shutdown, so it begins now")
    }

    @Test func offlineDirectoriesTakeTheirReplicasAlong() throws {
        var cluster = try Cluster(brokers: 2)
        try cluster.register(2, directories: [Cluster.directory(2, 0), Cluster.directory(2, 1)])
        try cluster.heartbeat(2)
        try cluster.createTopic("t", [[2, 0], [2, 1]])
        let topic = try #require(cluster.controller.image.topics.topic(named: "t"))
        #expect(topic.partitions.allSatisfy { $0.directory(of: 2) == DirectoryID.unassigned }, "two directories: the broker chooses")
        for (index, directory) in [Cluster.directory(2, 0), Cluster.directory(2, 1)].enumerated() {
            _ = try assign(&cluster, 2, Int32(index), of: topic.id, to: directory)
            #expect(cluster.records.map(\.version) == [2] && cluster.partitionChanges.map { $0.directories?.first } == [directory])
        }
        try cluster.heartbeat(2, offline: [Cluster.directory(2, 0), Cluster.directory(9)])
        #expect(cluster.partitionChanges.map(\.partitionId) == [0] && cluster.partitionChanges.map(\.leader) == [0])
        #expect(cluster.registrationChanges.map(\.change.logDirs) == [[Cluster.directory(2, 1)]])
        #expect(cluster.registrationChanges.map(\.version) == [2])
        #expect(try cluster.partition("t", 1).leader == 2)
        try cluster.heartbeat(2, offline: [Cluster.directory(2, 0)])
        #expect(cluster.records.isEmpty, "that is known")
        // The broker found the directory lost before it could say what it had put there.
        _ = try assign(&cluster, 2, 1, of: topic.id, to: DirectoryID.lost)
        #expect(try cluster.partition("t", 1).leader == 1 && cluster.partition("t", 1).isr == [1])
    }

    private func assign(
        _ cluster: inout Cluster, _ broker: NodeID, _ index: Int32, of topic: TopicID, to directory: KafkaUUID
    ) throws -> ErrorCode? {
        var partition = AssignReplicasToDirsRequest.PartitionData()
        partition.partitionIndex = index
        var topicData = AssignReplicasToDirsRequest.TopicData()
        topicData.topicId = topic
        topicData.partitions = [partition]
        var directoryData = AssignReplicasToDirsRequest.DirectoryData()
        directoryData.id = directory
        directoryData.topics = [topicData]
        var request = AssignReplicasToDirsRequest()
        request.brokerId = broker
        request.brokerEpoch = try cluster.broker(broker).epoch
        request.directories = [directoryData]
        let final = request
        let response = try cluster.run { (controller, _) throws(RequestFailure) in try controller.assignReplicasToDirectories(final) }
        return response.directories.first?.topics.first?.partitions.first?.errorCode
    }

    @Test func assignmentsAreChecked() throws {
        var cluster = try Cluster(brokers: 2)
        let topic = try cluster.createTopic("t", [[0]])
        #expect(try assign(&cluster, 0, 0, of: KafkaUUID.one, to: Cluster.directory(0)) == .unknownTopicId)
        #expect(try assign(&cluster, 0, 5, of: topic, to: Cluster.directory(0)) == .unknownTopicOrPartition)
        #expect(try assign(&cluster, 1, 0, of: topic, to: Cluster.directory(1)) == .notLeaderOrFollower)
        #expect(try assign(&cluster, 0, 0, of: topic, to: Cluster.directory(0)) == ErrorCode.none)
        #expect(cluster.records.isEmpty, "it is there already")
        var old = try Cluster(brokers: 1, version: .version39)
        #expect(old.controller.version.supportsDirectoryAssignment)
        old = try Cluster(brokers: 1, version: .controllerRegistration)
        let code = try old.refusal { (controller, _) throws(RequestFailure) in
            try controller.assignReplicasToDirectories(AssignReplicasToDirsRequest())
        }
        #expect(code == .unsupportedVersion)
    }

    @Test func unregisteredBrokersLeaveTheIsr() throws {
        var cluster = try Cluster(brokers: 3)
        try cluster.createTopic("t", [[0, 1, 2]])
        var request = UnregisterBrokerRequest()
        request.brokerId = 0
        var final = request
        try cluster.run { (controller, _) throws(RequestFailure) in try controller.unregisterBroker(final) }
        #expect(cluster.partitionChanges.map(\.isr) == [[1, 2]] && cluster.records.count == 2)
        guard case .unregisterBroker = try #require(cluster.records.last).record else {
            Issue.record("the registration ends last")
            return
        }
        #expect(cluster.controller.image.cluster.broker(0) == nil)
        request.brokerId = 0
        final = request
        let code = try cluster.refusal { (controller, _) throws(RequestFailure) in try controller.unregisterBroker(final) }
        #expect(code == .brokerIdNotRegistered)
    }
}
