// Whatever the controller does at a metadata.version, it writes only records and fields that nodes of that version can read. What each
// level allows is written down here once more, as Apache Kafka's MetadataVersion says it, instead of asking Martlet's own table.
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import OrderedCollections
import Primitives
import Testing

@testable import Controlling

@Suite("Controlling: record versions")
struct RecordVersionTests {
    /// Why nodes of that level could not read the record; nil when they can.
    private static func problem(_ versioned: VersionedRecord, at level: Int16, hasEligibleLeaders: Bool) -> String? {
        func since(_ first: Int16, _ version: Int16 = 0) -> String? {
            if level < first { return "not known before \(first)" }
            return versioned.version == version ? nil : "version \(versioned.version) instead of \(version)"
        }
        let partitionVersion: Int16 = level >= 23 ? 2 : level >= 17 ? 1 : 0
        switch versioned.record {
        case .registerBroker(let record):
            if level < 17 && !record.logDirs.isEmpty { return "directories" }
            if level < 30 && record.cordonedLogDirs?.isEmpty == false { return "cordoned directories" }
            if level >= 17 && record.logDirs.isEmpty { return "no directories" }
            return since(7, level >= 30 ? 4 : level >= 17 ? 3 : level >= 8 ? 2 : 1)
        case .brokerRegistrationChange(let record):
            // The lowest version that has the field.
            if record.cordonedLogDirs != nil { return since(30, 3) }
            if !record.logDirs.isEmpty { return since(17, 2) }
            return since(7, record.inControlledShutdown != 0 ? 1 : 0)
        case .partition(let record):
            if record.directories.isEmpty != (level < 17) { return "directories" }
            if !hasEligibleLeaders && (record.eligibleLeaderReplicas != nil || record.lastKnownElr != nil) { return "eligible leaders" }
            return since(7, partitionVersion)
        case .partitionChange(let record):
            if level < 17 && record.directories != nil { return "directories" }
            if !hasEligibleLeaders && (record.eligibleLeaderReplicas != nil || record.lastKnownElr != nil) { return "eligible leaders" }
            if level < 12 && record.isr != nil && record.leader == PartitionImage.noLeaderChange {
                return "a smaller ISR in the same epoch"
            }
            return since(7, partitionVersion)
        case .userScramCredential, .removeUserScramCredential: return since(11)
        case .beginTransaction, .endTransaction, .abortTransaction: return since(13)
        case .delegationToken, .removeDelegationToken: return since(14)
        case .registerController: return since(15)
        case .clearElr: return since(23)
        case .unregisterController: return since(33)
        case .zkMigrationState: return "only clusters that came from ZooKeeper have it"
        case .fenceBroker, .unfenceBroker: return "superseded by BrokerRegistrationChangeRecord"
        case .unregisterBroker, .topic, .config, .removeTopic, .featureLevel, .clientQuota, .producerIds, .accessControlEntry,
            .removeAccessControlEntry, .noOp:
            return since(7)
        }
    }

    /// A cluster's life, with every decision's records held against the level.
    private struct Life {
        var cluster: Cluster
        let level: Int16
        let hasEligibleLeaders: Bool
        /// Kinds of records that were seen.
        var seen: OrderedSet<Int16> = []

        init(_ version: MetadataVersion, eligible: Bool) throws {
            level = version.rawValue
            hasEligibleLeaders = eligible
            cluster = try Cluster(version: version, features: eligible ? [FeatureName.eligibleLeaderReplicas: 1] : [:])
            check()
        }

        mutating func check(_ records: [VersionedRecord]? = nil) {
            for record in records ?? cluster.records {
                seen.append(record.record.typeID)
                let problem = RecordVersionTests.problem(record, at: level, hasEligibleLeaders: hasEligibleLeaders)
                #expect(problem == nil, "level \(level): \(problem ?? "") in \(record)")
            }
        }

        mutating func run<Response>(
            _ decide: (inout Controller, Offset) throws(RequestFailure) -> ControllerResult<Response>
        ) throws {
            do {
                try cluster.run(decide)
                check()
            } catch let failure as RequestFailure {
                #expect(failure.code == .unsupportedVersion, "\(failure)")
            }
        }

        mutating func startBrokers() throws {
            for id in 0..<4 as Range<NodeID> {
                try cluster.register(id, directories: [Cluster.directory(id), Cluster.directory(id, 1)])
                check()
                try cluster.heartbeat(id)
                check()
            }
            try run { (controller, _) throws(RequestFailure) in try controller.registerController(ControllerRegistrationRequest()) }
        }

        mutating func changePartitions() throws {
            let topic = try cluster.createTopic("t", [[0, 1, 2], [1, 2, 0]], configs: ["min.insync.replicas": "2"])
            check()
            var answer = try cluster.alterPartition("t", isr: [0, 1])
            #expect(answer.errorCode == .none)
            check()
            answer = try cluster.alterPartition("t", isr: [0, 1, 2])
            check(cluster.records.filter { level >= 12 || $0.version > 0 })
            try assign(topic)
            try reassign([1, 2, 3])
            answer = try cluster.alterPartition("t", isr: [0, 1, 2, 3])
            #expect(answer.errorCode == .newLeaderElected || answer.errorCode == .none)
            seen.append(5)
            var grow = CreatePartitionsRequest()
            grow.topics = [CreatePartitionsRequest.CreatePartitionsTopic()]
            grow.topics[0].name = "t"
            grow.topics[0].count = 4
            let more = grow
            try run { (controller, _) throws(RequestFailure) in controller.createPartitions(more) }
        }

