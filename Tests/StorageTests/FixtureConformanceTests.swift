// Directories that Apache Kafka wrote, cleanly closed, killed and damaged: opened here, they have exactly the content of their
// manifest. Where Kafka's own recovery loses something, ours is held to what was there before.
import Foundation
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Storage

typealias JSON = [String: Any]

/// The folder with the fixtures, or nil.
let fixtureFolder: String? = {
    let shared =
        ProcessInfo.processInfo.environment["MARTLET_SHARED"]
        ?? URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../../shared").standardized.path
    let folder = shared + "/fixtures"
    return FileManager.default.fileExists(atPath: folder) ? folder : nil
}()

func run(_ command: String...) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = command
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return String(decoding: output, as: UTF8.self)
}

/// One fixture, unpacked, and what was found not to hold.
final class Fixture {
    let name: String
    let scratch: Scratch
    let manifest: JSON
    private(set) var problems: [String] = []
    private var digests: [(file: String, expected: String, what: String)] = []

    init(_ name: String, folder: String) throws {
        self.name = name
        scratch = try Scratch("fixture")
        _ = try run("tar", "xzf", "\(folder)/\(name).tar.gz", "-C", scratch.path)
        manifest = try Self.json(scratch.path + "/\(name)/manifest.json")
    }

    static func json(_ path: String) throws -> JSON {
        try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: path))) as? JSON ?? [:]
    }

    func path(_ rest: String) -> String { scratch.path + "/\(name)/" + rest }

    func check<Value: Equatable>(_ found: Value?, _ expected: Value?, _ what: String) {
        if found != expected {
            problems.append("\(name) \(what): \(found.map { "\($0)" } ?? "nothing"), expected \(expected.map { "\($0)" } ?? "nothing")")
        }
    }

    func fail(_ what: String) { problems.append("\(name) \(what)") }

    /// Notes a view to be compared with the manifest; digests are computed all at once at the end.
    func check(_ view: ConsumerView, _ expected: JSON?, _ what: String) throws {
        guard let expected, let digest = expected["digest"] as? String else { return }
        check(view.records.count, expected["records"] as? Int, what + " records")
        check(view.ranges, expected["offsets"] as? String, what + " offsets")
        if let end = expected["end"] as? Int { check(Int(view.end), end, what + " end") }
        let file = scratch.path + "/digest-\(digests.count)"
        try view.digestInput.write(to: URL(fileURLWithPath: file))
        digests.append((file, digest, what))
    }

    func finish() throws {
        let folder = scratch.path
        let output = try run("sh", "-c", "cd '\(folder)' && ls | grep '^digest-' | xargs -r sha256sum")
        var sums: [String: String] = [:]
        for line in output.split(separator: "\n") {
            let fields = line.split(separator: " ")
            if fields.count == 2 { sums[folder + "/" + fields[1]] = String(fields[0]) }
        }
        for (file, expected, what) in digests { check(sums[file], expected, what + " digest") }
    }

    /// Opens all partitions of a data directory, the metadata log among them.
    func open(_ data: String) throws -> (directories: LogDirectories, logs: [String: PartitionLog]) {
        var settings = LogDirectoriesConfiguration(paths: [path(data)])
        settings.headroomBytes = 0
        let directories = try LogDirectories(settings)
        // Producers of 2023 must not expire while we look at them.
        var configuration = LogConfiguration()
        configuration.producerIDExpirationMilliseconds = .max
        configuration.indexIntervalBytes = 4096
        let settled = configuration
        let loaded = try directories.load(
            now: 1_795_227_000_000,
            configuration: { topic in
                var configuration = settled
                if topic.hasPrefix("__") || topic.contains("compact") { configuration.cleanupPolicy = .compact }
                return configuration
            }, expected: { _, _ in .unknown }, progress: { _ in })
        for failure in loaded.failures { fail("\(failure.topicPartition) does not open: \(failure.error)") }
        var logs: [String: PartitionLog] = [:]
        for log in loaded.logs { logs[log.topicPartition.description] = log }
        let metadata = try directories.open(
            TopicPartition("__cluster_metadata", 0), topicID: .one, configuration: settled, asAfterCrash: true, now: 1_795_227_000_000)
        if let metadata { logs["__cluster_metadata-0"] = metadata }
        for log in logs.values { log.advanceHighWatermark(to: log.logEndOffset) }
        return (directories, logs)
    }
}

