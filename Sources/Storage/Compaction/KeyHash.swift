// 128 bits in place of a key. SipHash-2-4 under a secret that is drawn for each map: who writes records cannot make two keys collide
// without it, and by chance two of n keys do with a probability of n² / 2¹²⁹. Kafka uses MD5, for which collisions can be made; only
// memory ever sees the hash, so that nothing has to agree with it.

/// A key's hash.
struct KeyHash: Equatable {
    var high: UInt64
    var low: UInt64
}

/// SipHash-2-4 with 128 bits of output, after the paper's reference.
struct KeyHasher {
    private let k0: UInt64
    private let k1: UInt64

    init(secret: (UInt64, UInt64)) {
        k0 = secret.0
        k1 = secret.1
    }

    func hash(_ bytes: UnsafeRawBufferPointer) -> KeyHash {
        var state = SipState(k0, k1)
        let whole = bytes.count & ~7
        var position = 0
        while position < whole {
            state.absorb(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)))
            position += 8
        }
        var last = UInt64(bytes.count & 0xff) << 56
        var shift: UInt64 = 0
        while position < bytes.count {
            last |= UInt64(bytes[position]) << shift
            shift += 8
            position += 1
        }
        state.absorb(last)
        return state.finish()
    }
}

private struct SipState {
    private var v0: UInt64
    private var v1: UInt64
    private var v2: UInt64
    private var v3: UInt64

    init(_ k0: UInt64, _ k1: UInt64) {
        v0 = k0 ^ 0x736f_6d65_7073_6575
        // The last bits tell the variant with 128 bits of output.
        v1 = k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee
        v2 = k0 ^ 0x6c79_6765_6e65_7261
        v3 = k1 ^ 0x7465_6462_7974_6573
    }

    @inline(__always)
    private static func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 { value &<< count | value &>> (64 - count) }

    @inline(__always)
    private mutating func round() {
        v0 = v0 &+ v1
        v1 = Self.rotate(v1, 13) ^ v0
        v0 = Self.rotate(v0, 32)
        v2 = v2 &+ v3
        v3 = Self.rotate(v3, 16) ^ v2
        v0 = v0 &+ v3
        v3 = Self.rotate(v3, 21) ^ v0
        v2 = v2 &+ v1
        v1 = Self.rotate(v1, 17) ^ v2
        v2 = Self.rotate(v2, 32)
    }

    @inline(__always)
    mutating func absorb(_ word: UInt64) {
        v3 ^= word
        round()
        round()
        v0 ^= word
    }

    mutating func finish() -> KeyHash {
        v2 ^= 0xee
        for _ in 0..<4 { round() }
        let first = v0 ^ v1 ^ v2 ^ v3
        v1 ^= 0xdd
        for _ in 0..<4 { round() }
        return KeyHash(high: first, low: v0 ^ v1 ^ v2 ^ v3)
    }
}
