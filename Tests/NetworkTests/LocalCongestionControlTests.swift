// What accepted sockets pace with, read back from the kernel.
import Glibc
import Testing

@testable import Network

@Suite("Congestion control within the machine")
struct LocalCongestionControlTests {
    @Test("Connections begin without pacing; those from elsewhere go back to the system's choice")
    func localAndRemote() throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        let system = try #require(LocalCongestionControl.name(of: listener))
        let control = LocalCongestionControl(remote: system)
        control.prepare(listener: listener)
        #expect(LocalCongestionControl.name(of: listener) == "reno")
        let port = try listen(on: listener)
        let client = try TestClient(port: port)
        let accepted = accept(listener, nil, nil)
        try #require(accepted >= 0)
        defer { close(accepted) }
        control.adopt(connection: accepted, isLocal: true)
        #expect(LocalCongestionControl.name(of: accepted) == "reno")
        control.adopt(connection: accepted, isLocal: false)
        #expect(LocalCongestionControl.name(of: accepted) == system)
        #expect(LocalCongestionControl.name(of: client.descriptor) == system)
    }

    @Test("Nothing is touched where the system does not pace")
    func withoutPacing() throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        let before = LocalCongestionControl.name(of: listener)
        LocalCongestionControl(remote: nil).prepare(listener: listener)
        #expect(LocalCongestionControl.name(of: listener) == before)
    }

    @Test("What is no socket has no algorithm")
    func noSocket() {
        #expect(LocalCongestionControl.name(of: -1) == nil)
    }

    private func listen(on descriptor: Int32) throws -> Int {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let port = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw -> Int in
                guard bind(descriptor, raw, length) == 0, Glibc.listen(descriptor, 1) == 0, getsockname(descriptor, raw, &length) == 0
                else { return -1 }
                return 0
            }
        }
        try #require(port == 0)
        return Int(UInt16(bigEndian: address.sin_port))
    }
}
