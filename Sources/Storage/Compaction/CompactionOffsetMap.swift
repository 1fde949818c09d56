// Which offset is the newest of each key: all that compaction has to remember, in 24 bytes a key and no more memory than it was given.
//
// An open hash table in memory of its own, so that it comes back from the system at once and goes back to it at once: between two
// cleanings it costs nothing.
import Glibc
import Primitives

/// The newest offset of each key in a part of a log.
final class CompactionOffsetMap {
    /// Bytes of an entry: a hash of 16 and an offset of 8, as in Kafka's map.
    static let bytesPerEntry = 24
    /// What the smallest map takes, where Kafka would refuse to start.
    private static let fewestSlots = 64

    let slots: Int
    /// Keys that the map takes; beyond it probing would take too long.
    let capacity: Int
    private(set) var count = 0
    /// Everything up to here is known to the map; -1 for nothing.
    private(set) var latestOffset: Offset = -1
    private let hasher: KeyHasher
    private let memory: UnsafeMutableRawPointer
    private let bytes: Int

    /// - Parameters:
    ///   - memoryBytes: what the table may take at most.
    ///   - keyLimit: how many keys there can be; the table is not made larger than they need.
    ///   - loadFactor: how full the table may get, `log.cleaner.io.buffer.load.factor`.
    /// - Throws: `outOfMemory` when the system has not so much.
    init(memoryBytes: Int, keyLimit: Int, loadFactor: Double, secret: (UInt64, UInt64)) throws(CleaningFailure) {
        let load = min(max(loadFactor, 0.01), 0.98)
        let needed = Double(max(1, keyLimit)) / load + 1
        let allowed = max(Self.fewestSlots, memoryBytes / Self.bytesPerEntry)
        slots = needed < Double(allowed) ? max(Self.fewestSlots, Int(needed)) : allowed
        capacity = max(1, Int(Double(slots) * load))
        bytes = slots * Self.bytesPerEntry
        hasher = KeyHasher(secret: secret)
        let address = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let address, address != MAP_FAILED else { throw .outOfMemory(bytes: bytes) }
        memory = address
    }

    deinit {
        munmap(memory, bytes)
    }

    var memoryInBytes: Int { bytes }
    /// Part of the table that is in use.
    var utilization: Double { Double(count) / Double(slots) }

    func noteLatest(_ offset: Offset) {
        latestOffset = max(latestOffset, offset)
    }

    /// Notes an offset of a key, which is not below those noted before. Returns false, and changes nothing, when the map is full.
    func put(_ key: UnsafeRawBufferPointer, offset: Offset) -> Bool {
        if count >= capacity { return false }
        let hash = hasher.hash(key)
        let entry = find(hash)
        if entry[2] == 0 {
            entry[0] = hash.high
            entry[1] = hash.low
            count += 1
        }
        entry[2] = UInt64(bitPattern: offset) &+ 1
        noteLatest(offset)
        return true
    }

    /// The newest offset of a key; nil when the key was not met.
    func offset(of key: UnsafeRawBufferPointer) -> Offset? {
        let entry = find(hasher.hash(key))
        return entry[2] == 0 ? nil : Offset(bitPattern: entry[2] &- 1)
    }

    /// The entry of a hash, or the free one where it belongs. There always is a free one: the table never gets full.
    @inline(__always)
    private func find(_ hash: KeyHash) -> UnsafeMutablePointer<UInt64> {
        let table = memory.assumingMemoryBound(to: UInt64.self)
        var slot = Int(hash.high.multipliedFullWidth(by: UInt64(slots)).high)
        while true {
            let entry = table + slot * 3
            if entry[2] == 0 || (entry[0] == hash.high && entry[1] == hash.low) { return entry }
            slot += 1
            if slot == slots { slot = 0 }
        }
    }
}
