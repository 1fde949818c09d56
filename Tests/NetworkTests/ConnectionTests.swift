// Frames and answers over real sockets: order, splits, file ranges, clients that do not read.
import CLinux
import Glibc
import NIOCore
import NIOPosix
import Primitives
import Synchronization
import Testing

@testable import Network

@Suite("Connections")
struct ConnectionTests {
    @Test("Frames come back whole, however they are split", arguments: [1, 2, 3] as [UInt64])
    func splitFrames(seed: UInt64) throws {
        try withServer(.echo()) { server, port in
            var random = SeededRandom(seed: seed)
            let client = try TestClient(port: port)
            let sizes = [0, 1, 3, 4, 63, 64, 65, 1000, 16_384, 131_072, 262_140, 400_000, 1_200_000]
            for size in sizes.shuffled(using: &random) {
                let payload = [UInt8](repeating: UInt8(truncatingIfNeeded: size), count: size)
                let bytes = TestClient.framed(payload)
                var position = 0
                while position < bytes.count {
                    let count = min(bytes.count - position, Int.random(in: 1...(Bool.random(using: &random) ? 7 : 200_000), using: &random))
                    try client.write(Array(bytes[position..<position + count]))
                    position += count
                    // Small pieces only for the first bytes, or a large frame would take all day.
                    if position > 64, position < bytes.count {
                        try client.write(Array(bytes[position...]))
                        position = bytes.count
                    }
                }
                let isSame = try client.readFrame() == payload
                #expect(isSame, "a frame of \(size) bytes")
            }
            #expect(server.totals.requests == sizes.count)
            #expect(server.totals.bytesReceived == sizes.reduce(0) { $0 + $1 + 4 })
            #expect(server.totals.bytesSent == server.totals.bytesReceived)
        }
    }

    @Test("Pipelined requests are answered in order and worked on one at a time")
    func pipelinedOrder() throws {
        let inProgress = Atomic<Int>(0)
        let most = Atomic<Int>(0)
        let pool = NIOThreadPool(numberOfThreads: 3)
        pool.start()
        defer { try? pool.syncShutdownGracefully() }
        let delegate = TestDelegate { frame, connection in
            most.max(inProgress.wrappingAdd(1, ordering: .sequentiallyConsistent).newValue, ordering: .sequentiallyConsistent)
            let answer = response(frame)
            // Some answers come at once, some from another thread, some later on the loop.
            switch frame.getInteger(at: frame.readerIndex, as: UInt32.self).map({ $0 % 3 }) {
            case 0:
                inProgress.wrappingSubtract(1, ordering: .sequentiallyConsistent)
                connection.send(answer)
            case 1:
                let handle = connection.handle
                pool.submit { _ in
                    inProgress.wrappingSubtract(1, ordering: .sequentiallyConsistent)
                    handle.send(answer)
                }
            default:
                let handle = connection.handle
                connection.eventLoop.execute {
                    inProgress.wrappingSubtract(1, ordering: .sequentiallyConsistent)
                    handle.send(answer)
                }
            }
        }
        try withServer(delegate) { _, port in
            let client = try TestClient(port: port)
            let count: UInt32 = 3000
            var bytes: [UInt8] = []
            for number in 0..<count {
                let padding = [UInt8](repeating: 0, count: Int(number % 100))
                bytes += TestClient.framed(withUnsafeBytes(of: number.bigEndian) { Array($0) } + padding)
            }
            try client.write(bytes)
            for number in 0..<count {
                let frame = try client.readFrame()
                #expect(frame.prefix(4).reduce(0) { $0 << 8 | UInt32($1) } == number)
            }
            #expect(most.load(ordering: .sequentiallyConsistent) == 1)
        }
    }

    @Test("Requests without an answer leave no trace in the order of the others")
    func withoutResponse() throws {
        let delegate = TestDelegate { frame, connection in
            if frame.getInteger(at: frame.readerIndex, as: UInt8.self) == 0 {
                connection.completeWithoutResponse()
            } else {
                connection.send(response(frame))
            }
        }
        try withServer(delegate) { server, port in
            let client = try TestClient(port: port)
            try client.write((0..<100).flatMap { TestClient.framed([UInt8($0 % 3)]) })
            for number in 0..<100 where number % 3 != 0 {
                #expect(try client.readFrame() == [UInt8(number % 3)])
            }
            #expect(server.totals.requests == 100)
        }
    }

    @Test("File ranges arrive byte for byte, between buffers, at a reader's own pace")
    func fileSlices() throws {
        var random = SeededRandom(seed: 9)
        let content = (0..<1_500_000).map { _ in UInt8.random(in: 0...255, using: &random) }
        let file = try TemporaryFile(content)
        let delegate = TestDelegate { frame, connection in
            var request = frame
            var answer = OutboundFrame(ByteBuffer(bytes: [0, 0, 0, 0, 1, 2, 3]))
            while let offset: UInt32 = request.readInteger(), let length: UInt32 = request.readInteger() {
                answer.append(FileSlice(owner: file, descriptor: file.descriptor, offset: Int(offset), length: Int(length)))
                answer.append(ByteBuffer(bytes: [9]))
            }
            connection.send(answer)
        }
        try withServer(delegate) { _, port in
            for receiveBuffer in [nil, 8192] as [Int32?] {
                let client = try TestClient(port: port, receiveBuffer: receiveBuffer)
                for ranges in [[(0, 1)], [(17, 65_536)], [(0, 1_500_000)], [(5, 100), (500_000, 900_000), (0, 7)]] {
                    var request: [UInt8] = []
                    var expected: [UInt8] = [1, 2, 3]
                    for (offset, length) in ranges {
                        request += withUnsafeBytes(of: UInt32(offset).bigEndian) { Array($0) }
                        request += withUnsafeBytes(of: UInt32(length).bigEndian) { Array($0) }
                        expected += content[offset..<offset + length] + [9]
                    }
                    try client.writeFrame(request)
                    let isSame = try client.readFrame() == expected
                    #expect(isSame, "\(ranges)")
                }
            }
        }
    }

