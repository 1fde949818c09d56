// A client that sends a node single requests.
import Glibc
import KafkaMessages
import KafkaWire
import NIOCore
import Testing

/// One request at a time, blocking, with a deadline on the socket.
final class BlockingConnection {
    struct Closed: Error {}
    private let descriptor: Int32

    init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var timeout = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
        }
        guard result == 0 else { throw Closed() }
    }

    deinit { close(descriptor) }

    /// One request of a version and its answer.
    func ask<Request: KafkaRequest>(_ request: Request, version: Int16) throws -> Request.Response {
        let answer = try exchange(try Frame.request(request, version: version, correlationId: 1, clientId: "test"))
        return try Frame.decodeResponse(answer, as: Request.Response.self, version: version).1
    }

    /// Sends a frame and waits for one; sizes are put in front and taken away.
    func exchange(_ frame: ByteBuffer) throws -> ByteBuffer {
        var whole = ByteBuffer()
        whole.writeInteger(Int32(frame.readableBytes))
        whole.writeImmutableBuffer(frame)
        let sent = whole.withUnsafeReadableBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        guard sent == whole.readableBytes else { throw Closed() }
        var prefix = try receive(4)
        let announced = prefix.readInteger(as: Int32.self)
        let size = try #require(announced)
        return try receive(Int(size))
    }

    private func receive(_ count: Int) throws -> ByteBuffer {
        var bytes = [UInt8](repeating: 0, count: count)
        var received = 0
        while received < count {
            let got = bytes.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress?.advanced(by: received), count - received, 0) }
            guard got > 0 else { throw Closed() }
            received += got
        }
        return ByteBuffer(bytes: bytes)
    }
}
