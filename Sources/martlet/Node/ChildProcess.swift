// A process of this very binary, whose output comes back line by line.
import CLinux
import Glibc
import Primitives

struct ChildProcess {
    let name: String
    let id: pid_t
    /// What it writes to either stream; -1 once there is no more.
    private(set) var output: Int32
    /// The exit status, or 128 and the signal, as shells say it; nil while it runs.
    private(set) var status: Int32?
    private var rest: [UInt8] = []

    /// Starts the process in a group of its own: Ctrl-C at the terminal reaches the parent alone, which then stops its children.
    init(name: String, arguments: [String]) throws(CommandFailure) {
        self.name = name
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw CommandFailure("cannot make a pipe: \(String(cString: strerror(errno)))") }
        // Only the child's standard streams are to be held open by it, so that the end of its output is its own end.
        for end in ends { martlet_close_on_exec(end) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        posix_spawnattr_setpgroup(&attributes, 0)
        var child = pid_t()
        let words = (["martlet"] + arguments).map { strdup($0) }
        let surroundings = Self.environment().map { strdup($0) }
        let result = posix_spawn(&child, "/proc/self/exe", &actions, &attributes, words + [nil], surroundings + [nil])
        (words + surroundings).forEach { free($0) }
        posix_spawn_file_actions_destroy(&actions)
        posix_spawnattr_destroy(&attributes)
        close(ends[1])
        guard result == 0 else {
            close(ends[0])
            throw CommandFailure("cannot start \(name): \(String(cString: strerror(result)))")
        }
        id = child
        output = ends[0]
    }

    /// Ours without settings of Kafka's: the children's configurations say everything.
    private static func environment() -> [String] {
        var variables: [String] = []
        var next = environ
        while let variable = next.pointee {
            let text = String(cString: variable)
            if !text.hasPrefix("KAFKA_") { variables.append(text) }
            next += 1
        }
        return variables
    }

    var isRunning: Bool { status == nil }

    func signal(_ number: Int32) {
        if isRunning { kill(id, number) }
    }

    /// Takes what it has written, when something is there; at the end of its output it has ended, or is about to.
    mutating func read(_ line: (String) -> Void) {
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        let count = Glibc.read(output, &bytes, bytes.count)
        if count > 0 {
            rest += bytes[..<count]
            while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                line(String(decoding: rest[..<end], as: UTF8.self))
                rest.removeSubrange(...end)
            }
        } else if count == 0 || errno != EINTR {
            if !rest.isEmpty { line(String(decoding: rest, as: UTF8.self)) }
            rest = []
            close(output)
            output = -1
        }
    }

    /// Notices that it has ended. Returns whether that is news.
    mutating func reap() -> Bool {
        var result: Int32 = 0
        guard isRunning, waitpid(id, &result, WNOHANG) == id else { return false }
        let signal = result & 0x7f
        status = signal == 0 ? (result >> 8) & 0xff : 128 + signal
        return true
    }
}

/// Runs children side by side until all have ended.
struct ChildSupervision {
    /// A node that stops last finds nobody any more who could take over from it, and may wait for that.
    private static let patienceMilliseconds: Int64 = 20_000

    private var nodes: [ChildProcess]
    private let signals: SignalWait
    private let adminPorts: [Int]
    private let greet: () -> Void
    private var ready: Set<Int> = []
    private var signalsSeen = 0
    /// When nodes that were asked to stop have had long enough; monotonic milliseconds.
    private var patienceEnds = Int64.max

    init(nodes: inout [ChildProcess], signals: SignalWait, adminPorts: [Int], greet: @escaping () -> Void) {
        self.nodes = nodes
        self.signals = signals
        self.adminPorts = adminPorts
        self.greet = greet
    }

    /// Shows what they write until the last one has ended. Returns the exit status.
    func run() -> Int32 {
        var supervision = self
        return supervision.supervise()
    }

    private mutating func supervise() -> Int32 {
        while nodes.contains(where: { $0.isRunning || $0.output >= 0 }) {
            wait()
            for index in nodes.indices where nodes[index].reap() {
                let status = nodes[index].status ?? 0
                if signalsSeen == 0 {
                    let end = status > 128 ? "was ended by signal \(status - 128)" : "ended with status \(status)"
                    let others = nodes.contains(where: \.isRunning) ? "; the others go on" : ""
                    Terminal.complain("\(nodes[index].name) \(end)\(others)")
                }
            }
            if ready.count < nodes.count { askWhetherReady() }
        }
        if signalsSeen > 0 { return nodes.contains { ![0, 137, 143].contains($0.status ?? 0) } ? 1 : 0 }
        // Nobody asked for the end: what ended the first one is what a script should see.
        return nodes.compactMap(\.status).first { $0 != 0 } ?? 0
    }

    /// Waits for output, a signal, or a moment.
    private mutating func wait() {
        var polls = [pollfd(fd: signals.reading, events: Int16(POLLIN), revents: 0)]
        polls += nodes.map { pollfd(fd: $0.output, events: Int16(POLLIN), revents: 0) }
        let count = poll(&polls, nfds_t(polls.count), 100)
        if SystemClock.monotonicMilliseconds() > patienceEnds {
            patienceEnds = .max
            for node in nodes where node.isRunning {
                Terminal.complain("\(node.name) does not stop; it is killed")
                node.signal(SIGKILL)
            }
        }
        guard count > 0 else { return }
        if polls[0].revents != 0 {
            _ = signals.wait()
            signalsSeen += 1
            if signalsSeen == 1 { patienceEnds = SystemClock.monotonicMilliseconds() + Self.patienceMilliseconds }
            for node in nodes { node.signal(signalsSeen == 1 ? SIGTERM : SIGKILL) }
        }
        for index in nodes.indices where polls[index + 1].revents != 0 {
            let name = nodes[index].name
            nodes[index].read { line in Terminal.print("\(name) | \(line)") }
        }
    }

    private mutating func askWhetherReady() {
        for index in nodes.indices where !ready.contains(index) && nodes[index].isRunning && Self.isReady(adminPorts[index]) {
            ready.insert(index)
        }
        if ready.count == nodes.count { greet() }
    }

    /// Asks a node's health endpoint.
    private static func isReady(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var limit = timeval(tv_sec: 0, tv_usec: 300_000)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let isConnected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 }
        }
        guard isConnected else { return false }
        var request = "GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        _ = request.withUTF8 { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        var answer = [UInt8](repeating: 0, count: 64)
        let count = recv(descriptor, &answer, answer.count, 0)
        return count > 0 && String(decoding: answer[..<count], as: UTF8.self).contains(" 200 ")
    }
}
