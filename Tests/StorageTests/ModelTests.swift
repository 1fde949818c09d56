// The log against a model that is an array: any sequence of appends, rolls, reads, truncations, retention, stops and kills leaves both
// with the same records.
import Foundation
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Storage

private struct Model {
    var records: [(offset: Offset, value: String)] = []
    var start: Offset = 0
    var end: Offset = 0
    /// Offsets at which batches begin.
    var boundaries: [Offset] = [0]

    var visible: [String] { records.filter { $0.offset >= start }.map(\.value) }
    var visibleOffsets: [Offset] { records.filter { $0.offset >= start }.map(\.offset) }
}

@Suite("The log against a model")
struct ModelTests {
    @Test("Any history leaves the same records", arguments: 1...24)
    func history(_ seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        var configuration = LogConfiguration()
        configuration.segmentBytes = Int.random(in: 400...3000, using: &random)
        configuration.indexIntervalBytes = Int.random(in: 0...600, using: &random)
        configuration.fileDeleteDelayMilliseconds = 0
        configuration.retentionMilliseconds = -1
        configuration.messageTimestampAfterMaxMilliseconds = .max
        let fixture = try LogFixture(configuration)
        var model = Model()
        var sequence: Int32 = 0
        for step in 0..<160 {
            fixture.now += 10
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<62: try append(fixture, &model, &sequence, step, &random)
            case 62..<76: try check(fixture, model, &random, "seed \(seed) step \(step)")
            case 76..<80: try fixture.log.roll(now: fixture.now)
            case 80..<83: try fixture.log.flush(now: fixture.now)
            case 83..<86: try fixture.checkpoint()
            case 86..<88: try truncate(fixture, &model, &random)
            case 88..<91: try deleteRecords(fixture, &model, &random)
            case 91..<93: try retain(fixture, &model, &random)
            case 93..<95: fixture.log.releaseIdleResources(unusedSince: .max)
            case 95..<97: try reopen(fixture)
            default: try kill(fixture, &model, &random)
            }
            #expect(fixture.log.logEndOffset == model.end, "seed \(seed) step \(step)")
        }
        try check(fixture, model, &random, "seed \(seed) at the end")
    }

    private func append(
        _ fixture: LogFixture, _ model: inout Model, _ sequence: inout Int32, _ step: Int, _ random: inout SeededRandom
    ) throws {
        let count = Int.random(in: 1...4, using: &random)
        let codec = [Compression.none, .none, .gzip, .snappy, .lz4, .zstd].randomElement(using: &random) ?? .none
        let isIdempotent = Bool.random(using: &random)
        let batch = try Make.batch(
            count: count, prefix: "s\(step)", valueBytes: Int.random(in: 0...90, using: &random), timestamp: fixture.now,
            producer: isIdempotent ? Producer(id: ProducerID(step), sequence: sequence) : nil, compression: codec)
        let result = try fixture.append(batch, epoch: LeaderEpoch(step / 40))
        #expect(result.firstOffset == model.end)
        for record in try RecordBatch(batch).allRecords() {
            model.records.append((model.end, record.value.map { String(buffer: $0) } ?? ""))
            model.end += 1
        }
        model.boundaries.append(model.end)
        if isIdempotent { #expect(try fixture.append(batch).isDuplicate) }
        sequence += 1
    }

    private func check(_ fixture: LogFixture, _ model: Model, _ random: inout SeededRandom, _ what: String) throws {
        let view = try ConsumerView(fixture.log, isolation: .highWatermark, maxBytes: Int.random(in: 1...5000, using: &random))
        #expect(view.values == model.visible && view.offsets == model.visibleOffsets, "\(what)")
        #expect(fixture.log.logStartOffset == model.start, "\(what)")
        guard model.end > model.start else { return }
        let offset = Offset.random(in: model.start..<model.end, using: &random)
        let bytes = try fixture.log.readBytes(from: offset, maxBytes: 1, minOneBatch: true, isolation: .logEnd)
        let header = try RecordBatchHeader.verify(in: bytes)
        #expect(header.baseOffset <= offset && header.lastOffset >= offset, "\(what)")
    }

    /// Batches are not cut, so only their boundaries are asked for.
    private func truncate(_ fixture: LogFixture, _ model: inout Model, _ random: inout SeededRandom) throws {
        let choices = model.boundaries.filter { $0 >= model.start }
        guard let offset = choices.suffix(6).randomElement(using: &random) else { return }
        try fixture.log.truncate(to: offset, now: fixture.now)
        model.records.removeAll { $0.offset >= offset }
        model.boundaries.removeAll { $0 > offset }
        model.end = offset
    }

    private func deleteRecords(_ fixture: LogFixture, _ model: inout Model, _ random: inout SeededRandom) throws {
        let offset = Offset.random(in: model.start...model.end, using: &random)
        try fixture.log.deleteRecords(before: offset, now: fixture.now)
        model.start = offset
        fixture.log.removeDeletedFiles(now: fixture.now)
    }

    private func retain(_ fixture: LogFixture, _ model: inout Model, _ random: inout SeededRandom) throws {
        fixture.log.configuration.retentionBytes = Int64.random(in: 0...8000, using: &random)
        let result = try fixture.log.enforceRetention(now: fixture.now)
        fixture.log.configuration.retentionBytes = -1
        #expect(result.logStartOffset >= model.start && result.logStartOffset <= model.end)
        model.start = result.logStartOffset
    }

    private func reopen(_ fixture: LogFixture) throws {
        try fixture.reopen()
        fixture.log.advanceHighWatermark(to: fixture.log.logEndOffset)
    }

    /// Half of the kills tear the last batch, which then is not there any more.
    private func kill(_ fixture: LogFixture, _ model: inout Model, _ random: inout SeededRandom) throws {
        let path = "/topic-0/" + SegmentName.digits(fixture.log.active.baseOffset) + ".log"
        let size = fixture.log.active.size
        let last = try fixture.log.active.lastBatch().batch
        let isTorn = Bool.random(using: &random) && (last?.baseOffset ?? -1) >= fixture.log.recoveryPoint
        let cut = last.map { Int.random(in: $0.position..<$0.end, using: &random) } ?? size
        // The log's start is known by its checkpoint only.
        try fixture.checkpoint()
        let start = model.start
        try fixture.kill { directory in
            guard isTorn else { return }
            let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: directory + path))
            try handle.truncate(atOffset: UInt64(cut))
            try handle.close()
        }
        if isTorn, let last {
            model.records.removeAll { $0.offset >= last.baseOffset }
            model.boundaries.removeAll { $0 > last.baseOffset }
            model.end = max(last.baseOffset, start)
            if model.boundaries.last != model.end { model.boundaries.append(model.end) }
        }
        fixture.log.advanceHighWatermark(to: fixture.log.logEndOffset)
    }
}
