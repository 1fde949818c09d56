// At an older metadata.version only records that nodes of that version can read are written; levels change when every node can follow.
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives
import Testing

@testable import Controlling

@Suite("Controlling: versions")
struct VersionTests {
    /// The versions in which Apache Kafka writes these records at each level.
    @Test(
        arguments: [
            (7, 1, 0), (8, 2, 0), (16, 2, 0), (17, 3, 1), (21, 3, 1), (22, 3, 1), (23, 3, 2), (27, 3, 2), (30, 4, 2), (33, 4, 2),
        ] as [(Int16, Int16, Int16)])
    func recordsAreWrittenInTheirVersions(level: Int16, registration: Int16, partition: Int16) throws {
        let version = try #require(MetadataVersion(rawValue: level))
        var cluster = try Cluster(brokers: 2, version: version, features: [:])
        try cluster.register(2)
        #expect(cluster.records.map(\.version) == [registration])
        guard case .registerBroker(let record) = try #require(cluster.records.first).record else {
            Issue.record("a registration")
            return
        }
        #expect(record.logDirs == (level >= 17 ? [Cluster.directory(2)] : []))
        try cluster.heartbeat(2)
        try cluster.createTopic("t", [[0, 1]])
        guard case .partition(let created) = try #require(cluster.records.last).record else {
            Issue.record("a partition")
            return
        }
        #expect(cluster.records.last?.version == partition)
        #expect(created.directories == (level >= 17 ? [Cluster.directory(0), Cluster.directory(1)] : []))
        #expect(created.eligibleLeaderReplicas == nil)
        try cluster.fence(0)
        #expect(cluster.records.map(\.version) == [partition, 0])
        #expect(cluster.partitionChanges.allSatisfy { $0.eligibleLeaderReplicas == nil && $0.directories == nil })
        var request = AlterPartitionReassignmentsRequest()
        var topic = AlterPartitionReassignmentsRequest.ReassignableTopic()
        topic.name = "t"
        var target = AlterPartitionReassignmentsRequest.ReassignablePartition()
        target.replicas = [2, 1]
        topic.partitions = [target]
        request.topics = [topic]
        let final = request
        try cluster.run { (controller, _) throws(RequestFailure) in try controller.alterPartitionReassignments(final) }
        #expect(cluster.records.map(\.version) == [partition])
        #expect((cluster.partitionChanges.first?.directories != nil) == (level >= 17))
    }

    @Test(arguments: [14, 15] as [Int16])
    func controllersRegisterFromTheirVersionOn(level: Int16) throws {
        var cluster = try Cluster(version: try #require(MetadataVersion(rawValue: level)))
        let code = try cluster.refusal { (controller, _) throws(RequestFailure) in
            try controller.registerController(ControllerRegistrationRequest())
        }
        #expect(code == (level < 15 ? .unsupportedVersion : nil))
        #expect(cluster.controller.image.cluster.controllers.count == (level < 15 ? 0 : 1))
    }

    @Test func controllersAreUnregisteredAtTheirVersion() throws {
        for version in [MetadataVersion.defaultForNewClusters, .controllerUnregistration] {
            var cluster = try Cluster(version: version)
            var registration = ControllerRegistrationRequest()
            registration.controllerId = 3001
            let registered = registration
            try cluster.run { (controller, _) throws(RequestFailure) in try controller.registerController(registered) }
            func code(_ id: NodeID) throws -> ErrorCode? {
                var request = UnregisterControllerRequest()
                request.controllerId = id
                let final = request
                return try cluster.refusal { (controller, _) throws(RequestFailure) in try controller.unregisterController(final) }
            }
            let isKnown = version >= .controllerUnregistration
            #expect(try code(3001) == (isKnown ? nil : .unsupportedVersion))
            #expect(try code(3002) == (isKnown ? .controllerIdNotRegistered : .unsupportedVersion))
            #expect(cluster.controller.image.cluster.controllers.isEmpty == isKnown)
        }
    }

    private func update(_ cluster: inout Cluster, to level: Int16, type: Int8 = 1, voters: [NodeID] = []) throws -> UpdateFeaturesResponse {
        var update = UpdateFeaturesRequest.FeatureUpdateKey()
        update.feature = MetadataVersion.featureName
        update.maxVersionLevel = level
        update.upgradeType = type
        var request = UpdateFeaturesRequest()
        request.featureUpdates = [update]
        let final = request
        return try cluster.run { (controller, _) throws(RequestFailure) in
            controller.updateFeatures(final, apiVersion: 2, kraftVersion: 0, voters: voters)
        }
    }

    @Test func everyNodeMustFollow() throws {
        var cluster = try Cluster(brokers: 1, version: .version39)
        var request = Cluster.registration(1)
        let index = try #require(request.features.firstIndex { $0.name == MetadataVersion.featureName })
        request.features[index].maxSupportedVersion = 25
        let final = request
        try cluster.run { (controller, offset) throws(RequestFailure) in try controller.registerBroker(final, nextOffset: offset) }
        var response = try update(&cluster, to: 26)
        #expect(
            response.errorCode == .invalidUpdateVersion && response.errorMessage?.contains("Broker 1 only supports versions 7-25") == true)
        // A fenced broker counts, too: it may come back.
        #expect(try cluster.broker(1).isFenced)
        response = try update(&cluster, to: 25, voters: [3000, 3001])
        #expect(response.errorMessage?.contains("controller 3001 has not registered") == true && cluster.records.isEmpty)
        var registration = ControllerRegistrationRequest()
        registration.controllerId = 3001
        var feature = ControllerRegistrationRequest.Feature()
        feature.name = MetadataVersion.featureName
        feature.minSupportedVersion = 7
        feature.maxSupportedVersion = 22
        registration.features = [feature]
        let other = registration
        try cluster.run { (controller, _) throws(RequestFailure) in try controller.registerController(other) }
        response = try update(&cluster, to: 25, voters: [3000, 3001])
        #expect(response.errorMessage?.contains("Controller 3001 only supports versions 7-22") == true)
        response = try update(&cluster, to: 22, voters: [3000, 3001])
        #expect(response.errorCode == .none && cluster.controller.image.features.metadataVersion == .groupVersion1)
        response = try update(&cluster, to: 21)
        #expect(response.errorCode == .invalidUpdateVersion)
        response = try update(&cluster, to: 21, type: 2)
        #expect(response.errorCode == .none, "nothing is lost on the way back")
        response = try update(&cluster, to: 16, type: 2)
        #expect(response.errorCode == .invalidUpdateVersion, "directories would be")
    }

    /// Leaders and load are spread over racks; a rack holds a second replica only when there are more replicas than racks.
    @Test func placementKeepsRacksApart() throws {
        for seed in 1...20 as ClosedRange<UInt64> {
            var cluster = try Cluster(seed: seed)
            let racks = ["a", "b", "c"]
            for id in 0..<9 as Range<NodeID> {
                try cluster.register(id, rack: racks[Int(id) % 3])
                try cluster.heartbeat(id)
            }
            try cluster.fence(8)
            try cluster.heartbeat(7, wantShutDown: true)
            var request = CreateTopicsRequest()
            var topic = CreateTopicsRequest.CreatableTopic()
            topic.name = "t"
            topic.numPartitions = 24
            topic.replicationFactor = 3
            request.topics = [topic]
            let final = request
            let response = try cluster.run { (controller, _) throws(RequestFailure) in try controller.createTopics(final) }
            #expect(response.topics.map(\.errorCode) == [.none])
            let partitions = try #require(cluster.controller.image.topics.topic(named: "t")).partitions
            let areApart = partitions.allSatisfy { Set($0.replicas.map { $0 % 3 }).count == 3 }
            #expect(areApart)
            // Until as many partitions are placed as brokers serve, racks take turns; then all is shuffled.
            let perRack = partitions.prefix(6).reduce(into: [0, 0, 0]) { $0[Int($1.leader % 3)] += 1 }
            #expect(perRack == [2, 2, 2])
            let areThere = partitions.allSatisfy { $0.leader < 7 && !$0.isr.contains(8) && !$0.isr.contains(7) }
            #expect(areThere, "neither the fenced one nor the one that stops")
        }
    }
}
