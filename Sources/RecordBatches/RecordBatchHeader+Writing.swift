// Putting header fields into bytes: whole headers for builders, single fields in place for the leader's append.
import NIOCore
import Primitives

extension RecordBatchHeader {
    /// Write the 61 bytes at `index`, which must lie in the buffer's readable bytes. The checksum is written as it stands.
    public func write(into buffer: inout ByteBuffer, at index: Int) {
        buffer.setInteger(baseOffset, at: index + Position.baseOffset)
        buffer.setInteger(batchLength, at: index + Position.batchLength)
        buffer.setInteger(partitionLeaderEpoch, at: index + Position.partitionLeaderEpoch)
        buffer.setInteger(Int8(2), at: index + Position.magic)
        buffer.setInteger(crc, at: index + Position.crc)
        buffer.setInteger(attributes.rawValue, at: index + Position.attributes)
        buffer.setInteger(lastOffsetDelta, at: index + Position.lastOffsetDelta)
        buffer.setInteger(baseTimestamp, at: index + Position.baseTimestamp)
        buffer.setInteger(maxTimestamp, at: index + Position.maxTimestamp)
        buffer.setInteger(producerId, at: index + Position.producerId)
        buffer.setInteger(producerEpoch, at: index + Position.producerEpoch)
        buffer.setInteger(baseSequence, at: index + Position.baseSequence)
        buffer.setInteger(recordCount, at: index + Position.recordCount)
    }

    /// Set the base offset of the batch at `index`. Not under the checksum.
    ///
    /// In place only while the buffer alone owns its storage; a slice that shares it is copied first by `ByteBuffer`. Who must not
    /// copy writes `leaderPrefix` in front of the batch's bytes from 16 on instead.
    public static func setBaseOffset(_ offset: Offset, in buffer: inout ByteBuffer, at index: Int) {
        buffer.setInteger(offset, at: index + Position.baseOffset)
    }

    /// Set the partition leader epoch of the batch at `index`. Not under the checksum.
    public static func setPartitionLeaderEpoch(_ epoch: LeaderEpoch, in buffer: inout ByteBuffer, at index: Int) {
        buffer.setInteger(epoch, at: index + Position.partitionLeaderEpoch)
    }

    /// Set kind and maximum of the timestamps of the batch at `index` and compute its checksum again, unless both are so already.
    ///
    /// This is how a leader applies `message.timestamp.type=LogAppendTime` without touching the records.
    /// - Throws: `truncated` and the like when there is no whole batch at `index`.
    public static func setTimestamp(
        _ type: TimestampType, maximum: Timestamp, in buffer: inout ByteBuffer, at index: Int
    ) throws(RecordBatchError) {
        var header = try RecordBatchHeader(from: buffer, at: index)
        guard header.timestampType != type || header.maxTimestamp != maximum else { return }
        let size = header.sizeInBytes
        guard index + size <= buffer.writerIndex else { throw .truncated(needed: size, available: buffer.writerIndex - index) }
        header.attributes.timestampType = type
        buffer.setInteger(header.attributes.rawValue, at: index + Position.attributes)
        buffer.setInteger(maximum, at: index + Position.maxTimestamp)
        updateChecksum(of: size, in: &buffer, at: index)
    }

    /// Compute and store the checksum of the batch of `size` bytes at `index`.
    static func updateChecksum(of size: Int, in buffer: inout ByteBuffer, at index: Int) {
        let computed = buffer.withVeryUnsafeBytes { bytes in
            checksum(of: UnsafeRawBufferPointer(rebasing: bytes[index...]), size: size)
        }
        buffer.setInteger(computed, at: index + Position.crc)
    }

    /// The first 16 bytes of the batch: base offset, length and leader epoch, all that a leader changes on a usual append.
    ///
    /// They are not checksummed, so a writer can put them in front of the producer's bytes from 16 on, with no copy of those.
    public var leaderPrefix: InlineArray<16, UInt8> {
        InlineArray { index in
            switch index {
            case 0..<8: UInt8(truncatingIfNeeded: baseOffset >> Int64((7 - index) * 8))
            case 8..<12: UInt8(truncatingIfNeeded: batchLength >> Int32((11 - index) * 8))
            default: UInt8(truncatingIfNeeded: partitionLeaderEpoch >> Int32((15 - index) * 8))
            }
        }
    }
}
