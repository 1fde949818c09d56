// A crash at every step of a replacement: the next start finds the old segments or the new ones, whole, and no leftovers.
import Foundation
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Storage

private struct Crash: Error {}

@Suite("Compaction: crashes")
struct CompactionCrashTests {
    /// Several segments that become fewer, with tombstones, transactions and an aborted one.
    private func fixture() throws -> LogFixture {
        var configuration = LogConfiguration.compacted
        configuration.segmentBytes = 700
        let fixture = try LogFixture(configuration)
        for index in 0..<24 {
            let producer = Producer(id: 7, sequence: Int32(index), isTransactional: true)
            try fixture.put([Entry("k\(index % 5)", index % 7 == 6 ? nil : "\(index)")], producer: producer)
            try fixture.append(Make.marker(index % 4 == 3 ? .abort : .commit, producer: producer), origin: .coordinator)
        }
        try fixture.roll()
        try fixture.log.flush(now: fixture.now)
        try fixture.checkpoint()
        // From now on several fit into one.
        fixture.configuration.segmentBytes = 2200
        fixture.log.configuration.segmentBytes = 2200
        return fixture
    }

    private func check(_ fixture: LogFixture, _ table: [String: String], _ step: String) throws {
        #expect(try fixture.leftovers().isEmpty, "\(step)")
        #expect(try ConsumerView(fixture.log, isolation: .lastStable).table == table, "\(step)")
        #expect(fixture.log.logEndOffset == 48, "\(step)")
        #expect(!fixture.log.loadReport.remarks.contains { $0.contains("cut") }, "\(step): \(fixture.log.loadReport.remarks)")
        let bases = fixture.log.segments.map(\.baseOffset)
        #expect(bases == bases.sorted() && Set(bases).count == bases.count)
        // Every segment's indexes lead to its batches.
        for offset in 0..<Offset(48) {
            let read = try fixture.log.read(from: offset, maxBytes: 1, minOneBatch: true, isolation: .logEnd)
            if let slice = read.slice { #expect(try RecordBatchHeader(from: slice.wholeBatches()).lastOffset >= offset, "\(step)") }
        }
    }

    /// Runs a cleaning that ends like a crash at step `number`; nil when there are fewer steps.
    private func crash(_ fixture: LogFixture, at number: Int) throws -> String? {
        var count = 0
        var reached: String?
        let control = CleaningControl()
        let work = try #require(try fixture.log.beginCleaning(now: fixture.now, resources: CleaningResources(), control: control))
        try work.buildMap()
        do {
            while let group = try work.cleanGroup() {
                count += 1
                if count == number {
                    reached = "before the replacement"
                    throw Crash()
                }
                // A real crash leaves no time for taking files away again.
                var kept: [String: [UInt8]] = [:]
                do {
                    try fixture.log.replaceSegments(group, of: work, now: fixture.now) { step throws(StorageError) in
                        count += 1
                        guard count == number else { return }
                        reached = "\(step)"
                        for (name, _) in try FileSystem.names(in: fixture.log.path) {
                            kept[name] = try FileSystem.contents(of: fixture.log.path + "/" + name)
                        }
                        throw .outOfSpace(path: "crash")
                    }
                } catch {
                    for (name, _) in try FileSystem.names(in: fixture.log.path) where kept[name] == nil {
                        try FileSystem.remove(fixture.log.path + "/" + name)
                    }
                    for (name, bytes) in kept { try Data(bytes).write(to: URL(fileURLWithPath: fixture.log.path + "/" + name)) }
                    throw Crash()
                }
            }
        } catch is Crash {
            return reached
        }
        return nil
    }

    @Test("Each step, then a start, then the cleaning again")
    func everyStep() throws {
        let table = try ConsumerView(try fixture().log, isolation: .lastStable).table
        var steps: [String] = []
        for number in 1... {
            let fixture = try fixture()
            let segments = fixture.log.segments.count
            guard let step = try crash(fixture, at: number) else { break }
            steps.append(step)
            try fixture.kill()
            try check(fixture, table, step)
            try fixture.clean()
            try check(fixture, table, "cleaned after \(step)")
            #expect(fixture.log.segments.count < segments)
            try fixture.reopen()
            try check(fixture, table, "started again after \(step)")
        }
        #expect(steps.contains { $0.hasPrefix("swapped") } && steps.contains { $0.hasPrefix("retired") })
        #expect(steps.contains { $0.hasPrefix("placed") && $0.contains(".txnindex") }, "\(steps)")
    }

    @Test("Files half written, and starts that crash in turn")
    func halfWritten() throws {
        let whole = try fixture()
        let table = try ConsumerView(whole.log, isolation: .lastStable).table
        let fixture = try fixture()
        let step = try #require(try crash(fixture, at: 1))
        try fixture.kill { path in
            let log = path + "/topic-0/00000000000000000000.log.cleaned"
            let bytes = try #require(try FileSystem.contents(of: log))
            try Data(bytes[..<(bytes.count / 2)]).write(to: URL(fileURLWithPath: log))
            try FileManager.default.removeItem(atPath: path + "/topic-0/00000000000000000000.timeindex.cleaned")
        }
        try check(fixture, table, step)
    }

    @Test("Swap files of a replacement that had not got so far are thrown away before the cleaned ones (KAFKA-6264)")
    func unfinishedSwap() throws {
        let whole = try fixture()
        let table = try ConsumerView(whole.log, isolation: .lastStable).table
        let path = whole.log.path
        let original = try #require(try FileSystem.contents(of: path + "/00000000000000000000.log"))
        // As if two segments had been made, and only the second been renamed.
        try Data(original).write(to: URL(fileURLWithPath: path + "/00000000000000000000.log.cleaned"))
        try Data().write(to: URL(fileURLWithPath: path + "/00000000000000000020.log.swap"))
        let names = try FileSystem.names(in: path).map(\.name)
        #expect(try InterruptedWork(path: path).finish(names))
        #expect(try whole.leftovers().isEmpty)
        try whole.kill()
        try check(whole, table, "unfinished swap")
    }

    @Test("A full disk changes nothing, and the next cleaning succeeds")
    func fullDisk() throws {
        let fixture = try fixture()
        let table = try ConsumerView(fixture.log, isolation: .lastStable).table
        #expect(throws: CleaningFailure.storage(.outOfSpace(path: "full"))) {
            try fixture.clean(step: { step throws(StorageError) in if case .swapped = step { throw .outOfSpace(path: "full") } })
        }
        #expect(!fixture.directories.directories[0].isOffline)
        try check(fixture, table, "full disk")
        #expect(try fixture.clean() != nil)
        try check(fixture, table, "cleaned")
    }

    @Test("A disk that fails halfway takes its directory out of service, and the next start ends the replacement")
    func failingDisk() throws {
        let fixture = try fixture()
        let table = try ConsumerView(fixture.log, isolation: .lastStable).table
        let failure = StorageError.inputOutput(operation: "rename", path: "x", code: 5)
        #expect(throws: CleaningFailure.storage(failure)) {
            try fixture.clean(step: { step throws(StorageError) in if case .placed = step { throw failure } })
        }
        #expect(fixture.directories.directories[0].isOffline)
        try fixture.kill()
        try check(fixture, table, "failed disk")
    }
}
