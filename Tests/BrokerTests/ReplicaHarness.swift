// Replicas of one partition with real logs, each in a directory of its own, and a way to let one fetch from another without a network.
import NIOCore
import Primitives
import RecordBatches
import Replication
import Storage
import Synchronization
import TestKit
import Testing

@testable import Broker

/// One broker's replica.
final class TestReplica {
    let id: NodeID
    let directory: ScratchDirectory
    let environment: ReplicationEnvironment
    private(set) var directories: LogDirectories
    private(set) var partition: Partition
    let proposals = ProposalBox()
    private let configuration: LogConfiguration

    final class ProposalBox: Sendable {
        let list = Mutex<[InSyncReplicasProposal]>([])
    }

    static let topicID = KafkaUUID(mostSignificantBits: 7, leastSignificantBits: 9)
    static let name = TopicPartition("t", 0)

    init(_ id: NodeID, replicas: [NodeID], settings: ReplicationSettings, racks: [NodeID: String] = [:], minInSync: Int) throws {
        self.id = id
        directory = try ScratchDirectory()
        environment = ReplicationEnvironment(nodeID: id, settings: settings)
        var brokers = ReplicationEnvironment.Brokers()
        for replica in replicas { brokers.live[replica] = Int64(replica) * 10 }
        brokers.racks = racks
        environment.update(brokers)
        var configuration = LogConfiguration()
        configuration.minInSyncReplicas = minInSync
        self.configuration = configuration
        directories = try LogDirectories(LogDirectoriesConfiguration(paths: [directory.path]))
        let log = try directories.create(Self.name, topicID: Self.topicID, configuration: configuration, now: 0)
        partition = Partition(topicPartition: Self.name, topicID: Self.topicID, log: log, environment: environment)
        listen()
    }

    deinit { directory.remove() }

    private func listen() {
        environment.onProposal { [proposals] _, proposal in proposals.list.withLock { $0.append(proposal) } }
    }

    /// As after a clean stop and a start: a new core over what is on disk.
    func restart() throws {
        let entry = try partition.withLog { log throws(StorageError) in
            try log.close(now: 0)
            return (log.logDirectory, log.checkpoint)
        }
        try directories.close([entry], brokerEpoch: 1)
        directories = try LogDirectories(LogDirectoriesConfiguration(paths: [directory.path]))
        let log = try directories.open(Self.name, topicID: Self.topicID, configuration: configuration, now: 0)
        partition = Partition(topicPartition: Self.name, topicID: Self.topicID, log: try #require(log), environment: environment)
    }

    var offsets: ReplicaLogOffsets { partition.state.withLock { $0.offsets } }

    func append(_ values: String..., producer: ProducerID = -1, sequence: Int32 = -1, requireInSync: Bool = true) throws -> PartitionAppend
    {
        var builder = RecordBatchBuilder(compression: .none)
        if producer >= 0 {
            builder.producerId = producer
            builder.producerEpoch = 0
            builder.baseSequence = sequence
        }
        for value in values { builder.append(timestamp: 1000, key: nil, value: ByteBuffer(string: value), headers: []) }
        return try partition.append(try builder.build(), origin: .client, requireInSyncReplicas: requireInSync, now: 1000)
    }

    func consume(from offset: Offset = 0, reader: FetchReader = FetchReader(onlyLeader: false)) throws -> [String] {
        let read = try partition.read(
            FetchRead(fetchOffset: offset, maxBytes: 1 << 20, minOneBatch: true, currentLeaderEpoch: -1), reader)
        guard let slice = read.log.slice else { return [] }
        var values: [String] = []
        var batches = RecordBatchIterator(try slice.wholeBatches())
        while let batch = try batches.next() {
            var records = try batch.records()
            while let record = try records.next() { values.append(record.value.map { String(buffer: $0) } ?? "") }
        }
        return values
    }

    /// One fetch of this follower and what it does with the answer; as `ReplicaFetcher` does it.
    func fetch(from leader: TestReplica) throws {
        let (_, position) = try #require(partition.fetchPosition(maxBytes: 1 << 20))
        let read = try leader.partition.read(
            FetchRead(
                fetchOffset: position.fetchOffset, maxBytes: 1 << 20, minOneBatch: true, currentLeaderEpoch: position.currentLeaderEpoch,
                lastFetchedEpoch: position.lastFetchedEpoch),
            FetchReader(replicaID: id, replicaEpoch: Int64(id) * 10, isolation: .logEnd), followerStartOffset: position.logStartOffset)
        if let diverging = read.diverging {
            _ = try partition.truncate(
                diverging: EpochEnd(epoch: diverging.leaderEpoch, endOffset: diverging.endOffset),
                leaderEpoch: position.currentLeaderEpoch, maxBytes: 1 << 20, now: 0)
            return
        }
        _ = try partition.appendFetched(
            try read.log.slice?.wholeBatches() ?? ByteBuffer(), leaderEpoch: position.currentLeaderEpoch,
            highWatermark: read.log.highWatermark, leaderStartOffset: read.log.logStartOffset, maxBytes: 1 << 20, now: 0)
    }
}

/// All replicas of the partition, and the controller's mind.
final class TestReplicaSet {
    var replicas: [NodeID: TestReplica] = [:]
    private(set) var assignment: PartitionAssignment

    init(_ ids: [NodeID] = [1, 2, 3], minInSync: Int = 1, settings: ReplicationSettings = .init(), racks: [NodeID: String] = [:]) throws {
        assignment = PartitionAssignment(replicas: ids, isr: ids, leader: ids[0], leaderEpoch: 0, partitionEpoch: 0)
        for id in ids {
            replicas[id] = try TestReplica(id, replicas: ids, settings: settings, racks: racks, minInSync: minInSync)
        }
        try publish()
    }

    subscript(id: NodeID) -> TestReplica { get throws { try #require(replicas[id]) } }

    /// Changes the assignment and tells the replicas in `to`, or all.
    func change(leader: NodeID? = nil, isr: [NodeID]? = nil, tell: [NodeID]? = nil) throws {
        if let leader {
            assignment.leader = leader
            assignment.leaderEpoch += 1
        }
        if let isr { assignment.isr = isr }
        assignment.partitionEpoch += 1
        try publish(to: tell)
    }

    func publish(to ids: [NodeID]? = nil) throws {
        for id in ids ?? assignment.replicas {
            if case .follows(isNewEpoch: true) = try self[id].partition.apply(assignment, now: SystemClock.monotonicMilliseconds()) {
                try self[id].partition.beginFollowing(now: 0)
            }
        }
    }

    /// Lets the followers fetch until all that they hear of is with them and the high watermark is told.
    func settle(_ followers: NodeID..., from leader: NodeID) throws {
        for _ in 0..<6 {
            for follower in followers { try self[follower].fetch(from: self[leader]) }
        }
    }
}
