// Snapshot files of the metadata log (KIP-630): control batches around batches of metadata records, in the log's own format.
// `bootstrap.checkpoint`, which formatting writes, is one too.
import ClusterMetadata
import Consensus
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import Storage

/// Why metadata on disk cannot be used.
public enum MetadataStorageError: Error, CustomStringConvertible {
    case storage(StorageError)
    case quorum(QuorumError)
    /// A record that cannot be decoded or replayed, and where it stands.
    case record(path: String, offset: Offset, reason: String)
    /// A snapshot without its last record: it was never finished.
    case incomplete(path: String)
    /// The directory was not formatted.
    case notFormatted(path: String)
    /// An option or a combination of options that makes no sense.
    case invalidOption(String)

    public var description: String {
        switch self {
        case .storage(let error): "\(error)"
        case .quorum(let error): "\(error)"
        case .record(let path, let offset, let reason): "metadata record at offset \(offset) in \(path): \(reason)"
        case .incomplete(let path): "\(path) is incomplete: its last record is missing"
        case .notFormatted(let path):
            "\(path) is not formatted: run `martlet format` first"
        case .invalidOption(let what): what
        }
    }
}

/// Reads and writes snapshot files.
enum MetadataSnapshotFile {
    /// Records per batch, well below what a batch may hold.
    private static let maximumBatchBytes = 1 << 20
    /// More than a first batch with every voter takes.
    private static let maximumHeaderBytes = 1 << 20

    /// Hands every record of the file to `body` in order.
    ///
    /// - Returns: false when there is no such file.
    static func read(
        _ path: String, control: (QuorumControlRecord) throws(MetadataStorageError) -> Void,
        data: (MetadataRecord, _ version: Int16, _ offset: Offset) throws(MetadataStorageError) -> Void
    ) throws(MetadataStorageError) -> Bool {
        let contents: ByteBuffer?
        do throws(StorageError) { contents = try MetadataFiles.read(path) } catch { throw .storage(error) }
        guard let contents else { return false }
        var hasFooter = false
        try MetadataBatches.forEach(contents, path: path, verifying: true) { (batch) throws(MetadataStorageError) in
            if batch.header.isControl {
                try MetadataBatches.forEachControlRecord(batch, path: path) { (record) throws(MetadataStorageError) in
                    if case .snapshotFooter = record { hasFooter = true }
                    try control(record)
                }
            } else {
                try MetadataBatches.forEachRecord(batch, path: path) { (record, version, offset) throws(MetadataStorageError) in
                    try data(record, version, offset)
                }
            }
        }
        guard hasFooter else { throw .incomplete(path: path) }
        return true
    }

    /// The timestamp of the last batch that a snapshot covers, from its first batch: the rest may be large and is not read.
    ///
    /// - Returns: nil when there is no such file, or it does not begin as a snapshot does.
    static func lastContainedLogTimestamp(_ path: String) throws(MetadataStorageError) -> Timestamp? {
        let start: ByteBuffer?
        do throws(StorageError) { start = try MetadataFiles.read(path, limit: maximumHeaderBytes) } catch { throw .storage(error) }
        guard let start else { return nil }
        var batches = RecordBatchIterator(start)
        let first: RecordBatch?
        do throws(RecordBatchError) {
            first = try batches.next()
            try first?.verifyChecksum()
        } catch {
            throw .record(path: path, offset: 0, reason: "\(error)")
        }
        guard let first, first.header.isControl else { return nil }
        var timestamp: Timestamp?
        try MetadataBatches.forEachControlRecord(first, path: path) { (record) throws(MetadataStorageError) in
            if case .snapshotHeader(let header) = record { timestamp = header.lastContainedLogTimestamp }
        }
        return timestamp
    }

    /// Writes a snapshot so that it is there as a whole or not at all.
    ///
    /// - Parameters:
    ///   - header: the control records of the first batch.
    ///   - epoch: the leader epoch that the batches carry.
    ///   - records: calls its argument with every record.
    /// - Returns: the size of the file in bytes.
    @discardableResult
    static func write(
        to path: String, header: [QuorumControlRecord], epoch: LeaderEpoch, timestamp: Timestamp, mode: UInt32 = 0o400,
        records: ((VersionedRecord) throws(MetadataStorageError) -> Void) throws(MetadataStorageError) -> Void
    ) throws(MetadataStorageError) -> Int {
        var failure: MetadataStorageError?
        var size = 0
        do throws(StorageError) {
            try MetadataFiles.create(path, temporaryName: ".part", mode: mode) { (writer) throws(StorageError) in
                do throws(MetadataStorageError) {
                    try writeBatches(to: &writer, header: header, epoch: epoch, timestamp: timestamp, records: records)
                } catch {
                    // The file operation knows only its own errors; this one passes beside it.
                    failure = error
                    throw StorageError.closed(path: path)
                }
                size = writer.count
            }
        } catch {
            throw failure ?? .storage(error)
        }
        return size
    }

    private static func writeBatches(
        to writer: inout MetadataFiles.FileWriter, header: [QuorumControlRecord], epoch: LeaderEpoch, timestamp: Timestamp,
        records: ((VersionedRecord) throws(MetadataStorageError) -> Void) throws(MetadataStorageError) -> Void
    ) throws(MetadataStorageError) {
        var offset: Offset = 0
        func write(_ buffer: ByteBuffer) throws(MetadataStorageError) {
            do throws(StorageError) { try writer.write(buffer) } catch { throw .storage(error) }
        }
        func writeControl(_ control: [QuorumControlRecord]) throws(MetadataStorageError) {
            let batch: ByteBuffer
            do throws(QuorumError) {
                batch = try QuorumControlRecord.batch(control, baseOffset: offset, epoch: epoch, timestamp: timestamp)
            } catch {
                throw .quorum(error)
            }
            offset += Offset(control.count)
            try write(batch)
        }
        func newBuilder() -> RecordBatchBuilder {
            var builder = RecordBatchBuilder(baseOffset: offset, baseTimestamp: timestamp)
            builder.partitionLeaderEpoch = epoch
            return builder
        }
        try writeControl(header)
        var builder = newBuilder()
        try records { (record) throws(MetadataStorageError) in
            let value = try MetadataBatches.encode(record)
            builder.append(timestamp: timestamp, key: nil, value: value)
            offset += 1
            if builder.uncompressedSize >= maximumBatchBytes {
                try write(try MetadataBatches.build(builder))
                builder = newBuilder()
            }
        }
        if !builder.isEmpty { try write(try MetadataBatches.build(builder)) }
        try writeControl([.snapshotFooter(SnapshotFooterRecord())])
    }
}