    @Test("What is not in memory is read by a storage thread, while the loop serves others")
    func coldFile() throws {
        var random = SeededRandom(seed: 11)
        let words = (0..<600_000).map { _ in random.next() }
        let content = words.withUnsafeBytes { Array($0) }
        // Not in /tmp, which may be kept in memory.
        let file = try TemporaryFile(content, directory: "/var/tmp")
        try file.evict()
        // A file system without a cache to be evicted from leaves nothing to test.
        guard martlet_is_in_memory(file.descriptor, 0, Int64(content.count)) == 0 else { return }
        let delegate = TestDelegate { _, connection in
            var answer = OutboundFrame(ByteBuffer(bytes: [0, 0, 0, 0, 1]))
            answer.append(FileSlice(owner: file, descriptor: file.descriptor, offset: 0, length: content.count))
            answer.append(ByteBuffer(bytes: [2]))
            connection.send(answer)
        }
        try withServer(delegate) { server, port in
            for receiveBuffer in [nil, 8192] as [Int32?] {
                try file.evict()
                let before = server.totals.coldReads
                let client = try TestClient(port: port, receiveBuffer: receiveBuffer)
                try client.write(TestClient.framed([1]) + TestClient.framed([2]))
                for _ in 0..<2 {
                    let isSame = try client.readFrame() == [1] + content + [2]
                    #expect(isSame)
                }
                #expect(server.totals.coldReads > before)
            }
        }
    }

    @Test("Large frames sent together come one by one, and their answers in order")
    func pipelinedLargeFrames() throws {
        try withServer(.echo()) { server, port in
            let client = try TestClient(port: port)
            let sizes = [20_000, 131_072, 131_072, 17, 16_384, 300_000, 131_072, 0, 131_072, 131_072, 131_072, 131_072]
            let frames = sizes.enumerated().map { index, size in [UInt8](repeating: UInt8(index), count: size) }
            // In two halves, so that neither side waits for the other to read.
            let half = frames.count / 2
            try client.write(frames[..<half].flatMap(TestClient.framed))
            try client.write(frames[half...].flatMap(TestClient.framed))
            for frame in frames {
                let isSame = try client.readFrame() == frame
                #expect(isSame, "a frame of \(frame.count) bytes")
            }
            #expect(server.totals.requests == sizes.count)
            #expect(server.totals.bytesReceived == sizes.reduce(0) { $0 + $1 + 4 })
        }
    }

    @Test("A file shorter than announced closes the connection instead of sending something else")
    func shortFile() throws {
        let file = try TemporaryFile([UInt8](repeating: 5, count: 1000))
        let delegate = TestDelegate { _, connection in
            var answer = OutboundFrame(ByteBuffer(bytes: [0, 0, 0, 0]))
            answer.append(FileSlice(owner: file, descriptor: file.descriptor, offset: 500, length: 1000))
            connection.send(answer)
        }
        try withServer(delegate) { _, port in
            let client = try TestClient(port: port)
            try client.writeFrame([1])
            #expect(client.isClosedByServer())
        }
    }

    @Test("An answer after the connection is gone is dropped")
    func lateAnswer() throws {
        let held = Mutex<ConnectionHandle?>(nil)
        let delegate = TestDelegate { _, connection in
            held.withLock { $0 = connection.handle }
        }
        try withServer(delegate) { server, port in
            do {
                let client = try TestClient(port: port)
                try client.writeFrame([1])
                #expect(eventually { held.withLock { $0 != nil } })
            }
            // The client leaves while its request is in progress, and that is noticed.
            #expect(eventually { delegate.closed.load(ordering: .sequentiallyConsistent) == 1 })
            held.withLock { $0?.send(response(ByteBuffer(bytes: [1]))) }
            #expect(server.totals.connections == 0)
        }
    }
}

/// A file that is gone when its owner is.
final class TemporaryFile: Sendable {
    let descriptor: Int32

    init(_ content: [UInt8], directory: String = "/tmp") throws {
        var path = Array("\(directory)/martlet-network-XXXXXX".utf8CString)
        descriptor = mkstemp(&path)
        guard descriptor >= 0 else { throw TestClient.Failure(description: "mkstemp: \(errno)") }
        unlink(path)
        guard Glibc.write(descriptor, content, content.count) == content.count else {
            throw TestClient.Failure(description: "write: \(errno)")
        }
    }

    /// Takes the file out of the page cache.
    func evict() throws {
        guard fsync(descriptor) == 0, posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0 else {
            throw TestClient.Failure(description: "evict: \(errno)")
        }
    }

    deinit {
        close(descriptor)
    }
}
