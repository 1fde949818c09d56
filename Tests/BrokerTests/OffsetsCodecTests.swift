// `offsets.topic.compression.codec`, from the setting to the bytes on disk and back.
import Foundation
import KafkaMessages
import KafkaWire
import TestKit
import Testing

@testable import Broker

@Suite struct OffsetsCodecTests {
    @Test func offsetsAreWrittenWithTheCodecConfigured() throws {
        let node = try RunningNode(overrides: ["offsets.topic.compression.codec=4", "offsets.topic.num.partitions=1"])
        defer { node.stop() }
        let connection = try BlockingConnection(port: node.port)
        var topic = CreateTopicsRequest.CreatableTopic()
        topic.name = "t"
        topic.numPartitions = 1
        topic.replicationFactor = 1
        var creation = CreateTopicsRequest()
        creation.topics = [topic]
        creation.timeoutMs = 10_000
        #expect(try connection.ask(creation, version: 5).topics.map(\.errorCode) == [.none])
        #expect(try commit(77, connection))
        let log = try Data(contentsOf: URL(fileURLWithPath: "\(node.directory.path)/__consumer_offsets-0/00000000000000000000.log"))
        // The lowest bits of the batch's attributes name the codec: zstd.
        #expect(log.count > 61 && log[22] & 7 == 4)
        try node.restart()
        let again = try BlockingConnection(port: node.port)
        #expect(try eventually { try committed(again) == 77 })
    }

    private func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
        let deadline = Date().addingTimeInterval(20)
        while Date() < deadline {
            if try condition() { return true }
            usleep(10_000)
        }
        return false
    }

    /// Commits, once the coordinator is there.
    private func commit(_ offset: Int64, _ connection: BlockingConnection) throws -> Bool {
        var find = FindCoordinatorRequest()
        find.key = "g"
        var partition = OffsetCommitRequest.OffsetCommitRequestPartition()
        partition.committedOffset = offset
        var topic = OffsetCommitRequest.OffsetCommitRequestTopic()
        topic.name = "t"
        topic.partitions = [partition]
        var commit = OffsetCommitRequest()
        commit.groupId = "g"
        commit.topics = [topic]
        let request = commit
        return try eventually {
            guard try connection.ask(find, version: 2).errorCode == .none else { return false }
            return try connection.ask(request, version: 5).topics.first?.partitions.first?.errorCode == ErrorCode.none
        }
    }

    private func committed(_ connection: BlockingConnection) throws -> Int64? {
        var topic = OffsetFetchRequest.OffsetFetchRequestTopic()
        topic.name = "t"
        topic.partitionIndexes = [0]
        var request = OffsetFetchRequest()
        request.groupId = "g"
        request.topics = [topic]
        return try connection.ask(request, version: 5).topics.first?.partitions.first?.committedOffset
    }
}
