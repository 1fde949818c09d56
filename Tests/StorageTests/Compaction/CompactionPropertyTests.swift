// Random logs, random cleanings: a table made from the log is always the same, nothing moves, and cleaning what is clean changes nothing.
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Storage

/// Writes a random history.
private struct Writer {
    var random: SeededRandom
    let fixture: LogFixture
    private var sequences: [ProducerID: Int32] = [:]
    private var open: Set<ProducerID> = []
    private var clock: Timestamp = 1000

    init(_ fixture: LogFixture, seed: Int) {
        self.fixture = fixture
        random = SeededRandom(seed: UInt64(seed))
    }

    mutating func step() throws {
        clock += Int64.random(in: -5...20, using: &random)
        fixture.now += 7
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<35: try write(nil)
        case 35..<50: try write(producer(Int64.random(in: 1...3, using: &random), isTransactional: false))
        case 50..<78: try write(producer(Int64.random(in: 11...14, using: &random), isTransactional: true))
        case 78..<92: try end()
        case 92..<96: try fixture.roll()
        default: fixture.now += Int64.random(in: 0...1500, using: &random)
        }
    }

    private mutating func producer(_ id: ProducerID, isTransactional: Bool) -> Producer {
        if isTransactional { open.insert(id) }
        return Producer(id: id, sequence: sequences[id] ?? 0, isTransactional: isTransactional)
    }

    private mutating func write(_ producer: Producer?) throws {
        let count = Int.random(in: 1...6, using: &random)
        let codec = [Compression.none, .none, .none, .gzip, .snappy, .lz4, .zstd].randomElement(using: &random) ?? .none
        let entries = (0..<count).map { _ in
            Entry(
                "k\(Int.random(in: 0..<25, using: &random))",
                Int.random(in: 0..<5, using: &random) == 0 ? nil : "v\(Int.random(in: 0..<1_000_000, using: &random))",
                timestamp: clock + Int64.random(in: -3...3, using: &random))
        }
        try fixture.put(entries, producer: producer, compression: codec)
        if let producer { sequences[producer.id] = producer.sequence + Int32(count) }
    }

    mutating func end() throws {
        guard let id = open.sorted().randomElement(using: &random) else { return }
        open.remove(id)
        let outcome: EndTransactionMarker.Outcome = Int.random(in: 0..<3, using: &random) == 0 ? .abort : .commit
        try fixture.append(Make.marker(outcome, producer: Producer(id: id, isTransactional: true)), origin: .coordinator)
    }

    mutating func endAll() throws { while !open.isEmpty { try end() } }
}

@Suite("Compaction: properties")
struct CompactionPropertyTests {
    private func configuration(_ random: inout SeededRandom) -> LogConfiguration {
        var configuration = LogConfiguration.compacted
        configuration.segmentBytes = Int.random(in: 1500...8000, using: &random)
        configuration.indexIntervalBytes = Int.random(in: 0...600, using: &random)
        configuration.deleteRetentionMilliseconds = Int64.random(in: 0...3000, using: &random)
        return configuration
    }

    private func resources(_ random: inout SeededRandom) -> CleaningResources {
        var resources = CleaningResources()
        // From a few keys at a time to all at once.
        resources.mapBytes = Int.random(in: 0...3, using: &random) == 0 ? 64 * 24 : 1 << 20
        resources.mapLoadFactor = [0.1, 0.5, 0.9].randomElement(using: &random) ?? 0.9
        resources.bufferBytes = [0, 256 << 10].randomElement(using: &random) ?? 0
        return resources
    }

