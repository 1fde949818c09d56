// A Fetch within a CompressedFetch, over a socket: the same answer as without, in fewer bytes, with the same rights.
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import TestKit
import Testing

@testable import Broker

@Suite struct CompressedFetchTests {
    private static let version: Int16 = 12

    private static func node() throws -> (RunningNode, BlockingConnection) {
        let node = try RunningNode()
        let connection = try BlockingConnection(port: node.port)
        var topic = CreateTopicsRequest()
        topic.timeoutMs = 10_000
        topic.topics = [
            .init {
                $0.name = "t"; $0.numPartitions = 1; $0.replicationFactor = 1
            }
        ]
        #expect(try connection.ask(topic, version: 7).topics.first?.errorCode == ErrorCode.none)
        return (node, connection)
    }

    private static func produce(_ values: [String], _ connection: BlockingConnection) throws {
        var builder = RecordBatchBuilder()
        for value in values { builder.append(timestamp: SystemClock.now(), key: nil, value: ByteBuffer(string: value)) }
        var request = ProduceRequest()
        request.acks = -1
        request.timeoutMs = 10_000
        let records = builder.buildUncompressed()
        request.topicData = [
            .init {
                $0.name = "t"
                $0.partitionData = [.init { $0.records = records }]
            }
        ]
        #expect(try connection.ask(request, version: 9).responses.first?.partitionResponses.first?.errorCode == ErrorCode.none)
    }

    private static func fetch() -> FetchRequest {
        var request = FetchRequest()
        request.maxBytes = 10 << 20
        request.topics = [
            .init {
                $0.topic = "t"
                $0.partitions = [.init { $0.partitionMaxBytes = 1 << 20 }]
            }
        ]
        return request
    }

    private static func compressed(
        _ fetch: FetchRequest, _ connection: BlockingConnection, type: CompressionType = .zstd, version: Int16 = version
    ) throws -> CompressedFetchResponse {
        var request = CompressedFetchRequest()
        request.compressionType = Int8(bitPattern: type.rawValue)
        request.fetchVersion = version
        request.fetch = try fetch.encoded(version: Self.version)
        return try connection.ask(request, version: 0)
    }

    private static func unpacked(_ response: CompressedFetchResponse) throws -> FetchResponse {
        let type = try #require(CompressionType(rawValue: UInt8(bitPattern: response.compressionType)))
        let body = try Compression.decompress(response.fetch, type: type, maximumSize: Int(response.size))
        #expect(body.readableBytes == Int(response.size))
        return try FetchResponse(decoding: body, version: version)
    }

    @Test("The answer is that of a Fetch, in fewer bytes")
    func answers() throws {
        let (node, connection) = try Self.node()
        defer { node.stop() }
        let small = try Self.compressed(Self.fetch(), connection)
        #expect(small.errorCode == .none && small.compressionType == 0)
        #expect(try Self.unpacked(small).responses.first?.partitions.first?.highWatermark == 0)
        try Self.produce((0..<2000).map { "record \($0) of many that look alike" }, connection)
        let plain = try connection.ask(Self.fetch(), version: Self.version)
        let response = try Self.compressed(Self.fetch(), connection)
        #expect(response.compressionType == Int8(bitPattern: CompressionType.zstd.rawValue))
        #expect(response.fetch.readableBytes * 3 < Int(response.size))
        #expect(try Self.unpacked(response) == plain)
        // The connection goes on in order.
        #expect(try connection.ask(Self.fetch(), version: Self.version) == plain)
    }

    @Test("What cannot be compressed, or asked for so, is told")
    func refusals() throws {
        let (node, connection) = try Self.node()
        defer { node.stop() }
        #expect(try Self.compressed(Self.fetch(), connection, type: .lz4).errorCode == .unsupportedCompressionType)
        #expect(try Self.compressed(Self.fetch(), connection, version: 11).errorCode == .unsupportedVersion)
        #expect(try Self.compressed(Self.fetch(), connection, version: 99).errorCode == .unsupportedVersion)
        var request = CompressedFetchRequest()
        request.compressionType = Int8(bitPattern: CompressionType.zstd.rawValue)
        request.fetchVersion = Self.version
        request.fetch = ByteBuffer(string: "nonsense")
        #expect(throws: (any Error).self) { try connection.ask(request, version: 0) }
    }

    @Test("Without the right to read nothing is given out")
    func rights() throws {
        let node = try RunningNode(overrides: [
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:admin",
        ])
        defer { node.stop() }
        let response = try Self.compressed(Self.fetch(), try BlockingConnection(port: node.port))
        #expect(try Self.unpacked(response).responses.first?.partitions.first?.errorCode == .topicAuthorizationFailed)
    }
}
