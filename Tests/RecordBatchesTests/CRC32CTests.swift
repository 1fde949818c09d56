// Every implementation of the checksum that this processor can run, against the definition.
import CChecksums
import NIOCore
import Primitives
import Testing

@testable import RecordBatches

@Suite struct CRC32CTests {
    /// The definition, one bit at a time.
    static func bitwise(_ bytes: UnsafeRawBufferPointer, continuing crc: UInt32 = 0) -> UInt32 {
        var state = ~crc
        for byte in bytes {
            state ^= UInt32(byte)
            for _ in 0..<8 { state = state & 1 == 1 ? (state >> 1) ^ 0x82f6_3b78 : state >> 1 }
        }
        return ~state
    }

    @Test(arguments: 0..<Int(martlet_crc32c_implementation_count()))
    func knownAnswers(implementation: Int) {
        // From RFC 3720, appendix B.4, and the usual check value.
        let answers: [([UInt8], UInt32)] = [
            (Array("123456789".utf8), 0xe306_9283),
            ([UInt8](repeating: 0, count: 32), 0x8a91_36aa),
            ([UInt8](repeating: 0xff, count: 32), 0x62a8_ab43),
            (Array(0..<32), 0x46dd_794e),
            (Array((0..<32).reversed()), 0x113f_db5c),
            ([], 0),
        ]
        for (bytes, expected) in answers {
            let computed = bytes.withUnsafeBytes { martlet_crc32c_with(Int32(implementation), 0, $0.baseAddress, $0.count) }
            #expect(computed == expected)
        }
    }

    @Test(arguments: 0..<Int(martlet_crc32c_implementation_count()))
    func agreesWithTheDefinitionAtEveryAlignmentAndLength(implementation: Int) {
        var random = SeededRandom(seed: 7)
        let bytes = (0..<40_000).map { _ in UInt8.random(in: 0...255, using: &random) }
        // Short ones whole, then around the lanes' sizes: 3 x 64, 3 x 256, 3 x 4096.
        let lengths = Array(0...300) + Array(760...780) + Array(12_280...12_300) + [24_576, 25_537, 39_000]
        bytes.withUnsafeBytes { all in
            for length in lengths {
                for alignment in length > 300 ? 3..<4 : 0..<8 {
                    let part = UnsafeRawBufferPointer(rebasing: all[alignment..<alignment + length])
                    let start = UInt32(truncatingIfNeeded: length &* 2_654_435_761)
                    let computed = martlet_crc32c_with(Int32(implementation), start, part.baseAddress, part.count)
                    let expected = Self.bitwise(part, continuing: start)
                    #expect(computed == expected, "length \(length), alignment \(alignment)")
                }
            }
        }
    }

    @Test func piecesChain() {
        let buffer = ByteBuffer(string: "the quick brown fox jumps over the lazy dog")
        buffer.withUnsafeReadableBytes { all in
            for split in 0...all.count {
                let first = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: all[..<split]))
                #expect(
                    CRC32C.checksum(UnsafeRawBufferPointer(rebasing: all[split...]), continuing: first) == CRC32C.checksum(buffer))
            }
        }
    }

    @Test func implementationsAreNamed() {
        let count = martlet_crc32c_implementation_count()
        let names = (0..<count).compactMap { martlet_crc32c_implementation_name($0).map { String(cString: $0) } }
        #expect(names.count == Int(count))
        #expect(names.first == "portable")
        #expect(CRC32C.implementation == names.last)
        #expect(martlet_crc32c_implementation_name(count) == nil)
        #expect(martlet_crc32c_implementation_name(-1) == nil)
    }
}
