// Every bound on what clients can do, and what the log says when one is hit.
import Glibc
import NIOCore
import Synchronization
import Testing

@testable import Network

@Suite("Limits")
struct LimitTests {
    @Test("A request above socket.request.max.bytes closes the connection and says why")
    func oversize() throws {
        var limits = NetworkLimits()
        limits.maximumRequestBytes = 1000
        let log = LogCollector()
        try withServer(.echo(), limits: limits, log: log) { _, port in
            let client = try TestClient(port: port)
            try client.writeFrame([UInt8](repeating: 1, count: 1000))
            #expect(try client.readFrame().count == 1000)
            try client.write([0, 0, 3, 0xe9])
            #expect(client.isClosedByServer())
            #expect(log.all.contains { $0.contains("a request of 1001 bytes exceeds socket.request.max.bytes=1000") })
            let other = try TestClient(port: port)
            try other.write([0x80, 0, 0, 1])
            #expect(other.isClosedByServer())
        }
    }

    @Test(
        "Clients of other protocols are told apart, closed and logged with the remedy",
        arguments: [
            ([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03], "TLS", "security.protocol=PLAINTEXT"),
            (Array("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".utf8), "HTTP", "admin port"),
            (Array("POST / HTTP/1.1\r\n".utf8), "HTTP", "admin port"),
        ] as [([UInt8], String, String)])
    func foreignProtocols(bytes: [UInt8], name: String, remedy: String) throws {
        var limits = NetworkLimits()
        // Even where the first bytes would be a size within bounds.
        limits.maximumRequestBytes = Int(Int32.max)
        let log = LogCollector()
        let delegate = TestDelegate.echo()
        try withServer(delegate, limits: limits, log: log) { server, port in
            for _ in 0..<5 {
                let client = try TestClient(port: port)
                try client.write(bytes)
                #expect(client.isClosedByServer())
            }
            let warnings = log.all.filter { $0.contains("warning") }
            // Rate limited: five attempts, one line.
            #expect(warnings.count == 1)
            #expect(warnings[0].contains(name) && warnings[0].contains(remedy) && warnings[0].contains("PLAIN"))
            #expect(server.totals.requests == 0)
            #expect(eventually { delegate.closed.load(ordering: .sequentiallyConsistent) == 5 })
        }
    }