@Suite("Conformance of fixture directories", .enabled(if: fixtureFolder != nil))
struct FixtureConformanceTests {
    private static let names: [String] = {
        let files = fixtureFolder.flatMap { try? FileManager.default.contentsOfDirectory(atPath: $0) } ?? []
        return files.filter { $0.hasSuffix(".tar.gz") }.map { String($0.dropLast(7)) }.sorted()
    }()

    @Test("Every fixture opens with the content of its manifest")
    func fixtures() throws {
        let folder = try #require(fixtureFolder)
        var reference: JSON = [:]
        if Self.names.contains("killed-single") {
            reference = try Fixture("killed-single", folder: folder).manifest
        }
        var held = 0
        for name in Self.names {
            let fixture = try Fixture(name, folder: folder)
            do {
                try examine(fixture, reference)
            } catch {
                fixture.fail("stopped: \(error)")
            }
            for problem in fixture.problems.prefix(40) { Issue.record("\(problem)") }
            if fixture.problems.isEmpty { held += 1 }
        }
        print("conformance fixtures: \(held) of \(Self.names.count)")
        #expect(held == Self.names.count)
    }

    private func examine(_ fixture: Fixture, _ reference: JSON) throws {
        if let nodes = fixture.manifest["nodes"] as? JSON {
            for (node, content) in nodes { try examineAtRest(fixture, "node\(node)/log", content as? JSON ?? [:]) }
        } else if let atRest = fixture.manifest["at_rest"] as? JSON {
            try examineAtRest(fixture, "log", atRest)
        } else {
            try examineDamaged(fixture, reference)
        }
        try fixture.finish()
    }

    // MARK: Undamaged directories

    private func examineAtRest(_ fixture: Fixture, _ data: String, _ content: JSON) throws {
        let isClean = fixture.manifest["clean_shutdown"] as? Bool ?? true
        for (name, offsets) in content["checkpoints"] as? JSON ?? [:] {
            let read = try OffsetCheckpointFile(path: fixture.path(data + "/" + name)).read()
            let found = Dictionary(uniqueKeysWithValues: read.map { ("\($0.key)", Int($0.value)) })
            fixture.check(found, offsets as? [String: Int], name)
        }
        let partitions = content["partitions"] as? JSON ?? [:]
        // Before opening: recovery takes snapshots of its own.
        for (name, partition) in partitions {
            let epochs = try LeaderEpochs(path: fixture.path(data + "/\(name)/leader-epoch-checkpoint"))
            fixture.check(
                epochs.entries.map { [Int($0.epoch), Int($0.startOffset)] }, (partition as? JSON)?["leader_epochs"] as? [[Int]],
                name + " leader epochs")
            for (file, entries) in (partition as? JSON)?["producer_snapshots"] as? JSON ?? [:] {
                try checkSnapshot(fixture, data + "/\(name)/\(file)", entries as? [JSON] ?? [])
            }
        }
        let (directories, logs) = try fixture.open(data)
        for (name, partition) in partitions where !name.hasSuffix("-delete") {
            guard let log = logs[name] else {
                fixture.fail("\(name) is missing")
                continue
            }
            try checkPartition(fixture, log, partition as? JSON ?? [:], name: name, isClean: isClean)
        }
        fixture.check(logs.count, partitions.keys.filter { !$0.hasSuffix("-delete") }.count, "partitions")
        withExtendedLifetime(directories) {}
        if let wire = fixture.manifest["real_kafka_after_start"] as? JSON {
            for (topic, content) in wire["topics"] as? JSON ?? [:] {
                for (partition, expected) in (content as? JSON)?["partitions"] as? JSON ?? [:] {
                    guard let log = logs["\(topic)-\(partition)"], let expected = expected as? JSON else { continue }
                    try checkWireView(fixture, log, expected, name: "\(topic)-\(partition) on the wire")
                }
            }
        }
    }

    private func checkSnapshot(_ fixture: Fixture, _ path: String, _ expected: [JSON]) throws {
        let found = try ProducerSnapshotFile.read(fixture.path(path))
        let wanted = expected.map { entry in
            func number(_ key: String) -> Int { entry[key] as? Int ?? Int.min }
            return ProducerSnapshotEntry(
                producerID: Int64(number("pid")), producerEpoch: Int16(number("epoch")), lastSequence: Int32(number("last_seq")),
                lastOffset: Int64(number("last_offset")), offsetDelta: Int32(number("offset_delta")), timestamp: Int64(number("ts")),
                coordinatorEpoch: Int32(number("coordinator_epoch")),
                currentTransactionFirstOffset: Int64(number("current_txn_first_offset")))
        }
        fixture.check(Set(found), Set(wanted), path)
    }

