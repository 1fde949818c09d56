// Directories damaged at random: opening, reading and appending may find less than there was, but they end, and never with a trap.
import Foundation
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Storage

@Suite("Random damage")
struct DamageTests {
    /// A directory with segments, indexes, transactions and checkpoints in it.
    private func original() throws -> LogFixture {
        var configuration = LogConfiguration()
        configuration.segmentBytes = 900
        configuration.indexIntervalBytes = 150
        let fixture = try LogFixture(configuration)
        for index in 0..<20 {
            let producer = Producer(id: ProducerID(index % 3), sequence: Int32(index / 3), isTransactional: index % 3 == 0)
            try fixture.append(try Make.batch(producer: producer), epoch: LeaderEpoch(index / 6))
            if index % 6 == 5 {
                try fixture.append(
                    Make.marker(index % 4 == 1 ? .commit : .abort, producer: Producer(id: 0)), epoch: LeaderEpoch(index / 6),
                    origin: .coordinator)
            }
            if index == 12 { try fixture.log.flush(now: 1) }
        }
        try fixture.checkpoint()
        return fixture
    }

    private func damage(_ directory: String, _ random: inout SeededRandom) throws {
        var files: [String] = []
        let walker = FileManager.default.enumerator(atPath: directory)
        while let name = walker?.nextObject() as? String {
            var isDirectory: ObjCBool = false
            let exists = FileManager.default.fileExists(atPath: directory + "/" + name, isDirectory: &isDirectory)
            if exists, !isDirectory.boolValue, !name.hasSuffix(".lock") { files.append(name) }
        }
        files.sort()
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            guard let name = files.randomElement(using: &random) else { return }
            let url = URL(fileURLWithPath: directory + "/" + name)
            guard var bytes = try? Data(contentsOf: url) else { continue }
            switch Int.random(in: 0..<5, using: &random) {
            case 0: try FileManager.default.removeItem(at: url)
            case 1: try Data(bytes.prefix(Int.random(in: 0...bytes.count, using: &random))).write(to: url)
            case 2:
                for _ in 0..<Int.random(in: 1...40, using: &random) { bytes.append(UInt8.random(in: 0...255, using: &random)) }
                try bytes.write(to: url)
            default:
                for _ in 0..<Int.random(in: 1...8, using: &random) where !bytes.isEmpty {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] =
                        [0, 0xff, UInt8.random(in: 0...255, using: &random)]
                        .randomElement(using: &random) ?? 0
                }
                try bytes.write(to: url)
            }
        }
    }

    @Test("No damage traps or hangs", arguments: 1...4)
    func damaged(_ seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let fixture = try original()
        let clean = Bool.random(using: &random)
        if clean { try fixture.stop() }
        let source = try fixture.scratch.copy(fixture.directoryPath, as: "source")
        var opened = 0
        for _ in 0..<60 {
            let copy = try fixture.scratch.copy(source, as: "damaged")
            try damage(copy, &random)
            do {
                let directories = try LogDirectories(LogDirectoriesConfiguration(paths: [copy]))
                let loaded = try directories.load(
                    now: 2000, configuration: { [configuration = fixture.configuration] _ in configuration },
                    expected: { _, _ in .known(.one) }, progress: { _ in })
                for log in loaded.logs {
                    try use(log)
                    opened += 1
                }
            } catch is StorageError {
                continue
            }
        }
        #expect(opened > 20)
    }

    /// Everything a broker asks of a log. Errors are fine, they are answers.
    private func use(_ log: PartitionLog) throws {
        log.advanceHighWatermark(to: log.logEndOffset)
        #expect(log.logStartOffset <= log.logEndOffset && log.lastStableOffset <= log.highWatermark)
        _ = try? ConsumerView(log, isolation: .highWatermark)
        _ = try? ConsumerView(log, isolation: .lastStable)
        for timestamp: Timestamp in [0, 1000, 1010, 5000, 9000] { _ = try? log.offset(forTimestamp: timestamp) }
        _ = try? log.offsetOfMaxTimestamp()
        _ = try? log.allAbortedTransactions()
        while var work = try? log.beginScrub(maxBytes: 700) {
            guard (try? work.run()) != nil else {
                log.abandonScrub()
                continue
            }
            log.finishScrub(work)
        }
        let end = log.logEndOffset
        let result = try log.append(try Make.batch(prefix: "after"), origin: .client, leaderEpoch: 50, now: 3000)
        #expect(result.firstOffset == end && log.logEndOffset == end + 1)
        log.advanceHighWatermark(to: log.logEndOffset)
        let last = try log.readBytes(from: end, maxBytes: 1000, minOneBatch: true, isolation: .highWatermark)
        #expect(try RecordBatchHeader.verify(in: last).lastOffset == end)
        _ = try? log.deleteRecords(before: end / 2, now: 1)
        try? log.truncate(to: end, now: 1)
        #expect(log.logEndOffset <= end)
    }
}
