// The codec's own rules: bounds, errors that name their place, slices instead of copies, tagged fields.
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import Testing

@Suite struct WireReaderTests {
    private static func produce() -> ProduceRequest {
        var partition = ProduceRequest.PartitionProduceData()
        partition.records = ByteBuffer(repeating: 7, count: 1000)
        var topic = ProduceRequest.TopicProduceData()
        topic.name = "topic"
        topic.partitionData = [partition, partition]
        var request = ProduceRequest()
        request.topicData = [topic]
        return request
    }

    @Test func recordsAreSlicesOfTheFrame() throws {
        let frame = try Self.produce().encoded(version: 9)
        let request = try ProduceRequest(decoding: frame, version: 9)
        let records = try #require(request.topicData[0].partitionData[1].records)
        let isWithin = frame.withUnsafeReadableBytes { whole in
            records.withUnsafeReadableBytes { part in
                guard let start = whole.baseAddress, let partStart = part.baseAddress else { return false }
                return partStart >= start && partStart + part.count <= start + whole.count
            }
        }
        #expect(isWithin)
        #expect(records.readableBytes == 1000)
    }

    @Test func errorsNameMessageFieldAndOffset() throws {
        var request = Self.produce()
        request.topicData[0].partitionData.removeLast()
        var frame = try request.encoded(version: 8)
        frame.moveWriterIndex(to: 33)
        let error = #expect(throws: WireError.self) { try ProduceRequest(decoding: frame, version: 8) }
        #expect(error?.message == "ProduceRequest")
        #expect(error?.field == "PartitionProduceData.records")
        #expect(error?.offset == 31)
        #expect(error?.reason == .truncated(needed: 1000, remaining: 2))
        #expect(error?.description == "ProduceRequest.PartitionProduceData.records at byte 31: needs 1000 bytes, 2 are left")
    }

    @Test func countsAreComparedWithBytesLeft() {
        // Two billion topics in a frame of 20 bytes.
        var writer = WireWriter()
        writer.int32(Int32.max)
        writer.buffer.writeRepeatingByte(0, count: 16)
        let error = #expect(throws: WireError.self) { try MetadataRequest(decoding: writer.buffer, version: 1) }
        #expect(error?.reason == .invalidLength(length: Int(Int32.max), remaining: 16))
        // Eight topics of at least two bytes fit 16 bytes, nine do not.
        for (count, fits) in [(8 as Int32, true), (9, false)] {
            var writer = WireWriter()
            writer.int32(count)
            writer.buffer.writeRepeatingByte(0, count: 16)
            #expect(((try? MetadataRequest(decoding: writer.buffer, version: 1)) != nil) == fits)
        }
    }

    @Test func theFirstFailureSticks() {
        var reader = WireReader(ByteBuffer(bytes: [1, 2, 3]), message: "test")
        #expect(reader.int16("first") == 0x0102)
        #expect(reader.int32("second") == 0)
        #expect(reader.int8("third") == 0)
        #expect(reader.string("fourth") == "")
        #expect(reader.nullableBytes("fifth") == nil)
        #expect(reader.failure?.field == "second")
        #expect(reader.failure?.offset == 2)
        #expect(throws: WireError.self) { try reader.check() }
    }

    @Test func varints() {
        func read(_ bytes: [UInt8]) -> (UInt32, Bool) {
            var reader = WireReader(ByteBuffer(bytes: bytes))
            let value = reader.unsignedVarint("value")
            return (value, reader.hasFailed)
        }
        for value in [0, 1, 127, 128, 16383, 16384, 1 << 28, UInt32.max] as [UInt32] {
            var writer = WireWriter()
            writer.unsignedVarint(value)
            #expect(read(Array(writer.buffer.readableBytesView)) == (value, false))
        }
        #expect(read([0xff, 0xff, 0xff, 0xff, 0x1f]).1)
        #expect(read([0x80, 0x80, 0x80, 0x80, 0x80, 0x01]).1)
        #expect(read([0x80]).1)
        #expect(read([]).1)
    }

    @Test func textThatIsNotUTF8IsRepaired() throws {
        var reader = WireReader(ByteBuffer(bytes: [0, 3, 0x61, 0xff, 0x62]))
        #expect(reader.string("text") == "a\u{fffd}b")
        try reader.finish()
    }

