// The other direction: batches that Kafka has written, appended here with the same settings and the same restart in between, leave the
// same segments, indexes, snapshots and epochs, byte for byte.
import Foundation
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Storage

@Suite("Conformance of what is written", .enabled(if: fixtureFolder != nil))
struct SameBytesConformanceTests {
    @Test("The same batches make the same files as in Kafka")
    func sameFiles() throws {
        let folder = try #require(fixtureFolder)
        guard FileManager.default.fileExists(atPath: folder + "/clean-single.tar.gz") else { return }
        let fixture = try Fixture("clean-single", folder: folder)
        let atRest = try #require(fixture.manifest["at_rest"] as? JSON)
        let configs = (fixture.manifest["real_kafka_after_start"] as? JSON)?["configs"] as? JSON ?? [:]
        var held = 0
        var compared = 0
        for (name, content) in atRest["partitions"] as? JSON ?? [:] {
            guard let content = content as? JSON, let topic = content["topic"] as? String, content["log_start_offset"] as? Int == 0,
                let settings = (configs["TOPIC:\(topic)"] ?? [:]) as? [String: String], settings["cleanup.policy"] == nil
            else { continue }
            let differences = try differences(
                fixture.path("log/\(name)"), configuration: configuration(settings),
                epochs: (content["leader_epochs"] as? [[Int]] ?? []).map {
                    LeaderEpochEntry(epoch: LeaderEpoch($0[0]), startOffset: Offset($0[1]))
                })
            compared += differences.files
            held += differences.files - differences.found.count
            for difference in differences.found { Issue.record("\(name): \(difference)") }
        }
        print("conformance files written anew: \(held) of \(compared)")
        #expect(compared > 200 && held == compared)
    }

    /// The broker's defaults in the fixture, and the topic's own.
    private func configuration(_ settings: [String: String]) -> LogConfiguration {
        var configuration = LogConfiguration()
        configuration.segmentBytes = settings["segment.bytes"].flatMap { Int($0) } ?? 65_536
        configuration.indexIntervalBytes = settings["index.interval.bytes"].flatMap { Int($0) } ?? 1024
        configuration.segmentIndexBytes = 65_536
        configuration.producerIDExpirationMilliseconds = Int64(Int32.max)
        return configuration
    }

    private func differences(
        _ directory: String, configuration: LogConfiguration, epochs: [LeaderEpochEntry]
    ) throws -> (files: Int, found: [String]) {
        let names = try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
        let ours = try LogFixture(configuration)
        // When the fixture was made: producers with records of 2023 were forgotten at the restart.
        ours.now = 1_795_226_440_000
        /// The node was stopped and started where its leader epoch changed.
        func restart() throws {
            for entry in epochs where entry.startOffset == ours.log.logEndOffset && entry.epoch > ours.log.latestLeaderEpoch ?? -1 {
                if ours.log.logEndOffset > 0 { try ours.reopen() }
                ours.log.assignLeaderEpoch(entry.epoch)
            }
        }
        for name in names where name.hasSuffix(".log") {
            var bytes = ByteBuffer(bytes: try Data(contentsOf: URL(fileURLWithPath: directory + "/" + name)))
            while bytes.readableBytes > 0 {
                let batch = try RecordBatch(bytes)
                bytes.moveReaderIndex(forwardBy: batch.header.sizeInBytes)
                try restart()
                _ = try ours.log.appendAsFollower(batch.bytes, now: ours.now)
                ours.log.advanceHighWatermark(to: ours.log.logEndOffset)
            }
        }
        try restart()
        try ours.stop()
        let written = ours.directoryPath + "/topic-0"
        let compared = names.filter { $0 != PartitionMetadataFile.name && !$0.hasSuffix(".deleted") }
        var found: [String] = []
        for name in compared where !isSame(directory + "/" + name, written + "/" + name) { found.append(name + " differs") }
        let surplus = try FileManager.default.contentsOfDirectory(atPath: written).filter {
            !names.contains($0) && $0 != PartitionMetadataFile.name
        }
        for name in surplus { found.append(name + " is not there in Kafka") }
        return (compared.count, found)
    }

    private func isSame(_ left: String, _ right: String) -> Bool {
        if left.hasSuffix(".snapshot") {
            // Kafka writes producers in the order of a hash map.
            guard let left = try? ProducerSnapshotFile.read(left), let right = try? ProducerSnapshotFile.read(right) else { return false }
            return Set(left) == Set(right)
        }
        guard let left = try? Data(contentsOf: URL(fileURLWithPath: left)), let right = try? Data(contentsOf: URL(fileURLWithPath: right))
        else { return false }
        return left == right
    }
}