    private func checkPartition(_ fixture: Fixture, _ log: PartitionLog, _ expected: JSON, name: String, isClean: Bool) throws {
        // An epoch without a record is forgotten when the log is opened, as in Kafka.
        let epochs = log.leaderEpochs.map { [Int($0.epoch), Int($0.startOffset)] }
        let kept = (expected["leader_epochs"] as? [[Int]])?.filter { $0[1] < Int(log.logEndOffset) }
        fixture.check(epochs, kept, name + " leader epochs in use")
        // The metadata log is listed by files only.
        guard let segments = expected["segments"] as? [JSON] else { return }
        fixture.check(Int(log.logStartOffset), expected["log_start_offset"] as? Int, name + " log start")
        fixture.check(Int(log.logEndOffset), expected["log_end_offset_by_scan"] as? Int, name + " log end")
        fixture.check(Int(log.lastStableOffset), expected["last_stable_offset_by_scan"] as? Int, name + " last stable offset")
        fixture.check(log.segments.map { Int($0.baseOffset) }, segments.compactMap { $0["base_offset"] as? Int }, name + " segments")
        fixture.check(log.segments.map(\.sizeInBytes), segments.compactMap { $0["log_bytes"] as? Int }, name + " segment sizes")
        if let id = (expected["partition_metadata"] as? String)?.split(separator: " ").last {
            fixture.check(log.topicID.description, String(id), name + " topic id")
        }
        for (segment, expected) in zip(log.segmentList, segments) {
            try checkSegment(fixture, segment, expected, name: name, isActive: segment === log.active, isClean: isClean)
        }
        try checkTransactionIndex(fixture, log, expected, name: name)
        try fixture.check(ConsumerView(log, isolation: .highWatermark), expected["read_uncommitted"] as? JSON, name + " read_uncommitted")
        try fixture.check(ConsumerView(log, isolation: .lastStable), expected["read_committed"] as? JSON, name + " read_committed")
    }

    private func checkSegment(
        _ fixture: Fixture, _ segment: LogSegment, _ expected: JSON, name: String, isActive: Bool, isClean: Bool
    ) throws {
        let what = "\(name) segment \(segment.baseOffset)"
        var reader = SegmentReader(file: try segment.file(), from: 0, to: segment.size)
        for batch in expected["batches"] as? [JSON] ?? [] {
            guard let found = try reader.next() else { return fixture.fail("\(what) ends early") }
            fixture.check(
                [found.position, found.size, Int(found.baseOffset), Int(found.lastOffset), Int(found.maxTimestamp), Int(found.header.crc)],
                ["pos", "size", "base", "last", "max_ts", "crc"].map { batch[$0] as? Int ?? -2 }, what + " batch")
            fixture.check(Int(found.header.recordCount), batch["count"] as? Int, what + " record count")
            fixture.check(Int(found.header.partitionLeaderEpoch), batch["epoch"] as? Int, what + " leader epoch")
            if let producer = batch["pid"] as? Int { fixture.check(Int(found.header.producerId), producer, what + " producer") }
        }
        fixture.check(try reader.next()?.position, nil, what + " end")
        guard isClean else { return }
        fixture.check(try segment.offsetIndex().sizeInBytes, expected["index_bytes"] as? Int, what + " offset index")
        fixture.check(try segment.timeIndex().sizeInBytes, expected["timeindex_bytes"] as? Int, what + " time index")
    }

    private func checkTransactionIndex(_ fixture: Fixture, _ log: PartitionLog, _ expected: JSON, name: String) throws {
        var wanted: [AbortedTransactionEntry] = []
        for (_, entries) in (expected["txnindex"] as? JSON ?? [:]).sorted(by: { $0.key < $1.key }) {
            for entry in entries as? [JSON] ?? [] {
                func number(_ key: String) -> Int64 { Int64(entry[key] as? Int ?? Int.min) }
                wanted.append(
                    AbortedTransactionEntry(
                        producerID: number("pid"), firstOffset: number("first_offset"), lastOffset: number("last_offset"),
                        lastStableOffset: number("last_stable_offset")))
            }
        }
        fixture.check(try log.allAbortedTransactions(), wanted, name + " aborted transactions")
    }

