// The assembler against a dumb model: whatever the splits, the same frames come out, and large ones are received in place.
import NIOCore
import Primitives
import Testing

@testable import Network

@Suite("Frame assembler")
struct FrameAssemblerTests {
    /// Plays NIO: asks for a buffer, puts up to `count` bytes of the stream into it, hands it back. Returns how many fitted.
    private static func feed(_ assembler: FrameAssembler, _ stream: [UInt8], from start: Int, atMost count: Int) -> Int {
        var buffer = assembler.buffer(allocator: ByteBufferAllocator())
        let fitting = min(count, buffer.writableBytes, stream.count - start)
        #expect(buffer.writableBytes > 0)
        buffer.writeBytes(stream[start..<start + fitting])
        #expect(assembler.received(buffer) == fitting)
        return fitting
    }

    private static func frames(_ random: inout SeededRandom, count: Int) -> [[UInt8]] {
        (0..<count).map { _ in
            let size: Int
            switch Int.random(in: 0..<10, using: &random) {
            case 0: size = 0
            case 1..<6: size = Int.random(in: 1..<300, using: &random)
            case 6..<9: size = Int.random(in: 10_000..<140_000, using: &random)
            default: size = Int.random(in: 200_000..<2_500_000, using: &random)
            }
            let first = UInt8.random(in: 0...255, using: &random)
            // A cheap pattern: repeating it is much faster than computing every byte in a debug build.
            let pattern = (0..<251).map { first &+ UInt8(truncatingIfNeeded: $0 &* 7) }
            return Array(repeatElement(pattern, count: size / 251 + 1).joined().prefix(size))
        }
    }

    @Test("Frames survive every way of splitting the stream", arguments: 1...6 as ClosedRange<UInt64>)
    func arbitrarySplits(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let sent = Self.frames(&random, count: 30)
        let stream = sent.flatMap { TestClient.framed($0) }
        let assembler = FrameAssembler(pool: BufferPool(), maximumFrameBytes: 4_000_000)
        var held: [ByteBuffer] = []
        var received: [[UInt8]] = []
        var position = 0
        while position < stream.count {
            let largest = [3, 50, 5_000, 100_000, 1_000_000][Int.random(in: 0..<5, using: &random)]
            position += Self.feed(assembler, stream, from: position, atMost: Int.random(in: 1...largest, using: &random))
            while case .complete(let frame) = assembler.nextFrame() {
                received.append(Array(frame.readableBytesView))
                // Some frames are kept by their handler: the memory must not be used again under them.
                if Int.random(in: 0..<3, using: &random) == 0 { held.append(frame) } else { held.append(ByteBuffer()) }
            }
            assembler.prepareForReading()
        }
        // Compared outside of the expectations, which would print megabytes.
        let firstDifference = zip(received, sent).enumerated().first { $1.0 != $1.1 }?.offset
        #expect(firstDifference == nil)
        #expect(received.count == sent.count)
        #expect(!assembler.hasBytes)
        let overwritten = held.enumerated().first { index, frame in
            frame.readableBytes > 0 && Array(frame.readableBytesView) != sent[index]
        }
        #expect(overwritten?.offset == nil)
    }

    @Test("A stream of large frames is received in place, one frame a read, in the same memory")
    func largeFramesInPlace() throws {
        let payload = [UInt8](repeating: 7, count: 131_072)
        let stream = (0..<50).flatMap { _ in TestClient.framed(payload) }
        let assembler = FrameAssembler(pool: BufferPool(), maximumFrameBytes: 1_000_000)
        var addresses: Set<UInt> = []
        var position = 0
        var reads = 0
        var frames = 0
        while position < stream.count {
            position += Self.feed(assembler, stream, from: position, atMost: .max)
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
    func announcementIsFree() {
        let pool = BufferPool()
        let assembler = FrameAssembler(pool: pool, maximumFrameBytes: 200_000_000)
        let stream = [UInt8]([0x05, 0xf5, 0xe1, 0x00]) + [UInt8](repeating: 1, count: 10)
        #expect(Self.feed(assembler, stream, from: 0, atMost: 64) == 14)
        #expect(assembler.readPrefix() == nil)
        #expect(assembler.expected == 100_000_000)
        assembler.prepareForReading()
        let buffer = assembler.buffer(allocator: ByteBufferAllocator())
        #expect(buffer.capacity <= 2 * FrameAssembler.firstStage)
    }

    @Test("Sizes out of bounds are told")
    func invalidSizes() {
        for (prefix, size) in [([0xff, 0xff, 0xff, 0xff], -1), ([0, 0, 4, 1], 1025)] as [([UInt8], Int)] {
            let assembler = FrameAssembler(pool: BufferPool(), maximumFrameBytes: 1024)
            _ = Self.feed(assembler, prefix, from: 0, atMost: 4)
            guard case .invalidSize(size) = assembler.nextFrame() else {
                Issue.record("size \(size) was accepted")
                continue
            }
        }
    }

    @Test("Between frames a connection owns no memory")
    func idleOwnsNothing() {
        let pool = BufferPool()
        let assembler = FrameAssembler(pool: pool, maximumFrameBytes: 1_000_000)
        let stream = TestClient.framed([UInt8](repeating: 3, count: 100))
        _ = Self.feed(assembler, stream, from: 0, atMost: 60)
        assembler.prepareForReading()
        #expect(pool.pooledBytes == 0)
        _ = Self.feed(assembler, stream, from: 60, atMost: 60)
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
