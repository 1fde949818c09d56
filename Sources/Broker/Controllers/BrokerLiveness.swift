// What the active controller does unasked: it ends the sessions of silent brokers, brings leaders home, and looks after brokers whose
// connection ended. A process that dies closes its sockets; trying its listeners tells at once what its session would tell in seconds.
import ClusterMetadata
import Controlling
import KafkaWire
import Logging
import NIOCore
import NIOPosix
import Primitives
import Runtime
import Synchronization

/// The clock and the eyes of this node's controller. Thread-safe.
final class BrokerLiveness: Sendable {
    private struct State {
        var isActive = false
        /// Counts activations, so that timers of an earlier one end.
        var term = 0
    }

    /// Between two looks at what is due; decisions by the clock need no more precision.
    private static let tickMilliseconds: ClosedRange<Int64> = 10...500
    /// What the controller's queue had no room for is tried again after this.
    private static let retryMilliseconds: Int64 = 100
    private static let connectTimeout = TimeAmount.seconds(2)

    private let state = Mutex(State())
    private let metadataRuntime: MetadataRuntime
    private let eventLoop: any EventLoop
    private let logger: Logger

    init(metadataRuntime: MetadataRuntime, eventLoop: any EventLoop, logger: Logger) {
        self.metadataRuntime = metadataRuntime
        self.eventLoop = eventLoop
        self.logger = logger
    }

    /// This node's controller has become active.
    func begin() {
        let term = state.withLock { state in
            state.isActive = true
            state.term += 1
            return state.term
        }
        schedule(tickIn: Self.tickMilliseconds.upperBound, term)
        // At once: brokers that live send a heartbeat as soon as they learn of their new controller, and prove it before the second probe.
        probeUnheard(term)
    }

    /// It is not active any longer.
    func end() {
        state.withLock { state in
            state.isActive = false
            state.term += 1
        }
    }

    private func isCurrent(_ term: Int) -> Bool { state.withLock { $0.isActive && $0.term == term } }

    // MARK: by the clock

    private func schedule(tickIn milliseconds: Int64, _ term: Int) {
        eventLoop.scheduleTask(in: .milliseconds(milliseconds)) { [weak self] in self?.tick(term) }
    }

    private func tick(_ term: Int) {
        guard isCurrent(term) else { return }
        metadataRuntime.submit({ (controller) throws(RequestFailure) -> ControllerResult<Int64?> in
            let due = controller.tick(now: SystemClock.monotonicMilliseconds(), time: SystemClock.now())
            return ControllerResult(controller.nextDeadline, records: due.records, isAtomic: due.isAtomic)
        }) { [weak self] outcome in
            guard let self else { return }
            let deadline = (try? outcome.get()).flatMap { $0 } ?? .max
            let now = SystemClock.monotonicMilliseconds()
            let limits = Self.tickMilliseconds
            schedule(tickIn: deadline > now + limits.upperBound ? limits.upperBound : max(limits.lowerBound, deadline - now), term)
        }
    }

    // MARK: by sockets

    /// A connection that carried the broker's heartbeats has ended.
    func connectionLost(_ id: NodeID, epoch: Int64) {
        if let term = state.withLock({ $0.isActive ? $0.term : nil }) { connectionLost(id, epoch: epoch, term) }
    }

    private func connectionLost(_ id: NodeID, epoch: Int64, _ term: Int) {
        guard isCurrent(term) else { return }
        metadataRuntime.submit({ (controller) throws(RequestFailure) in
            ControllerResult(controller.brokerConnectionLost(id, epoch: epoch, now: SystemClock.monotonicMilliseconds()))
        }) { [weak self] outcome in
            guard let self else { return }
            switch outcome {
            case .success(let probe?): self.probe(probe, term)
            case .success(nil): break
            case .failure: retry { $0.connectionLost(id, epoch: epoch, term) }
            }
        }
    }

    private func probeUnheard(_ term: Int) {
        guard isCurrent(term) else { return }
        metadataRuntime.submit({ (controller) throws(RequestFailure) in ControllerResult(controller.unheardBrokers) }) {
            [weak self] outcome in
            guard let self else { return }
            guard case .success(let probes) = outcome else { return retry { $0.probeUnheard(term) } }
            for probe in probes { self.probe(probe, term) }
        }
    }

    private func retry(_ step: @escaping @Sendable (BrokerLiveness) -> Void) {
        eventLoop.scheduleTask(in: .milliseconds(Self.retryMilliseconds)) { [weak self] in
            if let self { step(self) }
        }
    }

    private func probe(_ broker: BrokerProbe, _ term: Int) {
        guard isCurrent(term) else { return }
        let attempts = broker.endpoints.map(connect)
        EventLoopFuture.whenAllSucceed(attempts, on: eventLoop).whenComplete { [weak self] result in
            let outcomes = (try? result.get()) ?? []
            let outcome: BrokerProbeOutcome =
                outcomes.contains(.accepted) ? .accepted : !outcomes.isEmpty && outcomes.allSatisfy { $0 == .refused } ? .refused : .unknown
            self?.probed(broker, outcome, term)
        }
    }

    private func probe(_ broker: BrokerProbe, _ term: Int, after milliseconds: Int64) {
        eventLoop.scheduleTask(in: .milliseconds(max(1, milliseconds))) { [weak self] in self?.probe(broker, term) }
    }

    /// Connects to a listener and goes away again.
    private func connect(_ endpoint: NodeEndpoint) -> EventLoopFuture<BrokerProbeOutcome> {
        ClientBootstrap(group: eventLoop).connectTimeout(Self.connectTimeout)
            .connect(host: endpoint.host, port: Int(endpoint.port))
            .map { channel in
                channel.close(promise: nil)
                return .accepted
            }
            .flatMapErrorThrowing { error in Self.isRefusal(error) ? .refused : .unknown }
    }

    private static func isRefusal(_ error: any Error) -> Bool {
        if let error = error as? IOError { return error.errnoCode == ECONNREFUSED }
        guard let error = error as? NIOConnectionError, !error.connectionErrors.isEmpty else { return false }
        return error.connectionErrors.allSatisfy { ($0.error as? IOError)?.errnoCode == ECONNREFUSED }
    }

    private func probed(_ broker: BrokerProbe, _ outcome: BrokerProbeOutcome, _ term: Int) {
        guard isCurrent(term) else { return }
        metadataRuntime.submit({ (controller) throws(RequestFailure) in
            controller.brokerProbed(broker, outcome, now: SystemClock.monotonicMilliseconds())
        }) { [weak self] result in
            guard let self else { return }
            guard case .success(let verdict) = result else { return retry { $0.probe(broker, term) } }
            switch verdict {
            case .settled: break
            case .probeAgain(let broker, let time): probe(broker, term, after: time - SystemClock.monotonicMilliseconds())
            case .gone:
                logger.warning(
                    "a broker is gone: its connection ended and its listeners refuse connections; it is fenced",
                    metadata: ["broker": "\(broker.id)", "epoch": "\(broker.epoch)"])
            }
        }
    }
}