    private func checkWireView(_ fixture: Fixture, _ log: PartitionLog, _ expected: JSON, name: String) throws {
        fixture.check(Int(log.logStartOffset), expected["log_start_offset"] as? Int, name + " log start")
        fixture.check(Int(log.highWatermark), expected["high_watermark"] as? Int, name + " high watermark")
        fixture.check(Int(log.lastStableOffset), expected["last_stable_offset"] as? Int, name + " last stable offset")
        let newest = try log.offsetOfMaxTimestamp()
        fixture.check(newest.map { Int($0.offset) } ?? -1, expected["max_timestamp_offset"] as? Int, name + " offset of max timestamp")
        fixture.check(newest.map { Int($0.timestamp) } ?? -1, expected["max_timestamp"] as? Int, name + " max timestamp")
        try fixture.check(ConsumerView(log, isolation: .highWatermark), expected["read_uncommitted"] as? JSON, name + " read_uncommitted")
        try fixture.check(ConsumerView(log, isolation: .lastStable), expected["read_committed"] as? JSON, name + " read_committed")
    }

    // MARK: Damaged directories

    /// Partitions where ours does better than the Kafka that wrote the manifest, and is held to the state before the damage.
    private static let better: [String: Set<String>] = ["missing-index": ["t-txn-0", "t-lz4-0"]]

    private func examineDamaged(_ fixture: Fixture, _ reference: JSON) throws {
        let (directories, logs) = try fixture.open("log")
        defer { withExtendedLifetime(directories) {} }
        let kafka = fixture.manifest["real_kafka"] as? JSON ?? [:]
        let compare = kafka["compare"] as? JSON ?? [:]
        let wire = (reference["real_kafka_after_start"] as? JSON)?["topics"] as? JSON ?? [:]
        var findings: [ScrubFinding] = []
        for log in logs.values { findings += try scrub(log) }
        let damaged = Set(findings.filter { $0.kind == .damagedBatches }.map(\.topicPartition.description))
        for (topic, content) in wire {
            for (partition, undamaged) in (content as? JSON)?["partitions"] as? JSON ?? [:] {
                let name = "\(topic)-\(partition)"
                guard let log = logs[name] else {
                    fixture.fail("\(name) is missing")
                    continue
                }
                let sides = compare[name] as? JSON
                let isBetter = Self.better[fixture.name]?.contains(name) ?? false
                let expected = (isBetter ? nil : sides?["here"] as? JSON) ?? undamaged as? JSON ?? [:]
                if damaged.contains(name) {
                    try checkAroundDamage(fixture, log, undamaged as? JSON ?? [:], findings, name: name)
                } else {
                    try checkWireView(fixture, log, expected, name: name)
                }
            }
        }
        try checkFindings(fixture, findings, logs)
    }

    /// Looks through all closed segments in small steps.
    private func scrub(_ log: PartitionLog) throws -> [ScrubFinding] {
        var findings: [ScrubFinding] = []
        while var work = try log.beginScrub(maxBytes: 5000) {
            try work.run()
            findings += log.finishScrub(work)
        }
        return findings
    }

    /// Everything but the damaged batch can be read.
    private func checkAroundDamage(
        _ fixture: Fixture, _ log: PartitionLog, _ undamaged: JSON, _ findings: [ScrubFinding], name: String
    ) throws {
        let lost = findings.filter { $0.topicPartition.description == name }.map(\.offsets)
        let view = try ConsumerView(log, isolation: .highWatermark)
        fixture.check(lost.count, 1, name + " findings")
        let count = (undamaged["read_uncommitted"] as? JSON)?["records"] as? Int ?? 0
        fixture.check(view.records.count, count - lost.reduce(0) { $0 + $1.count }, name + " records around the damage")
        fixture.check(Int(log.highWatermark), undamaged["high_watermark"] as? Int, name + " high watermark")
        for range in lost where view.offsets.contains(where: { range.contains($0) }) { fixture.fail(name + " returns damaged records") }
    }

    private func checkFindings(_ fixture: Fixture, _ findings: [ScrubFinding], _ logs: [String: PartitionLog]) throws {
        switch fixture.name {
        case "corrupt-middle-batch":
            fixture.check(findings.map { "\($0.topicPartition) \($0.kind)" }, ["t-none-1 damagedBatches"], "scrub")
        case "empty-segment":
            fixture.check(findings.map { "\($0.topicPartition) \($0.kind)" }, ["t-none-1 emptySegment"], "scrub")
        case "missing-index":
            fixture.check(findings.map { "\($0.topicPartition) \($0.kind)" }, ["t-txn-0 missingTransactionIndex"], "scrub")
        default:
            fixture.check(findings.map { "\($0)" }, [], "scrub")
        }
    }
}
