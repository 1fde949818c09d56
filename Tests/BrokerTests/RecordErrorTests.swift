// Produce requests whose records break a rule: the response names the records (KIP-467). And small segments of older clusters.
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import TestKit
import Testing

@testable import Broker

@Suite(.serialized) struct RecordErrorTests {
    private func create(_ connection: BlockingConnection, _ name: String, _ configs: [String: String]) throws -> ErrorCode {
        var topic = CreateTopicsRequest.CreatableTopic()
        topic.name = name
        topic.numPartitions = 1
        topic.replicationFactor = 1
        topic.configs = configs.map { key, value in
            var config = CreateTopicsRequest.CreatableTopicConfig()
            config.name = key
            config.value = value
            return config
        }
        var request = CreateTopicsRequest()
        request.topics = [topic]
        request.timeoutMs = 10_000
        return try #require(try connection.ask(request, version: 5).topics.first).errorCode
    }

    private func produce(
        _ connection: BlockingConnection, _ topic: String, _ records: [(key: String?, timestamp: Timestamp)], version: Int16
    ) throws -> ProduceResponse.PartitionProduceResponse {
        var builder = RecordBatchBuilder(compression: .none)
        for record in records {
            builder.append(
                timestamp: record.timestamp, key: record.key.map { ByteBuffer(string: $0) }, value: ByteBuffer(string: "v"), headers: [])
        }
        var partition = ProduceRequest.PartitionProduceData()
        partition.records = try builder.build()
        var data = ProduceRequest.TopicProduceData()
        data.name = topic
        data.partitionData = [partition]
        var request = ProduceRequest()
        request.acks = 1
        request.timeoutMs = 10_000
        request.topicData = [data]
        let response = try connection.ask(request, version: version)
        return try #require(response.responses.first?.partitionResponses.first)
    }

    @Test func refusedRecordsAreNamed() throws {
        let node = try RunningNode()
        defer { node.stop() }
        let connection = try BlockingConnection(port: node.port)
        for version in [7, 8, 9, 12] as [Int16] { try check(version, connection) }
    }

    private func check(_ version: Int16, _ connection: BlockingConnection) throws {
        let now = SystemClock.now()
        let topic = "compacted-\(version)"
        #expect(try create(connection, topic, ["cleanup.policy": "compact"]) == .none)
        let keyless = try produce(connection, topic, [("a", now), (nil, now), ("b", now), (nil, now)], version: version)
        #expect(keyless.errorCode == .invalidRecord && keyless.baseOffset == -1)
        let late = try produce(connection, topic, [("a", now), ("b", now + 7_200_000)], version: version)
        #expect(late.errorCode == .invalidTimestamp)
        let both = try produce(connection, topic, [(nil, now), ("b", now + 7_200_000)], version: version)
        #expect(both.errorCode == .invalidTimestamp)
        if version >= 8 {
            #expect(keyless.recordErrors.map(\.batchIndex) == [1, 3])
            #expect(keyless.recordErrors.allSatisfy { $0.batchIndexErrorMessage?.contains("without a key") == true })
            #expect(keyless.errorMessage?.isEmpty == false)
            #expect(late.recordErrors.map(\.batchIndex) == [1])
            #expect(late.recordErrors.first?.batchIndexErrorMessage?.contains("out of range") == true)
            #expect(both.recordErrors.map(\.batchIndex) == [0, 1])
        }
        let good = try produce(connection, topic, [("a", now)], version: version)
        #expect(good.errorCode == .none && good.baseOffset == 0 && good.recordErrors.isEmpty && good.errorMessage == nil)
    }

    /// With what Kafka 3.9 allowed in server.properties the node starts, and topics have such segments; new topics cannot ask for them.
    @Test func smallSegmentsOfKafka39() throws {
        let node = try RunningNode(overrides: ["log.segment.bytes=65536", "metadata.log.segment.bytes=8192"])
        defer { node.stop() }
        let connection = try BlockingConnection(port: node.port)
        #expect(try create(connection, "small", ["segment.bytes": "65536"]) == .invalidConfig)
        for index in 0..<30 { #expect(try create(connection, "t\(index)", [:]) == .none) }
        #expect(try produce(connection, "t0", [("a", SystemClock.now())], version: 9).errorCode == .none)
        try node.restart()
        let again = try BlockingConnection(port: node.port)
        #expect(try produce(again, "t29", [("a", SystemClock.now())], version: 9).baseOffset == 0)
        #expect(try produce(again, "t0", [("a", SystemClock.now())], version: 9).baseOffset == 1)
    }
}
