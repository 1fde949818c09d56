// Two partitions that should hold the same, read side by side: how far that is possible, and what is asked of both at the same time.
import MartletClient
import Primitives
import RecordBatches

/// Where something differs, and what is on either side.
struct Difference: Sendable {
    var offset: Offset
    /// What differs, such as "the value".
    var what: String
    var source: String
    var here: String

    var text: String { "offset \(offset): \(what): \(source) at the source, \(here) here" }

    var json: JSONValue {
        ["offset": .integer(offset), "what": .string(what), "source": .string(source), "here": .string(here)]
    }
}

/// What a comparison has seen so far.
struct ComparisonCounts: Sendable {
    var batches = 0
    var records = 0
    /// Of one side.
    var bytes = 0
    /// Batches, or records of a compacted topic, that differ.
    var differences = 0
    var first: Difference?

    mutating func add(_ difference: Difference) {
        differences += 1
        if first.map({ difference.offset < $0.offset }) ?? true { first = difference }
    }
}

/// How a partition is compared.
enum ComparisonMode: String, Sendable {
    /// Batch by batch: offsets, counts, checksums. Of topics that are not compacted.
    case batches
    /// Record by record: compaction takes records away on each side in its own time.
    case records
}

/// A partition on both sides.
struct PartitionPair: Sendable {
    let source: StoredPartition
    let here: StoredPartition
    /// Told of what was read: bytes of both sides, and the offset before which everything is compared.
    let meter: ComparisonMeter

    /// Reads on where a cursor has nothing left before `end`; both sides at the same time.
    func fill(_ left: inout StoredCursor, _ right: inout StoredCursor, before end: Offset) async throws(ComparisonStop) {
        while true {
            let (leftNeeds, rightNeeds) = try stopping { () throws(KafkaError) in
                (try left.needsAnswer(before: end), try right.needsAnswer(before: end))
            }
            guard leftNeeds || rightNeeds else { return }
            await meter.pace()
            let (leftAt, rightAt) = (left.position, right.position)
            async let leftAnswer = leftNeeds ? Self.answer(source, leftAt) : nil
            async let rightAnswer = rightNeeds ? Self.answer(here, rightAt) : nil
            for (answer, isLeft) in [(await leftAnswer, true), (await rightAnswer, false)] {
                guard let answer else { continue }
                switch answer {
                case .success(let found):
                    meter.add(bytes: found.records.readableBytes)
                    try stopping { () throws(KafkaError) in try isLeft ? left.take(found) : right.take(found) }
                case .failure(let error) where error.codeName == "OFFSET_OUT_OF_RANGE": throw .outOfRange
                case .failure(let error): throw .failed(error)
                }
            }
            if Interruption.isWanted { throw .interrupted }
        }
    }

    private static func answer(_ partition: StoredPartition, _ offset: Offset) async -> Result<StoredAnswer, KafkaError>? {
        do throws(KafkaError) {
            return .success(try await partition.read(from: offset))
        } catch {
            return .failure(error)
        }
    }

    func stopping<Value>(_ body: () throws(KafkaError) -> Value) throws(ComparisonStop) -> Value {
        do throws(KafkaError) {
            return try body()
        } catch {
            throw .failed(error)
        }
    }
}

/// Why a comparison does not go on.
enum ComparisonStop: Error {
    /// What comes next is gone: retention, or somebody deleted records.
    case outOfRange
    case failed(KafkaError)
    case interrupted
}

/// Compares batch by batch. Only the leader's epoch, which each cluster sets itself, may be another.
struct BatchComparison {
    let pair: PartitionPair
    private var left: StoredCursor
    private var right: StoredCursor
    private(set) var counts = ComparisonCounts()

    init(_ pair: PartitionPair, at offset: Offset) {
        self.pair = pair
        left = StoredCursor(pair.source, at: offset)
        right = StoredCursor(pair.here, at: offset)
    }

    /// The offset before which everything was compared.
    var position: Offset { min(left.position, right.position) }

