// Each small file by itself: what is written is what Kafka writes, what is read is bounded and checked.
import Foundation
import Primitives
import Testing

@testable import Storage

@Suite("File formats")
struct FormatTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    func file(_ name: String, _ content: String) throws -> String {
        let path = scratch.path + "/" + name
        try content.write(toFile: path, atomically: false, encoding: .utf8)
        return path
    }

    @Test("Offset checkpoints are read and written in Kafka's syntax")
    func offsetCheckpoint() throws {
        let path = scratch.path + "/replication-offset-checkpoint"
        let checkpoint = OffsetCheckpointFile(path: path)
        #expect(try checkpoint.read().isEmpty)
        try checkpoint.write([(TopicPartition("t-none", 2), 335), (TopicPartition("a.b_c", 0), 0)])
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "0\n2\nt-none 2 335\na.b_c 0 0\n")
        #expect(try checkpoint.read() == [TopicPartition("t-none", 2): 335, TopicPartition("a.b_c", 0): 0])
    }

    @Test(
        "A checkpoint that contradicts itself is refused",
        arguments: ["1\n0\n", "0\n2\na 0 1\n", "0\n0\na 0 1\n", "0\n1\na 0\n", "0\n1\na x 1\n", "0\nmany\n", "0"])
    func damagedCheckpoint(_ content: String) throws {
        let path = try file("checkpoint", content)
        #expect(throws: StorageError.self) { try OffsetCheckpointFile(path: path).read() }
    }

    @Test("meta.properties of versions 0 and 1")
    func metaProperties() throws {
        let first = try file(
            "v1", "#\n#Sat Nov 21 02:00:05 UTC 2026\nnode.id=1\ndirectory.id=MhvhHstB6HX7dBvZrkbH0A\nversion=1\ncluster.id=Fx\n")
        let properties = try #require(try MetaProperties(path: first))
        #expect(properties.nodeID == 1 && properties.clusterID == "Fx" && properties.version == 1)
        #expect(properties.directoryID == KafkaUUID("MhvhHstB6HX7dBvZrkbH0A"))
        try properties.write(to: scratch.path + "/copy")
        #expect(try MetaProperties(path: scratch.path + "/copy") == properties)
        let old = try #require(try MetaProperties(path: try file("v0", "version=0\nbroker.id=7\ncluster.id = C:\\:x\n")))
        #expect(old.nodeID == 7 && old.version == 0 && old.directoryID == nil && old.clusterID == "C::x")
        #expect(try MetaProperties(path: scratch.path + "/none") == nil)
        #expect(throws: StorageError.self) { try MetaProperties(path: try file("v2", "version=2\n")) }
        #expect(throws: StorageError.self) { try MetaProperties(path: try file("id", "version=1\ndirectory.id=short\n")) }
    }

    @Test("partition.metadata has no newline at its end")
    func partitionMetadata() throws {
        let path = scratch.path + "/partition.metadata"
        let id = KafkaUUID(mostSignificantBits: 12, leastSignificantBits: 34)
        try PartitionMetadataFile.write(id, to: path)
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "version: 0\ntopic_id: \(id)")
        #expect(try PartitionMetadataFile.read(path) == id)
        #expect(throws: StorageError.self) { try PartitionMetadataFile.read(try file("bad", "version: 1\ntopic_id: \(id)")) }
        #expect(throws: StorageError.self) { try PartitionMetadataFile.read(try file("torn", "version: 0\ntopic_")) }
    }

    @Test("quorum-state of both data versions, byte for byte")
    func quorumState() throws {
        let lines = [
            #"{"clusterId":"","leaderId":1,"leaderEpoch":2,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}"#,
            #"{"leaderId":2,"leaderEpoch":6,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#,
        ]
        for line in lines {
            let path = try file("quorum-state", line)
            let state = try #require(try QuorumState(path: path))
            try state.write(to: path)
            #expect(try String(contentsOfFile: path, encoding: .utf8) == line)
        }
        #expect(try QuorumState(path: scratch.path + "/none") == nil)
        for damaged in ["{", "[]", "{\"leaderId\":1}", String(repeating: "[", count: 100_000)] {
            #expect(throws: StorageError.self) { try QuorumState(path: try file("damaged", damaged)) }
        }
    }

    @Test("The clean shutdown marker keeps the broker epoch")
    func cleanShutdown() throws {
        let path = scratch.path + "/" + CleanShutdownFile.name
        try CleanShutdownFile.write(brokerEpoch: 231, to: path)
        let text = try String(contentsOfFile: path, encoding: .utf8)
        #expect(text == #"{"version":0,"brokerEpoch":231}"#)
        #expect(CleanShutdownFile.brokerEpoch(text) == 231)
        #expect(CleanShutdownFile.brokerEpoch("") == -1)
    }

    @Test("A producer snapshot is checked by its checksum")
    func producerSnapshot() throws {
        let path = scratch.path + "/00000000000000000005.snapshot"
        let entries = [
            ProducerSnapshotEntry(
                producerID: 9, producerEpoch: 3, lastSequence: 77, lastOffset: 4, offsetDelta: 2, timestamp: 1234, coordinatorEpoch: 5,
                currentTransactionFirstOffset: -1)
        ]
        try ProducerSnapshotFile.write(entries, to: path)
        #expect(try ProducerSnapshotFile.read(path) == entries)
        let good = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(good.count == 10 + 46)
        for position in good.indices {
            var bad = good
            bad[position] ^= 0x10
            try bad.write(to: URL(fileURLWithPath: path))
            #expect(throws: StorageError.self) { try ProducerSnapshotFile.read(path) }
        }
        try good.prefix(30).write(to: URL(fileURLWithPath: path))
        #expect(throws: StorageError.self) { try ProducerSnapshotFile.read(path) }
    }

    @Test("Leader epochs answer as KIP-101 and KIP-279 say")
    func leaderEpochs() throws {
        var epochs = LeaderEpochs()
        #expect(epochs.endOffset(for: 1, logEndOffset: 10) == .undefined)
        epochs.assign(2, startOffset: 5)
        epochs.assign(2, startOffset: 7)
        epochs.assign(4, startOffset: 20)
        #expect(epochs.entries.map(\.startOffset) == [5, 20])
        #expect(epochs.endOffset(for: 4, logEndOffset: 33) == EpochEndOffset(leaderEpoch: 4, endOffset: 33))
        #expect(epochs.endOffset(for: 3, logEndOffset: 33) == EpochEndOffset(leaderEpoch: 2, endOffset: 20))
        #expect(epochs.endOffset(for: 1, logEndOffset: 33) == EpochEndOffset(leaderEpoch: 1, endOffset: 5))
        #expect(epochs.endOffset(for: 5, logEndOffset: 33) == .undefined)
        #expect(epochs.epoch(at: 4) == nil && epochs.epoch(at: 19) == 2 && epochs.epoch(at: 20) == 4)
        let path = scratch.path + "/leader-epoch-checkpoint"
        try epochs.writeIfChanged(to: path)
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "0\n2\n2 5\n4 20\n")
        #expect(try LeaderEpochs(path: path).entries == epochs.entries)
        // Written over in place where that is safe, and replaced where the new contents are shorter.
        epochs.assign(6, startOffset: 33)
        try epochs.writeIfChanged(to: path, sync: false)
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "0\n3\n2 5\n4 20\n6 33\n")
        epochs.truncate(fromEnd: 33)
        try epochs.writeIfChanged(to: path, sync: false)
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "0\n2\n2 5\n4 20\n")
        epochs.truncate(fromStart: 9)
        #expect(epochs.entries == [LeaderEpochEntry(epoch: 2, startOffset: 9), LeaderEpochEntry(epoch: 4, startOffset: 20)])
        epochs.truncate(fromEnd: 20)
        #expect(epochs.entries == [LeaderEpochEntry(epoch: 2, startOffset: 9)])
        // A newer leader that begins earlier takes the place of what was there.
        epochs.assign(6, startOffset: 3)
        #expect(epochs.entries == [LeaderEpochEntry(epoch: 6, startOffset: 3)])
    }

    @Test("An index finds entries in file and memory alike")
    func offsetIndex() throws {
        let path = scratch.path + "/00000000000000000100.index"
        let index = OffsetIndex(path: path, baseOffset: 100, storedCount: 0)
        #expect(index.lookup(150) == OffsetPosition(offset: 100, position: 0))
        for step in 1...20_000 {
            index.append(100 + Offset(step * 3), position: step * 50)
            if step == 700 || step == 12_345 { try index.flush() }
        }
        for offset: Offset in [100, 102, 103, 104, 105, 2200, 2201, 40_000, 60_099, 60_100, 70_000] {
            let step = min(20_000, Int(offset - 100) / 3)
            let expected =
                step == 0 ? OffsetPosition(offset: 100, position: 0) : OffsetPosition(offset: 100 + Offset(step * 3), position: step * 50)
            #expect(index.lookup(offset) == expected)
        }
        #expect(index.lookup(position: 124)?.position == 100)
        #expect(index.lookup(position: 49) == nil)
        #expect(index.firstEntry(atOrAbove: 101)?.position == 150)
        try index.truncate(to: 400)
        #expect(index.lastEntry == OffsetPosition(offset: 397, position: 99 * 50))
        try index.flush()
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)).count == 99 * 8)
        let reopened = OffsetIndex(path: path, baseOffset: 100)
        #expect(reopened.count == 99 && reopened.entry(0) == OffsetPosition(offset: 103, position: 50))
        #expect(reopened.plausibleCount(logSize: 2500) == 49)
    }

    @Test("Names of partition directories")
    func directoryNames() {
        #expect(PartitionDirectoryName.parse("a-b-12") == TopicPartition("a-b", 12))
        #expect(PartitionDirectoryName.parse("__consumer_offsets-0") == TopicPartition("__consumer_offsets", 0))
        for name in ["a", "-1", "a-", "a-x", "a-01", "t-0.51e15d26797a47a18176460ed68b4d71-delete", "lost+found"] {
            #expect(PartitionDirectoryName.parse(name) == nil, "\(name)")
        }
        let marked = PartitionDirectoryName.marked(TopicPartition(String(repeating: "t", count: 249), 7), suffix: "-delete")
        #expect(marked.utf8.count == 255 && PartitionDirectoryName.marker(of: marked) == "-delete")
    }
}
