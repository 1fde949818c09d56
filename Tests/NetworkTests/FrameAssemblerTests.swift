// The assembler against a dumb model: whatever the splits, the same frames come out, and large ones are received in place.
import NIOCore
import Primitives
import Testing

@testable import Network

@Suite("Frame assembler")
struct FrameAssemblerTests {
    /// Plays NIO: asks for a buffer, puts up to `count` bytes of the stream into it, hands it back. Returns how many fitted.
    private static func feed(_ assembler: FrameAssembler, _ stream: ByteBuffer, from start: Int, atMost count: Int) throws -> Int {
        var buffer = assembler.buffer(allocator: ByteBufferAllocator())
        let fitting = min(count, buffer.writableBytes, stream.readableBytes - start)
        #expect(buffer.writableBytes > 0)
        buffer.writeImmutableBuffer(try #require(stream.getSlice(at: start, length: fitting)))
        #expect(assembler.received(buffer) == fitting)
        return fitting
    }

    // Whole buffers instead of single bytes: a debug build takes its time over every byte.
    private static let noise: ByteBuffer = {
        var random = SeededRandom(seed: 77)
        return ByteBuffer(bytes: (0..<10_007).map { _ in UInt8.random(in: 0...255, using: &random) })
    }()

    private static func frames(_ random: inout SeededRandom, count: Int) -> [ByteBuffer] {
        (0..<count).map { _ in
            let size: Int
            switch Int.random(in: 0..<10, using: &random) {
            case 0: size = 0
            case 1..<6: size = Int.random(in: 1..<300, using: &random)
            case 6..<9: size = Int.random(in: 10_000..<140_000, using: &random)
            default: size = Int.random(in: 200_000..<3_000_000, using: &random)
            }
            var frame = ByteBuffer()
            frame.writeInteger(random.next())
            while frame.readableBytes < size {
                frame.writeImmutableBuffer(noise)
            }
            return frame.getSlice(at: 0, length: size) ?? frame
        }
    }

    @Test("Frames survive every way of splitting the stream", arguments: 1...20 as ClosedRange<UInt64>)
    func arbitrarySplits(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let sent = Self.frames(&random, count: 40)
        var stream = ByteBuffer()
        for frame in sent {
            stream.writeInteger(UInt32(frame.readableBytes))
            stream.writeImmutableBuffer(frame)
        }
        let assembler = FrameAssembler(pool: BufferPool(), maximumFrameBytes: 4_000_000)
        // Some frames are kept by their handler: the memory must not be used again under them.
        var held: [Int: ByteBuffer] = [:]
        var count = 0
        var position = 0
        while position < stream.readableBytes {
            let largest = [3, 50, 5_000, 100_000, 1_000_000][Int.random(in: 0..<5, using: &random)]
            position += try Self.feed(assembler, stream, from: position, atMost: Int.random(in: 1...largest, using: &random))
            while case .complete(let frame) = assembler.nextFrame() {
                // Compared outside of the expectation, which would print megabytes.
                let isSame = count < sent.count && frame == sent[count]
                #expect(isSame, "frame \(count) of \(frame.readableBytes) bytes")
                if Int.random(in: 0..<3, using: &random) == 0 { held[count] = frame }
                count += 1
            }
            assembler.prepareForReading()
        }
        #expect(count == sent.count)
        #expect(!assembler.hasBytes)
        for (index, frame) in held {
            let isSame = frame == sent[index]
            #expect(isSame, "frame \(index) was overwritten")
        }
    }

    @Test("A stream of large frames is received in place, one frame a read, in the same memory")
    func largeFramesInPlace() throws {
        let stream = ByteBuffer(bytes: (0..<50).flatMap { _ in TestClient.framed([UInt8](repeating: 7, count: 131_072)) })
        let assembler = FrameAssembler(pool: BufferPool(), maximumFrameBytes: 1_000_000)
        var addresses: Set<UInt> = []
        var position = 0
        var reads = 0
        var frames = 0
        while position < stream.readableBytes {
            position += try Self.feed(assembler, stream, from: position, atMost: .max)
            reads += 1
            while case .complete(let frame) = assembler.nextFrame() {
                frames += 1
                _ = frame.withUnsafeReadableBytes { addresses.insert(UInt(bitPattern: $0.baseAddress)) }
            }
            assembler.prepareForReading()
        }
        #expect(frames == 50)
        #expect(reads <= 53)
        #expect(addresses.count <= 3)
    }

    @Test("An announced frame costs memory only as it arrives")
    func announcementIsFree() throws {
        let pool = BufferPool()
        let assembler = FrameAssembler(pool: pool, maximumFrameBytes: 200_000_000)
        let stream = ByteBuffer(bytes: [0x05, 0xf5, 0xe1, 0x00] + [UInt8](repeating: 1, count: 10))
        #expect(try Self.feed(assembler, stream, from: 0, atMost: 64) == 14)
        #expect(assembler.readPrefix() == nil)
        #expect(assembler.expected == 100_000_000)
        assembler.prepareForReading()
        let buffer = assembler.buffer(allocator: ByteBufferAllocator())
        #expect(buffer.capacity <= 2 * FrameAssembler.firstStage)
    }

    @Test("Sizes out of bounds are told")
    func invalidSizes() throws {
        for (prefix, size) in [([0xff, 0xff, 0xff, 0xff], -1), ([0, 0, 4, 1], 1025)] as [([UInt8], Int)] {
            let assembler = FrameAssembler(pool: BufferPool(), maximumFrameBytes: 1024)
            _ = try Self.feed(assembler, ByteBuffer(bytes: prefix), from: 0, atMost: 4)
            guard case .invalidSize(size) = assembler.nextFrame() else {
                Issue.record("size \(size) was accepted")
                continue
            }
        }
    }

    @Test("Between frames a connection owns no memory")
    func idleOwnsNothing() throws {
        let pool = BufferPool()
        let assembler = FrameAssembler(pool: pool, maximumFrameBytes: 1_000_000)
        let stream = ByteBuffer(bytes: TestClient.framed([UInt8](repeating: 3, count: 100)))
        _ = try Self.feed(assembler, stream, from: 0, atMost: 60)
        assembler.prepareForReading()
        #expect(pool.pooledBytes == 0)
        _ = try Self.feed(assembler, stream, from: 60, atMost: 60)
        guard case .complete = assembler.nextFrame() else {
            Issue.record("no frame")
            return
        }
        assembler.prepareForReading()
        #expect(pool.pooledBytes == BufferPool.scratchCapacity)
        #expect(!assembler.hasBytes)
        // What is not used any more is freed.
        pool.trim()
        pool.trim()
        #expect(pool.pooledBytes == 0)
    }
}
