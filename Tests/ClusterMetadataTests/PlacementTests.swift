// Properties of replica placement, over many seeded clusters.
import Controlling
import KafkaWire
import Primitives
import Testing

@Suite("Controller: placement")
struct PlacementTests {
    private struct Cluster {
        var brokers: [UsableBroker]
        var random: SeededRandom

        init(seed: UInt64) {
            var random = SeededRandom(seed: seed)
            let count = NodeID.random(in: 1...12, using: &random)
            let racks = Int.random(in: 0...4, using: &random)
            brokers = (1...count).map { id in
                UsableBroker(
                    id: id, rack: racks == 0 ? nil : "rack\(Int.random(in: 0..<racks, using: &random))",
                    isFenced: Int.random(in: 0..<4, using: &random) == 0)
            }
            self.random = random
        }
    }

    @Test(arguments: 0..<200 as Range<UInt64>)
    func holdsItsPromises(seed: UInt64) throws {
        var cluster = Cluster(seed: seed)
        let replicationFactor = Int.random(in: 1...cluster.brokers.count, using: &cluster.random)
        let unfenced = cluster.brokers.filter { !$0.isFenced }
        var placer = StripedReplicaPlacer(brokers: cluster.brokers, random: &cluster.random)
        guard !unfenced.isEmpty else {
            #expect(throws: RequestFailure.self) {
                try placer.place(partitions: 1, replicationFactor: replicationFactor, random: &cluster.random)
            }
            return
        }
        let count = 60
        let placements = try placer.place(partitions: count, replicationFactor: replicationFactor, random: &cluster.random)
        #expect(placements.count == count)
        let racks = Set(cluster.brokers.map(\.rack))
        for replicas in placements {
            #expect(replicas.count == replicationFactor && Set(replicas).count == replicationFactor)
            let leader = try #require(cluster.brokers.first { $0.id == replicas[0] })
            #expect(!leader.isFenced, "a fenced broker may not lead")
            let placedRacks = Set(replicas.map { id in cluster.brokers.first { $0.id == id }?.rack ?? nil })
            #expect(placedRacks.count == min(racks.count, replicationFactor), "racks are used before any is used twice")
        }
    }

    /// With as many partitions as there are brokers, each leads as many as any other.
    @Test(arguments: 0..<20 as Range<UInt64>)
    func spreadsLeaders(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let brokers = (1...5 as ClosedRange<NodeID>).map { UsableBroker(id: $0, rack: nil, isFenced: false) }
        var placer = StripedReplicaPlacer(brokers: brokers, random: &random)
        let placements = try placer.place(partitions: 50, replicationFactor: 3, random: &random)
        for broker in brokers {
            #expect(placements.count { $0[0] == broker.id } == 10)
            #expect(placements.count { $0.contains(broker.id) } == 30)
        }
    }

    @Test func sameSeedSamePlacement() throws {
        func place() throws -> [[NodeID]] {
            var cluster = Cluster(seed: 42)
            var placer = StripedReplicaPlacer(brokers: cluster.brokers, random: &cluster.random)
            return try placer.place(partitions: 20, replicationFactor: 1, random: &cluster.random)
        }
        #expect(try place() == place())
    }
}