    @Test("Idle connections are closed, busy ones and those with a request in progress are not")
    func idle() throws {
        var limits = NetworkLimits()
        limits.maximumIdleMilliseconds = 500
        let delegate = TestDelegate { frame, connection in
            if frame.readableBytes > 0 { connection.send(response(frame)) }
        }
        try withServer(delegate, limits: limits) { server, port in
            let idle = try TestClient(port: port)
            let waiting = try TestClient(port: port)
            let busy = try TestClient(port: port)
            try waiting.writeFrame([])
            let closed = Atomic<Bool>(false)
            #expect(
                eventually {
                    try? busy.writeFrame([1])
                    _ = try? busy.readFrame()
                    if server.totals.idleCloses == 1 { closed.store(true, ordering: .relaxed) }
                    return closed.load(ordering: .relaxed)
                })
            #expect(idle.isClosedByServer())
            #expect(waiting.hasNothingToRead)
            try busy.writeFrame([2])
            #expect(try busy.readFrame() == [2])
            #expect(server.totals.connections == 2)
        }
    }

    @Test("Beyond max.connections clients wait until there is a place")
    func maximumConnections() throws {
        var limits = NetworkLimits()
        limits.connections.maximumConnections = 2
        let log = LogCollector()
        let delegate = TestDelegate.echo()
        try withServer(delegate, limits: limits, log: log) { server, port in
            var first: TestClient? = try TestClient(port: port)
            let second = try TestClient(port: port)
            #expect(eventually { server.totals.connections == 2 })
            let third = try TestClient(port: port)
            try third.writeFrame([3])
            try second.writeFrame([2])
            #expect(try second.readFrame() == [2])
            #expect(third.hasNothingToRead)
            #expect(delegate.opened.load(ordering: .sequentiallyConsistent) == 2)
            first = nil
            #expect(first == nil)
            #expect(try third.readFrame() == [3])
            #expect(log.all.contains { $0.contains("max.connections") })
        }
    }

    @Test("Beyond max.connections.per.ip connections are closed, overrides count")
    func connectionsPerAddress() throws {
        var limits = NetworkLimits()
        limits.connections.maximumConnectionsPerAddress = 100
        limits.connections.connectionsPerAddressOverrides = ["127.0.0.1": 2]
        let log = LogCollector()
        try withServer(.echo(), limits: limits, log: log) { server, port in
            var first: TestClient? = try TestClient(port: port)
            let second = try TestClient(port: port)
            try second.writeFrame([2])
            #expect(try second.readFrame() == [2])
            #expect(eventually { server.totals.connections == 2 })
            #expect(try TestClient(port: port).isClosedByServer())
            #expect(server.totals.connectionsRejected == 1)
            #expect(log.all.contains { $0.contains("max.connections.per.ip") })
            first = nil
            #expect(first == nil)
            #expect(eventually { server.totals.connections == 1 })
            let third = try TestClient(port: port)
            try third.writeFrame([3])
            #expect(try third.readFrame() == [3])
        }
    }

    @Test("Requests wait for memory when queued.max.request.bytes is used up, and go on when it is free")
    func queuedRequestBytes() throws {
        var limits = NetworkLimits()
        limits.maximumQueuedRequestBytes = 10_000
        let waiting = Mutex<[ConnectionHandle]>([])
        let delegate = TestDelegate { _, connection in
            let handle = connection.handle
            waiting.withLock { $0.append(handle) }
        }
        try withServer(delegate, limits: limits, threads: 2) { server, port in
            let clients = try (0..<6).map { _ in try TestClient(port: port) }
            for client in clients {
                try client.writeFrame([UInt8](repeating: 1, count: 5000))
            }
            #expect(eventually { waiting.withLock { $0.count == 2 } })
            #expect(server.queuedRequestBytes == 10_000)
            // Each answer lets one more in.
            for answered in 0..<6 {
                #expect(eventually { waiting.withLock { !$0.isEmpty } })
                #expect(server.totals.requests <= answered + 2)
                let handle = waiting.withLock { $0.removeFirst() }
                handle.send(response(ByteBuffer(bytes: [UInt8(answered)])))
            }
            for client in clients {
                #expect(try client.readFrame().count == 1)
            }
            #expect(eventually { server.queuedRequestBytes == 0 })
        }
    }

    @Test("A client that leaves while it holds or waits for memory gives everything back")
    func memoryOfLeavers() throws {
        var limits = NetworkLimits()
        limits.maximumQueuedRequestBytes = 1000
        let delegate = TestDelegate.echo()
        try withServer(delegate, limits: limits) { server, port in
            do {
                let announcer = try TestClient(port: port)
                try announcer.write([0, 0, 0x10, 0])
                #expect(eventually { server.queuedRequestBytes == 4096 })
                let waiter = try TestClient(port: port)
                try waiter.writeFrame([1])
                #expect(eventually { server.totals.bytesReceived == 9 })
                #expect(waiter.hasNothingToRead)
            }
            #expect(eventually { server.totals.connections == 0 })
            #expect(eventually { server.queuedRequestBytes == 0 })
            let client = try TestClient(port: port)
            try client.writeFrame([5])
            #expect(try client.readFrame() == [5])
        }
    }

    @Test("Bounds on connections can be changed while there are clients")
    func changingLimits() throws {
        let log = LogCollector()
        try withServer(.echo(), log: log) { server, port in
            let first = try TestClient(port: port)
            try first.writeFrame([1])
            #expect(try first.readFrame() == [1])
            var limits = ConnectionLimits()
            limits.maximumConnectionsPerAddress = 1
            server.update(limits)
            // The one from before counts, and stays.
            #expect(try TestClient(port: port).isClosedByServer())
            #expect(server.totals.connectionsRejected == 1)
            try first.writeFrame([2])
            #expect(try first.readFrame() == [2])
            limits.maximumConnectionsPerAddress = .max
            limits.maximumConnections = 1
            server.update(limits)
            let waiting = try (0..<3).map { _ in try TestClient(port: port) }
            for client in waiting { try client.writeFrame([3]) }
            #expect(eventually { log.all.contains { $0.contains("no more connections for now") } })
            server.update(ConnectionLimits())
            for client in waiting { #expect(try client.readFrame() == [3]) }
        }
    }
}
