// A real client over a real socket, a server that answers as a test says, and waiting by condition.
import Glibc
import Logging
import NIOCore
import NIOPosix
import Synchronization

@testable import Network

/// A blocking client with deadlines, for loopback.
final class TestClient {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    let descriptor: Int32

    init(port: Int, deadlineSeconds: Int = 10, receiveBuffer: Int32? = nil) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw Failure(description: "socket: \(errno)") }
        var timeout = timeval(tv_sec: deadlineSeconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        if var size = receiveBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { throw Failure(description: "connect: \(errno)") }
    }

    deinit {
        close(descriptor)
    }

    func write(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { throw Failure(description: "send: \(errno)") }
            sent += count
        }
    }

    /// Sends one frame with its size in front.
    func writeFrame(_ payload: [UInt8]) throws {
        try write(Self.framed(payload))
    }

    static func framed(_ payload: [UInt8]) -> [UInt8] {
        withUnsafeBytes(of: UInt32(payload.count).bigEndian) { Array($0) } + payload
    }

    func read(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var received = 0
        while received < count {
            let got = bytes[received...].withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
            guard got > 0 else { throw Failure(description: got == 0 ? "closed after \(received) bytes" : "recv: \(errno)") }
            received += got
        }
        return bytes
    }

    func readFrame() throws -> [UInt8] {
        let prefix = try read(4)
        return try read(prefix.reduce(0) { $0 << 8 | Int($1) })
    }

    /// True if the server has closed the connection, waiting for it up to the deadline; bytes on the way are skipped.
    func isClosedByServer() -> Bool {
        var byte = [UInt8](repeating: 0, count: 4096)
        while true {
            let got = recv(descriptor, &byte, byte.count, 0)
            if got > 0 { continue }
            return got == 0 || errno == ECONNRESET
        }
    }

    /// True if nothing can be read at this moment.
    var hasNothingToRead: Bool {
        var byte: UInt8 = 0
        return recv(descriptor, &byte, 1, Int32(MSG_DONTWAIT) | Int32(MSG_PEEK)) < 0 && errno == EAGAIN
    }
}

/// Calls a closure for every frame and counts the rest.
final class TestDelegate: ConnectionDelegate {
    let opened = Atomic<Int>(0)
    let closed = Atomic<Int>(0)
    private let onFrame: @Sendable (ByteBuffer, Connection) -> Void

    init(_ onFrame: @escaping @Sendable (ByteBuffer, Connection) -> Void) {
        self.onFrame = onFrame
    }

    /// Sends every frame back as it came.
    static func echo() -> TestDelegate {
        TestDelegate { frame, connection in connection.send(response(frame)) }
    }

    func connectionOpened(_ connection: Connection) {
        opened.wrappingAdd(1, ordering: .sequentiallyConsistent)
    }

    func received(frame: ByteBuffer, on connection: Connection) {
        onFrame(frame, connection)
    }

    func connectionClosed(_ connection: Connection) {
        closed.wrappingAdd(1, ordering: .sequentiallyConsistent)
    }
}

/// A response with `payload` behind the size prefix.
func response(_ payload: ByteBuffer) -> OutboundFrame {
    var buffer = ByteBuffer()
    buffer.reserveCapacity(4 + payload.readableBytes)
    buffer.writeInteger(UInt32(0))
    buffer.writeImmutableBuffer(payload)
    return OutboundFrame(buffer)
}

/// Waits until the condition holds; false if it does not within the deadline.
func eventually(withinSeconds seconds: Double = 10, _ condition: () -> Bool) -> Bool {
    let deadline = NIODeadline.now() + .milliseconds(Int64(seconds * 1000))
    while !condition() {
        guard NIODeadline.now() < deadline else { return false }
        usleep(1000)
    }
    return true
}

/// Collects log lines.
final class LogCollector: Sendable {
    private let lines = Mutex<[String]>([])

    var all: [String] { lines.withLock { $0 } }

    var logger: Logger {
        var logger = Logger(label: "test") { _ in Handler(collector: self) }
        logger.logLevel = .debug
        return logger
    }

    private struct Handler: LogHandler {
        let collector: LogCollector
        var metadata: Logger.Metadata = [:]
        var metadataProvider: Logger.MetadataProvider?
        var logLevel = Logger.Level.debug

        init(collector: LogCollector) {
            self.collector = collector
        }

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let line = "\(event.level) \(event.message) \(event.metadata ?? [:])"
            collector.lines.withLock { $0.append(line) }
        }
    }
}

/// A running server on a port of the kernel's choice, stopped at the end of `body`.
func withServer(
    _ delegate: TestDelegate, limits: NetworkLimits = NetworkLimits(), threads: Int = 1, log: LogCollector = LogCollector(),
    _ body: (NetworkServer, Int) throws -> Void
) throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
    let server = NetworkServer(
        listeners: [ListenerEndpoint(name: "PLAIN", host: "127.0.0.1", port: 0)], limits: limits, eventLoopGroup: group,
        delegate: delegate, logger: log.logger)
    defer {
        server.close(drainingFor: .seconds(5))
        try? group.syncShutdownGracefully()
    }
    let bound = try server.start()
    try body(server, bound[0].port)
}

/// Resident memory of this process in bytes.
func residentBytes() -> Int {
    let descriptor = open("/proc/self/statm", O_RDONLY)
    guard descriptor >= 0 else { return 0 }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = read(descriptor, &bytes, bytes.count)
    guard count > 0 else { return 0 }
    let fields = String(decoding: bytes[..<count], as: UTF8.self).split(separator: " ")
    return (Int(fields[1]) ?? 0) * sysconf(Int32(_SC_PAGESIZE))
}
