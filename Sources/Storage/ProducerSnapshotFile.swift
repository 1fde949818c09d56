// `NNN.snapshot`: all producers of a partition as they were at an offset, with a checksum.
import Primitives
import RecordBatches

/// One producer in a snapshot file.
public struct ProducerSnapshotEntry: Sendable, Hashable {
    public var producerID: ProducerID
    public var producerEpoch: Int16
    public var lastSequence: Int32
    public var lastOffset: Offset
    public var offsetDelta: Int32
    public var timestamp: Timestamp
    public var coordinatorEpoch: Int32
    /// -1 without an open transaction.
    public var currentTransactionFirstOffset: Offset
}

/// Reading and writing snapshot files of version 1.
public enum ProducerSnapshotFile {
    private static let headerSize = 10
    private static let entrySize = 46
    private static let checksummedFrom = 6

    /// - Throws: `corruptFile` for a wrong version, checksum or size.
    public static func read(_ path: String) throws(StorageError) -> [ProducerSnapshotEntry] {
        guard let bytes = try FileSystem.contents(of: path) else { throw FileSystem.failure("open", path, 2) }
        return try bytes.withBytes { bytes throws(StorageError) in try decode(bytes, path: path) }
    }

    private static func decode(_ bytes: UnsafeRawBufferPointer, path: String) throws(StorageError) -> [ProducerSnapshotEntry] {
        func field<Value: FixedWidthInteger>(_ position: Int) -> Value {
            Value(bigEndian: bytes.loadUnaligned(fromByteOffset: position, as: Value.self))
        }
        guard bytes.count >= headerSize else { throw .corruptFile(path: path, reason: "\(bytes.count) bytes") }
        guard field(0) as Int16 == 1 else { throw .corruptFile(path: path, reason: "unknown version") }
        let computed = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[checksummedFrom...]))
        guard computed == field(2) as UInt32 else { throw .corruptFile(path: path, reason: "checksum does not fit") }
        let count = Int(field(6) as Int32)
        guard count >= 0, bytes.count == headerSize + count * entrySize else {
            throw .corruptFile(path: path, reason: "\(count) entries in \(bytes.count) bytes")
        }
        return (0..<count).map { index in
            let start = headerSize + index * entrySize
            return ProducerSnapshotEntry(
                producerID: field(start), producerEpoch: field(start + 8), lastSequence: field(start + 10),
                lastOffset: field(start + 14), offsetDelta: field(start + 22), timestamp: field(start + 26),
                coordinatorEpoch: field(start + 34), currentTransactionFirstOffset: field(start + 38))
        }
    }

    static func encode(_ entries: [ProducerSnapshotEntry]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(headerSize + entries.count * entrySize)
        bytes.appendBigEndian(Int16(1))
        bytes.appendBigEndian(UInt32(0))
        bytes.appendBigEndian(Int32(entries.count))
        for entry in entries {
            bytes.appendBigEndian(entry.producerID)
            bytes.appendBigEndian(entry.producerEpoch)
            bytes.appendBigEndian(entry.lastSequence)
            bytes.appendBigEndian(entry.lastOffset)
            bytes.appendBigEndian(entry.offsetDelta)
            bytes.appendBigEndian(entry.timestamp)
            bytes.appendBigEndian(entry.coordinatorEpoch)
            bytes.appendBigEndian(entry.currentTransactionFirstOffset)
        }
        let checksum = bytes.withUnsafeBytes { CRC32C.checksum(UnsafeRawBufferPointer(rebasing: $0[checksummedFrom...])) }
        withUnsafeBytes(of: checksum.bigEndian) { bytes.replaceSubrange(2..<6, with: $0) }
        return bytes
    }

    /// Replaces the file.
    static func write(_ entries: [ProducerSnapshotEntry], to path: String) throws(StorageError) {
        try FileSystem.replace(path, with: encode(entries))
    }
}

extension ProducerEntry {
    init(_ snapshot: ProducerSnapshotEntry) {
        self.init(producerID: snapshot.producerID)
        coordinatorEpoch = snapshot.coordinatorEpoch
        currentTransactionFirstOffset = max(-1, snapshot.currentTransactionFirstOffset)
        epoch = snapshot.producerEpoch
        if snapshot.lastOffset >= 0 {
            remember(
                ProducerBatch(
                    lastSequence: snapshot.lastSequence, lastOffset: snapshot.lastOffset, offsetDelta: snapshot.offsetDelta,
                    timestamp: snapshot.timestamp),
                epoch: snapshot.producerEpoch)
        }
        lastTimestamp = snapshot.timestamp
    }

    var snapshot: ProducerSnapshotEntry {
        ProducerSnapshotEntry(
            producerID: producerID, producerEpoch: epoch, lastSequence: lastSequence, lastOffset: lastDataOffset,
            offsetDelta: lastOffsetDelta, timestamp: lastTimestamp, coordinatorEpoch: coordinatorEpoch,
            currentTransactionFirstOffset: currentTransactionFirstOffset)
    }
}
