// Figures rather than verdicts: start times and memory, measured when MARTLET_FIGURES is set.
import Foundation
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Storage

@Suite("Figures", .serialized, .enabled(if: ProcessInfo.processInfo.environment["MARTLET_FIGURES"] != nil))
struct FigureTests {
    private func residentBytes() throws -> Int {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS") }
        return (line?.split(whereSeparator: { " \t".contains($0) }).dropFirst().first.flatMap { Int($0) } ?? 0) * 1024
    }

    private func descriptors() throws -> Int { try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count }

    private func load(_ path: String, threads: Int = 2) throws -> (LogDirectories, LoadedLogs) {
        var settings = LogDirectoriesConfiguration(paths: [path])
        settings.recoveryThreadsPerDirectory = threads
        let directories = try LogDirectories(settings)
        let loaded = try directories.load(
            now: 2000, configuration: { _ in LogConfiguration() }, expected: { _, _ in .unknown }, progress: { _ in })
        return (directories, loaded)
    }

    private func milliseconds(_ start: Int64) -> Int64 { (SystemClock.monotonicNanoseconds() - start) / 1_000_000 }

    @Test("10,000 partitions after a clean stop")
    func manyPartitions() throws {
        let scratch = try Scratch("many")
        let count = 10_000
        var start = SystemClock.monotonicNanoseconds()
        do {
            let directories = try LogDirectories(LogDirectoriesConfiguration(paths: [scratch.path + "/data"]))
            var logs: [PartitionLog] = []
            for index in 0..<count {
                let log = try directories.create(
                    TopicPartition("topic-\(index / 10)", Int32(index % 10)), topicID: .one, configuration: LogConfiguration(), now: 1)
                log.assignLeaderEpoch(0)
                if index % 2 == 0 {
                    _ = try log.append(
                        try Make.batch(producer: Producer(id: 1)), origin: .client, leaderEpoch: 0, now: 1)
                    log.releaseIdleResources(unusedSince: .max)
                }
                logs.append(log)
            }
            print("figures: created \(count) partitions in \(milliseconds(start)) ms")
            start = SystemClock.monotonicNanoseconds()
            for log in logs { try log.close(now: 1) }
            try directories.close(logs.map { ($0.logDirectory, $0.checkpoint) }, brokerEpoch: 1)
            print("figures: closed them in \(milliseconds(start)) ms")
        }
        let before = try (residentBytes(), descriptors())
        start = SystemClock.monotonicNanoseconds()
        let (directories, loaded) = try load(scratch.path + "/data")
        let time = milliseconds(start)
        let after = try (residentBytes(), descriptors())
        #expect(loaded.logs.count == count && loaded.failures.isEmpty && !loaded.logs.contains { $0.loadReport.recovered })
        print(
            "figures: loaded them in \(time) ms, \((after.0 - before.0) / count) bytes and "
                + "\(after.1 - before.1) descriptors in all, resident \(after.0 >> 20) MiB")
        withExtendedLifetime(directories) {}
    }

    @Test("1 GB to be scanned after a crash")
    func recovery() throws {
        let scratch = try Scratch("crash")
        var written = 0
        do {
            let directories = try LogDirectories(LogDirectoriesConfiguration(paths: [scratch.path + "/data"]))
            let log = try directories.create(TopicPartition("t", 0), topicID: .one, configuration: LogConfiguration(), now: 1)
            let batch = try Make.batch(count: 128, valueBytes: 1000)
            let start = SystemClock.monotonicNanoseconds()
            while written < 1 << 30 {
                written += try log.append(batch, origin: .client, leaderEpoch: 0, now: 1).sizeInBytes
            }
            print("figures: appended \(written >> 20) MiB in \(milliseconds(start)) ms")
        }
        let start = SystemClock.monotonicNanoseconds()
        let (directories, loaded) = try load(scratch.path + "/data")
        print("figures: recovered \(loaded.logs.first?.loadReport.scannedBytes ?? 0) bytes in \(milliseconds(start)) ms")
        #expect(loaded.logs.first?.loadReport.scannedBytes == written)
        withExtendedLifetime(directories) {}
    }
}
