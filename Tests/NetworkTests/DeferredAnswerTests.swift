// Requests whose answers come later than the next request is taken: order, bounds, the end of a connection.
import Glibc
import NIOCore
import NIOPosix
import Primitives
import Synchronization
import Testing

@testable import Network

/// Defers the answers to frames that begin with 1 until told to give them; echoes all others at once.
private final class DeferringDelegate: Sendable {
    private struct Held: @unchecked Sendable {
        // Only touched on the connection's loop.
        let answer: DeferredAnswer
        let frame: ByteBuffer
        let connection: Connection
    }

    private let held = Mutex<[Held]>([])
    let received = Atomic<Int>(0)

    var delegate: TestDelegate {
        TestDelegate { [self] frame, connection in
            received.wrappingAdd(1, ordering: .sequentiallyConsistent)
            guard frame.getInteger(at: frame.readerIndex, as: UInt8.self) == 1 else { return connection.send(response(frame)) }
            let entry = Held(answer: connection.deferAnswer(), frame: frame, connection: connection)
            held.withLock { $0.append(entry) }
        }
    }

    var receivedCount: Int { received.load(ordering: .sequentiallyConsistent) }
    var heldCount: Int { held.withLock { $0.count } }

    /// Gives the answer that was deferred as the `index`th of those still open.
    func answer(_ index: Int) {
        let entry = held.withLock { $0.remove(at: index) }
        entry.connection.handle.withConnection { connection in connection.send(response(entry.frame), as: entry.answer) }
    }
}

@Suite("Deferred answers")
struct DeferredAnswerTests {
    @Test("Answers leave in the order of the requests, whichever is ready first", arguments: [1, 2, 3, 4] as [UInt64])
    func order(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let deferring = DeferringDelegate()
        try withServer(deferring.delegate) { server, port in
            let client = try TestClient(port: port)
            let frames = (0..<20).map { number in [UInt8.random(in: 0...1, using: &random), UInt8(number)] }
            try client.write(frames.flatMap { TestClient.framed($0) })
            #expect(eventually { deferring.receivedCount == frames.count })
            while deferring.heldCount > 0 { deferring.answer(Int.random(in: 0..<deferring.heldCount, using: &random)) }
            for frame in frames { #expect(try client.readFrame() == frame) }
            #expect(server.totals.bytesSent == server.totals.bytesReceived)
        }
    }

    @Test("An answer behind an open request waits for it")
    func behindAnOpenRequest() throws {
        let deferring = DeferringDelegate()
        try withServer(deferring.delegate) { _, port in
            let client = try TestClient(port: port)
            try client.write(TestClient.framed([0, 1]) + TestClient.framed([1, 2]) + TestClient.framed([0, 3]))
            #expect(try client.readFrame() == [0, 1])
            #expect(eventually { deferring.receivedCount == 3 })
            // The connection's loop has sent what it had to before it takes up another connection's request.
            let other = try TestClient(port: port)
            try other.writeFrame([0])
            #expect(try other.readFrame() == [0])
            #expect(client.hasNothingToRead)
            deferring.answer(0)
            #expect(try client.readFrame() == [1, 2])
            #expect(try client.readFrame() == [0, 3])
        }
    }

    @Test("Only so many requests are open at a time")
    func boundOnRequests() throws {
        let deferring = DeferringDelegate()
        try withServer(deferring.delegate) { _, port in
            let client = try TestClient(port: port)
            let count = DeferredAnswers.maximumCount + 10
            try client.write((0..<count).flatMap { TestClient.framed([1, UInt8($0)]) })
            #expect(eventually { deferring.heldCount == DeferredAnswers.maximumCount })
            let other = try TestClient(port: port)
            try other.writeFrame([0])
            _ = try other.readFrame()
            #expect(deferring.heldCount == DeferredAnswers.maximumCount)
            deferring.answer(0)
            #expect(eventually { deferring.receivedCount == DeferredAnswers.maximumCount + 2 })
            for number in 0..<count {
                if number > 0 { #expect(eventually { deferring.heldCount > 0 }) }
                if number > 0 { deferring.answer(0) }
                #expect(try client.readFrame() == [1, UInt8(number)])
            }
        }
    }

    @Test("Answers that wait for an earlier one take only so much memory")
    func boundOnBytes() throws {
        let deferring = DeferringDelegate()
        try withServer(deferring.delegate) { _, port in
            let client = try TestClient(port: port)
            let large = [UInt8](repeating: 0, count: DeferredAnswers.maximumBytes / 2)
            try client.write(TestClient.framed([1]) + (0..<5).flatMap { _ in TestClient.framed(large) })
            #expect(eventually { deferring.receivedCount == 3 })
            let other = try TestClient(port: port)
            try other.writeFrame([0])
            _ = try other.readFrame()
            #expect(deferring.receivedCount == 1 + 2 + 1)
            deferring.answer(0)
            #expect(try client.readFrame() == [1])
            for _ in 0..<5 {
                let isSame = try client.readFrame() == large
                #expect(isSame)
            }
        }
    }

    @Test("A client that leaves with requests open does no harm, nor does an answer that comes after that")
    func clientLeaves() throws {
        let deferring = DeferringDelegate()
        let delegate = deferring.delegate
        try withServer(delegate) { server, port in
            do {
                let client = try TestClient(port: port)
                try client.write(TestClient.framed([1]) + TestClient.framed([1]))
                #expect(eventually { deferring.heldCount == 2 })
            }
            #expect(eventually { delegate.closed.load(ordering: .sequentiallyConsistent) == 1 })
            deferring.answer(1)
            deferring.answer(0)
            let other = try TestClient(port: port)
            try other.writeFrame([0])
            #expect(try other.readFrame() == [0])
        }
    }

    @Test("A server that stops lets open requests be answered")
    func draining() throws {
        let deferring = DeferringDelegate()
        try withServer(deferring.delegate) { server, port in
            let client = try TestClient(port: port)
            try client.write(TestClient.framed([1, 7]) + TestClient.framed([0, 8]))
            #expect(eventually { deferring.receivedCount == 2 })
            let stopper = NIOThreadPool(numberOfThreads: 1)
            stopper.start()
            let isStopped = Atomic<Bool>(false)
            stopper.submit { _ in
                server.close(drainingFor: .seconds(10))
                isStopped.store(true, ordering: .sequentiallyConsistent)
            }
            deferring.answer(0)
            #expect(try client.readFrame() == [1, 7])
            #expect(try client.readFrame() == [0, 8])
            #expect(client.isClosedByServer())
            #expect(eventually { isStopped.load(ordering: .sequentiallyConsistent) })
            try stopper.syncShutdownGracefully()
        }
    }
}