    mutating func run(_ range: Range<Offset>) async throws(ComparisonStop) {
        let end = range.upperBound
        // A block before this one may have ended with a batch that reaches into it.
        left.seek(to: max(range.lowerBound, left.position))
        right.seek(to: max(range.lowerBound, right.position))
        var (first, second): (RecordBatch?, RecordBatch?) = (nil, nil)
        while true {
            if first == nil || second == nil { try await pair.fill(&left, &right, before: end) }
            try pair.stopping { () throws(KafkaError) in
                if first == nil { first = try left.nextBatch(before: end) }
                if second == nil { second = try right.nextBatch(before: end) }
            }
            // A part of the range may have been passed over without a batch before its end.
            guard first != nil || second != nil else { return }
            compare(&first, &second)
            pair.meter.reached(position)
        }
    }

    private mutating func compare(_ first: inout RecordBatch?, _ second: inout RecordBatch?) {
        switch (first, second) {
        case (let source?, let here?) where source.header.isSame(as: here.header):
            counts.batches += 1
            counts.records += Int(source.header.recordCount)
            counts.bytes += source.bytes.readableBytes
            if let damage = Self.damage(source, here) { counts.add(damage) }
            (first, second) = (nil, nil)
        case (let source?, let here?):
            let (last, ownLast) = (source.header.lastOffset, here.header.lastOffset)
            counts.add(BatchDifference.between(source, here))
            if last <= ownLast { first = nil }
            if ownLast <= last { second = nil }
        case (let source?, nil):
            counts.add(
                Difference(
                    offset: source.header.baseOffset, what: "a batch", source: BatchDifference.text(source), here: "nothing"))
            first = nil
        case (nil, let here?):
            counts.add(
                Difference(offset: here.header.baseOffset, what: "a batch", source: "nothing", here: BatchDifference.text(here)))
            second = nil
        case (nil, nil): break
        }
    }

    /// The same checksum says nothing of bytes that it does not fit.
    private static func damage(_ source: RecordBatch, _ here: RecordBatch) -> Difference? {
        let (isSourceWhole, isWhole) = ((try? source.verifyChecksum()) != nil, (try? here.verifyChecksum()) != nil)
        guard !isSourceWhole || !isWhole else { return nil }
        func text(_ isWhole: Bool) -> String { isWhole ? "whole" : "damaged" }
        return Difference(
            offset: source.header.baseOffset, what: "the bytes under the checksum", source: text(isSourceWhole), here: text(isWhole))
    }
}

extension RecordBatchHeader {
    /// Whether two batches are the same but for the leader's epoch.
    func isSame(as other: RecordBatchHeader) -> Bool {
        var copy = other
        copy.partitionLeaderEpoch = partitionLeaderEpoch
        return self == copy
    }
}

/// Names what differs between two batches, down to the record where they hold the same offsets.
enum BatchDifference {
    static func between(_ source: RecordBatch, _ here: RecordBatch) -> Difference {
        let offset = min(source.header.baseOffset, here.header.baseOffset)
        if source.header.baseOffset == here.header.baseOffset, let records = try? source.allRecords(), let others = try? here.allRecords(),
            let difference = first(records, others)
        {
            return difference
        }
        return Difference(offset: offset, what: "the batch", source: text(source), here: text(here))
    }

    static func text(_ batch: RecordBatch) -> String {
        let header = batch.header
        let checksum = String(header.crc, radix: 16)
        let kind = header.isControl ? "marker" : "batch"
        return "\(kind) \(header.baseOffset)-\(header.lastOffset) of \(header.recordCount) record\(header.recordCount == 1 ? "" : "s"), "
            + "\(batch.bytes.readableBytes) bytes, CRC \(String(repeating: "0", count: 8 - checksum.count))\(checksum)"
    }

    private static func first(_ source: [Record], _ here: [Record]) -> Difference? {
        for (left, right) in zip(source, here) {
            guard left.offset == right.offset else { return nil }
            if let difference = fields(left, right) { return difference }
        }
        return nil
    }

    private static func fields(_ left: Record, _ right: Record) -> Difference? {
        func difference(_ what: String, _ source: String, _ here: String) -> Difference {
            Difference(offset: left.offset, what: what, source: source, here: here)
        }
        if left.key != right.key { return difference("the key", ShortText.of(left.key), ShortText.of(right.key)) }
        if left.value != right.value { return difference("the value", ShortText.of(left.value), ShortText.of(right.value)) }
        if left.headers != right.headers { return difference("the headers", "\(left.headers.count)", "\(right.headers.count)") }
        if left.timestamp != right.timestamp { return difference("the timestamp", "\(left.timestamp)", "\(right.timestamp)") }
        return nil
    }
}
