// Decisions of the controller: requests in, answers and image out.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives
import Testing

@Suite("Controller: topics")
struct ControllerTopicTests {
    @Test func createsTopicWithConfiguration() throws {
        var harness = try ControllerHarness()
        let result = try harness.createTopic("orders", partitions: 3, configs: ["retention.ms": "1000"])
        #expect(result.errorCode == .none)
        #expect(result.numPartitions == 3 && result.replicationFactor == 1)
        #expect(result.configs?.first { $0.name == "retention.ms" }?.value == "1000")
        let topic = try harness.topic("orders")
        #expect(topic.id == result.topicId)
        #expect(topic.partitions.map(\.index) == [0, 1, 2])
        #expect(topic.partitions.allSatisfy { $0.leader == 1 && $0.leaderEpoch == 0 && $0.isr == [1] })
        #expect(topic.partitions[0].directories == (try harness.broker(1)).logDirectories)
        let publication = try #require(harness.publications.last)
        #expect(publication.changes.createdTopics.map(\.name) == ["orders"])
        #expect(publication.changes.partitions.count == 3)
        #expect(publication.changes.configurations.elements == [ConfigResource(.topic, "orders")])
    }

    @Test func validateOnlyChangesNothing() throws {
        var harness = try ControllerHarness()
        let image = harness.controller.image
        #expect(try harness.createTopic("orders", validateOnly: true).errorCode == .none)
        #expect(harness.controller.image === image)
    }

