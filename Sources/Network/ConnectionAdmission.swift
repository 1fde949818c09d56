// Kafka's connection quotas: how many connections there may be in all, on one listener, from one address, and how fast they may come
// (KIP-402, KIP-612).
import Primitives
import Synchronization

/// Counts connections against their bounds. Used when connections come and go, never for requests. Times are monotonic milliseconds.
final class ConnectionAdmission: Sendable {
    /// Rates of addresses kept at once; those that were idle go first.
    private static let maximumAddressRates = 10_000

    /// Whether a listener may accept.
    enum Acceptance: Equatable {
        case now
        /// Connections come too fast.
        case after(milliseconds: Int64)
        /// There are too many; the listener is called when there is a place.
        case whenFree
    }

    /// Whether an accepted connection may stay.
    enum Admission: Equatable {
        case admitted
        case tooMany
        /// Its address connects too often: it is closed after that time, unserved.
        case tooFast(milliseconds: Int64)
    }

    private struct State {
        var limits: ConnectionLimits
        var listenerLimits: [Int]
        var total = 0
        var byListener: [Int]
        var byAddress: [String: Int] = [:]
        // Listeners that wait for a place, to be called when one becomes free.
        var waiting: [@Sendable () -> Void] = []
        var rate: SampledRate
        var listenerRates: [SampledRate]
        var notBefore: [Int64]
        var addressLimits = AddressRates()
        var addressRates: [String: SampledRate] = [:]
    }

    private let listenerNames: [String]
    private let state: Mutex<State>

    init(limits: ConnectionLimits, listeners: [ListenerEndpoint]) {
        listenerNames = listeners.map(\.name)
        let rate = SampledRate(samples: limits.rateSamples, milliseconds: limits.rateSampleMilliseconds)
        state = Mutex(
            State(
                limits: limits, listenerLimits: Self.limits(of: listenerNames, limits), byListener: listeners.map { _ in 0 }, rate: rate,
                listenerRates: listeners.map { _ in rate }, notBefore: listeners.map { _ in .min }))
    }

    private static func limits(of listeners: [String], _ limits: ConnectionLimits) -> [Int] {
        listeners.map { limits.maximumConnectionsPerListener[$0] ?? .max }
    }

    /// True if the number of connections, or their rate, is bounded at all.
    var isBounded: Bool { state.withLock { $0.limits.isBounded } }

    /// Counts against other bounds from now on. Connections beyond a lower bound stay, as with Kafka; listeners that wait look again.
    func update(_ limits: ConnectionLimits) {
        let waiting = state.withLock { state in
            state.limits = limits
            state.listenerLimits = Self.limits(of: listenerNames, limits)
            defer { state.waiting = [] }
            return state.waiting
        }
        for listener in waiting {
            listener()
        }
    }

    /// Takes other rates for addresses.
    func update(_ rates: AddressRates) {
        state.withLock { state in
            state.addressLimits = rates
            state.addressRates = state.addressRates.filter { rates.bound(of: $0.key) != nil }
        }
    }

    /// The listener between brokers is never held up by what clients do on others, as in Kafka.
    private func isProtected(_ listener: Int, _ limits: ConnectionLimits) -> Bool {
        listenerNames.count > 1 && listenerNames[listener] == limits.protectedListener
    }

    /// Whether the listener may accept one more; if not for want of a place, `whenFree` is called once, on any thread, when it should
    /// ask again.
    func mayAccept(listener: Int, now: Int64, whenFree: @escaping @Sendable () -> Void) -> Acceptance {
        state.withLock { state in
            if state.notBefore[listener] > now { return .after(milliseconds: state.notBefore[listener] - now) }
            let hasPlace = isProtected(listener, state.limits) || state.total < state.limits.maximumConnections
            if hasPlace, state.byListener[listener] < state.listenerLimits[listener] { return .now }
            state.waiting.append(whenFree)
            return .whenFree
        }
    }

    /// Counts an accepted connection; when they come too fast, the listener's next one has to wait.
    func opened(listener: Int, now: Int64) {
        state.withLock { state in
            state.total += 1
            state.byListener[listener] += 1
            guard state.limits.isRateBounded else { return }
            var wait: Int64 = 0
            if !isProtected(listener, state.limits) {
                state.rate.record(1, now: now)
                wait = state.rate.millisecondsAbove(Double(state.limits.connectionsPerSecond), now: now)
            }
            state.listenerRates[listener].record(1, now: now)
            if let bound = state.limits.connectionsPerSecondPerListener[listenerNames[listener]] {
                wait = max(wait, state.listenerRates[listener].millisecondsAbove(Double(bound), now: now))
            }
            state.notBefore[listener] = now + min(wait, state.limits.rateSampleMilliseconds)
        }
    }

    /// Counts a connection that is gone, and wakes the listeners that wait.
    func closed(listener: Int) {
        let waiting = state.withLock { state in
            state.total -= 1
            state.byListener[listener] -= 1
            defer { state.waiting = [] }
            return state.waiting
        }
        for listener in waiting {
            listener()
        }
    }

    /// Counts a connection from an address, unless that address has its share or comes too often.
    func admit(address: String, listener: Int, now: Int64) -> Admission {
        // Counted without a bound, too: one may be set at any time.
        state.withLock { state in
            if let bound = state.addressLimits.bound(of: address) {
                let wait = record(address, Double(bound), now, &state)
                if wait > 0 {
                    // It is not served, so it counts for nobody.
                    if !isProtected(listener, state.limits) { state.rate.record(-1, now: now) }
                    state.listenerRates[listener].record(-1, now: now)
                    return .tooFast(milliseconds: min(wait, state.limits.rateSampleMilliseconds))
                }
            }
            let count = state.byAddress[address, default: 0]
            let limits = state.limits
            guard count < limits.connectionsPerAddressOverrides[address] ?? limits.maximumConnectionsPerAddress else { return .tooMany }
            state.byAddress[address] = count + 1
            return .admitted
        }
    }

    private func record(_ address: String, _ bound: Double, _ now: Int64, _ state: inout State) -> Int64 {
        if state.addressRates.count >= Self.maximumAddressRates, state.addressRates[address] == nil {
            state.addressRates = state.addressRates.filter { entry in
                var rate = entry.value
                return !rate.isIdle(now: now)
            }
            if state.addressRates.count >= Self.maximumAddressRates { state.addressRates = [:] }
        }
        var rate =
            state.addressRates[address]
            ?? SampledRate(samples: state.limits.rateSamples, milliseconds: state.limits.rateSampleMilliseconds)
        rate.record(1, now: now)
        let wait = rate.millisecondsAbove(bound, now: now)
        if wait > 0 { rate.record(-1, now: now) }
        state.addressRates[address] = rate
        return wait
    }

    func release(address: String) {
        state.withLock { state in
            let count = state.byAddress[address, default: 0]
            state.byAddress[address] = count > 1 ? count - 1 : nil
        }
    }
}
