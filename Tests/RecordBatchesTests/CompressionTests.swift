// Every codec both ways, at every level, with bounds that hold.
import NIOCore
import Primitives
import RecordBatches
import Testing

@Suite struct CompressionTests {
    static let codecs: [CompressionType] = [.gzip, .snappy, .lz4, .zstd]

    /// Text-like, random and constant stretches: what compresses, what does not, and what compresses too well.
    static func mixed(size: Int, seed: UInt64) -> ByteBuffer {
        var random = SeededRandom(seed: seed)
        var buffer = ByteBuffer()
        buffer.reserveCapacity(size)
        while buffer.readableBytes < size {
            let count = min(Int.random(in: 1...700, using: &random), size - buffer.readableBytes)
            switch Int.random(in: 0..<3, using: &random) {
            case 0: buffer.writeBytes((0..<count).map { UInt8(ascii: "a") + UInt8($0 * $0 % 7) })
            case 1: buffer.writeBytes((0..<count).map { _ in UInt8.random(in: 0...255, using: &random) })
            default: buffer.writeRepeatingByte(0, count: count)
            }
        }
        return buffer
    }

    private func roundTrip(_ compression: Compression, _ input: ByteBuffer) throws -> ByteBuffer {
        var output = ByteBuffer(string: "kept")
        try compression.compress(input, into: &output)
        #expect(output.readString(length: 4) == "kept", "compress appends")
        return try Compression.decompress(output, type: compression.type, maximumSize: input.readableBytes)
    }

    @Test(arguments: codecs)
    func sizesAroundTheBlocks(type: CompressionType) throws {
        let sizes = [0, 1, 2, 100, 4095, 4096, 32_767, 32_768, 32_769, 65_535, 65_536, 65_537, 131_072, 300_001, 1_048_577]
        for (seed, size) in sizes.enumerated() {
            let input = Self.mixed(size: size, seed: UInt64(seed))
            #expect(try roundTrip(Compression(type), input) == input, "\(size) bytes")
        }
    }

