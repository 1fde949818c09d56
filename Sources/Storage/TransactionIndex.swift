// Aborted transactions of one segment: `.txnindex`, 34 bytes an entry, written when an abort marker is appended (KIP-98).
import Glibc
import Primitives

/// One entry of a `.txnindex`.
public struct AbortedTransactionEntry: Sendable, Hashable {
    public var producerID: ProducerID
    public var firstOffset: Offset
    /// The marker's.
    public var lastOffset: Offset
    /// After this abort: the start of the oldest other open transaction, or the offset behind the marker.
    public var lastStableOffset: Offset

    static let size = 34

    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.size)
        bytes.appendBigEndian(Int16(0))
        for field in [producerID, firstOffset, lastOffset, lastStableOffset] { bytes.appendBigEndian(field) }
        return bytes
    }
}

/// The file's content. Small: read whole when a read_committed consumer first comes by.
struct TransactionIndex: Equatable {
    private(set) var entries: [AbortedTransactionEntry] = []

    init() {}

    init(entries: [AbortedTransactionEntry]) {
        self.entries = entries
    }

    /// - Throws: `corruptFile` when the file is no such index.
    init(path: String, baseOffset: Offset) throws(StorageError) {
        guard let bytes = try FileSystem.contents(of: path) else { return }
        guard bytes.count % AbortedTransactionEntry.size == 0 else {
            throw .corruptFile(path: path, reason: "\(bytes.count) bytes are no multiple of \(AbortedTransactionEntry.size)")
        }
        try bytes.withBytes { bytes throws(StorageError) in
            for start in stride(from: 0, to: bytes.count, by: AbortedTransactionEntry.size) {
                func field(_ index: Int) -> Int64 {
                    Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: start + 2 + index * 8, as: Int64.self))
                }
                guard bytes.loadUnaligned(fromByteOffset: start, as: Int16.self) == 0 else {
                    throw .corruptFile(path: path, reason: "unknown entry version")
                }
                let entry = AbortedTransactionEntry(
                    producerID: field(0), firstOffset: field(1), lastOffset: field(2), lastStableOffset: field(3))
                guard entry.lastOffset >= baseOffset, entry.lastOffset > entries.last?.lastOffset ?? -1 else {
                    throw .corruptFile(path: path, reason: "entries out of order")
                }
                entries.append(entry)
            }
        }
    }

    mutating func append(_ entry: AbortedTransactionEntry) {
        entries.append(entry)
    }

    /// Forgets markers at or above `offset`. Returns whether there were any.
    mutating func truncate(to offset: Offset) -> Bool {
        let kept = entries.prefix { $0.lastOffset < offset }
        guard kept.count < entries.count else { return false }
        entries = Array(kept)
        return true
    }

    /// Collects transactions that touch offsets from `start` up to `end`. Returns whether later segments can have none any more.
    func collect(from start: Offset, to end: Offset, into result: inout [AbortedTransaction]) -> Bool {
        for entry in entries {
            if entry.lastOffset >= start, entry.firstOffset < end {
                result.append(AbortedTransaction(producerID: entry.producerID, firstOffset: entry.firstOffset))
            }
            if entry.lastStableOffset >= end { return true }
        }
        return false
    }

    /// Replaces the file.
    func write(to path: String) throws(StorageError) {
        try FileSystem.replace(path, with: entries.flatMap(\.bytes))
    }

    /// Adds one entry to the file.
    static func append(_ entry: AbortedTransactionEntry, count: Int, to path: String) throws(StorageError) {
        try FileSystem.withDescriptor(path, O_WRONLY | O_CREAT) { descriptor throws(StorageError) in
            try entry.bytes.withBytes { bytes throws(StorageError) in
                try FileSystem.write(descriptor, bytes, at: count * AbortedTransactionEntry.size, path: path)
            }
        }
    }
}