    @Test("The table stays the same, records stay what and where they were", arguments: 1...40)
    func table(_ seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let fixture = try LogFixture(configuration(&random))
        var writer = Writer(fixture, seed: seed + 1000)
        var originals: [Offset: Record] = [:]
        for round in 0..<6 {
            for _ in 0..<60 { try writer.step() }
            let before = try ConsumerView(fixture.log, isolation: .lastStable)
            for record in try ConsumerView(fixture.log, isolation: .logEnd).records { originals[record.offset] = record }
            let newest = Self.newest(before.records)
            let end = fixture.log.logEndOffset
            try fixture.clean(resources: resources(&random))
            switch Int.random(in: 0..<4, using: &random) {
            case 0: try fixture.reopen()
            case 1: try fixture.kill()
            default: break
            }
            fixture.log.advanceHighWatermark(to: fixture.log.logEndOffset)
            let label = "seed \(seed) round \(round)"
            let after = try ConsumerView(fixture.log, isolation: .lastStable)
            #expect(after.table == before.table, "\(label)")
            #expect(after.offsets == after.offsets.sorted() && Set(after.offsets).count == after.offsets.count, "\(label)")
            let isSame = after.records.allSatisfy { originals[$0.offset] == $0 }
            #expect(isSame, "\(label): a record changed")
            // The newest value of each key, at its own offset.
            let kept = Set(after.offsets)
            #expect(newest.values.allSatisfy { $0.value == nil || kept.contains($0.offset) }, "\(label)")
            #expect(fixture.log.logEndOffset == end, "\(label)")
            #expect(try ConsumerView(fixture.log, isolation: .lastStable, maxBytes: 1).offsets == after.offsets, "\(label)")
        }
    }

    private static func newest(_ records: [Record]) -> [ByteBuffer: Record] {
        var newest: [ByteBuffer: Record] = [:]
        for record in records { if let key = record.key { newest[key] = record } }
        return newest
    }

    @Test("Once nothing is late, only the newest record of each key is left", arguments: 1...16)
    func complete(_ seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let fixture = try LogFixture(configuration(&random))
        var writer = Writer(fixture, seed: seed + 2000)
        for _ in 0..<250 { try writer.step() }
        try writer.endAll()
        try fixture.put([Entry("last", "1")])
        try fixture.roll()
        let table = try ConsumerView(fixture.log, isolation: .lastStable).table
        for _ in 0..<8 {
            fixture.forgetCleaning()
            while try fixture.clean() != nil {}
            fixture.now += 3001
        }
        let view = try ConsumerView(fixture.log, isolation: .lastStable)
        #expect(view.table == table && view.records.count == table.count, "seed \(seed)")
        #expect(view.records.allSatisfy { $0.value != nil })
        let producers = Set(fixture.log.activeProducers.map(\.producerID))
        let empties = try fixture.batches().filter { $0.header.recordCount == 0 }
        #expect(empties.count <= producers.count + 1, "only what producers are remembered by")
    }

    @Test("Cleaning what is clean changes nothing", arguments: 1...16)
    func idempotent(_ seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let fixture = try LogFixture(configuration(&random))
        var writer = Writer(fixture, seed: seed + 3000)
        for _ in 0..<250 { try writer.step() }
        try writer.endAll()
        try fixture.roll()
        // Markers learn in the second pass that nothing is left of their transactions.
        for _ in 0..<3 {
            fixture.forgetCleaning()
            try fixture.clean()
        }
        let before = try fixture.batches()
        fixture.forgetCleaning()
        try fixture.clean()
        let isSame = try fixture.batches() == before
        #expect(isSame, "seed \(seed)")
        try fixture.kill()
        let isSameAfterKill = try fixture.batches() == before
        #expect(isSameAfterKill, "seed \(seed)")
    }

    @Test("Producers are known after it as before", arguments: 1...16)
    func producers(_ seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let fixture = try LogFixture(configuration(&random))
        var writer = Writer(fixture, seed: seed + 4000)
        for _ in 0..<200 { try writer.step() }
        try writer.endAll()
        try fixture.roll()
        let before = fixture.log.activeProducers
        for _ in 0..<3 {
            fixture.forgetCleaning()
            try fixture.clean()
            fixture.now += 5000
        }
        // Without any snapshot, from the batches alone.
        let names = try FileSystem.names(in: fixture.log.path).map(\.name).filter { $0.hasSuffix(".snapshot") }
        try fixture.kill { path in for name in names { try FileSystem.remove(path + "/topic-0/" + name) } }
        let after = fixture.log.activeProducers
        #expect(after.map(\.producerID) == before.map(\.producerID), "seed \(seed)")
        #expect(after.map(\.lastSequence) == before.map(\.lastSequence), "seed \(seed)")
        #expect(after.map(\.producerEpoch) == before.map(\.producerEpoch), "seed \(seed)")
        #expect(after.allSatisfy { $0.currentTransactionFirstOffset == -1 }, "seed \(seed)")
    }
}
