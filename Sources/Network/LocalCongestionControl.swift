// Where the system's congestion control paces what is sent (BBR does), connections within the machine get one that does not: there is
// no network to be gentle with, and timers and small segments cost half of all CPU time of large answers.
import CLinux
import Glibc

/// What accepted connections use, by whether their client runs on this machine.
struct LocalCongestionControl: Sendable {
    /// The kernel always has it and lets everybody choose it.
    private static let withoutPacing = "reno"

    /// The algorithm of connections to other machines; nil where it does not pace, and nothing is to be done.
    private let remote: String?

    /// - Parameter remote: an algorithm that this process may choose.
    init(remote: String?) {
        self.remote = remote
    }

    /// Asks the system. Whoever may not go back to its choice must not leave it: other machines are what it is for.
    init() {
        let probe = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(probe) }
        guard let system = Self.name(of: probe), system.hasPrefix("bbr"),
            martlet_choose_congestion_control(probe, Self.withoutPacing) == 0, martlet_choose_congestion_control(probe, system) == 0
        else {
            remote = nil
            return
        }
        remote = system
    }

    /// To be called before the socket listens: pacing once begun never ends, so connections have to start without it.
    func prepare(listener: Int32) {
        guard remote != nil else { return }
        _ = martlet_choose_congestion_control(listener, Self.withoutPacing)
    }

    /// To be called for every accepted connection, before anything is sent.
    func adopt(connection socket: Int32, isLocal: Bool) {
        guard let remote, !isLocal else { return }
        _ = martlet_choose_congestion_control(socket, remote)
    }

    /// The name of a socket's algorithm; nil if there is none.
    static func name(of socket: Int32) -> String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(MARTLET_CONGESTION_CONTROL_ROOM) + 1) { room in
            guard let base = room.baseAddress, martlet_congestion_control(socket, base) == 0 else { return nil }
            base[Int(MARTLET_CONGESTION_CONTROL_ROOM)] = 0
            return String(cString: base)
        }
    }
}
