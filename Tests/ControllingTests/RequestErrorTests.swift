// What the controller answers to requests that cannot be done, in tables: codes are those of Apache Kafka's controller.
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import OrderedCollections
import Primitives
import Testing

@testable import Controlling

@Suite("Controlling: refusals")
struct RequestErrorTests {
    private func elect(_ cluster: inout Cluster, _ type: Int8, _ topic: String, _ indices: [Int32]) throws -> [ErrorCode] {
        var request = ElectLeadersRequest()
        request.electionType = type
        request.topicPartitions = [ElectLeadersRequest.TopicPartitions()]
        request.topicPartitions?[0].topic = topic
        request.topicPartitions?[0].partitions = indices
        let final = request
        return try cluster.run(uncleanIsRequested: type == 1) { (controller, _) throws(RequestFailure) in try controller.electLeaders(final)
        }
        .replicaElectionResults.flatMap(\.partitionResult).map(\.errorCode)
    }

    @Test func electionsAreAnsweredPartitionByPartition() throws {
        var cluster = try Cluster(brokers: 3, features: [FeatureName.eligibleLeaderReplicas: 0])
        // 0: led as preferred; 1: led by another; 2: leaderless with a lagging replica alive; 3: leaderless with nobody alive.
        try cluster.createTopic("t", [[0, 1], [2, 0], [2, 0], [2, 1]])
        #expect(try cluster.alterPartition("t", 2, isr: [2]).errorCode == .none)
        try cluster.fence(1, 2)
        #expect(
            try elect(&cluster, 0, "t", [0, 1, 2, 3, 9]) == [
                .electionNotNeeded, .preferredLeaderNotAvailable, .preferredLeaderNotAvailable, .preferredLeaderNotAvailable,
                .unknownTopicOrPartition,
            ])
        #expect(cluster.records.isEmpty)
        #expect(
            try elect(&cluster, 1, "t", [0, 1, 2, 3]) == [.electionNotNeeded, .electionNotNeeded, .none, .eligibleLeadersNotAvailable])
        #expect(cluster.partitionChanges.map(\.partitionId) == [2])
        #expect(try elect(&cluster, 0, "none", [0]) == [.unknownTopicOrPartition])
        let code = try cluster.refusal { (controller, _) throws(RequestFailure) in
            var request = ElectLeadersRequest()
            request.electionType = 2
            return try controller.electLeaders(request)
        }
        #expect(code == .invalidRequest)
    }

    private func grow(
        _ cluster: inout Cluster, _ topics: [(name: String, count: Int32, assignments: [[NodeID]]?)], validateOnly: Bool = false
    ) throws -> [ErrorCode] {
        var request = CreatePartitionsRequest()
        request.validateOnly = validateOnly
        request.topics = topics.map { wanted in
            var topic = CreatePartitionsRequest.CreatePartitionsTopic()
            topic.name = wanted.name
            topic.count = wanted.count
            topic.assignments = wanted.assignments?.map { brokers in
                var assignment = CreatePartitionsRequest.CreatePartitionsAssignment()
                assignment.brokerIds = brokers
                return assignment
            }
            return topic
        }
        let final = request
        return try cluster.run { (controller, _) throws(RequestFailure) in controller.createPartitions(final) }.results.map(\.errorCode)
    }

    @Test func partitionsAreAddedOnlyWhereTheyFit() throws {
        var cluster = try Cluster(brokers: 3)
        try cluster.createTopic("t", [[0, 1], [1, 2]])
        let table: [(count: Int32, assignments: [[NodeID]]?, code: ErrorCode)] = [
            (2, nil, .invalidPartitions), (1, nil, .invalidPartitions), (0, nil, .invalidPartitions), (-1, nil, .invalidPartitions),
            (4, [[0, 1]], .invalidReplicaAssignment), (3, [[0, 1], [1, 2]], .invalidReplicaAssignment),
            (3, [[]], .invalidReplicaAssignment), (3, [[0]], .invalidReplicaAssignment), (3, [[0, 0]], .invalidReplicaAssignment),
            (3, [[0, 7]], .invalidReplicaAssignment), (10_003, nil, .policyViolation),
        ]
        for (count, assignments, code) in table {
            #expect(try grow(&cluster, [("t", count, assignments)]) == [code], "\(count) \(assignments ?? [])")
            #expect(cluster.records.isEmpty)
        }
        #expect(try grow(&cluster, [("none", 3, nil)]) == [.unknownTopicOrPartition])
        #expect(try grow(&cluster, [("t", 3, nil), ("t", 4, nil)]) == [.invalidRequest])
        #expect(try grow(&cluster, [("t", 3, nil)], validateOnly: true) == [.none])
        #expect(cluster.records.isEmpty)
        try cluster.fence(0, 1)
        #expect(try grow(&cluster, [("t", 3, [[0, 1]])]) == [.invalidReplicaAssignment], "nobody of them is alive")
        #expect(try grow(&cluster, [("t", 3, [[0, 2]])]) == [.none])
        #expect(try cluster.partition("t", 2).isr == [2])
        try cluster.fence(2)
        #expect(try grow(&cluster, [("t", 4, nil)]) == [.invalidReplicationFactor])
    }

    /// What one batch of the log has to hold is bounded over all topics of a request.
    @Test func requestsAreBounded() throws {
        var cluster = try Cluster(brokers: 1)
        for name in ["a", "b", "c"] { try cluster.createTopic(name, [[0]]) }
        let codes = try grow(&cluster, [("a", 6001, nil), ("b", 6001, nil), ("c", 4001, nil)])
        #expect(codes == [.none, .policyViolation, .none] && cluster.records.count == 10_000)
        #expect(cluster.controller.image.topics.topic(named: "b")?.partitions.count == 1)
    }

    @Test func deletionsAreBounded() throws {
        var cluster = try Cluster(brokers: 1)
        var create = CreateTopicsRequest()
        for round in 0..<3 {
            create.topics = (0..<4000).map { index in
                var topic = CreateTopicsRequest.CreatableTopic()
                topic.name = "t-\(round)-\(index)"
                topic.numPartitions = 1
                topic.replicationFactor = 1
                return topic
            }
            let final = create
            try cluster.run { (controller, _) throws(RequestFailure) in try controller.createTopics(final) }
        }
        func delete(_ count: Int) throws -> ErrorCode? {
            var request = DeleteTopicsRequest()
            request.topicNames = cluster.controller.image.topics.all.prefix(count).map(\.name)
            let final = request
            return try cluster.refusal { (controller, _) throws(RequestFailure) in try controller.deleteTopics(final, apiVersion: 5) }
        }
        #expect(try delete(10_001) == .policyViolation)
        #expect(cluster.controller.image.topics.count == 12_000)
        #expect(try delete(10_000) == nil)
        #expect(cluster.controller.image.topics.count == 2000)
    }

    private static let excessive = RequestFailure(.policyViolation, "Unable to perform excessively large batch operation.")

    @Test func electionsAreBounded() throws {
        let controller = try ScaleTests.controller(topics: 101, leader: 1)
        var request = ElectLeadersRequest()
        request.topicPartitions = nil
        let all = request
        #expect(throws: Self.excessive) { _ = try controller.electLeaders(all) }
        request.topicPartitions = (0..<100).map { number in
            var topic = ElectLeadersRequest.TopicPartitions()
            topic.topic = "t\(number)"
            topic.partitions = Array(0..<100)
            return topic
        }
        #expect(try controller.electLeaders(request).records.count == 10_000)
    }

    @Test func configurationChangesAreBounded() throws {
        let controller = try ScaleTests.controller(topics: 10_001, partitions: 1)
        var incremental = IncrementalAlterConfigsRequest()
        var replacing = AlterConfigsRequest()
        func resources(_ count: Int) {
            incremental.resources = (0..<count).map { number in
                var resource = IncrementalAlterConfigsRequest.AlterConfigsResource()
                resource.resourceType = 2
                resource.resourceName = "t\(number)"
                resource.configs = [IncrementalAlterConfigsRequest.AlterableConfig()]
                resource.configs[0].name = "retention.ms"
                resource.configs[0].value = "5"
                return resource
            }
            replacing.resources = (0..<count).map { number in
                var resource = AlterConfigsRequest.AlterConfigsResource()
                resource.resourceType = 2
                resource.resourceName = "t\(number)"
                resource.configs = [AlterConfigsRequest.AlterableConfig()]
                resource.configs[0].name = "retention.ms"
                resource.configs[0].value = "5"
                return resource
            }
        }
        resources(10_001)
        #expect(throws: Self.excessive) { _ = try controller.incrementalAlterConfigs(incremental) }
        #expect(throws: Self.excessive) { _ = try controller.alterConfigs(replacing) }
        resources(10_000)
        #expect(try controller.incrementalAlterConfigs(incremental).records.count == 10_000)
        #expect(try controller.alterConfigs(replacing).records.count == 10_000)
    }

    @Test func featuresChangeByTheirRules() throws {
        typealias Row = (name: String, level: Int16, type: Int8, code: ErrorCode)
        let table: [Row] = [
            (MetadataVersion.featureName, 25, 0, .invalidUpdateVersion), (MetadataVersion.featureName, 25, 4, .invalidUpdateVersion),
            (MetadataVersion.featureName, 25, 2, .invalidUpdateVersion), (MetadataVersion.featureName, 24, 1, .none),
            (MetadataVersion.featureName, -1, 1, .invalidUpdateVersion), (MetadataVersion.featureName, 0, 3, .invalidUpdateVersion),
            (MetadataVersion.featureName, 6, 3, .invalidUpdateVersion), (MetadataVersion.featureName, 99, 1, .invalidUpdateVersion),
            (MetadataVersion.featureName, 23, 1, .invalidUpdateVersion), (MetadataVersion.featureName, 23, 2, .none),
            (MetadataVersion.featureName, 23, 3, .none), (MetadataVersion.featureName, 22, 2, .invalidUpdateVersion),
            (MetadataVersion.featureName, 22, 3, .invalidUpdateVersion), (FeatureName.group, 1, 1, .none),
            (FeatureName.group, 2, 1, .invalidUpdateVersion), (FeatureName.group, 1, 3, .invalidUpdateVersion),
            (FeatureName.transaction, 1, 1, .invalidUpdateVersion), (FeatureName.transaction, 1, 2, .none),
            (FeatureName.transaction, 0, 3, .none), (FeatureName.eligibleLeaderReplicas, 1, 1, .none),
            (FeatureName.kraft, 1, 1, .invalidUpdateVersion), (FeatureName.kraft, 0, 2, .none), ("unknown", 1, 1, .invalidUpdateVersion),
            ("unknown", 0, 1, .invalidUpdateVersion),
        ]
        for row in table {
            for validateOnly in [false, true] {
                var cluster = try Cluster(
                    brokers: 1, version: try #require(MetadataVersion(rawValue: 24)), features: [FeatureName.transaction: 2])
                var request = UpdateFeaturesRequest()
                request.validateOnly = validateOnly
                request.featureUpdates = [UpdateFeaturesRequest.FeatureUpdateKey()]
                request.featureUpdates[0].feature = row.name
                request.featureUpdates[0].maxVersionLevel = row.level
                request.featureUpdates[0].upgradeType = row.type
                let final = request
                let response = try cluster.run { (controller, _) throws(RequestFailure) in
                    controller.updateFeatures(final, apiVersion: 2, kraftVersion: 0)
                }
                #expect(response.errorCode == row.code, "\(row): \(response.errorMessage ?? "")")
                #expect(!validateOnly && row.code == .none || cluster.records.isEmpty)
            }
        }
    }

    /// One update that cannot be made keeps the others from being made, too.
    @Test func featuresChangeTogetherOrNotAtAll() throws {
        var cluster = try Cluster(brokers: 1, version: try #require(MetadataVersion(rawValue: 22)))
        func code(_ updates: [(String, Int16)]) throws -> ErrorCode {
            var request = UpdateFeaturesRequest()
            request.featureUpdates = updates.map { name, level in
                var update = UpdateFeaturesRequest.FeatureUpdateKey()
                update.feature = name
                update.maxVersionLevel = level
                return update
            }
            let final = request
            return try cluster.run { (controller, _) throws(RequestFailure) in
                controller.updateFeatures(final, apiVersion: 2, kraftVersion: 0)
            }.errorCode
        }
        #expect(try code([(FeatureName.group, 1), ("unknown", 1)]) == .invalidUpdateVersion)
        #expect(cluster.records.isEmpty)
        // What a level needs may come with it.
        #expect(try code([(FeatureName.eligibleLeaderReplicas, 1)]) == .invalidUpdateVersion)
        #expect(try code([(FeatureName.eligibleLeaderReplicas, 1), (MetadataVersion.featureName, 23)]) == .none)
        #expect(cluster.controller.image.features.hasEligibleLeaderReplicas)
    }

    /// Clients tell by the message, too, whether something went well: Kafka's controller answers null then, not an empty text.
    @Test func whatGoesWellHasNoMessage() throws {
        var cluster = try Cluster(brokers: 2)
        var create = CreateTopicsRequest()
        create.topics = [CreateTopicsRequest.CreatableTopic()]
        create.topics[0].name = "t"
        create.topics[0].numPartitions = 1
        create.topics[0].replicationFactor = 2
        let creation = create
        let created = try cluster.run { (controller, _) throws(RequestFailure) in try controller.createTopics(creation) }
        #expect(created.topics.map(\.errorMessage) == [nil])

        var incremental = IncrementalAlterConfigsRequest()
        incremental.resources = [IncrementalAlterConfigsRequest.AlterConfigsResource()]
        incremental.resources[0].resourceType = ConfigResource.Kind.topic.rawValue
        incremental.resources[0].resourceName = "t"
        let change = incremental
        let changed = try cluster.run { (controller, _) throws(RequestFailure) in try controller.incrementalAlterConfigs(change) }
        #expect(changed.responses.map(\.errorMessage) == [nil])

        var whole = AlterConfigsRequest()
        whole.resources = [AlterConfigsRequest.AlterConfigsResource()]
        whole.resources[0].resourceType = ConfigResource.Kind.topic.rawValue
        whole.resources[0].resourceName = "t"
        let replacement = whole
        let replaced = try cluster.run { (controller, _) throws(RequestFailure) in try controller.alterConfigs(replacement) }
        #expect(replaced.responses.map(\.errorMessage) == [nil])
    }
}
