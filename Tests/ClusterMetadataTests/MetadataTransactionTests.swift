// Metadata transactions (KIP-868) that a leader left open: whoever leads next ends them, and nothing of them is ever seen. Apache Kafka
// writes one itself for the bootstrap records only; a leader of another version may write others.
import ClusterMetadata
import Consensus
import Controlling
import Foundation
import KafkaRecords
import Logging
import NIOCore
import Primitives
import RecordBatches
import Storage
import Testing

@testable import Runtime

@Suite("Metadata transactions")
struct MetadataTransactionTests {
    private static let clusterID = "test-cluster-000000000A"
    private static let endpoint = Voter.Endpoint(name: "CONTROLLER", host: "127.0.0.1", port: 9093)

    private static func runtime(_ path: String) throws -> (MetadataRuntime, LogDirectories) {
        let directories = try LogDirectories(LogDirectoriesConfiguration(paths: [path]))
        let directoryID = try #require(directories.directories[0].properties?.directoryID)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let configuration = MetadataRuntimeConfiguration(
            log: MetadataLogConfiguration(directory: path),
            quorum: QuorumConfiguration(
                localID: 1, localDirectoryID: directoryID, localEndpoints: [endpoint],
                staticVoters: VoterSet([Voter(id: 1, endpoints: [endpoint])])),
            controller: ControllerConfiguration(nodeID: 1, clusterID: clusterID))
        return (try MetadataRuntime(configuration, directories: directories, logger: logger), directories)
    }

    /// Runs a node until it leads, and shows the image that it has then.
    private static func lead(_ path: String, _ body: (MetadataRuntime) throws -> Void = { _ in }) throws -> MetadataImage {
        let (runtime, directories) = try runtime(path)
        defer { directories.unlock() }
        defer { runtime.close() }
        try runtime.activate(registering: nil)
        try body(runtime)
        return runtime.image
    }

    private static func log(_ path: String, _ directories: LogDirectories) throws -> MetadataLog {
        try FileManager.default.createDirectory(atPath: MetadataLog.partitionPath(path), withIntermediateDirectories: true)
        return try MetadataLog(MetadataLogConfiguration(directory: path), directories: directories, now: 0, logger: Logger(label: "test"))
    }

    /// Appends batches as a leader would have that died then.
    private static func append(_ batches: [[MetadataRecord]], to path: String) throws {
        let directories = try LogDirectories(LogDirectoriesConfiguration(paths: [path]))
        defer { directories.unlock() }
        let log = try log(path, directories)
        for records in batches {
            var builder = RecordBatchBuilder(baseOffset: log.log.logEndOffset, baseTimestamp: 1)
            builder.partitionLeaderEpoch = 1
            for record in records {
                let version: Int16 = if case .registerBroker = record { 1 } else { 0 }
                builder.append(timestamp: 1, key: nil, value: try record.encoded(version: version))
            }
            try log.append(try builder.build(), now: 1)
        }
        try log.flush()
        try log.log.close(now: 1)
    }

    /// The kinds of the metadata records of the log, in order.
    private static func kinds(_ path: String) throws -> [Int16] {
        let directories = try LogDirectories(LogDirectoriesConfiguration(paths: [path]))
        defer { directories.unlock() }
        let log = try log(path, directories)
        var kinds: [Int16] = []
        var offset: Offset = 0
        while offset < log.log.logEndOffset {
            let bytes = try log.read(from: offset, maxBytes: 1 << 20)
            try MetadataBatches.forEach(bytes, path: path, verifying: true) { (batch) throws(MetadataStorageError) in
                offset = batch.header.nextOffset
                if batch.header.isControl { return }
                try MetadataBatches.forEachRecord(batch, path: path) { record, _, _ in kinds.append(record.typeID) }
            }
        }
        try log.log.close(now: 1)
        return kinds
    }

    private static func format(_ path: String, _ version: MetadataVersion) throws {
        var format = MetadataFormat(nodeID: 1, clusterID: clusterID, directories: [path])
        format.releaseVersion = version
        _ = try format.run()
    }

    @Test(arguments: [MetadataVersion.leaderEpochKeptOnShrink, .transactions, .defaultForNewClusters])
    func bootstrapRecordsAreATransactionWhereTheLevelHasThem(version: MetadataVersion) throws {
        let scratch = try ScratchDirectory()
        try Self.format(scratch.path, version)
        let image = try Self.lead(scratch.path)
        #expect(image.features.metadataVersion == version)
        let kinds = try Self.kinds(scratch.path)
        #expect((kinds.first == 23 && kinds.contains(24)) == version.supportsTransactions)
        #expect(kinds.contains(12))
    }

    @Test func aBootstrapThatDiedHalfwayIsMadeAgain() throws {
        let scratch = try ScratchDirectory()
        try Self.format(scratch.path, .defaultForNewClusters)
        var level = FeatureLevelRecord()
        level.name = MetadataVersion.featureName
        level.featureLevel = MetadataVersion.defaultForNewClusters.rawValue
        var other = FeatureLevelRecord()
        other.name = FeatureName.share
        other.featureLevel = 1
        try Self.append([[.beginTransaction(BeginTransactionRecord()), .featureLevel(level)], [.featureLevel(other)]], to: scratch.path)
        let image = try Self.lead(scratch.path)
        #expect(image.features.metadataVersion == .defaultForNewClusters)
        #expect(image.features.level(of: FeatureName.share) == 0, "what was aborted does not count")
        let kinds = try Self.kinds(scratch.path)
        #expect(Array(kinds.prefix(6)) == [23, 12, 12, 25, 23, 12])
        #expect(kinds.filter { $0 == 24 }.count == 1)
        let again = try Self.lead(scratch.path)
        #expect(again.hasSameContents(as: image))
    }

    /// A transaction over several batches, of which one stands in between that had nothing to do with it before the leader died.
    @Test func nothingIsSeenOfATransactionThatNobodyEnds() throws {
        let scratch = try ScratchDirectory()
        try Self.format(scratch.path, .defaultForNewClusters)
        let before = try Self.lead(scratch.path)
        var topic = TopicRecord()
        topic.name = "half"
        topic.topicId = KafkaUUID(mostSignificantBits: 5, leastSignificantBits: 5)
        var partition = PartitionRecord()
        partition.topicId = topic.topicId
        partition.replicas = [1]
        partition.isr = [1]
        partition.leader = 1
        let partitions = (0..<2000).map { index in
            partition.partitionId = Int32(index)
            return MetadataRecord.partition(partition)
        }
        try Self.append(
            [
                [.beginTransaction(BeginTransactionRecord()), .topic(topic)], Array(partitions.prefix(1000)),
                Array(partitions.dropFirst(1000)),
            ],
            to: scratch.path)
        let shown = try Self.lead(scratch.path) { runtime in
            #expect(runtime.image.topics.count == 0)
            #expect(runtime.image.hasSameContents(as: before))
        }
        #expect(shown.hasSameContents(as: before))
        #expect(try Self.kinds(scratch.path).filter { $0 == 25 }.count == 1, "it is aborted once")
        #expect(try Self.lead(scratch.path).hasSameContents(as: before))
        #expect(try Self.kinds(scratch.path).filter { $0 == 25 }.count == 1)
    }

    /// One that did end is there as a whole.
    @Test func anEndedTransactionCounts() throws {
        let scratch = try ScratchDirectory()
        try Self.format(scratch.path, .defaultForNewClusters)
        _ = try Self.lead(scratch.path)
        var topic = TopicRecord()
        topic.name = "whole"
        topic.topicId = KafkaUUID(mostSignificantBits: 5, leastSignificantBits: 5)
        try Self.append(
            [[.beginTransaction(BeginTransactionRecord())], [.topic(topic)], [.endTransaction(EndTransactionRecord())]], to: scratch.path)
        let image = try Self.lead(scratch.path)
        #expect(image.topics.topic(named: "whole") != nil)
        #expect(try !Self.kinds(scratch.path).contains(25))
    }
}
