// Starting, stopping, and very many connections.
import Glibc
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import Network

@Suite("Life of the server")
struct LifecycleTests {
    @Test("Stopping lets the request in progress finish, closes idle connections and takes no new ones")
    func gracefulStop() throws {
        let held = Mutex<ConnectionHandle?>(nil)
        let delegate = TestDelegate { _, connection in
            let handle = connection.handle
            held.withLock { $0 = handle }
        }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        defer { try? group.syncShutdownGracefully() }
        let server = NetworkServer(
            listeners: [ListenerEndpoint(name: "PLAIN", host: "127.0.0.1", port: 0)], eventLoopGroup: group, delegate: delegate,
            logger: LogCollector().logger)
        let port = try server.start()[0].port
        let idle = try TestClient(port: port)
        let busy = try TestClient(port: port)
        try busy.writeFrame([1])
        #expect(eventually { held.withLock { $0 != nil } })
        let stopped = Atomic<Bool>(false)
        let thread = NIOThreadPool(numberOfThreads: 1)
        thread.start()
        defer { try? thread.syncShutdownGracefully() }
        thread.submit { _ in
            server.close(drainingFor: .seconds(10))
            stopped.store(true, ordering: .sequentiallyConsistent)
        }
        #expect(idle.isClosedByServer())
        #expect(throws: TestClient.Failure.self) {
            // The listening socket closes at its own pace.
            for _ in 0..<1000 { _ = try TestClient(port: port) }
        }
        let stoppedEarly = stopped.load(ordering: .sequentiallyConsistent)
        #expect(!stoppedEarly)
        held.withLock { $0?.send(response(ByteBuffer(bytes: [7]))) }
        #expect(try busy.readFrame() == [7])
        #expect(busy.isClosedByServer())
        #expect(eventually { stopped.load(ordering: .sequentiallyConsistent) })
        #expect(server.totals.connections == 0)
    }

    @Test("Stopping does not wait longer than it was told to")
    func stopDeadline() throws {
        let delegate = TestDelegate { _, _ in }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        defer { try? group.syncShutdownGracefully() }
        let server = NetworkServer(
            listeners: [ListenerEndpoint(name: "PLAIN", host: "127.0.0.1", port: 0)], eventLoopGroup: group, delegate: delegate,
            logger: LogCollector().logger)
        let port = try server.start()[0].port
        let client = try TestClient(port: port)
        try client.writeFrame([1])
        #expect(eventually { server.totals.requests == 1 })
        server.close(drainingFor: .milliseconds(50))
        #expect(client.isClosedByServer())
        #expect(server.totals.connections == 0)
    }

    @Test("A port in use is reported with the listener's name")
    func portInUse() throws {
        try withServer(.echo()) { _, port in
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            defer { try? group.syncShutdownGracefully() }
            let server = NetworkServer(
                listeners: [
                    ListenerEndpoint(name: "FIRST", host: "127.0.0.1", port: 0),
                    ListenerEndpoint(name: "SECOND", host: "127.0.0.1", port: port),
                ], eventLoopGroup: group, delegate: TestDelegate.echo(), logger: LogCollector().logger)
            #expect {
                try server.start()
            } throws: { error in
                guard case .bindFailed("SECOND", "127.0.0.1", port, _) = error as? NetworkError else { return false }
                return true
            }
            #expect {
                try server.start()
            } throws: { error in
                error as? NetworkError == .alreadyStarted
            }
        }
    }

    @Test("Connections are counted by listener and loop")
    func counts() throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let server = NetworkServer(
            listeners: [
                ListenerEndpoint(name: "INTERNAL", host: "127.0.0.1", port: 0), ListenerEndpoint(name: "EXTERNAL", host: "", port: 0),
            ], eventLoopGroup: group, delegate: TestDelegate { $1.send(response(ByteBuffer(string: $1.listenerName + $1.remoteHost))) },
            logger: LogCollector().logger)
        defer {
            server.close(drainingFor: .seconds(5))
            try? group.syncShutdownGracefully()
        }
        let bound = try server.start()
        #expect(bound.map(\.name) == ["INTERNAL", "EXTERNAL"])
        let clients = try [bound[0].port, bound[1].port, bound[1].port].map { try TestClient(port: $0) }
        let names = try clients.map { client in
            try client.writeFrame([])
            return String(decoding: try client.readFrame(), as: UTF8.self)
        }
        #expect(names == ["INTERNAL127.0.0.1", "EXTERNAL127.0.0.1", "EXTERNAL127.0.0.1"])
        let counts = server.connectionCounts
        #expect(counts.count == 4)
        #expect(counts.filter { $0.listener == "EXTERNAL" }.reduce(0) { $0 + $1.count } == 2)
        #expect(counts.reduce(0) { $0 + $1.count } == 3)
        // Idle loops are idle, and the first call has nothing to compare with.
        _ = server.averageIdleFraction()
        #expect(eventually { server.averageIdleFraction() > 0.5 })
    }
}
