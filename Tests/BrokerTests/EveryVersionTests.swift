// Every API in every version that ApiVersions names, asked over a socket of the real server: each must be answered with a response
// that decodes to its last byte. A field that a version cannot carry, or a forgotten version, shows here.
import Glibc
import KafkaMessages
import KafkaWire
import NIOCore
import TestKit
import Testing

@testable import Broker

@Suite struct EveryVersionTests {
    @Test func everyServedVersionIsAnswered() throws {
        let node = try RunningNode()
        defer { node.stop() }
        let connection = try BlockingConnection(port: node.port)
        var answered = 0
        for api in BrokerServices.servedApis {
            for version in api.stableVersions {
                try ask(api, version, connection)
                answered += 1
            }
        }
        #expect(answered > 150)
    }

    @Test func unknownVersionsOfApiVersionsGetTheRangeInVersion0() throws {
        let node = try RunningNode()
        defer { node.stop() }
        let connection = try BlockingConnection(port: node.port)
        var frame = ByteBuffer()
        frame.writeInteger(ApiKey.apiVersions.rawValue)
        frame.writeInteger(Int16(99))
        frame.writeInteger(Int32(7))
        frame.writeInteger(Int16(-1))
        let answer = try connection.exchange(frame)
        let (header, response) = try Frame.decodeResponse(answer, as: ApiVersionsResponse.self, version: 0)
        #expect(header.correlationId == 7 && response.errorCode == .unsupportedVersion)
        #expect(response.apiKeys.map(\.apiKey) == [ApiKey.apiVersions.rawValue])
    }

    @Test func whatIsServedIsWhatIsAdvertised() {
        #expect(Set(BrokerServices.servedApis.map(\.rawValue)) == Set(BrokerServices.advertisedVersions.map(\.apiKey)))
        #expect(BrokerServices.advertisedVersions.first { $0.apiKey == ApiKey.produce.rawValue }?.minVersion == 0)
    }

    private func ask(_ api: ApiKey, _ version: Int16, _ connection: BlockingConnection) throws {
        func ask<Request: KafkaRequest>(_ type: Request.Type) throws {
            var request = Request()
            if var produce = request as? ProduceRequest, case let changed = produce.setting({ $0.acks = 1 }) {
                produce = changed
                request = produce as? Request ?? request
            }
            let frame = try Frame.request(request, version: version, correlationId: 42, clientId: "every-version")
            let answer = try connection.exchange(frame)
            let (header, _) = try Frame.decodeResponse(answer, as: Request.Response.self, version: version)
            #expect(header.correlationId == 42, "\(api) version \(version)")
        }
        do {
            try ask(api.requestType)
        } catch {
            Issue.record("\(api) version \(version): \(error)")
            throw error
        }
    }
}

extension ProduceRequest {
    fileprivate func setting(_ change: (inout ProduceRequest) -> Void) -> ProduceRequest {
        var copy = self
        change(&copy)
        return copy
    }
}

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
