// What is said of partitions in trouble, and why.
import Primitives
import Testing

@testable import MartletClient

@Suite("Cluster health")
struct ClusterHealthTests {
    private func broker(_ id: Int32, fenced: Bool = false) -> RegisteredBroker {
        RegisteredBroker(node: BrokerNode(id: id, host: "h", port: 9092), isFenced: fenced)
    }

    private func health(
        _ partition: PartitionDescription, fenced: Set<Int32> = [], minimum: Int = 2, reassignments: [OngoingReassignment] = []
    ) -> ClusterHealth {
        ClusterHealth(
            brokers: (1...3).map { broker($0, fenced: fenced.contains($0)) }, quorum: nil,
            topics: [TopicDescription(name: "t", partitions: [partition])], minimumInSync: ["t": minimum], reassignments: reassignments)
    }

    private func partition(leader: Int32? = 1, isr: [Int32] = [1, 2, 3], offline: [Int32] = []) -> PartitionDescription {
        PartitionDescription(
            partition: 0, leader: leader, leaderEpoch: 1, replicas: [1, 2, 3], inSyncReplicas: isr, offlineReplicas: offline)
    }

    @Test("A cluster without trouble is healthy")
    func healthy() {
        let found = health(partition())
        #expect(found.isHealthy && found.troubles.isEmpty && found.partitions == 1)
    }

    @Test("A fenced broker is trouble even without partitions")
    func fenced() {
        let found = health(partition(), fenced: [2])
        #expect(!found.isHealthy)
        #expect(found.fencedBrokers == [2])
    }

    @Test("A cluster whose metadata quorum does not answer is not healthy, whatever else is known of it")
    func silentQuorum() {
        var found = health(partition())
        found.isQuorumSilent = true
        #expect(!found.isHealthy && found.lacksController)
    }

    @Test("A replica that lags is told by its reason")
    func underReplicated() throws {
        func reason(_ found: ClusterHealth) throws -> String {
            let trouble = try #require(found.troubles.first)
            #expect(trouble.state == .underReplicated)
            return trouble.reason
        }
        #expect(try reason(health(partition(isr: [1, 2]), fenced: [3])) == "broker 3 is down")
        #expect(try reason(health(partition(isr: [1, 2]))) == "broker 3 is alive and catching up")
        #expect(try reason(health(partition(isr: [1, 2], offline: [3]))) == "the directory on broker 3 failed")
        let moving = OngoingReassignment(
            partition: TopicPartition("t", 0), replicas: [1, 2, 3], addingReplicas: [3], removingReplicas: [])
        #expect(try reason(health(partition(isr: [1, 2]), reassignments: [moving])) == "broker 3 is copying it (reassignment)")
    }

    @Test("Too few in sync for acks=all is worse")
    func underMinimum() {
        let found = health(partition(isr: [1]), fenced: [2, 3])
        #expect(found.troubles.map(\.state) == [.underMinISR])
        #expect(
            found.troubles.first?.reason
                == "1 in sync and min.insync.replicas is 2, so acks=all is refused: broker 2 is down; broker 3 is down")
        #expect(health(partition(isr: [1]), fenced: [2, 3], minimum: 1).troubles.map(\.state) == [.underReplicated])
    }

    @Test("Without a leader it says whom the partition waits for")
    func leaderless() {
        let waiting = health(partition(leader: nil, isr: [2]), fenced: [2])
        #expect(waiting.troubles.map(\.state) == [.leaderless])
        #expect(waiting.troubles.first?.reason.hasPrefix("waits for broker 2, the last that had every record") == true)
        let due = health(partition(leader: nil, isr: [2]))
        #expect(due.troubles.first?.reason == "broker 2 may lead and is alive: an election is due")
        let gone = health(partition(leader: nil, isr: [2]), fenced: [1, 2, 3])
        #expect(gone.troubles.map(\.state) == [.offline])
    }

    @Test("The worst comes first")
    func order() {
        var second = partition(leader: nil, isr: [2])
        second.partition = 1
        var first = partition(isr: [1, 2])
        first.partition = 0
        let found = ClusterHealth(
            brokers: [broker(1), broker(2, fenced: true), broker(3)], quorum: nil,
            topics: [TopicDescription(name: "t", partitions: [first, second])], minimumInSync: [:], reassignments: [])
        #expect(found.troubles.map(\.partition.partition) == [1, 0])
    }
}
