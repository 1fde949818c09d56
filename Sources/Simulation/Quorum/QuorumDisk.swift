// The directory of the metadata log on a disk that is honest about what it promises and about nothing else: what was not synced may be
// gone after a loss of power, wholly or in part, and what was truncated may be back.
import Consensus
import NIOCore
import Primitives
import RecordBatches

/// A batch as it lies in a log.
struct StoredBatch {
    let baseOffset: Offset
    let nextOffset: Offset
    let epoch: LeaderEpoch
    let checksum: UInt32
    let isControl: Bool
    let bytes: ByteBuffer

    init(_ batch: RecordBatch) {
        baseOffset = batch.header.baseOffset
        nextOffset = batch.header.nextOffset
        epoch = batch.header.partitionLeaderEpoch
        checksum = batch.header.crc
        isControl = batch.header.isControl
        bytes = batch.bytes
    }

    /// The same batch in another log has the same.
    var fingerprint: BatchFingerprint {
        BatchFingerprint(baseOffset: baseOffset, nextOffset: nextOffset, epoch: epoch, checksum: checksum)
    }
}

/// What identifies a batch: the checksum covers its records, not its place and epoch.
struct BatchFingerprint: Hashable, CustomStringConvertible {
    var baseOffset: Offset
    var nextOffset: Offset
    var epoch: LeaderEpoch
    var checksum: UInt32

    var description: String { "\(baseOffset)..<\(nextOffset)@\(epoch)#\(String(checksum, radix: 16))" }
}

/// What a disk finds.
enum DiskError: Error {
    case damaged(String)
}

/// The files of one member's metadata log.
struct QuorumDisk {
    private(set) var electionState: ElectionState?
    private(set) var log: [StoredBatch] = []
    private(set) var startOffset: Offset = 0
    /// Finished snapshots, oldest first.
    private(set) var snapshots: [SnapshotFile] = []
    private(set) var partial: SnapshotFile?
    /// Everything below survives a loss of power.
    private(set) var durableOffset: Offset = 0
    /// Counts truncations, for a sync that began before one says nothing about what came after.
    private(set) var truncations = 0
    /// The log as it may be found after a loss of power, when a truncation was not synced yet.
    private var beforeTruncation: [StoredBatch]?

    var endOffset: Offset { log.last?.nextOffset ?? max(startOffset, snapshots.last?.id.endOffset ?? 0) }
    var lastEpoch: LeaderEpoch { log.last?.epoch ?? snapshots.last?.id.epoch ?? 0 }

    mutating func write(_ state: ElectionState?) { electionState = state }

    /// Appends batches; they are not durable before a sync.
    mutating func append(_ bytes: ByteBuffer) throws(DiskError) {
        var found: [StoredBatch] = []
        var batches = RecordBatchIterator(bytes)
        do throws(RecordBatchError) {
            while let batch = try batches.next() {
                try batch.verifyChecksum()
                found.append(StoredBatch(batch))
            }
        } catch {
            throw .damaged("a batch cannot be read: \(error)")
        }
        for batch in found {
            guard batch.baseOffset == endOffset else {
                throw .damaged("a batch at \(batch.baseOffset) cannot follow a log that ends at \(endOffset)")
            }
            guard batch.epoch >= lastEpoch else { throw .damaged("a batch of epoch \(batch.epoch) follows one of epoch \(lastEpoch)") }
            log.append(batch)
        }
    }

    mutating func truncate(to offset: Offset) throws(DiskError) {
        guard offset >= startOffset else { throw .damaged("a log that begins at \(startOffset) cannot be truncated to \(offset)") }
        if beforeTruncation == nil { beforeTruncation = log.filter { $0.nextOffset <= durableOffset } }
        while let last = log.last, last.nextOffset > offset {
            guard last.baseOffset >= offset else { throw .damaged("the truncation to \(offset) cuts the batch \(last.fingerprint)") }
            log.removeLast()
        }
        durableOffset = min(durableOffset, offset)
        truncations += 1
    }

    /// Everything up to `offset` was synced.
    mutating func synced(upTo offset: Offset) {
        durableOffset = max(durableOffset, min(offset, endOffset))
        beforeTruncation = nil
    }

    /// The index of the batch that holds `offset`; nil when none does.
    func index(of offset: Offset) -> Int? {
        var low = 0
        var high = log.count
        while low < high {
            let middle = (low + high) / 2
            if log[middle].nextOffset <= offset { low = middle + 1 } else { high = middle }
        }
        return low < log.count && log[low].baseOffset <= offset ? low : nil
    }

