// What /health tells Kubernetes and people: alive, ready, and if not ready, how far the recovery has come.
import Primitives
import Synchronization

/// The node's health. The node reports, the admin endpoint reads.
public final class NodeHealth: Sendable {
    /// A step of starting up.
    public struct Progress: Sendable, Hashable {
        /// What is being done, e.g. `recovering logs`.
        public var phase: String
        /// How much of it is done, of how much, in whatever the phase counts (partitions, bytes); zero when it does not count.
        public var done: Int64
        public var total: Int64
        /// What is being counted, e.g. `partitions`.
        public var unit: String

        public init(phase: String, done: Int64 = 0, total: Int64 = 0, unit: String = "") {
            self.phase = phase
            self.done = done
            self.total = total
            self.unit = unit
        }
    }

    private enum Condition {
        case starting(Progress)
        case ready
        case stopping
        case failed(String)
    }

    private struct State {
        var condition = Condition.starting(Progress(phase: "starting"))
        // Things that keep a running node from being ready, by name, e.g. a failed log directory.
        var impediments: [String: String] = [:]
    }

    private let state = Mutex(State())
    private let started = SystemClock.monotonicMilliseconds()

    public init() {}

    /// Reports how far the start has come.
    public func report(_ progress: Progress) {
        state.withLock { $0.condition = .starting(progress) }
    }

    /// The node serves requests.
    public func reportReady() {
        state.withLock { $0.condition = .ready }
    }

    /// The node is shutting down and must not get new clients.
    public func reportStopping() {
        state.withLock { $0.condition = .stopping }
    }

    /// The node cannot go on; it is not live any more.
    public func reportFailure(_ reason: String) {
        state.withLock { $0.condition = .failed(reason) }
    }

    /// Names something that makes a running node not ready; nil lifts it.
    public func setImpediment(_ name: String, _ reason: String?) {
        state.withLock { $0.impediments[name] = reason }
    }

    public var isLive: Bool {
        state.withLock { state in
            if case .failed = state.condition { return false }
            return true
        }
    }

    public var isReady: Bool {
        state.withLock { state in
            guard case .ready = state.condition else { return false }
            return state.impediments.isEmpty
        }
    }

    /// The body of the health responses.
    func json() -> (isLive: Bool, isReady: Bool, text: String) {
        let (condition, impediments) = state.withLock { ($0.condition, $0.impediments) }
        var json = JSONText()
        var isLive = true
        var isReady = false
        json.beginObject()
        switch condition {
        case .starting(let progress):
            json.field("status", "starting")
            json.field("phase", progress.phase)
            if progress.total > 0 {
                json.field("done", progress.done)
                json.field("total", progress.total)
                json.field("unit", progress.unit)
                json.field("percent", min(100, progress.done * 100 / progress.total))
            }
        case .ready:
            isReady = impediments.isEmpty
            json.field("status", isReady ? "ready" : "degraded")
        case .stopping:
            json.field("status", "stopping")
        case .failed(let reason):
            isLive = false
            json.field("status", "failed")
            json.field("reason", reason)
        }
        if !impediments.isEmpty {
            json.beginObject("impediments")
            for (name, reason) in impediments.sorted(by: { $0.key < $1.key }) {
                json.field(name, reason)
            }
            json.endObject()
        }
        json.field("uptimeMilliseconds", SystemClock.monotonicMilliseconds() - started)
        json.endObject()
        return (isLive, isReady, json.text + "\n")
    }
}
