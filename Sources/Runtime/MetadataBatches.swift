// Batches of metadata records, to and from bytes: the same in the log and in snapshots.
import ClusterMetadata
import Consensus
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import RecordBatches

enum MetadataBatches {
    /// Every whole batch in `bytes`.
    ///
    /// - Parameter verifying: compute checksums. The log's own recovery has done so already.
    static func forEach(
        _ bytes: ByteBuffer, path: String, verifying: Bool, _ body: (RecordBatch) throws(MetadataStorageError) -> Void
    ) throws(MetadataStorageError) {
        var batches = RecordBatchIterator(bytes)
        var offset: Offset = 0
        while true {
            let batch: RecordBatch?
            do throws(RecordBatchError) {
                batch = try batches.next()
                if verifying { try batch?.verifyChecksum() }
            } catch {
                throw .record(path: path, offset: offset, reason: "\(error)")
            }
            guard let batch else { return }
            offset = batch.header.nextOffset
            try body(batch)
        }
    }

    static func forEachControlRecord(
        _ batch: RecordBatch, path: String, _ body: (QuorumControlRecord) throws(MetadataStorageError) -> Void
    ) throws(MetadataStorageError) {
        try forEachStoredRecord(batch, path: path) { (record) throws(MetadataStorageError) in
            let control: QuorumControlRecord?
            do throws(QuorumError) { control = try QuorumControlRecord.decode(record) } catch { throw .quorum(error) }
            // Kafka skips control records that it does not know, too.
            if let control { try body(control) }
        }
    }

    static func forEachRecord(
        _ batch: RecordBatch, path: String,
        _ body: (MetadataRecord, _ version: Int16, _ offset: Offset) throws(MetadataStorageError) -> Void
    ) throws(MetadataStorageError) {
        try forEachStoredRecord(batch, path: path) { (stored) throws(MetadataStorageError) in
            guard let value = stored.value else { throw .record(path: path, offset: stored.offset, reason: "it has no value") }
            let record: MetadataRecord
            let version: Int16
            do throws(WireError) {
                (record, version) = try MetadataRecord.decode(value)
            } catch {
                throw .record(path: path, offset: stored.offset, reason: "\(error)")
            }
            try body(record, version, stored.offset)
        }
    }

    private static func forEachStoredRecord(
        _ batch: RecordBatch, path: String, _ body: (Record) throws(MetadataStorageError) -> Void
    ) throws(MetadataStorageError) {
        var next = batch.header.baseOffset
        func failed(_ error: RecordBatchError) -> MetadataStorageError { .record(path: path, offset: next, reason: "\(error)") }
        var records: RecordIterator
        do throws(RecordBatchError) { records = try batch.records() } catch { throw failed(error) }
        while true {
            let record: Record?
            do throws(RecordBatchError) { record = try records.next() } catch { throw failed(error) }
            guard let record else { return }
            next = record.offset + 1
            try body(record)
        }
    }

    static func encode(_ record: VersionedRecord) throws(MetadataStorageError) -> ByteBuffer {
        do throws(WireError) {
            return try record.record.encoded(version: record.version)
        } catch {
            throw .record(path: "memory", offset: -1, reason: "\(error)")
        }
    }

    static func build(_ builder: consuming RecordBatchBuilder) throws(MetadataStorageError) -> ByteBuffer {
        do throws(RecordBatchError) {
            return try builder.build()
        } catch {
            throw .record(path: "memory", offset: -1, reason: "\(error)")
        }
    }
}
