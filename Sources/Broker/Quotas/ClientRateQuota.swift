// One kind of client quota at work: who used how much lately. A request of a client without any quota reads one atomic; with quotas, it
// takes one lock.
import Authorization
import ClusterMetadata
import Observability
import Primitives
import Synchronization

/// Measures of one kind, by subject. Times are monotonic milliseconds.
final class ClientRateQuota: Sendable {
    /// What bounds memory when client ids are made up.
    static let maximumMeasures = 10_000
    /// Subjects that metrics show.
    static let maximumShown = 1000
    /// How long a measure is kept without use, as in Kafka.
    private static let retentionMilliseconds: Int64 = 3_600_000

    private struct Measure {
        var bound: Double?
        var rate: SampledRate
        /// Only for mutations of the controller.
        var bucket: TokenBucket?
        var throttling = SampledAverage()
        var lastUsed: Int64
    }

    private struct State {
        var table: ClientQuotaTable
        var measures: [QuotaSubject: Measure] = [:]
        var sweptAt: Int64 = 0
    }

    let kind: ClientQuotaKind
    private let samples: Int
    private let sampleMilliseconds: Int64
    /// Kafka never holds a request back for longer than one sample; bytes for as long as it takes.
    private let longestThrottleMilliseconds: Int64
    private let active = Atomic<Bool>(false)
    private let state: Mutex<State>

    init(_ kind: ClientQuotaKind, samples: Int, sampleMilliseconds: Int64) {
        self.kind = kind
        self.samples = max(1, samples)
        self.sampleMilliseconds = max(1, sampleMilliseconds)
        longestThrottleMilliseconds = kind == .request ? sampleMilliseconds : Int64(Int32.max)
        state = Mutex(State(table: ClientQuotaTable(kind)))
    }

    /// Whether anybody has such a quota.
    var isActive: Bool { active.load(ordering: .relaxed) }

    /// Takes over the quotas of new metadata.
    func update(_ image: ClientQuotasImage) {
        let table = ClientQuotaTable(kind, image)
        state.withLock { state in
            guard state.table != table else { return }
            state.table = table
            // Whoever loses its quota is measured no more.
            state.measures = table.isEmpty ? [:] : state.measures
            for subject in state.measures.keys {
                let bound = table.bound(of: subject)
                state.measures[subject]?.bound = bound
                if let bound { state.measures[subject]?.bucket?.rate = bound }
            }
        }
        active.store(!table.isEmpty, ordering: .relaxed)
    }

    /// Counts `value` and says for how long the client has to be held back; 0 while it is within its quota.
    func record(_ value: Double, user: String, clientID: String, now: Int64) -> Int64 {
        guard isActive else { return 0 }
        return withMeasure(user, clientID, now) { measure in
            let wasQuiet = kind == .fetch && measure.rate.perSecond(now: now) <= 0
            measure.rate.record(value, now: now)
            guard let bound = measure.bound else { return 0 }
            // A batch that no window holds would never be fetched; what follows it waits instead.
            if wasQuiet, value > atOnce(bound) { return 0 }
            return min(longestThrottleMilliseconds, measure.rate.millisecondsAbove(bound, now: now))
        }
    }

    /// Takes back what was counted for an answer that is not sent.
    func takeBack(_ value: Double, user: String, clientID: String, now: Int64) {
        guard isActive else { return }
        withMeasure(user, clientID, now) { $0.rate.record(-value, now: now) }
    }

    /// Notes that a client was held back, for metrics.
    func noteThrottle(milliseconds: Int64, user: String, clientID: String, now: Int64) {
        guard isActive else { return }
        withMeasure(user, clientID, now) { $0.throttling.record(Double(milliseconds), now: now) }
    }

    /// The most that can be taken at once without being throttled for it; nil without a bound.
    func maximumAtOnce(user: String, clientID: String) -> Double? {
        guard isActive else { return nil }
        let bound = state.withLock { $0.table.bound(of: $0.table.subject(user: user, clientID: clientID)) }
        return bound.map { atOnce($0) }
    }

    private func atOnce(_ bound: Double) -> Double { bound * Double(samples - 1) * Double(sampleMilliseconds) / 1000 }

    /// Takes tokens for mutations. A strict client gets none while it has a debt; a permissive one makes a larger debt (KIP-599).
    ///
    /// - Returns: whether the tokens were taken, and for how long the client has to wait.
    func takeTokens(_ count: Double, isStrict: Bool, user: String, clientID: String, now: Int64) -> (taken: Bool, milliseconds: Int64) {
        guard isActive else { return (true, 0) }
        return withMeasure(user, clientID, now) { measure in
            guard let bound = measure.bound else {
                measure.rate.record(count, now: now)
                return (true, 0)
            }
            var bucket = measure.bucket ?? TokenBucket(rate: bound, burstSeconds: Double(samples) * Double(sampleMilliseconds) / 1000)
            defer { measure.bucket = bucket }
            if isStrict, bucket.tokens(now: now) < 0 { return (false, bucket.debtMilliseconds(now: now)) }
            bucket.take(count, now: now)
            measure.rate.record(count, now: now)
            return (true, isStrict ? 0 : bucket.debtMilliseconds(now: now))
        }
    }

    private func withMeasure<Result>(_ user: String, _ clientID: String, _ now: Int64, _ body: (inout Measure) -> Result) -> Result {
        state.withLock { state in
            let subject = state.table.subject(user: user, clientID: clientID)
            if state.measures[subject] == nil { makeRoom(&state, now) }
            let unused = Measure(
                bound: state.measures[subject] == nil ? state.table.bound(of: subject) : nil,
                rate: SampledRate(samples: samples, milliseconds: sampleMilliseconds), lastUsed: now)
            state.measures[subject, default: unused].lastUsed = now
            return body(&state.measures[subject, default: unused])
        }
    }

    private func makeRoom(_ state: inout State, _ now: Int64) {
        let isFull = state.measures.count >= Self.maximumMeasures
        // Looking through all of them is not for every newcomer.
        guard isFull || now - state.sweptAt >= Self.retentionMilliseconds else { return }
        state.sweptAt = now
        state.measures = state.measures.filter { now - $0.value.lastUsed < Self.retentionMilliseconds }
        guard state.measures.count >= Self.maximumMeasures else { return }
        let uses = state.measures.values.map(\.lastUsed).sorted()
        let oldest = uses[uses.count / 10]
        state.measures = state.measures.filter { $0.value.lastUsed > oldest }
    }

    // MARK: numbers

    /// What metrics show of one subject.
    struct Reading {
        var subject: QuotaSubject
        var rate: Double
        var throttleMilliseconds: Double
        var tokens: Double?
    }

    func readings(now: Int64) -> [Reading] {
        state.withLock { state in
            let subjects = state.measures.sorted { $0.value.lastUsed > $1.value.lastUsed }.prefix(Self.maximumShown).map(\.key)
            return subjects.compactMap { subject in
                guard var measure = state.measures[subject] else { return nil }
                return Reading(
                    subject: subject, rate: measure.rate.perSecond(now: now), throttleMilliseconds: measure.throttling.average(now: now),
                    tokens: measure.bucket?.tokens(now: now))
            }
        }
    }
}
