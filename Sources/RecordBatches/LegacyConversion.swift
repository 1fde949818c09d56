// Message sets of magic 0 and 1 turned into magic 2 batches: offsets, timestamps, keys and values stay.
import NIOCore
import Primitives

extension LegacyMessage {
    /// Convert a message set to magic 2 batches, checking every checksum.
    ///
    /// A compressed wrapper becomes one batch of the same compression type. Uncompressed messages next to each other are gathered
    /// into batches of up to `maximumBatchSize` bytes. What is cut off at the end is left out.
    /// - Throws: what makes the message set unreadable; also when offsets do not grow.
    public static func convertToBatches(
        _ messageSet: ByteBuffer, partitionLeaderEpoch: LeaderEpoch = -1, maximumBatchSize: Int = 1 << 20,
        maximumDecompressedSize: Int = RecordBatch.defaultMaximumDecompressedSize
    ) throws(RecordBatchError) -> ByteBuffer {
        var conversion = LegacyConversion(partitionLeaderEpoch: partitionLeaderEpoch, maximumBatchSize: maximumBatchSize)
        var iterator = LegacyMessageIterator(messageSet)
        while let message = try iterator.next() {
            try message.verifyChecksum()
            try conversion.add(message, records: try message.records(maximumDecompressedSize: maximumDecompressedSize))
        }
        try conversion.finishBatch()
        return conversion.output
    }
}

/// The batch being filled, and those done.
private struct LegacyConversion {
    let partitionLeaderEpoch: LeaderEpoch
    let maximumBatchSize: Int
    var output = ByteBuffer()
    private var builder: RecordBatchBuilder?
    private var builderTimestamp: Timestamp?
    private var nextOffset = Offset.min

    init(partitionLeaderEpoch: LeaderEpoch, maximumBatchSize: Int) {
        self.partitionLeaderEpoch = partitionLeaderEpoch
        self.maximumBatchSize = maximumBatchSize
    }

    mutating func add(_ message: LegacyMessage, records: [Record]) throws(RecordBatchError) {
        // The append time stands once in a batch's header, so messages appended at different times cannot share one.
        let appendTime = message.timestampType == .logAppendTime ? message.timestamp : nil
        if message.isCompressed || builderTimestamp != appendTime { try finishBatch() }
        for record in records {
            guard record.offset >= nextOffset, record.offset < .max else {
                throw .invalidRecord(index: 0, "offset \(record.offset) does not grow")
            }
            if let builder, !message.isCompressed, isFull(builder, for: record) { try finishBatch() }
            if let builder, record.offset - builder.baseOffset > Int32.max { try finishBatch() }
            if builder == nil { begin(message, at: record.offset, appendTime: appendTime) }
            builder?.append(record)
            nextOffset = record.offset + 1
        }
        if message.isCompressed { try finishBatch() }
    }

    private func isFull(_ builder: RecordBatchBuilder, for record: Record) -> Bool {
        builder.uncompressedSize + RecordBatchBuilder.sizeUpperBound(key: record.key, value: record.value) > maximumBatchSize
    }

    private mutating func begin(_ message: LegacyMessage, at offset: Offset, appendTime: Timestamp?) {
        let type = CompressionType(rawValue: UInt8(message.compressionIdentifier)) ?? .none
        var batch = RecordBatchBuilder(baseOffset: offset, compression: Compression(type))
        batch.partitionLeaderEpoch = partitionLeaderEpoch
        batch.timestampType = message.timestampType
        builder = batch
        builderTimestamp = appendTime
    }

    mutating func finishBatch() throws(RecordBatchError) {
        guard let batch = builder.take() else { return }
        output.writeImmutableBuffer(try batch.build(maxTimestamp: builderTimestamp))
        builderTimestamp = nil
    }
}
