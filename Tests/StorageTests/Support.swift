// What the storage tests share: scratch directories, batches to append, and reading a log as a consumer does.
import Foundation
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Storage

/// A directory that goes when the test is over.
final class Scratch {
    let path: String

    init(_ label: String = "storage") throws {
        path = NSTemporaryDirectory() + "martlet-\(label)-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// A copy of a directory as it is now, as a crash would leave it.
    func copy(_ from: String, as name: String) throws -> String {
        let target = path + "/" + name
        try? FileManager.default.removeItem(atPath: target)
        try FileManager.default.copyItem(atPath: from, toPath: target)
        return target
    }
}

/// Producer fields of a batch.
struct Producer {
    var id: ProducerID
    var epoch: Int16 = 0
    var sequence: Int32 = 0
    var isTransactional = false
}

enum Make {
    /// One batch of records with values "PREFIX-0", "PREFIX-1" and so on.
    static func batch(
        count: Int = 1, prefix: String = "value", valueBytes: Int = 0, timestamp: Timestamp = 1000, producer: Producer? = nil,
        baseOffset: Offset = 0, epoch: LeaderEpoch = -1, compression: Compression = .none
    ) throws -> ByteBuffer {
        var builder = RecordBatchBuilder(baseOffset: baseOffset, compression: compression)
        builder.partitionLeaderEpoch = epoch
        if let producer {
            builder.producerId = producer.id
            builder.producerEpoch = producer.epoch
            builder.baseSequence = producer.sequence
            builder.isTransactional = producer.isTransactional
        }
        for index in 0..<count {
            var value = ByteBuffer(string: "\(prefix)-\(index)")
            if valueBytes > value.readableBytes { value.writeRepeatingByte(0x78, count: valueBytes - value.readableBytes) }
            builder.append(timestamp: timestamp + Int64(index), key: ByteBuffer(string: "k\(index)"), value: value)
        }
        return try builder.build()
    }

    static func marker(_ outcome: EndTransactionMarker.Outcome, producer: Producer, coordinatorEpoch: Int32 = 0) -> ByteBuffer {
        EndTransactionMarker(outcome, coordinatorEpoch: coordinatorEpoch).batch(
            producerId: producer.id, producerEpoch: producer.epoch, timestamp: 5000)
    }
}

/// One data directory with one log in it, which can be closed, killed and opened again.
final class LogFixture {
    let scratch: Scratch
    var configuration: LogConfiguration
    let topicPartition = TopicPartition("topic", 0)
    private(set) var directories: LogDirectories
    private(set) var log: PartitionLog
    var now: Timestamp = 2000

    init(_ configuration: LogConfiguration = LogConfiguration()) throws {
        scratch = try Scratch()
        self.configuration = configuration
        directories = try LogDirectories(Self.settings(scratch.path + "/data"))
        log = try directories.create(topicPartition, topicID: KafkaUUID.one, configuration: configuration, now: now)
    }

    private static func settings(_ path: String) -> LogDirectoriesConfiguration {
        var settings = LogDirectoriesConfiguration(paths: [path])
        settings.headroomBytes = 0
        return settings
    }

    var directoryPath: String { directories.directories[0].path }

    func checkpoint() throws { try directories.directories[0].writeCheckpoints([log.checkpoint]) }

    func stop() throws {
        try log.close(now: now)
        try directories.close([(directories.directories[0], log.checkpoint)], brokerEpoch: 7)
    }

    /// A clean stop and start.
    func reopen() throws {
        try stop()
        try open(directories.directories[0].path)
    }

    /// A kill -9: whatever was written stays, nothing is closed. Works on a copy, since this process goes on.
    func kill(_ edit: (String) throws -> Void = { _ in }) throws {
        let copy = try scratch.copy(directories.directories[0].path, as: "killed-\(UUID().uuidString)")
        try edit(copy)
        let old = directories.directories[0].path
        try open(copy)
        try? FileManager.default.removeItem(atPath: old)
    }

