// A controller without log or clock: decisions are replayed at once, as if every commit were immediate.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaRecords
import KafkaWire
import OrderedCollections
import Primitives
import Testing

@testable import Runtime

struct ControllerHarness {
    static let clusterID = "test-cluster-000000000A"
    var controller: Controller
    var nextOffset: Offset = 0
    /// Every publication, in order.
    var publications: [MetadataPublication] = []

    /// A cluster of that many brokers, all unfenced, at a metadata.version.
    init(
        brokers: Int = 1, version: MetadataVersion = .defaultForNewClusters, features: OrderedDictionary<String, Int16> = [:],
        fixed: OrderedDictionary<String, String> = [:], racks: [String?] = [], seed: UInt64 = 1
    ) throws {
        controller = Controller(
            ControllerConfiguration(nodeID: 1, clusterID: Self.clusterID, fixed: fixed), image: .empty, seed: seed)
        let bootstrap = BootstrapMetadata(version: version, features: features)
        try run { (controller, _) throws(RequestFailure) in try controller.activationRecords(bootstrap: bootstrap) }
        for id in 1...NodeID(brokers) {
            let rack = Int(id) <= racks.count ? racks[Int(id) - 1] : nil
            let epoch = try register(id, rack: rack)
            try run { (controller, _) throws(RequestFailure) in try controller.unfenceBroker(id, epoch: epoch) }
        }
    }

    static func node(_ id: NodeID, rack: String? = nil, incarnation: UInt64 = 1, previousEpoch: Int64 = -1) -> LocalNode {
        LocalNode(
            id: id, clusterID: clusterID,
            incarnationID: KafkaUUID(mostSignificantBits: UInt64(id) << 32 | incarnation, leastSignificantBits: 7),
            brokerEndpoints: [NodeEndpoint(name: "PLAINTEXT", host: "localhost", port: 9092, securityProtocol: 0)],
            controllerEndpoints: [], rack: rack,
            logDirectories: [KafkaUUID(mostSignificantBits: UInt64(id), leastSignificantBits: 0xffff)], previousBrokerEpoch: previousEpoch)
    }

    @discardableResult
    mutating func register(_ id: NodeID, rack: String? = nil, incarnation: UInt64 = 1, previousEpoch: Int64 = -1) throws -> Int64 {
        let request = Self.node(id, rack: rack, incarnation: incarnation, previousEpoch: previousEpoch).brokerRegistration
        return try run { (controller, offset) throws(RequestFailure) in
            try controller.registerBroker(request, nextOffset: offset)
        }.brokerEpoch
    }

    /// Decides, and replays what was decided after a trip through its encoding.
    @discardableResult
    mutating func run<Response>(
        _ decide: (inout Controller, Offset) throws(RequestFailure) -> ControllerResult<Response>
    ) throws -> Response {
        let result = try decide(&controller, nextOffset)
        let records = try result.records.map { try MetadataRecord(decoding: try $0.record.encoded(version: $0.version)) }
        let publication = try controller.replay(records, at: nextOffset, epoch: 1, timestamp: nextOffset)
        nextOffset += Offset(records.count)
        if let publication { publications.append(publication) }
        return result.response
    }

    @discardableResult
    mutating func createTopic(
        _ name: String, partitions: Int32 = 1, replicationFactor: Int16 = 1, configs: OrderedDictionary<String, String?> = [:],
        assignments: [[NodeID]] = [], validateOnly: Bool = false
    ) throws -> CreateTopicsResponse.CreatableTopicResult {
        var request = CreateTopicsRequest()
        request.validateOnly = validateOnly
        var topic = CreateTopicsRequest.CreatableTopic()
        topic.name = name
        topic.numPartitions = assignments.isEmpty ? partitions : -1
        topic.replicationFactor = assignments.isEmpty ? replicationFactor : -1
        topic.configs = configs.map { key, value in
            var config = CreateTopicsRequest.CreatableTopicConfig()
            config.name = key
            config.value = value
            return config
        }
        topic.assignments = assignments.enumerated().map { index, brokers in
            var assignment = CreateTopicsRequest.CreatableReplicaAssignment()
            assignment.partitionIndex = Int32(index)
            assignment.brokerIds = brokers
            return assignment
        }
        request.topics = [topic]
        return try #require(try run { (controller, _) throws(RequestFailure) in try controller.createTopics(request) }.topics.first)
    }

    func topic(_ name: String) throws -> TopicImage { try #require(controller.image.topics.topic(named: name)) }

    func broker(_ id: NodeID) throws -> BrokerRegistration { try #require(controller.image.cluster.broker(id)) }
}