    /// Batches from `offset` on, at least one if there is one.
    func read(from offset: Offset, upTo limit: Offset, maxBytes: Int) -> ByteBuffer {
        var bytes = ByteBuffer()
        guard var index = index(of: offset) else { return bytes }
        while index < log.count, log[index].baseOffset < limit, bytes.readableBytes == 0 || bytes.readableBytes < maxBytes {
            var batch = log[index].bytes
            bytes.writeBuffer(&batch)
            index += 1
        }
        return bytes
    }

    // MARK: Snapshots

    /// A snapshot of this member's own. Those that have had a newer one since before `limit` are removed, and the log before the oldest.
    mutating func keep(_ snapshot: SnapshotFile, at time: VirtualTime, removingOlderThan limit: VirtualTime) {
        var snapshot = snapshot
        snapshot.time = time
        snapshots.append(snapshot)
        while snapshots.count > 1, snapshots[1].time <= limit { snapshots.removeFirst() }
        trim(to: snapshots[0].id.endOffset)
    }

    private mutating func trim(to start: Offset) {
        guard start > startOffset else { return }
        startOffset = start
        log.removeAll { $0.nextOffset <= start }
        beforeTruncation?.removeAll { $0.nextOffset <= start }
    }

    /// Bytes of a snapshot that another member sends.
    mutating func write(_ id: SnapshotID, position: Int64, _ bytes: ByteBuffer) throws(DiskError) {
        if position == 0 { partial = SnapshotFile(id: id, bytes: ByteBuffer()) }
        guard var file = partial, file.id == id, Int64(file.bytes.readableBytes) == position else {
            throw .damaged("bytes of snapshot \(id) at \(position), which is not where the file ends")
        }
        partial = nil
        file.bytes.writeImmutableBuffer(bytes)
        partial = file
    }

    /// The fetched snapshot takes the place of the whole log.
    mutating func installPartial(_ id: SnapshotID) throws(DiskError) -> SnapshotFile {
        guard let file = partial, file.id == id else { throw .damaged("snapshot \(id) was not fetched") }
        partial = nil
        snapshots.append(file)
        log = []
        beforeTruncation = nil
        startOffset = id.endOffset
        durableOffset = id.endOffset
        truncations += 1
        return file
    }

    // MARK: Ends of processes

    /// The process ended: what it wrote is in the hands of the system, which keeps it.
    mutating func processEnded() { partial = nil }

    /// The power went: of what was not synced some prefix is left, perhaps with a torn batch at its end.
    mutating func powerLost(_ random: inout SeededRandom, keepingTorn: Bool) {
        partial = nil
        if let old = beforeTruncation, random.chance(300) {
            log = old
        }
        beforeTruncation = nil
        let unsynced = log.count - (log.firstIndex { $0.nextOffset > durableOffset } ?? log.count)
        guard unsynced > 0 else { return }
        let lost = Int(random.between(0...Int64(unsynced)))
        guard lost > 0 else { return }
        let torn = log[log.count - lost]
        log.removeLast(lost)
        guard random.chance(500) else { return }
        // The log's recovery computes checksums and cuts what does not fit.
        if let damaged = torn.torn(&random, believed: keepingTorn) { log.append(damaged) }
    }

    mutating func dropLastBatch() {
        if log.count > 1 { log.removeLast() }
    }

    /// What was found when a process starts counts as durable: it syncs before it goes on. A snapshot may have become durable before
    /// the log that it stands for; then that log is of no use any more.
    mutating func opened() {
        if let newest = snapshots.last, newest.id.endOffset > (log.last?.nextOffset ?? startOffset) {
            log = []
            startOffset = newest.id.endOffset
        }
        durableOffset = endOffset
    }
}

extension StoredBatch {
    /// What is left of a batch after its write was cut short; nil when recovery sees that and removes it.
    fileprivate func torn(_ random: inout SeededRandom, believed: Bool) -> StoredBatch? {
        var bytes = bytes
        let cut = Int(random.between(Int64(RecordBatchHeader.size)...Int64(bytes.readableBytes - 1)))
        for position in cut..<bytes.readableBytes { bytes.setInteger(UInt8(0), at: bytes.readerIndex + position) }
        guard let batch = try? RecordBatch(bytes) else { return nil }
        do throws(RecordBatchError) {
            try batch.verifyChecksum()
            return StoredBatch(batch)
        } catch {
            return believed ? StoredBatch(batch) : nil
        }
    }
}

extension QuorumDisk {
    /// The value that a client proposed and that lies at `offset`.
    func value(at offset: Offset) -> UInt64? {
        guard let index = index(of: offset), let batch = try? RecordBatch(log[index].bytes), var records = try? batch.records() else {
            return nil
        }
        while let record = try? records.next() {
            if record.offset == offset { return record.value?.getInteger(at: record.value?.readerIndex ?? 0) }
        }
        return nil
    }
}
