// A controller without log, clock or network: decisions are replayed at once, and after each of them the image is held against what
// must always be true.
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import OrderedCollections
import Primitives
import Testing

@testable import Controlling

struct Cluster {
    static let id = "test-cluster-000000000A"
    var controller: Controller
    var nextOffset: Offset = 0
    /// The controller's monotonic clock, in milliseconds.
    var now: Int64 = 1_000_000
    /// The records of the last decision.
    var records: [VersionedRecord] = []

    /// - Parameter brokers: that many are registered and serve, from id 0 on.
    init(
        brokers: Int = 0, version: MetadataVersion = .defaultForNewClusters, features: OrderedDictionary<String, Int16> = [:],
        fixed: OrderedDictionary<String, String> = [:], seed: UInt64 = 1
    ) throws {
        controller = Controller(ControllerConfiguration(nodeID: 3000, clusterID: Self.id, fixed: fixed), image: .empty, seed: seed)
        let bootstrap = BootstrapMetadata(version: version, features: features)
        try run { (controller, _) throws(RequestFailure) in try controller.activationRecords(bootstrap: bootstrap) }
        controller.activated(now: now)
        for id in 0..<NodeID(brokers) {
            try register(id)
            try heartbeat(id)
        }
    }

    /// Decides, and replays what was decided after a trip through its encoding.
    @discardableResult
    mutating func run<Response>(
        uncleanIsRequested: Bool = false,
        _ decide: (inout Controller, Offset) throws(RequestFailure) -> ControllerResult<Response>
    ) throws -> Response {
        let before = controller.image
        let result = try decide(&controller, nextOffset)
        let decoded = try result.records.map { try MetadataRecord(decoding: try $0.record.encoded(version: $0.version)) }
        #expect(decoded == result.records.map(\.record), "a record says what its version cannot carry")
        _ = try controller.replay(decoded, at: nextOffset, epoch: 1, timestamp: nextOffset)
        nextOffset += Offset(decoded.count)
        records = result.records
        Invariants.check(from: before, to: controller, uncleanIsRequested: uncleanIsRequested)
        return result.response
    }

    /// The code of a refusal; nil when nothing is refused.
    mutating func refusal<Response>(
        _ decide: (inout Controller, Offset) throws(RequestFailure) -> ControllerResult<Response>
    ) throws -> ErrorCode? {
        do {
            try run(decide)
            return nil
        } catch let failure as RequestFailure {
            return failure.code
        }
    }

    static func directory(_ broker: NodeID, _ number: UInt64 = 0) -> KafkaUUID {
        KafkaUUID(mostSignificantBits: UInt64(broker) + 1, leastSignificantBits: 0xffff + number)
    }

    static func registration(
        _ id: NodeID, incarnation: UInt64 = 1, rack: String? = nil, previousEpoch: Int64 = -1, directories: [KafkaUUID]? = nil
    ) -> BrokerRegistrationRequest {
        var request = BrokerRegistrationRequest()
        request.brokerId = id
        request.clusterId = Self.id
        request.incarnationId = KafkaUUID(mostSignificantBits: UInt64(id) << 32 | incarnation, leastSignificantBits: 7)
        request.features = Feature.supportedByThisSoftware.map { supported in
            var feature = BrokerRegistrationRequest.Feature()
            feature.name = supported.name
            feature.minSupportedVersion = supported.minimum
            feature.maxSupportedVersion = supported.maximum
            return feature
        }
        var listener = BrokerRegistrationRequest.Listener()
        listener.name = "PLAINTEXT"
        listener.host = "localhost"
        listener.port = 9092
        request.listeners = [listener]
        request.rack = rack
        request.logDirs = directories ?? [directory(id)]
        request.previousBrokerEpoch = previousEpoch
        return request
    }

    /// - Returns: the broker's epoch.
    @discardableResult
    mutating func register(
        _ id: NodeID, incarnation: UInt64 = 1, rack: String? = nil, previousEpoch: Int64 = -1, directories: [KafkaUUID]? = nil
    ) throws -> Int64 {
        let request = Self.registration(
            id, incarnation: incarnation, rack: rack, previousEpoch: previousEpoch, directories: directories)
        let now = self.now
        return try run { (controller, offset) throws(RequestFailure) in
            try controller.registerBroker(request, nextOffset: offset, now: now)
        }.brokerEpoch
    }

