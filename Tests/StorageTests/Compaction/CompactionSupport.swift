// What the compaction tests share: keyed batches, one cleaning from beginning to end, and what a table made from the log would hold.
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Storage

/// One record to be written.
struct Entry {
    var key: String?
    /// Nil is a tombstone.
    var value: String?
    var timestamp: Timestamp = 1000

    init(_ key: String?, _ value: String?, timestamp: Timestamp = 1000) {
        self.key = key
        self.value = value
        self.timestamp = timestamp
    }
}

extension Make {
    static func keyed(
        _ entries: [Entry], producer: Producer? = nil, compression: Compression = .none, baseOffset: Offset = 0
    ) throws -> ByteBuffer {
        var builder = RecordBatchBuilder(baseOffset: baseOffset, compression: compression)
        if let producer {
            builder.producerId = producer.id
            builder.producerEpoch = producer.epoch
            builder.baseSequence = producer.sequence
            builder.isTransactional = producer.isTransactional
        }
        for entry in entries {
            builder.append(
                timestamp: entry.timestamp, key: entry.key.map { ByteBuffer(string: $0) },
                value: entry.value.map { ByteBuffer(string: $0) })
        }
        return try builder.build()
    }
}

extension LogConfiguration {
    /// Compacted, cleaned whenever anything is dirty, old files gone at once.
    static var compacted: LogConfiguration {
        var configuration = LogConfiguration()
        configuration.cleanupPolicy = .compact
        configuration.minCleanableDirtyRatio = 0
        configuration.fileDeleteDelayMilliseconds = 0
        configuration.messageTimestampAfterMaxMilliseconds = .max
        configuration.deleteRetentionMilliseconds = 1000
        configuration.indexIntervalBytes = 100
        return configuration
    }
}

extension LogFixture {
    /// Appends records without a rule being asked, as they may lie in logs that were not compacted before.
    @discardableResult
    func put(_ entries: [Entry], producer: Producer? = nil, compression: Compression = .none) throws -> LogAppendResult {
        try append(Make.keyed(entries, producer: producer, compression: compression))
    }

    /// Begins a new segment, so that what is there can be cleaned.
    func roll() throws { try log.roll(now: now) }

    /// Cleans the log as the cleaner does. Nil when there is nothing to clean.
    @discardableResult
    func clean(
        resources: CleaningResources = CleaningResources(), control: CleaningControl = CleaningControl(),
        beforeReplacement: () throws -> Void = {}, step: (ReplacementStep) throws(StorageError) -> Void = { _ in }
    ) throws -> CleaningStatistics? {
        guard let work = try log.beginCleaning(now: now, resources: resources, control: control) else { return nil }
        do {
            try work.buildMap()
            while let group = try work.cleanGroup() {
                try beforeReplacement()
                try log.replaceSegments(group, of: work, now: now, step: step)
            }
        } catch {
            log.finishCleaning(work, cleanedOffset: nil)
            throw error
        }
        log.finishCleaning(work, cleanedOffset: work.statistics.endOffset)
        try directories.directories[0].writeCleanerCheckpoint()
        log.removeDeletedFiles(now: now)
        return work.statistics
    }

    /// Everything counts as dirty again.
    func forgetCleaning() { directories.directories[0].noteCleaned(topicPartition, upTo: nil) }

    /// All batches of the log, whatever a consumer may see.
    func batches() throws -> [RecordBatch] {
        var found: [RecordBatch] = []
        var offset = log.logStartOffset
        while true {
            let result = try log.read(from: offset, maxBytes: 1 << 20, minOneBatch: true, isolation: .logEnd)
            guard let slice = result.slice else { return found }
            var batches = RecordBatchIterator(try slice.wholeBatches())
            while let batch = try batches.next() {
                try batch.verifyChecksum()
                found.append(batch)
                offset = batch.header.nextOffset
            }
        }
    }

    /// Names in the partition's directory that only a replacement under way has.
    func leftovers() throws -> [String] {
        try FileSystem.names(in: log.path).map(\.name).filter {
            $0.hasSuffix(".cleaned") || $0.hasSuffix(".swap") || $0.hasSuffix(".deleted") || $0.hasSuffix(".tmp")
        }
    }
}

extension ConsumerView {
    /// Offset and content of each record: "3 key=value", "4 key" for a tombstone.
    var lines: [String] {
        records.map { record in
            let key = record.key.map { String(buffer: $0) } ?? "-"
            return "\(record.offset) \(key)" + (record.value.map { "=" + String(buffer: $0) } ?? "")
        }
    }

    /// What a table made of these records holds.
    var table: [String: String] {
        var table: [String: String] = [:]
        for record in records {
            guard let key = record.key.map({ String(buffer: $0) }) else { continue }
            table[key] = record.value.map { String(buffer: $0) }
        }
        return table
    }
}
