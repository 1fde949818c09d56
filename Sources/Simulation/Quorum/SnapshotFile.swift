// Snapshots of the simulated metadata log: real batches of control records around one record that tells what state they stand for.
import Consensus
import NIOCore
import Primitives
import RecordBatches

/// A snapshot and its bytes.
struct SnapshotFile {
    let id: SnapshotID
    var bytes: ByteBuffer
    /// When it was finished.
    var time: VirtualTime = 0

    init(id: SnapshotID, bytes: ByteBuffer) {
        self.id = id
        self.bytes = bytes
    }

    /// Writes the snapshot of a state, which is told by a digest of everything that led to it.
    /// - Parameter records: metadata records behind it, as they are stored.
    init(id: SnapshotID, header: [QuorumControlRecord], state: UInt64, records: [ByteBuffer] = []) throws(QuorumError) {
        var bytes = try QuorumControlRecord.batch(header, baseOffset: 0, epoch: id.epoch, timestamp: 0)
        var builder = RecordBatchBuilder(baseOffset: Offset(header.count), baseTimestamp: 0)
        builder.partitionLeaderEpoch = id.epoch
        builder.append(timestamp: 0, key: nil, value: ByteBuffer(integer: state))
        for record in records { builder.append(timestamp: 0, key: nil, value: record) }
        var data = builder.buildUncompressed()
        bytes.writeBuffer(&data)
        self.init(id: id, bytes: bytes)
    }

    /// The control records, the state's digest and the metadata records.
    func read() throws(DiskError) -> (controls: [QuorumControlRecord], state: UInt64, records: [ByteBuffer]) {
        var found: [ByteBuffer] = []
        var controls: [QuorumControlRecord] = []
        var state: UInt64?
        var batches = RecordBatchIterator(bytes)
        do {
            while let batch = try batches.next() {
                try batch.verifyChecksum()
                var records = try batch.records()
                while let record = try records.next() {
                    if !batch.header.isControl {
                        if state == nil {
                            state = record.value?.getInteger(at: record.value?.readerIndex ?? 0)
                        } else if let value = record.value {
                            found.append(value)
                        }
                    } else if let control = try QuorumControlRecord.decode(record) {
                        controls.append(control)
                    }
                }
            }
        } catch {
            throw .damaged("snapshot \(id) cannot be read: \(error)")
        }
        guard let state else { throw .damaged("snapshot \(id) holds no state") }
        return (controls, state, found)
    }
}