    @Test func nullWhereNoneIsAllowed() {
        let error = #expect(throws: WireError.self) {
            try MetadataRequest(decoding: ByteBuffer(bytes: [0xff, 0xff, 0xff, 0xff]), version: 0)
        }
        #expect(error?.reason == .unexpectedNull)
        var request = MetadataRequest()
        request.topics = nil
        #expect(throws: WireError.self) { try request.encoded(version: 0) }
        #expect((try? request.encoded(version: 1)) != nil)
    }

    @Test func trailingBytes() throws {
        var subscription = ConsumerProtocolSubscription()
        subscription.topics = ["a"]
        var bytes = try subscription.encodedWithVersion(3)
        bytes.writeInteger(9 as Int32)
        #expect(throws: WireError.self) { try ConsumerProtocolSubscription(decodingWithVersion: bytes) }
        bytes.setInteger(7 as Int16, at: 0)
        #expect(try ConsumerProtocolSubscription(decodingWithVersion: bytes, acceptingNewer: true).topics == ["a"])
    }

    @Test func valuesThatAVersionCannotCarry() throws {
        var request = FetchRequest()
        request.replicaState.replicaId = 5
        let error = #expect(throws: WireError.self) { try request.encoded(version: 14) }
        #expect(error?.field == "replicaState")
        #expect(error?.reason == .fieldNotInVersion(14))
        #expect((try? request.encoded(version: 15)) != nil)
        // Ignorable: dropped without a word.
        var other = FetchRequest()
        other.rackId = "rack"
        #expect(try other.encoded(version: 10) == FetchRequest().encoded(version: 10))
    }

    @Test func tooLongForItsPrefix() {
        var request = MetadataRequest()
        var topic = MetadataRequest.MetadataRequestTopic()
        topic.name = String(repeating: "x", count: 40000)
        request.topics = [topic]
        #expect(throws: WireError.self) { try request.encoded(version: 12) }
    }
}

@Suite struct TaggedFieldTests {
    private func roundTrip(_ unknown: [UnknownTaggedField]) throws -> FetchRequest {
        var request = FetchRequest()
        request.clusterId = "cluster"
        request.replicaState.replicaId = 1
        request.unknownTaggedFields = unknown
        return try FetchRequest(decoding: request.encoded(version: 15), version: 15)
    }

    @Test func unknownOnesStayInOrderAmongKnownOnes() throws {
        let low = UnknownTaggedField(tag: 2, data: ByteBuffer(bytes: [1, 2]))
        let high = UnknownTaggedField(tag: 300, data: ByteBuffer(repeating: 5, count: 200))
        let request = try roundTrip([high, low])
        #expect(request.unknownTaggedFields == [low, high])
        #expect(request.clusterId == "cluster")
        #expect(request.replicaState.replicaId == 1)
    }

    @Test func manyFieldsNeedALongerCount() throws {
        let fields = (10..<210).map { UnknownTaggedField(tag: $0, data: ByteBuffer(integer: UInt8(truncatingIfNeeded: $0))) }
        #expect(try roundTrip(fields).unknownTaggedFields == fields)
    }

    @Test func longValuesNeedALongerSize() throws {
        var request = FetchRequest()
        request.clusterId = String(repeating: "c", count: 20000)
        #expect(try FetchRequest(decoding: request.encoded(version: 12), version: 12) == request)
    }

    @Test func unknownFieldUnderAKnownTag() {
        #expect(throws: WireError.self) { _ = try roundTrip([UnknownTaggedField(tag: 0, data: ByteBuffer())]) }
    }

    @Test func aSizeThatDoesNotMatchIsRefused() throws {
        var frame = try FetchRequest().encoded(version: 12)
        let end = frame.writerIndex - 1
        frame.moveWriterIndex(to: end)
        // One tagged field, tag 0 (cluster id), announced with three bytes: a string of one and a byte too many.
        frame.writeBytes([1, 0, 3, 2, 0x61, 0])
        let error = #expect(throws: WireError.self) { try FetchRequest(decoding: frame, version: 12) }
        #expect(error?.reason == .tagSizeMismatch(tag: 0, size: 3, used: 2))
    }