    /// A frame that announces 5,000 bytes and ends after one. Found by fuzzing: the next frame was taken for the rest of it.
    @Test func aDamagedFrameDoesNotDisturbTheNextOne() throws {
        let damaged: [UInt8] = [0x04, 0x22, 0x4d, 0x18, 0x68, 0x40, 0x88, 0x13, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0x80, 0x61]
        let input = Self.mixed(size: 1000, seed: 1)
        for _ in 0..<8 {
            #expect(throws: RecordBatchError.self) {
                try Compression.decompress(ByteBuffer(bytes: damaged), type: .lz4, maximumSize: 10_000, ignoringHeaderChecksum: true)
            }
            #expect(try roundTrip(Compression(.lz4), input) == input)
        }
    }

    @Test(arguments: codecs)
    func levels(type: CompressionType) throws {
        let input = Self.mixed(size: 20_000, seed: 3)
        let levels: [Int?] =
            switch type {
            case .gzip: [nil, -1] + (1...9).map { $0 }
            case .lz4: [nil] + (1...17).map { $0 }
            case .zstd: [nil, -131_072, -50, -1, 0] + (1...22).map { $0 }
            default: [nil, 5]
            }
        for level in levels {
            #expect(try roundTrip(Compression(type, level: level), input) == input, "level \(level.map(String.init) ?? "default")")
        }
        guard let range = Compression.levels(of: type) else { return }
        for level in [range.lowerBound - 5, range.upperBound + 1] {
            #expect(throws: RecordBatchError.self) { try self.roundTrip(Compression(type, level: level), input) }
        }
    }

    @Test(arguments: codecs)
    func bombsAreRefusedAtTheBound(type: CompressionType) throws {
        var zeros = ByteBuffer()
        zeros.writeRepeatingByte(0, count: 32 << 20)
        var bomb = ByteBuffer()
        try Compression(type).compress(zeros, into: &bomb)
        for limit in [0, 1, 1000, 1 << 20, zeros.readableBytes - 1] {
            #expect(throws: RecordBatchError.decompressedSizeExceeded(limit: limit)) {
                try Compression.decompress(bomb, type: type, maximumSize: limit)
            }
        }
        #expect(try Compression.decompress(bomb, type: type, maximumSize: zeros.readableBytes) == zeros, "exactly the bound is within it")
    }

    @Test(arguments: codecs)
    func everyTruncationIsAnError(type: CompressionType) throws {
        let input = Self.mixed(size: 3000, seed: 11)
        var whole = ByteBuffer()
        try Compression(type).compress(input, into: &whole)
        for length in 0..<whole.readableBytes {
            let part = try #require(whole.getSlice(at: 0, length: length))
            // A snappy stream may end behind its header or any block; it then holds less.
            let result = try? Compression.decompress(part, type: type, maximumSize: 1 << 20)
            #expect(result == nil || (type == .snappy && length == 16 && result?.readableBytes == 0), "\(length) bytes")
        }
    }

    @Test func snappyOfOtherWriters() throws {
        // One bare block, as some producers wrote it: length 5, a literal of five bytes.
        let bare = ByteBuffer(bytes: [5, 4 << 2] + Array("hello".utf8))
        #expect(try Compression.decompress(bare, type: .snappy, maximumSize: 100) == ByteBuffer(string: "hello"))
        // Two streams one behind the other, each with its header.
        var stream = ByteBuffer()
        for text in ["one ", "two"] { try Compression.snappy.compress(ByteBuffer(string: text), into: &stream) }
        #expect(try Compression.decompress(stream, type: .snappy, maximumSize: 100) == ByteBuffer(string: "one two"))
        // A block that claims 4 GiB in six bytes is not believed.
        let liar = ByteBuffer(bytes: [0xff, 0xff, 0xff, 0xff, 0x0f, 0])
        #expect(throws: RecordBatchError.decompressionFailed(.snappy, "block with an impossible length")) {
            try Compression.decompress(liar, type: .snappy, maximumSize: .max)
        }
    }

    @Test func gzipOfSeveralMembers() throws {
        var stream = ByteBuffer()
        for text in ["one ", "two"] { try Compression.gzip.compress(ByteBuffer(string: text), into: &stream) }
        stream.writeString("behind")
        #expect(try Compression.decompress(stream, type: .gzip, maximumSize: 100) == ByteBuffer(string: "one two"))
    }

    @Test func kafkaFormats() throws {
        var snappy = ByteBuffer()
        try Compression.snappy.compress(Self.mixed(size: 40_000, seed: 1), into: &snappy)
        #expect(snappy.getString(at: 1, length: 6) == "SNAPPY")
        #expect(snappy.getInteger(at: 8, as: UInt64.self) == 0x1_0000_0001)
        var lz4 = ByteBuffer()
        try Compression.lz4.compress(Self.mixed(size: 100_000, seed: 1), into: &lz4)
        // Version 1, independent blocks, no checksums, no content size; blocks of 64 KiB.
        #expect(lz4.getBytes(at: 0, length: 6) == [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40])
        var zstd = ByteBuffer()
        try Compression.zstd.compress(Self.mixed(size: 100_000, seed: 1), into: &zstd)
        #expect(zstd.getInteger(at: 0, as: UInt32.self) == 0x28b5_2ffd)
        // Frame header descriptor: no content size (bits 7-6), not a single segment (bit 5).
        #expect(try #require(zstd.getInteger(at: 4, as: UInt8.self)) & 0xe0 == 0)
    }

    @Test func names() {
        for type in CompressionType.allCases { #expect(CompressionType(name: type.name) == type) }
        #expect(CompressionType(name: "producer") == nil)
        #expect(CompressionType(name: "GZIP") == nil)
    }
}
