// Entries of a fixed size, found by binary search: what offset and time index have in common.
//
// What is in the file is mapped read-only when it is first looked at; what was appended since the last flush is in memory. Writing
// through the mapping, as Kafka does, would end the process with SIGBUS on a full disk and needs the file's size announced ahead.
import Glibc

/// An index of one segment. Costs no descriptor, and no memory to speak of while nobody looks things up.
class IndexFile {
    final let path: String
    final let entrySize: Int
    /// Entries, in file and memory together.
    final private(set) var count: Int
    /// Entries that the file has.
    final private var storedCount: Int
    final private var tail: [UInt8] = []
    final private var mapping: UnsafeRawPointer?
    final private var mappedBytes = 0
    final private var mappedCount = 0
    /// Stands in where the kernel has no mapping left to give.
    final private var copy: [UInt8] = []

    /// Entries kept in memory at most: 32 KiB of an offset index.
    private static let tailLimit = 32 << 10

    /// - Parameter storedCount: how many entries of the file to believe.
    init(path: String, entrySize: Int, storedCount: Int) {
        self.path = path
        self.entrySize = entrySize
        self.storedCount = storedCount
        count = storedCount
    }

    deinit {
        unmap()
    }

    /// Whole entries that a file's size has room for.
    static func storedCount(path: String, entrySize: Int) -> Int {
        (FileSystem.status(of: path)?.size ?? 0) / entrySize
    }

    final var sizeInBytes: Int { count * entrySize }

    // MARK: Reading

    /// The integer at a byte offset within entry `index`.
    @inline(__always)
    final func load<Value: FixedWidthInteger>(_ index: Int, _ offset: Int, as type: Value.Type = Value.self) -> Value {
        precondition(index >= 0 && index < count, "index entry out of bounds")
        if index >= storedCount {
            return tail.withUnsafeBytes { bytes in
                Value(bigEndian: bytes.loadUnaligned(fromByteOffset: (index - storedCount) * entrySize + offset, as: Value.self))
            }
        }
        if index >= mappedCount { map() }
        if let mapping {
            return Value(bigEndian: mapping.loadUnaligned(fromByteOffset: index * entrySize + offset, as: Value.self))
        }
        return copy.withUnsafeBytes { Value(bigEndian: $0.loadUnaligned(fromByteOffset: index * entrySize + offset, as: Value.self)) }
    }

    /// The last entry for which `isAtOrBefore` holds, given that it holds for a first part of them; nil when for none.
    @inline(__always)
    final func last(where isAtOrBefore: (Int) -> Bool) -> Int? {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if isAtOrBefore(middle) { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? nil : low - 1
    }

    /// Maps what the file has; falls back to a copy. A file shorter than believed reads as zeros, which checks then reject.
    final private func map() {
        unmap()
        let wanted = storedCount * entrySize
        mappedCount = storedCount
        let size = FileSystem.status(of: path)?.size ?? 0
        if size >= wanted, let descriptor = try? FileSystem.open(path, O_RDONLY) {
            defer { Glibc.close(descriptor) }
            let address = mmap(nil, wanted, PROT_READ, MAP_SHARED, descriptor, 0)
            if let address, address != MAP_FAILED {
                mapping = UnsafeRawPointer(address)
                mappedBytes = wanted
                return
            }
        }
        copy = [UInt8](repeating: 0, count: wanted)
        if let descriptor = try? FileSystem.open(path, O_RDONLY) {
            defer { Glibc.close(descriptor) }
            copy.withUnsafeMutableBytes { _ = try? FileSystem.read(descriptor, into: $0, at: 0, path: path) }
        }
    }

    final private func unmap() {
        if let mapping { munmap(UnsafeMutableRawPointer(mutating: mapping), mappedBytes) }
        mapping = nil
        mappedBytes = 0
        mappedCount = 0
        copy = []
    }

    /// Gives the mapping back; the next look maps again.
    final func releaseMapping() {
        unmap()
    }

    // MARK: Writing

    final func appendEntry(_ body: (inout [UInt8]) -> Void) {
        body(&tail)
        count += 1
        if tail.count >= Self.tailLimit {
            // On a full disk the entries stay in memory; whoever flushes sees the error.
            try? flush()
        }
    }

    /// Writes what is in memory to the file, creating it if need be. Does not wait for the disk.
    final func flush() throws(StorageError) {
        if tail.isEmpty, storedCount > 0 { return }
        let position = storedCount * entrySize
        try FileSystem.withDescriptor(path, O_WRONLY | O_CREAT) { descriptor throws(StorageError) in
            try tail.withBytes { bytes throws(StorageError) in
                try FileSystem.write(descriptor, bytes, at: position, path: path)
            }
            try FileSystem.truncate(descriptor, to: position + tail.count, path: path)
        }
        storedCount = count
        tail = []
    }

    /// Forgets entries from `newCount` on.
    final func truncate(toCount newCount: Int) throws(StorageError) {
        guard newCount < count else { return }
        if newCount >= storedCount {
            tail.removeLast((count - newCount) * entrySize)
            count = newCount
            return
        }
        unmap()
        tail = []
        storedCount = newCount
        count = newCount
        try FileSystem.withDescriptor(path, O_WRONLY | O_CREAT) { descriptor throws(StorageError) in
            try FileSystem.truncate(descriptor, to: newCount * entrySize, path: path)
        }
    }
}

extension [UInt8] {
    @inline(__always)
    mutating func appendBigEndian<Value: FixedWidthInteger>(_ value: Value) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }
}