    @Test func refusesWhatKafkaRefuses() throws {
        var harness = try ControllerHarness()
        try harness.createTopic("a.b")
        var result = try harness.createTopic("a.b")
        #expect(result.errorCode == .topicAlreadyExists && result.errorMessage == "Topic 'a.b' already exists.")
        result = try harness.createTopic("a_b")
        #expect(result.errorCode == .invalidTopicException)
        #expect(result.errorMessage == "Topic 'a_b' collides with existing topic: a.b")
        result = try harness.createTopic("sp ace")
        #expect(
            result.errorMessage
                == "Topic name is invalid: 'sp ace' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
        #expect(try harness.createTopic("").errorMessage == "Topic name is invalid: the empty string is not allowed")
        #expect(try harness.createTopic(String(repeating: "x", count: 250)).errorCode == .invalidTopicException)
        #expect(try harness.createTopic(String(repeating: "x", count: 249)).errorCode == .none)
        #expect(try harness.createTopic("__cluster_metadata").errorCode == .invalidRequest)
        #expect(try harness.createTopic("zero", partitions: 0).errorCode == .invalidPartitions)
        result = try harness.createTopic("two", replicationFactor: 2)
        #expect(result.errorCode == .invalidReplicationFactor)
        #expect(
            result.errorMessage
                == "Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot be reached because only 1 "
                + "broker(s) are registered or some brokers have all their log directories cordoned.")
        #expect(try harness.createTopic("null", configs: ["retention.ms": nil as String?]).errorCode == .invalidConfig)
        result = try harness.createTopic("unknown", configs: ["no.such.key": "1"])
        #expect(result.errorCode == .invalidConfig && result.errorMessage == "Unknown topic config name: no.such.key")
        #expect(try harness.createTopic("bad", configs: ["retention.ms": "soon"]).errorCode == .invalidConfig)
        #expect(harness.controller.image.topics.count == 2)
    }

    @Test func refusesTooManyPartitions() throws {
        var harness = try ControllerHarness()
        var request = CreateTopicsRequest()
        var topic = CreateTopicsRequest.CreatableTopic()
        topic.name = "huge"
        topic.numPartitions = 10_001
        topic.replicationFactor = 1
        request.topics = [topic]
        let huge = request
        #expect(throws: RequestFailure(.policyViolation, "Excessively large number of partitions per request.")) {
            try harness.run { (controller, _) throws(RequestFailure) in try controller.createTopics(huge) }
        }
    }

    @Test func duplicateNamesFailTogether() throws {
        var harness = try ControllerHarness()
        var topic = CreateTopicsRequest.CreatableTopic()
        topic.name = "twice"
        topic.numPartitions = 1
        topic.replicationFactor = 1
        var request = CreateTopicsRequest()
        request.topics = [topic, topic]
        let twice = request
        let response = try harness.run { (controller, _) throws(RequestFailure) in try controller.createTopics(twice) }
        #expect(response.topics.map(\.errorCode) == [.invalidRequest])
        #expect(response.topics[0].errorMessage == "Duplicate topic name.")
        #expect(harness.controller.image.topics.count == 0)
    }

    @Test func manualAssignments() throws {
        var harness = try ControllerHarness(brokers: 3)
        #expect(try harness.createTopic("manual", assignments: [[2, 1], [3, 2]]).errorCode == .none)
        #expect(try harness.topic("manual").partitions.map(\.replicas) == [[2, 1], [3, 2]])
        #expect(try harness.topic("manual").partitions.map(\.leader) == [2, 3])
        var result = try harness.createTopic("bad", assignments: [[1, 1]])
        #expect(result.errorMessage == "The manual partition assignment includes the broker 1 more than once.")
        result = try harness.createTopic("bad", assignments: [[9]])
        #expect(result.errorMessage == "The manual partition assignment includes broker 9, but no such broker is registered.")
        result = try harness.createTopic("bad", assignments: [[1, 2], [3]])
        #expect(result.errorCode == .invalidReplicaAssignment)
        #expect(try harness.createTopic("bad", assignments: [[1], []]).errorCode == .invalidReplicaAssignment)
    }

    @Test func deletesByNameAndByID() throws {
        var harness = try ControllerHarness()
        let first = try harness.createTopic("first", configs: ["retention.ms": "5"]).topicId
        try harness.createTopic("second")
        var byName = DeleteTopicsRequest.DeleteTopicState()
        byName.name = "second"
        var byID = DeleteTopicsRequest.DeleteTopicState()
        byID.topicId = first
        var unknown = DeleteTopicsRequest.DeleteTopicState()
        unknown.topicId = KafkaUUID(mostSignificantBits: 1, leastSignificantBits: 1)
        var request = DeleteTopicsRequest()
        request.topics = [byName, byID, unknown]
        let all = request
        let response = try harness.run { (controller, _) throws(RequestFailure) in try controller.deleteTopics(all, apiVersion: 6) }
        #expect(response.responses.filter { $0.errorCode == .none }.map(\.name) == ["first", "second"])
        #expect(response.responses.filter { $0.errorCode == .unknownTopicId }.count == 1)
        #expect(harness.controller.image.topics.count == 0)
        #expect(harness.controller.image.configurations.byResource[ConfigResource(.topic, "first")] == nil)
        #expect(harness.publications.last?.changes.deletedTopics.count == 2)
        // The name is free again, for another topic.
        #expect(try harness.createTopic("first").topicId != first)
    }

    @Test func ambiguousDeletionsAreRefused() throws {
        var harness = try ControllerHarness()
        let id = try harness.createTopic("topic").topicId
        var byName = DeleteTopicsRequest.DeleteTopicState()
        byName.name = "topic"
        var byID = DeleteTopicsRequest.DeleteTopicState()
        byID.topicId = id
        var request = DeleteTopicsRequest()
        request.topics = [byName, byID, DeleteTopicsRequest.DeleteTopicState()]
        let all = request
        let response = try harness.run { (controller, _) throws(RequestFailure) in try controller.deleteTopics(all, apiVersion: 6) }
        #expect(response.responses.allSatisfy { $0.errorCode == .invalidRequest })
        #expect(harness.controller.image.topics.count == 1)
    }

    @Test func addsPartitions() throws {
        var harness = try ControllerHarness(brokers: 2)
        try harness.createTopic("grows", partitions: 2, replicationFactor: 2)
        func grow(to count: Int32, _ assignments: [[NodeID]]? = nil) throws -> CreatePartitionsResponse.CreatePartitionsTopicResult {
            var topic = CreatePartitionsRequest.CreatePartitionsTopic()
            topic.name = "grows"
            topic.count = count
            topic.assignments = assignments?.map { brokers in
                var assignment = CreatePartitionsRequest.CreatePartitionsAssignment()
                assignment.brokerIds = brokers
                return assignment
            }
            var request = CreatePartitionsRequest()
            request.topics = [topic]
            let final = request
            return try #require(
                try harness.run { (controller, _) throws(RequestFailure) in controller.createPartitions(final) }.results.first)
        }
        #expect(try grow(to: 2).errorMessage == "Topic already has 2 partition(s).")
        #expect(try grow(to: 1).errorMessage == "The topic grows currently has 2 partition(s); 1 would not be an increase.")
        #expect(try grow(to: 4).errorCode == .none)
        #expect(try grow(to: 5, [[2, 1]]).errorCode == .none)
        #expect(try grow(to: 6, [[2]]).errorCode == .invalidReplicaAssignment)
        let partitions = try harness.topic("grows").partitions
        #expect(partitions.map(\.index) == [0, 1, 2, 3, 4])
        #expect(partitions[4].replicas == [2, 1])
        #expect(partitions.allSatisfy { $0.replicas.count == 2 })
    }

    @Test func producerIDsComeInBlocks() throws {
        var harness = try ControllerHarness()
        var request = AllocateProducerIdsRequest()
        request.brokerId = 1
        request.brokerEpoch = try harness.broker(1).epoch
        let block = request
        var starts: [ProducerID] = []
        for _ in 0..<3 {
            starts.append(
                try harness.run { (controller, _) throws(RequestFailure) in try controller.allocateProducerIDs(block) }.producerIdStart)
        }
        #expect(starts == [0, 1000, 2000])
        #expect(harness.controller.image.nextProducerID == 3000)
        request.brokerEpoch += 1
        let stale = request
        #expect(throws: RequestFailure.self) {
            try harness.run { (controller, _) throws(RequestFailure) in try controller.allocateProducerIDs(stale) }
        }
    }
}
