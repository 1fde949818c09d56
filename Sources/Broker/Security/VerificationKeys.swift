// The keys that a listener's tokens are checked with, and how they are kept up to date: a file is read again when it changes, an address
// is asked in regular intervals and when somebody comes with a key that nobody here knows yet. Never on the way of a login, which would
// let whoever is at the other end wait for a third party: it is judged by the keys that are there.
import Authentication
import Configuration
import IdentityProvider
import Logging
import NIOCore
import Primitives
import Synchronization
import TransportSecurity

/// The key set of one listener. Thread-safe.
final class VerificationKeys: Sendable {
    /// How long one reading by HTTP may take.
    private static let timeout = TimeAmount.seconds(10)
    /// A file is looked at for unknown keys at most that often.
    private static let fileIntervalMilliseconds: Int64 = 1000

    private struct State {
        var keys: JSONWebKeySet?
        var bytes: [UInt8] = []
        var isReading = false
        /// Monotonic milliseconds.
        var lastRead = Int64.min / 2
        /// Readings that failed since the last good one.
        var failures = 0
        var eventLoop: (any EventLoop)?
        var background: BackgroundWork?
        var next: Scheduled<Void>?
    }

    private let listener: String
    private let settings: OAuthBearerSettings
    private let tls: TLSClientContext?
    private let logger: Logger
    private let state = Mutex(State())

    /// Reads the keys if they are in a file; one that cannot be used is a reason not to start.
    init(listener: String, _ settings: OAuthBearerSettings, logger: Logger) throws(BrokerStartFailure) {
        self.listener = listener
        self.settings = settings
        self.logger = logger
        switch settings.keySet {
        case .file: tls = nil
        case .web(let address):
            do throws(TLSFailure) {
                tls = address.isSecured ? try TLSClientContext(settings.tls) : nil
            } catch {
                throw BrokerStartFailure("sasl.oauthbearer.jwks.endpoint.url of listener \(listener) cannot be asked by TLS: \(error)")
            }
        }
        if let problem = readFile() { throw BrokerStartFailure("sasl.oauthbearer.jwks.endpoint.url of listener \(listener): \(problem)") }
    }

    /// Nil until they could be read for the first time.
    var current: JSONWebKeySet? { state.withLock { $0.keys } }

    /// Begins to ask an address. A provider that is down does not keep a node from starting; nobody logs in with a token until it answers.
    func start(on eventLoop: any EventLoop, _ background: BackgroundWork) {
        state.withLock { state in
            state.eventLoop = eventLoop
            state.background = background
        }
        fetch()
    }

    /// Looks whether a file changed.
    func refresh() {
        if let problem = readFile() {
            logger.error("the keys of tokens stay as they were", metadata: ["listener": "\(listener)", "reason": "\(problem)"])
        }
    }

    /// Somebody came with a key that is not known: it may be new. Asks for the keys again, at most once in
    /// `sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms`, whoever comes.
    func missed() {
        let now = SystemClock.monotonicMilliseconds()
        switch settings.keySet {
        case .file:
            let background = state.withLock { state -> BackgroundWork? in
                guard now - state.lastRead >= Self.fileIntervalMilliseconds else { return nil }
                state.lastRead = now
                return state.background
            }
            background?.run { self.refresh() }
        case .web:
            let isDue = state.withLock { now - $0.lastRead >= settings.maximumRetryBackoffMilliseconds }
            if isDue { fetch() }
        }
    }

    // MARK: reading

    /// Returns what is wrong with the file, if anything.
    private func readFile() -> String? {
        guard case .file(let path) = settings.keySet else { return nil }
        switch ConfigurationFile.text(path) {
        case .failure(let failure): return "\(path) \(failure.reason)"
        case .success(let text): return take(Array(text.utf8)).map { "\(path) \($0)" }
        }
    }

    /// Goes over to new keys. Returns what is wrong with them, if anything.
    private func take(_ bytes: [UInt8]) -> String? {
        guard state.withLock({ $0.keys == nil || $0.bytes != bytes }) else { return nil }
        do throws(JSONWebKeySetError) {
            let keys = try JSONWebKeySet(parsing: bytes)
            let isNew = state.withLock { state in
                defer {
                    state.keys = keys
                    state.bytes = bytes
                }
                return state.keys != nil
            }
            var details: Logger.Metadata = ["listener": "\(listener)", "keys": "\(keys.count)", "from": "\(settings.keySet)"]
            if !keys.skipped.isEmpty { details["unused"] = "\(keys.skipped.joined(separator: "; "))" }
            logger.notice(isNew ? "new keys of tokens are in use" : "tokens are checked with these keys", metadata: details)
            return nil
        } catch {
            return error.description
        }
    }

    private func fetch() {
        guard case .web(let address) = settings.keySet else { return }
        let eventLoop = state.withLock { state -> (any EventLoop)? in
            guard !state.isReading, let eventLoop = state.eventLoop else { return nil }
            state.isReading = true
            state.lastRead = SystemClock.monotonicMilliseconds()
            state.next?.cancel()
            state.next = nil
            return eventLoop
        }
        guard let eventLoop else { return }
        WebFetch.get(address, tls: tls, maximumBytes: JSONWebKeySet.maximumBytes, timeout: Self.timeout, on: eventLoop).whenComplete {
            [weak self] result in
            switch result {
            case .success(let body): self?.fetched(problem: self?.take(Array(body.readableBytesView)))
            case .failure(let error): self?.fetched(problem: "\(error)")
            }
        }
    }

    private func fetched(problem: String?) {
        let delay = state.withLock { state -> Int64 in
            state.isReading = false
            state.failures = problem == nil ? 0 : state.failures + 1
            let delay =
                problem == nil
                ? settings.refreshMilliseconds
                : Self.backoff(failures: state.failures, settings)
            state.next = state.eventLoop?.scheduleTask(in: .milliseconds(delay)) { [weak self] in self?.fetch() }
            return delay
        }
        guard let problem else { return }
        logger.warning(
            current == nil ? "nobody can log in with a token: there are no keys" : "the keys of tokens stay as they were",
            metadata: [
                "listener": "\(listener)", "address": "\(settings.keySet)", "reason": "\(problem)", "nextTryMilliseconds": "\(delay)",
            ])
    }

    /// Doubled with every failure up to the longest; a little even where zero is configured, for nothing is to be asked without a pause.
    private static func backoff(failures: Int, _ settings: OAuthBearerSettings) -> Int64 {
        let first = max(10, settings.retryBackoffMilliseconds)
        let doubled = first.multipliedReportingOverflow(by: 1 << Int64(min(failures - 1, 30)))
        return max(10, min(doubled.overflow ? .max : doubled.partialValue, settings.maximumRetryBackoffMilliseconds))
    }
}
