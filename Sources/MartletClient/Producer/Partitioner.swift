// Which partition a record goes to: the same as other clients choose for the same key, or else records of one key would part ways.
import NIOCore

/// The hash that Kafka's Java clients choose partitions by.
public enum Murmur2 {
    /// MurmurHash2 with Kafka's seed, over a buffer's readable bytes.
    public static func hash(_ buffer: ByteBuffer) -> Int32 {
        buffer.withUnsafeReadableBytes { hash($0) }
    }

    static func hash(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        let multiplier: UInt32 = 0x5bd1_e995
        let length = bytes.count
        var hash: UInt32 = 0x9747_b28c ^ UInt32(truncatingIfNeeded: length)
        var position = 0
        while position + 4 <= length {
            var word = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self))
            word &*= multiplier
            word ^= word >> 24
            word &*= multiplier
            hash &*= multiplier
            hash ^= word
            position += 4
        }
        let rest = length - position
        if rest == 3 { hash ^= UInt32(bytes[position + 2]) << 16 }
        if rest >= 2 { hash ^= UInt32(bytes[position + 1]) << 8 }
        if rest >= 1 {
            hash ^= UInt32(bytes[position])
            hash &*= multiplier
        }
        hash ^= hash >> 13
        hash &*= multiplier
        hash ^= hash >> 15
        return Int32(bitPattern: hash)
    }

    /// The partition of a key among `count`: the hash without its sign, modulo the count.
    public static func partition(forKey key: ByteBuffer, count: Int32) -> Int32 {
        (hash(key) & 0x7fff_ffff) % count
    }
}

/// How records without an explicit partition are spread.
public enum Partitioner: Sendable {
    /// By the key's ``Murmur2`` hash; records without a key stay with one partition for a batch's worth of bytes, then move on (KIP-794).
    case standard
    /// One after another, whatever the key.
    case roundRobin
    /// The application's own choice: record and number of partitions in, partition out.
    case custom(@Sendable (ProducerRecord, Int32) -> Int32)
}

/// The memory of a partitioner for one topic.
struct PartitionChooser: Sendable {
    /// Number of partitions, always positive.
    var count: Int32
    /// Partitions with a leader; all when none has one.
    var available: [Int32]
    private var sticky: Int32 = -1
    private var stickyBytes = 0
    private var next = 0

    init(count: Int32, available: [Int32]) {
        self.count = count
        self.available = available.isEmpty ? Array(0..<count) : available
    }

    /// Takes over a new state of the topic.
    mutating func update(count: Int32, available: [Int32]) {
        guard count > 0 else { return }
        self.count = count
        self.available = available.isEmpty ? Array(0..<count) : available
        if !self.available.contains(sticky) { sticky = -1 }
    }

    /// - Parameter stickyLimit: bytes after which records without a key move to another partition.
    mutating func choose(
        _ record: ProducerRecord, size: Int, partitioner: Partitioner, stickyLimit: Int, using random: inout some RandomNumberGenerator
    ) -> Int32 {
        switch partitioner {
        case .custom(let choose): return choose(record, count)
        case .roundRobin:
            next = (next + 1) % available.count
            return available[next]
        case .standard:
            if let key = record.key { return Murmur2.partition(forKey: key, count: count) }
            if sticky < 0 || stickyBytes >= stickyLimit {
                stickyBytes = 0
                let others = available.count > 1 ? available.filter { $0 != sticky } : available
                sticky = others.randomElement(using: &random) ?? 0
            }
            stickyBytes += size
            return sticky
        }
    }
}
