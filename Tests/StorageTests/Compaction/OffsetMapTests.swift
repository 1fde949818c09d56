// The map of keys: an ordinary dictionary, but for its memory.
import Primitives
import Testing

@testable import Storage

@Suite("Compaction: the map of keys")
struct OffsetMapTests {
    private func map(memory: Int = 1 << 20, keys: Int = 1000, load: Double = 0.9) throws -> CompactionOffsetMap {
        try CompactionOffsetMap(memoryBytes: memory, keyLimit: keys, loadFactor: load, secret: (1, 2))
    }

    private func put(_ map: CompactionOffsetMap, _ key: String, _ offset: Offset) -> Bool {
        Array(key.utf8).withUnsafeBytes { map.put($0, offset: offset) }
    }

    private func offset(_ map: CompactionOffsetMap, _ key: String) -> Offset? {
        Array(key.utf8).withUnsafeBytes { map.offset(of: $0) }
    }

    @Test("It agrees with a dictionary", arguments: [0.1, 0.5, 0.9, 2.0])
    func model(_ load: Double) throws {
        var random = SeededRandom(seed: 3)
        let map = try map(keys: 3000, load: load)
        var model: [String: Offset] = [:]
        for step in 0..<6000 {
            let key = "key-\(Int.random(in: 0..<3000, using: &random))"
            #expect(put(map, key, Offset(step)))
            model[key] = Offset(step)
        }
        #expect(map.count == model.count && map.latestOffset == 5999)
        #expect((0..<4000).allSatisfy { offset(map, "key-\($0)") == model["key-\($0)"] })
    }

    @Test("It takes no more than it may: 24 bytes a key")
    func bounds() throws {
        let full = try map(memory: 2400, keys: .max)
        #expect(full.memoryInBytes == 2400 && full.capacity == 90)
        var taken = 0
        while put(full, "key-\(taken)", Offset(taken)) { taken += 1 }
        #expect(taken == 90 && full.latestOffset == 89)
        #expect(!put(full, "key-0", 100), "nor known keys: what follows is left for the next cleaning")
        #expect(offset(full, "key-90") == nil && offset(full, "key-0") == 0)
        #expect(try map(memory: 128 << 20, keys: 90).memoryInBytes < 4096, "nor more than there are keys")
    }

    @Test("Offset 0 and an empty key are none other than the rest")
    func edges() throws {
        let map = try map()
        #expect(offset(map, "") == nil && map.latestOffset == -1)
        #expect(put(map, "", 0))
        #expect(offset(map, "") == 0 && map.latestOffset == 0)
    }

    @Test("The hash is SipHash-2-4 with 128 bits, by its authors' vectors")
    func hash() {
        let hasher = KeyHasher(secret: (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908))
        func hash(_ count: Int) -> [UInt64] {
            let hash = (0..<count).map { UInt8($0) }.withUnsafeBytes { hasher.hash($0) }
            return [hash.high.byteSwapped, hash.low.byteSwapped]
        }
        #expect(hash(0) == [0xa381_7f04_ba25_a8e6, 0x6df6_7214_c755_0293])
        #expect(hash(1) == [0xda87_c1d8_6b99_af44, 0x3476_5911_9b22_fc45])
    }
}
