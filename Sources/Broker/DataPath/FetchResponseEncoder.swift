// Writes fetch responses: headers from memory, records as ranges of files, which never enter this process.
import KafkaWire
import NIOCore
import Network
import Primitives
import Replication
import Storage

/// The response to one fetch, for one version.
struct FetchResponseEncoder {
    let version: Int16
    let correlationID: Int32
    private var flexible: Bool { version >= 12 }

    /// - Parameter results: those that the response contains, in order; neighbours of one topic are put together.
    func encode(
        error: ErrorCode, sessionID: Int32, results: [FetchPartitionResult], throttleMilliseconds: Int32 = 0,
        allocator: ByteBufferAllocator
    ) -> OutboundFrame {
        var header = allocator.buffer(capacity: 64 + results.count * 96)
        var cuts: [(at: Int, slice: LogSlice)] = []
        header.writeInteger(Int32(0))  // room for the frame's size
        header.writeInteger(correlationID)
        if flexible { header.writeInteger(UInt8(0)) }
        header.writeInteger(throttleMilliseconds)
        if version >= 7 {
            header.writeInteger(error.rawValue)
            header.writeInteger(sessionID)
        }
        let topics = Self.groups(results)
        header.writeCount(topics.count, flexible: flexible)
        for range in topics { writeTopic(results[range], into: &header, &cuts) }
        if flexible { header.writeInteger(UInt8(0)) }
        return Self.frame(header, cuts)
    }

    private func writeTopic(
        _ results: ArraySlice<FetchPartitionResult>, into header: inout ByteBuffer, _ cuts: inout [(at: Int, slice: LogSlice)]
    ) {
        guard let key = results.first?.key else { return }
        if version >= 13 {
            header.writeInteger(key.topicID.mostSignificantBits)
            header.writeInteger(key.topicID.leastSignificantBits)
        } else {
            header.writeText(key.topicName, flexible: flexible)
        }
        header.writeCount(results.count, flexible: flexible)
        for result in results {
            writePartition(result, into: &header)
            if let slice = result.slice, slice.length > 0 {
                header.writeCount(slice.length, flexible: flexible)
                cuts.append((header.writerIndex, slice))
            } else {
                header.writeCount(0, flexible: flexible)
            }
            if flexible { writeTags(result, into: &header) }
        }
        if flexible { header.writeInteger(UInt8(0)) }
    }

    private func writePartition(_ result: FetchPartitionResult, into header: inout ByteBuffer) {
        header.writeInteger(result.key.partition)
        header.writeInteger(result.error.rawValue)
        header.writeInteger(result.highWatermark)
        header.writeInteger(result.lastStableOffset)
        if version >= 5 { header.writeInteger(result.logStartOffset) }
        if let aborted = result.abortedTransactions {
            header.writeCount(aborted.count, flexible: flexible)
            for transaction in aborted {
                header.writeInteger(transaction.producerID)
                header.writeInteger(transaction.firstOffset)
                if flexible { header.writeInteger(UInt8(0)) }
            }
        } else {
            header.writeCount(-1, flexible: flexible)
        }
        if version >= 11 { header.writeInteger(result.preferredReadReplica) }
    }

    /// The diverging epoch (KIP-595) is tag 0: what a follower must compare with.
    private func writeTags(_ result: FetchPartitionResult, into header: inout ByteBuffer) {
        guard let diverging = result.diverging else { return _ = header.writeInteger(UInt8(0)) }
        header.writeInteger(UInt8(1))
        header.writeInteger(UInt8(0))
        header.writeUnsignedVarint(13)
        header.writeInteger(diverging.leaderEpoch)
        header.writeInteger(diverging.endOffset)
        header.writeInteger(UInt8(0))
    }

    /// Runs of results that belong to one topic.
    private static func groups(_ results: [FetchPartitionResult]) -> [Range<Int>] {
        var groups: [Range<Int>] = []
        var start = 0
        for index in results.indices
        where index + 1 == results.count || results[index + 1].key.topicID != results[index].key.topicID
            || results[index + 1].key.topicName != results[index].key.topicName
        {
            groups.append(start..<(index + 1))
            start = index + 1
        }
        return groups
    }

    private static func frame(_ header: ByteBuffer, _ cuts: [(at: Int, slice: LogSlice)]) -> OutboundFrame {
        var rest = header
        let headLength = cuts.first?.at ?? header.readableBytes
        guard let head = rest.readSlice(length: headLength) else { preconditionFailure("cuts lie within the header") }
        var frame = OutboundFrame(head)
        frame.reserveSegments(cuts.count * 2)
        var written = headLength
        for cut in cuts {
            if let bytes = rest.readSlice(length: cut.at - written) { frame.append(bytes) }
            let file = cut.slice.file
            frame.append(FileSlice(owner: file, descriptor: file.descriptor, offset: cut.slice.position, length: cut.slice.length))
            written = cut.at
        }
        frame.append(rest)
        return frame
    }
}

extension ByteBuffer {
    /// An array's element count or the length of bytes, -1 for null.
    mutating func writeCount(_ count: Int, flexible: Bool) {
        if flexible { writeUnsignedVarint(count + 1) } else { writeInteger(Int32(count)) }
    }

    /// A string with its length, compact in flexible versions.
    mutating func writeText(_ text: String, flexible: Bool) {
        let count = text.utf8.count
        if flexible { writeUnsignedVarint(count + 1) } else { writeInteger(Int16(count)) }
        writeString(text)
    }

    mutating func writeUnsignedVarint(_ value: Int) {
        var rest = UInt32(truncatingIfNeeded: value)
        while rest > 0x7f {
            writeInteger(UInt8(rest & 0x7f) | 0x80)
            rest >>= 7
        }
        writeInteger(UInt8(rest))
    }
}
