// Writes produce responses without generated structs: the answer to a small request must not cost more than the request.
import KafkaWire
import NIOCore
import Primitives
import RecordBatches

/// What became of one partition's records.
struct ProduceResult {
    var error = ErrorCode.none
    var baseOffset: Offset = -1
    var logAppendTime: Timestamp = -1
    var logStartOffset: Offset = -1
    var message: String?
    /// The records to blame, by their position in the batch (KIP-467).
    var refusedRecords: [RecordValidationError.InvalidRecord] = []
}

/// The response to one produce request, for one version.
struct ProduceResponseEncoder {
    let version: Int16
    let correlationID: Int32
    private var flexible: Bool { version >= 9 }

    /// The whole frame, with room for its size.
    ///
    /// - Parameter body: the request's body, from which the topics' names are copied.
    func encode(
        _ request: ProduceRequestView, body: ByteBuffer, throttleMilliseconds: Int32 = 0, allocator: ByteBufferAllocator
    ) -> ByteBuffer {
        var frame = allocator.buffer(capacity: 32 + request.topics.count * 24 + request.partitions.count * 48)
        frame.writeInteger(Int32(0))
        frame.writeInteger(correlationID)
        if flexible { frame.writeInteger(UInt8(0)) }
        frame.writeCount(request.topics.count, flexible: flexible)
        for topic in request.topics {
            if version >= 13 {
                frame.writeInteger(topic.id.mostSignificantBits)
                frame.writeInteger(topic.id.leastSignificantBits)
            } else {
                if flexible { frame.writeUnsignedVarint(topic.name.count + 1) } else { frame.writeInteger(Int16(topic.name.count)) }
                if let name = body.getSlice(at: body.readerIndex + topic.name.lowerBound, length: topic.name.count) {
                    frame.writeImmutableBuffer(name)
                }
            }
            frame.writeCount(topic.partitions.count, flexible: flexible)
            for partition in request.partitions[topic.partitions] { write(partition, into: &frame) }
            if flexible { frame.writeInteger(UInt8(0)) }
        }
        frame.writeInteger(throttleMilliseconds)
        if flexible { frame.writeInteger(UInt8(0)) }
        return frame
    }

    private func write(_ partition: ProducePartition, into frame: inout ByteBuffer) {
        let result = partition.result
        frame.writeInteger(partition.index)
        frame.writeInteger(result.error.rawValue)
        frame.writeInteger(result.baseOffset)
        frame.writeInteger(result.logAppendTime)
        if version >= 5 { frame.writeInteger(result.logStartOffset) }
        if version >= 8 {
            frame.writeCount(result.refusedRecords.count, flexible: flexible)
            for record in result.refusedRecords {
                frame.writeInteger(Int32(clamping: record.index))
                frame.writeText(record.message, flexible: flexible)
                if flexible { frame.writeInteger(UInt8(0)) }
            }
            if let message = result.message {
                frame.writeText(message, flexible: flexible)
            } else if flexible {
                frame.writeUnsignedVarint(0)
            } else {
                frame.writeInteger(Int16(-1))
            }
        }
        if flexible { frame.writeInteger(UInt8(0)) }
    }
}