        private mutating func assign(_ topic: TopicID) throws {
            var request = AssignReplicasToDirsRequest()
            request.brokerId = 0
            request.brokerEpoch = try cluster.broker(0).epoch
            request.directories = [AssignReplicasToDirsRequest.DirectoryData()]
            request.directories[0].id = Cluster.directory(0, 1)
            request.directories[0].topics = [AssignReplicasToDirsRequest.TopicData()]
            request.directories[0].topics[0].topicId = topic
            request.directories[0].topics[0].partitions = [AssignReplicasToDirsRequest.PartitionData()]
            let final = request
            try run { (controller, _) throws(RequestFailure) in try controller.assignReplicasToDirectories(final) }
        }

        private mutating func reassign(_ replicas: [NodeID]) throws {
            var request = AlterPartitionReassignmentsRequest()
            request.topics = [AlterPartitionReassignmentsRequest.ReassignableTopic()]
            request.topics[0].name = "t"
            request.topics[0].partitions = [AlterPartitionReassignmentsRequest.ReassignablePartition()]
            request.topics[0].partitions[0].replicas = replicas
            let final = request
            try run { (controller, _) throws(RequestFailure) in try controller.alterPartitionReassignments(final) }
        }

        mutating func configure() throws {
            var resource = IncrementalAlterConfigsRequest.AlterConfigsResource()
            resource.resourceType = ConfigResource.Kind.topic.rawValue
            resource.resourceName = "t"
            resource.configs = [IncrementalAlterConfigsRequest.AlterableConfig()]
            resource.configs[0].name = "min.insync.replicas"
            resource.configs[0].value = "1"
            var request = IncrementalAlterConfigsRequest()
            request.resources = [resource]
            let final = request
            try run { (controller, _) throws(RequestFailure) in try controller.incrementalAlterConfigs(final) }
            var allocate = AllocateProducerIdsRequest()
            allocate.brokerId = 1
            allocate.brokerEpoch = try cluster.broker(1).epoch
            let block = allocate
            try run { (controller, _) throws(RequestFailure) in try controller.allocateProducerIDs(block) }
            var update = UpdateFeaturesRequest()
            update.featureUpdates = [UpdateFeaturesRequest.FeatureUpdateKey()]
            update.featureUpdates[0].feature = FeatureName.group
            update.featureUpdates[0].maxVersionLevel = 1
            let features = update
            try run { (controller, _) throws(RequestFailure) in controller.updateFeatures(features, apiVersion: 2, kraftVersion: 0) }
        }

        mutating func loseBrokers() throws {
            try cluster.heartbeat(1, offline: [Cluster.directory(1, 1)])
            check()
            try cluster.heartbeat(2, wantShutDown: true)
            check()
            try cluster.fence(3)
            check()
            // Its successor had lost everything, and so had the one of the last replica. By then their sessions have run out.
            cluster.now += cluster.controller.sessionTimeout + 1
            try cluster.register(3, incarnation: 2)
            check()
            try cluster.fence(0, 1)
            check()
            try cluster.register(0, incarnation: 2)
            check()
            try cluster.heartbeat(0)
            check()
            var election = ElectLeadersRequest()
            election.electionType = 1
            election.topicPartitions = nil
            let unclean = election
            try cluster.run(uncleanIsRequested: true) { (controller, _) throws(RequestFailure) in try controller.electLeaders(unclean) }
            check()
            try run { (controller, _) throws(RequestFailure) in controller.completeLeaderRecovery(of: 0) }
            var unregister = UnregisterBrokerRequest()
            unregister.brokerId = 3
            let gone = unregister
            try run { (controller, _) throws(RequestFailure) in try controller.unregisterBroker(gone) }
        }

        mutating func end() throws {
            // A snapshot is written for the same nodes.
            check(cluster.controller.image.records)
            var delete = DeleteTopicsRequest()
            delete.topicNames = ["t"]
            let deletion = delete
            try run { (controller, _) throws(RequestFailure) in try controller.deleteTopics(deletion, apiVersion: 5) }
            var request = UnregisterControllerRequest()
            request.controllerId = 0
            let controller = request
            try run { (state, _) throws(RequestFailure) in try state.unregisterController(controller) }
        }
    }

    /// They stand in records, so that all nodes have to agree on them. (KIP-858 counts them otherwise than Kafka does since 3.7.)
    @Test func directoriesWithoutAPlaceHaveKafkasIds() throws {
        let ids = [DirectoryID.migrating, DirectoryID.unassigned, DirectoryID.lost]
        #expect(ids.map(\.leastSignificantBits) == [0, 1, 2] && ids.allSatisfy { $0.mostSignificantBits == 0 })
        var cluster = try Cluster(version: .version39)
        try cluster.register(0, directories: [Cluster.directory(0), Cluster.directory(0, 1)])
        try cluster.heartbeat(0)
        try cluster.register(1)
        try cluster.heartbeat(1)
        try cluster.createTopic("t", [[0, 1]])
        guard case .partition(let record) = try #require(cluster.records.last).record else {
            Issue.record("a partition")
            return
        }
        #expect(record.directories == [KafkaUUID.one, Cluster.directory(1)])
    }

    @Test(arguments: MetadataVersion.all, [false, true])
    func everyDecisionFitsTheLevel(version: MetadataVersion, eligible: Bool) throws {
        let level = version.rawValue
        if eligible && level < 23 { return }
        var life = try Life(version, eligible: eligible)
        try life.startBrokers()
        try life.changePartitions()
        try life.configure()
        try life.loseBrokers()
        try life.end()
        // Nothing that this is about was left out.
        var expected: Set<Int16> = [0, 1, 2, 3, 4, 5, 9, 12, 15, 17]
        if level >= 13 { expected.formUnion([23, 24]) }
        if level >= 15 { expected.insert(27) }
        if eligible { expected.insert(28) }
        if level >= 33 { expected.insert(29) }
        #expect(Set(life.seen) == expected)
    }
}
