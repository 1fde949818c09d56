// What connections cost in memory. The measure is this whole process, so nothing else may run in it: `make test` gives these tests a
// process of their own, and beside other suites they are left out.
import Glibc
import NIOCore
import Testing

@testable import Network

@Suite("Resident memory", .serialized, .enabled(if: getenv("MARTLET_TEST_MEMORY") != nil))
struct ResidentMemoryTests {
    @Test("Clients that do not read cost a bounded amount of memory and get everything in the end")
    func slowReaders() throws {
        let block = ByteBuffer(repeating: 42, count: 1_000_000)
        let delegate = TestDelegate { _, connection in connection.send(response(block)) }
        try withServer(delegate) { server, port in
            let clients = try (0..<20).map { _ in try TestClient(port: port, receiveBuffer: 16_384) }
            // Each asks for 50 MB at once and reads nothing: one answer per client may wait, 49 may not.
            for client in clients {
                try client.write((0..<50).flatMap { _ in TestClient.framed([1]) })
            }
            #expect(eventually { server.totals.requests >= clients.count })
            // Whatever the kernel's buffers take (4 MB at most), far fewer than the 1,000 requests are worked on.
            #expect(server.totals.requests < 20 * 12)
            let before = residentBytes()
            #expect(before > 0)
            for _ in 0..<50 {
                #expect(try clients[0].readFrame().count == 1_000_000)
            }
            #expect(residentBytes() - before < 40_000_000)
        }
    }

    @Test("2,000 idle connections that have been used hold little memory, whatever they sent")
    func idleConnections() throws {
        try withServer(.echo(), threads: 2) { server, port in
            let payload = [UInt8](repeating: 1, count: 150_000)
            // Both processes' ends are in this one, so a warm-up takes the fixed costs out.
            for _ in 0..<20 {
                let client = try TestClient(port: port)
                try client.writeFrame(payload)
                _ = try client.readFrame()
            }
            let before = residentBytes()
            var clients: [TestClient] = []
            for index in 0..<2000 {
                let client = try TestClient(port: port)
                try client.writeFrame(index % 20 == 0 ? payload : [1])
                _ = try client.readFrame()
                clients.append(client)
            }
            #expect(server.totals.connections >= 2000)
            let perConnection = (residentBytes() - before) / clients.count
            #expect(perConnection < 16_384, "\(perConnection) bytes per idle connection")
            for client in clients.shuffled().prefix(100) {
                try client.writeFrame([2])
                #expect(try client.readFrame() == [2])
            }
        }
    }
}