    private func open(_ path: String) throws {
        directories = try LogDirectories(Self.settings(path))
        let loaded = try directories.load(
            now: now, configuration: { [configuration] _ in configuration }, expected: { _, _ in .unknown }, progress: { _ in })
        if let failure = loaded.failures.first { throw failure.error }
        log = try #require(loaded.logs.first)
    }

    @discardableResult
    func append(_ batch: ByteBuffer, epoch: LeaderEpoch = 0, origin: AppendOrigin = .client) throws -> LogAppendResult {
        let result = try log.append(batch, origin: origin, leaderEpoch: epoch, now: now)
        log.advanceHighWatermark(to: log.logEndOffset)
        return result
    }

    func segmentPath(_ base: Offset, _ suffix: String) -> String {
        directoryPath + "/\(topicPartition)/" + SegmentName.digits(base) + suffix
    }
}

/// What a consumer gets out of a log.
struct ConsumerView: Equatable {
    var records: [Record] = []
    var end: Offset = 0

    var offsets: [Offset] { records.map(\.offset) }
    var values: [String] { records.map { $0.value.map { String(buffer: $0) } ?? "" } }

    /// Reads from the log's start as Kafka's consumers do, aborted transactions left out.
    init(_ log: PartitionLog, isolation: ReadIsolation, maxBytes: Int = 10_000) throws {
        var offset = log.logStartOffset
        var aborting: Set<ProducerID> = []
        var pending: Set<AbortedTransaction> = []
        var done: Set<AbortedTransaction> = []
        while true {
            let result = try log.read(from: offset, maxBytes: maxBytes, minOneBatch: true, isolation: isolation)
            end = isolation == .lastStable ? result.lastStableOffset : result.highWatermark
            guard let slice = result.slice else { break }
            pending.formUnion(result.abortedTransactions.filter { !done.contains($0) })
            var bytes = try slice.wholeBatches()
            guard bytes.readableBytes > 0 else { break }
            while bytes.readableBytes > 0 {
                let batch = try RecordBatch(bytes)
                bytes.moveReaderIndex(forwardBy: batch.header.sizeInBytes)
                try batch.verifyChecksum()
                for transaction in pending where transaction.firstOffset <= batch.header.lastOffset {
                    aborting.insert(transaction.producerID)
                    pending.remove(transaction)
                    done.insert(transaction)
                }
                if batch.header.isControl {
                    if TransactionMarker(batch.bytes)?.isAborted == true { aborting.remove(batch.header.producerId) }
                } else if isolation != .lastStable || !batch.header.isTransactional || !aborting.contains(batch.header.producerId) {
                    records += try batch.allRecords().filter { $0.offset >= log.logStartOffset && $0.offset >= offset }
                }
                offset = batch.header.nextOffset
            }
        }
    }

    /// "0-3,5": runs of offsets.
    var ranges: String {
        var runs: [ClosedRange<Offset>] = []
        for offset in offsets {
            if let last = runs.last, last.upperBound + 1 == offset {
                runs[runs.count - 1] = last.lowerBound...offset
            } else {
                runs.append(offset...offset)
            }
        }
        return runs.map { $0.lowerBound == $0.upperBound ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
            .joined(separator: ",")
    }

    /// The bytes that the fixtures' digests are computed of.
    var digestInput: Data {
        var buffer = ByteBuffer()
        func write(_ field: ByteBuffer?, _ buffer: inout ByteBuffer) {
            buffer.writeInteger(Int32(field?.readableBytes ?? -1))
            if let field { buffer.writeImmutableBuffer(field) }
        }
        for record in records {
            buffer.writeMultipleIntegers(record.offset, record.timestamp)
            write(record.key, &buffer)
            write(record.value, &buffer)
            buffer.writeInteger(Int32(record.headers.count))
            for header in record.headers {
                write(ByteBuffer(string: header.key), &buffer)
                write(header.value, &buffer)
            }
        }
        return Data(buffer.readableBytesView)
    }
}
