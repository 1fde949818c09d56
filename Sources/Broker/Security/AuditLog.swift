// Who was turned away, who logged in, who changed the cluster: one line of JSON each, into a file of its own or into the node's log.
import Authorization
import Glibc
import Logging
import Observability
import Primitives
import Synchronization

/// What an audit line is about.
enum AuditEvent: String, Sendable {
    case denied
    case login
    case loginFailed = "login-failed"
    case administration
    /// Lines were left out because there were too many in one second.
    case suppressed
}

/// The audit log of a node. Thread-safe; holds no secrets, because nobody hands it any.
final class AuditLog: Sendable {
    /// Denials that a client provokes must not fill a disk as fast as it can ask.
    private static let maximumLinesPerSecond = 1000

    private struct State {
        var second: Int64 = 0
        var lines = 0
        var suppressed = 0
        var descriptor: Int32 = -1
    }

    private let path: String?
    private let logger: Logger
    private let state = Mutex(State())

    /// - Parameter path: the file to append to; nil for the node's own log.
    init(path: String?, logger: Logger) throws(BrokerStartFailure) {
        self.path = path
        self.logger = logger
        guard let path else { return }
        let descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else {
            throw BrokerStartFailure("martlet.audit.log.file: \(path) cannot be opened: \(String(cString: strerror(errno)))")
        }
        state.withLock { $0.descriptor = descriptor }
    }

    deinit {
        state.withLock { state in
            if state.descriptor >= 0 { close(state.descriptor) }
        }
    }

    /// Writes a line.
    func record(_ event: AuditEvent, _ client: ClientIdentity, _ fields: [(String, String)]) {
        let now = SystemClock.now()
        let suppressedBefore = state.withLock { state -> Int? in
            if state.second != now / 1000 {
                state.second = now / 1000
                state.lines = 0
            }
            guard state.lines < Self.maximumLinesPerSecond else {
                state.suppressed += 1
                return nil
            }
            state.lines += 1
            defer { state.suppressed = 0 }
            return state.suppressed
        }
        guard let suppressedBefore else { return }
        if suppressedBefore > 0 { write(.suppressed, now, [("lines", String(suppressedBefore))]) }
        var all = [("principal", client.principal.description), ("host", client.host)]
        if let listener = client.listenerName { all.append(("listener", listener)) }
        if let id = client.clientID { all.append(("clientId", id)) }
        write(event, now, all + fields)
    }

    private func write(_ event: AuditEvent, _ now: Timestamp, _ fields: [(String, String)]) {
        guard path != nil else {
            var metadata: Logger.Metadata = [:]
            for (key, value) in fields { metadata[key] = "\(value)" }
            return logger.notice("\(event.rawValue)", metadata: metadata)
        }
        var json = JSONText()
        json.beginObject()
        json.field("time", now)
        json.field("event", event.rawValue)
        for (key, value) in fields { json.field(key, value) }
        json.endObject()
        var line = json.text + "\n"
        let failure = state.withLock { state -> Int32 in
            line.withUTF8 { bytes in Glibc.write(state.descriptor, bytes.baseAddress, bytes.count) == bytes.count ? 0 : errno }
        }
        if failure != 0 {
            logger.error(
                "the audit log cannot be written", metadata: ["reason": "\(String(cString: strerror(failure)))", "line": "\(line)"])
        }
    }
}

/// Who makes a request, as far as decisions and the audit log are concerned.
struct ClientIdentity: Sendable {
    var principal: KafkaPrincipal
    /// The address as text.
    var host: String
    /// Nil for requests of this process.
    var listenerName: String?
    var clientID: String?
}