    @Test func inflexibleVersionsCannotCarryThem() {
        var request = FetchRequest()
        request.unknownTaggedFields = [UnknownTaggedField(tag: 9, data: ByteBuffer())]
        #expect(throws: WireError.self) { try request.encoded(version: 11) }
    }
}

@Suite struct FrameTests {
    @Test func requestFrame() throws {
        var request = ApiVersionsRequest()
        request.clientSoftwareName = "martlet"
        request.clientSoftwareVersion = "1"
        let frame = try Frame.request(request, version: 3, correlationId: 42, clientId: "id", withSize: true)
        #expect(frame.hex == "00000018" + "0012" + "0003" + "0000002a" + "00026964" + "00" + "086d6172746c6574" + "0231" + "00")
        var reader = WireReader(frame)
        #expect(reader.int32("size") == Int32(frame.readableBytes - 4))
        let header = try RequestHeader(fromFrame: &reader)
        #expect(header.api == .apiVersions)
        #expect(header.correlationId == 42)
        #expect(header.clientId == "id")
        #expect(try ApiVersionsRequest(from: &reader, version: header.requestApiVersion) == request)
        try reader.finish()
    }

    @Test func responseFrame() throws {
        var response = HeartbeatResponse()
        response.errorCode = .rebalanceInProgress
        let frame = try Frame.response(response, version: 4, correlationId: 1)
        #expect(frame.hex == "00000001" + "00" + "00000000" + "001b" + "00")
        let decoded = try Frame.decodeResponse(frame, as: HeartbeatResponse.self, version: 4)
        #expect(decoded.response == response)
        #expect(decoded.header.correlationId == 1)
    }

    @Test func apiVersionsResponseHeaderHasNoTags() throws {
        let frame = try Frame.response(ApiVersionsResponse(), version: 3, correlationId: 1)
        #expect(frame.hex == "00000001" + "0000" + "01" + "00000000" + "00")
    }

    @Test func headerOfAnUnknownApi() throws {
        var reader = WireReader(ByteBuffer(hex: "7fff000000000005ffff"))
        let header = try RequestHeader(fromFrame: &reader)
        #expect(header.api == nil)
        #expect(header.correlationId == 5)
        #expect(header.clientId == nil)
    }

    @Test func produceIsAdvertisedFromZero() {
        #expect(ApiKey.produce.advertisedVersions == 0...13)
        #expect(ApiKey.produce.validVersions == 3...13)
        #expect(ApiKey.initProducerId.advertisedVersions == 0...5)
        #expect(ApiKey.initProducerId.validVersions == 0...6)
        #expect(ApiKey.createTopics.isForwardable && !ApiKey.createTopics.isClusterAction)
        #expect(ApiKey.vote.isClusterAction && ApiKey.vote.listeners == .controller)
        #expect(ApiKey(rawValue: 4) == nil)
    }

    @Test func errorTable() {
        #expect(ErrorCode.unknownTopicOrPartition.rawValue == 3)
        #expect(ErrorCode.unknownTopicOrPartition.name == "UNKNOWN_TOPIC_OR_PARTITION")
        #expect(ErrorCode.unknownTopicOrPartition.isRetriable && ErrorCode.unknownTopicOrPartition.refreshesMetadata)
        #expect(!ErrorCode.invalidRequest.isRetriable)
        #expect(ErrorCode(rawValue: 9999).name == "9999")
        #expect(ErrorCode.notController.isRetriable && !ErrorCode.notController.refreshesMetadata)
        #expect(ErrorCode.invalidFetchSize.defaultMessage == "INVALID_FETCH_SIZE")
        #expect(ErrorCode.all.count == 138)
    }

    @Test func unknownRecordTypes() {
        let newer = #expect(throws: WireError.self) { try MetadataRecord(decoding: ByteBuffer(bytes: [1, 0xe7, 7, 0])) }
        #expect(newer?.reason == .unknownRecordType(999))
        let frame = #expect(throws: WireError.self) { try MetadataRecord(decoding: ByteBuffer(bytes: [2, 2, 0])) }
        #expect(frame?.field == "frame version")
        let key = #expect(throws: WireError.self) { try ConsumerOffsetsKey(decoding: ByteBuffer(bytes: [0x7f, 0, 0])) }
        #expect(key?.reason == .unknownRecordType(0x7f00))
    }
}
