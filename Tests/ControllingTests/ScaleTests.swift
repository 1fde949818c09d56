// What a decision costs grows with what it concerns, not with the cluster.
import ClusterMetadata
import KafkaRecords
import KafkaWire
import Primitives
import Testing

@testable import Controlling

@Suite("Controlling: scale")
struct ScaleTests {
    /// An image of that many topics over 30 brokers, as if read from a snapshot.
    ///
    /// - Parameter leader: which replica leads, counted from the preferred one.
    static func controller(topics: Int, partitions: Int32 = 100, leader: Int = 0) throws -> Controller {
        var replay = MetadataReplay(from: .empty)
        var offset: Offset = 0
        func add(_ record: MetadataRecord) throws {
            try replay.replay(record, offset: offset, epoch: 1, timestamp: 0)
            offset += 1
        }
        var level = FeatureLevelRecord()
        level.name = MetadataVersion.featureName
        level.featureLevel = MetadataVersion.defaultForNewClusters.rawValue
        try add(.featureLevel(level))
        for id in 0..<30 as Range<NodeID> {
            var record = RegisterBrokerRecord()
            record.brokerId = id
            record.brokerEpoch = offset
            record.logDirs = [Cluster.directory(id)]
            record.fenced = false
            try add(.registerBroker(record))
        }
        for number in 0..<topics {
            var topic = TopicRecord()
            topic.name = "t\(number)"
            topic.topicId = KafkaUUID(mostSignificantBits: 9, leastSignificantBits: UInt64(number) + 1000)
            try add(.topic(topic))
            for index in 0..<partitions {
                let first = NodeID((number + Int(index)) % 30)
                var partition = PartitionRecord()
                partition.topicId = topic.topicId
                partition.partitionId = index
                partition.replicas = [first, (first + 1) % 30, (first + 2) % 30]
                partition.isr = partition.replicas
                partition.leader = partition.replicas[leader]
                partition.directories = partition.replicas.map { Cluster.directory($0) }
                try add(.partition(partition))
            }
        }
        _ = replay.publish()
        return Controller(ControllerConfiguration(nodeID: 3000, clusterID: Cluster.id), continuing: replay, seed: 1)
    }

    @Test func aLostBrokerConcernsItsPartitionsAlone() throws {
        var controller = try Self.controller(topics: 60)
        let broker = try #require(controller.image.cluster.broker(4))
        #expect(controller.partitions.inSync(4).count == 600 && controller.partitions.leadershipCount(4) == 200)
        let result = try controller.fenceBroker(4, epoch: broker.epoch)
        #expect(result.records.count == 601)
        let before = controller.image
        let publication = try controller.replay(result.records.map(\.record), at: 1_000_000, epoch: 1, timestamp: 0)
        #expect(publication?.changes.partitions.count == 600)
        #expect(controller.partitions.inSync(4).isEmpty && controller.partitions.leadershipCount(4) == 0)
        #expect(controller.partitions.imbalanced.count == 200)
        Invariants.check(from: before, to: controller)
    }
}