    /// - Parameter behind: how many records of the log the broker has not seen.
    @discardableResult
    mutating func heartbeat(
        _ id: NodeID, wantFence: Bool = false, wantShutDown: Bool = false, behind: Offset = 0, offline: [KafkaUUID] = [],
        epoch: Int64? = nil
    ) throws -> BrokerHeartbeatResponse {
        var request = BrokerHeartbeatRequest()
        request.brokerId = id
        request.brokerEpoch = try epoch ?? broker(id).epoch
        request.currentMetadataOffset = nextOffset - 1 - behind
        request.wantFence = wantFence
        request.wantShutDown = wantShutDown
        request.offlineLogDirs = offline
        let final = request
        let now = self.now
        return try run { (controller, offset) throws(RequestFailure) in
            try controller.brokerHeartbeat(final, nextOffset: offset, now: now)
        }
    }

    /// Fences as a lost session does, without its waiting.
    mutating func fence(_ ids: NodeID...) throws {
        for id in ids {
            let epoch = try broker(id).epoch
            try run { (controller, _) throws(RequestFailure) in try controller.fenceBroker(id, epoch: epoch) }
        }
    }

    mutating func tick() throws {
        let now = self.now
        try run { (controller, _) throws(RequestFailure) in controller.tick(now: now, time: now) }
    }

    @discardableResult
    mutating func createTopic(
        _ name: String, _ assignments: [[NodeID]], configs: OrderedDictionary<String, String> = [:]
    ) throws -> TopicID {
        var topic = CreateTopicsRequest.CreatableTopic()
        topic.name = name
        topic.numPartitions = -1
        topic.replicationFactor = -1
        topic.assignments = assignments.enumerated().map { index, brokers in
            var assignment = CreateTopicsRequest.CreatableReplicaAssignment()
            assignment.partitionIndex = Int32(index)
            assignment.brokerIds = brokers
            return assignment
        }
        topic.configs = configs.map { key, value in
            var config = CreateTopicsRequest.CreatableTopicConfig()
            config.name = key
            config.value = value
            return config
        }
        var request = CreateTopicsRequest()
        request.topics = [topic]
        let final = request
        let response = try run { (controller, _) throws(RequestFailure) in try controller.createTopics(final) }
        #expect(response.topics.first?.errorCode == ErrorCode.none)
        return try #require(response.topics.first).topicId
    }

    /// What a leader proposes; epochs are those of the image unless given.
    mutating func alterPartition(
        _ topic: String, _ index: Int32 = 0, isr: [NodeID], by leader: NodeID? = nil, apiVersion: Int16 = 3, isRecovering: Bool = false,
        leaderEpoch: Int32? = nil, partitionEpoch: Int32? = nil, brokerEpochs: [NodeID: Int64] = [:]
    ) throws -> AlterPartitionResponse.PartitionData {
        let current = try partition(topic, index)
        var data = AlterPartitionRequest.PartitionData()
        data.partitionIndex = index
        data.leaderEpoch = leaderEpoch ?? current.leaderEpoch
        data.partitionEpoch = partitionEpoch ?? current.partitionEpoch
        data.leaderRecoveryState = isRecovering ? 1 : 0
        if apiVersion < 3 {
            data.newIsr = isr
        } else {
            data.newIsrWithEpochs = isr.map { id in
                var state = AlterPartitionRequest.BrokerState()
                state.brokerId = id
                state.brokerEpoch = brokerEpochs[id] ?? controller.image.cluster.broker(id)?.epoch ?? -1
                return state
            }
        }
        var topicData = AlterPartitionRequest.TopicData()
        topicData.topicId = try #require(controller.image.topics.topic(named: topic)).id
        topicData.partitions = [data]
        var request = AlterPartitionRequest()
        request.brokerId = leader ?? current.leader
        request.brokerEpoch = try broker(request.brokerId).epoch
        request.topics = [topicData]
        let final = request
        let response = try run { (controller, _) throws(RequestFailure) in try controller.alterPartition(final, apiVersion: apiVersion) }
        return try #require(response.topics.first?.partitions.first)
    }

    func partition(_ topic: String, _ index: Int32 = 0) throws -> PartitionImage {
        try #require(controller.image.topics.topic(named: topic)?.partition(index))
    }

    func broker(_ id: NodeID) throws -> BrokerRegistration { try #require(controller.image.cluster.broker(id)) }

    /// The changes of partitions among the records of the last decision.
    var partitionChanges: [PartitionChangeRecord] {
        records.compactMap { if case .partitionChange(let change) = $0.record { change } else { nil } }
    }

    /// The changes of registrations among the records of the last decision.
    var registrationChanges: [(change: BrokerRegistrationChangeRecord, version: Int16)] {
        records.compactMap { if case .brokerRegistrationChange(let change) = $0.record { (change, $0.version) } else { nil } }
    }
}
