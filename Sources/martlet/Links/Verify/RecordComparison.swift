// Comparing compacted topics. Each side takes old records away in its own time, so a record that one side alone has is right as long as a
// newer one of the same key is somewhere: those that nothing newer has been seen of are remembered by a hash of the key. When they become
// too many, half of the keys are left for another pass, and so on: memory stays bounded whatever the number of keys.
import MartletClient
import NIOCore
import Primitives

/// Keys and values as people are shown them: short, and without control characters.
enum ShortText {
    private static let shown = 40

    static func of(_ bytes: ByteBuffer?) -> String {
        guard let bytes else { return "null" }
        let view = bytes.readableBytesView
        let isPlain = view.allSatisfy { (0x20..<0x7f).contains($0) }
        guard isPlain else { return "\(view.count) bytes" }
        let text = String(decoding: view.prefix(shown), as: UTF8.self)
        return view.count > shown ? "\"\(text)…\" (\(view.count) bytes)" : "\"\(text)\""
    }
}

/// Which keys a pass is about: those whose hash leaves this remainder.
struct KeyShare: Sendable {
    var modulus: UInt64 = 1
    var remainder: UInt64 = 0

    func holds(_ hash: KeyHash) -> Bool { hash.low % modulus == remainder }

    /// Leaves half of the keys for another pass.
    mutating func halve() -> KeyShare {
        defer { modulus *= 2 }
        return KeyShare(modulus: modulus * 2, remainder: remainder + modulus)
    }
}

/// 128 bits of a key.
struct KeyHash: Hashable, Sendable {
    var low: UInt64
    var high: UInt64

    /// FNV-1a twice, from different beginnings.
    init(_ key: ByteBuffer) {
        low = 0xcbf2_9ce4_8422_2325
        high = 0x9ae1_6a3b_2f90_404f
        for byte in key.readableBytesView {
            low = (low ^ UInt64(byte)) &* 0x100_0000_01b3
            high = (high ^ UInt64(byte)) &* 0x100_0000_01b3
            high ^= high >> 29
        }
    }
}

/// Compares record by record.
struct RecordComparison {
    /// Records that one side alone has, remembered at a time; about 100 bytes each.
    static let defaultLimit = 200_000

    let pair: PartitionPair
    private let start: Offset
    private let end: Offset
    /// Where each side's committed records end, at or behind `end`.
    private let sourceEnd: Offset
    private let ownEnd: Offset
    private let limit: Int
    private var open: [KeyHash: (offset: Offset, isSource: Bool)] = [:]
    private var share = KeyShare()
    private var later: [KeyShare] = []
    private(set) var counts = ComparisonCounts()

    init(_ pair: PartitionPair, _ range: Range<Offset>, sourceEnd: Offset, ownEnd: Offset, limit: Int = defaultLimit) {
        self.pair = pair
        start = range.lowerBound
        end = range.upperBound
        self.sourceEnd = sourceEnd
        self.ownEnd = ownEnd
        self.limit = limit
    }

    mutating func run() async throws(ComparisonStop) {
        try await pass(isFirst: true)
        while let next = later.popLast() {
            share = next
            try await pass(isFirst: false)
        }
    }

    private mutating func pass(isFirst: Bool) async throws(ComparisonStop) {
        var left = StoredCursor(pair.source, at: start)
        var right = StoredCursor(pair.here, at: start)
        var (first, second): (ConsumerRecord?, ConsumerRecord?) = (nil, nil)
        while true {
            if first == nil || second == nil { try await pair.fill(&left, &right, before: end) }
            if first == nil { first = left.nextRecord(before: end) }
            if second == nil { second = right.nextRecord(before: end) }
            guard first != nil || second != nil else { break }
            take(&first, &second, isFirst)
            if isFirst { pair.meter.reached(min(left.position, right.position)) }
        }
        // What follows beyond the common end may be why a record is gone; what was lacking there is nobody's concern here.
        try await resolve(&left, from: end, to: sourceEnd)
        try await resolve(&right, from: end, to: ownEnd)
        for (_, lonely) in open {
            counts.add(
                Difference(
                    offset: lonely.offset, what: "the newest record of its key",
                    source: lonely.isSource ? "there" : "gone", here: lonely.isSource ? "gone" : "there"))
        }
        open.removeAll()
    }

    private mutating func take(_ first: inout ConsumerRecord?, _ second: inout ConsumerRecord?, _ isFirst: Bool) {
        let offset = min(first?.offset ?? .max, second?.offset ?? .max)
        let source = first?.offset == offset ? first : nil
        let here = second?.offset == offset ? second : nil
        if source != nil { first = nil }
        if here != nil { second = nil }
        if isFirst {
            counts.records += 1
            counts.bytes += (source ?? here).map { ($0.key?.readableBytes ?? 0) + ($0.value?.readableBytes ?? 0) } ?? 0
        }
        if let source, let here {
            if isFirst, let difference = Self.difference(source, here) { counts.add(difference) }
            return settle(source.key)
        }
        guard let alone = source ?? here else { return }
        settle(alone.key)
        // Tombstones go when their time is over, and records without a key with the next compaction.
        guard alone.value != nil, let key = alone.key else { return }
        let hash = KeyHash(key)
        guard share.holds(hash) else { return }
        open[hash] = (offset, source != nil)
        while open.count > limit {
            later.append(share.halve())
            open = open.filter { share.holds($0.key) }
        }
    }

    /// Something newer of a key was seen.
    private mutating func settle(_ key: ByteBuffer?) {
        guard let key, !open.isEmpty else { return }
        open[KeyHash(key)] = nil
    }

    private mutating func resolve(_ cursor: inout StoredCursor, from start: Offset, to last: Offset) async throws(ComparisonStop) {
        cursor.seek(to: max(start, cursor.position))
        var none = StoredCursor(cursor.source, at: last)
        let alone = PartitionPair(source: cursor.source, here: cursor.source, meter: pair.meter)
        while !open.isEmpty {
            try await alone.fill(&cursor, &none, before: last)
            guard let record = cursor.nextRecord(before: last) else { return }
            settle(record.key)
        }
    }

    private static func difference(_ source: ConsumerRecord, _ here: ConsumerRecord) -> Difference? {
        if source.key != here.key {
            return Difference(
                offset: source.offset, what: "the key", source: ShortText.of(source.key), here: ShortText.of(here.key))
        }
        if source.value != here.value {
            return Difference(
                offset: source.offset, what: "the value", source: ShortText.of(source.value), here: ShortText.of(here.value))
        }
        if source.headers != here.headers {
            return Difference(
                offset: source.offset, what: "the headers", source: "\(source.headers.count)", here: "\(here.headers.count)")
        }
        return nil
    }
}
