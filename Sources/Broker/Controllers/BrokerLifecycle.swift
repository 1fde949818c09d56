// The life of a broker as the controller knows it: registered, caught up, unfenced, in controlled shutdown, gone. Registration first, then
// heartbeats until the end (KIP-631). On a node that holds the active controller all of this stays within the process.
import ClusterMetadata
import Configuration
import Controlling
import KafkaMessages
import KafkaWire
import Logging
import NIOCore
import Observability
import Primitives
import Runtime
import Synchronization

/// Keeps this broker registered and its session alive. Thread-safe.
final class BrokerLifecycle: Sendable {
    fileprivate enum Phase {
        /// Not started.
        case idle
        /// Registering, or waiting to see the own registration in the metadata.
        case starting
        /// Opening logs, or waiting to be unfenced.
        case recovery
        case running
        case controlledShutdown
        case stopped
    }

    fileprivate struct State {
        var phase = Phase.idle
        /// Set by `register`.
        var registration = BrokerRegistrationRequest()
        var brokerEpoch: Int64 = -1
        var isRegistered = false
        /// Set once the broker is able to serve.
        var wantsUnfenced = false
        var isUnfencedByController = false
        var isInFlight = false
        var mustRepeat = false
        var failures = 0
        var shutdownAnswers = 0
        /// Counts scheduled communications; only the last one counts.
        var schedule = 0
        /// Every directory that failed since the start.
        var offlineDirectories: [KafkaUUID] = []
        /// Those of them that the controller was told of.
        var toldDirectories: [KafkaUUID] = []
        var lastProblem = "no controller answered"
    }

    private static let retryMilliseconds: ClosedRange<Int64> = 50...2000
    /// After this an attempt is made anew, in case the controller hangs.
    private static let attemptMilliseconds: Int64 = 4000
    /// A broker that stops does not wait longer than this for a controller that says nothing: when a whole cluster is stopped, the last
    /// nodes have none.
    private static let silenceMilliseconds: Int64 = 10_000

    private let state = Mutex(State())
    private let settings: ClusterSettings
    private let channel: ControllerChannel
    private let image: @Sendable () -> MetadataImage
    private let logger: Logger
    private let caughtUp: EventLoopPromise<Void>
    private let unfenced: EventLoopPromise<Void>
    private let shutDown: EventLoopPromise<Void>

    private let nodeID: NodeID

    /// - Parameter image: the newest metadata that this node has replayed.
    init(
        nodeID: NodeID, settings: ClusterSettings, channel: ControllerChannel, image: @escaping @Sendable () -> MetadataImage,
        logger: Logger
    ) {
        self.nodeID = nodeID
        self.settings = settings
        self.channel = channel
        self.image = image
        self.logger = logger
        caughtUp = channel.eventLoop.makePromise()
        unfenced = channel.eventLoop.makePromise()
        shutDown = channel.eventLoop.makePromise()
    }

    /// -1 before the registration.
    var brokerEpoch: Int64 { state.withLock { $0.brokerEpoch } }

    // MARK: steps of a start and a stop; these block, never on an event loop

    /// Registers, and waits until this node has seen its registration in the metadata.
    ///
    /// - Parameter request: with the ports that listeners are bound to.
    func register(_ request: BrokerRegistrationRequest) throws(BrokerStartFailure) {
        state.withLock { state in
            state.phase = .starting
            state.registration = request
        }
        let timeout = settings.initialRegistrationTimeoutMilliseconds
        channel.eventLoop.scheduleTask(in: .milliseconds(timeout)) { [weak self] in
            guard let self else { return }
            let problem = state.withLock { $0.brokerEpoch < 0 ? $0.lastProblem : nil }
            guard let problem else { return }
            caughtUp.fail(
                BrokerStartFailure(
                    "this broker could not register within \(timeout) ms (initial.broker.registration.timeout.ms): \(problem)"))
        }
        communicate(after: 0)
        try wait(for: caughtUp)
    }

    /// The broker can serve: waits until the controller lets it.
    func unfence() throws(BrokerStartFailure) {
        state.withLock { $0.wantsUnfenced = true }
        communicate(after: 0)
        try wait(for: unfenced)
    }

    /// Hands over what this broker leads and waits until the controller lets it go, or until `milliseconds` are over.
    func leave(within milliseconds: Int64) -> Bool {
        let isRunning = state.withLock { state in
            guard state.phase == .running || state.phase == .recovery, state.isRegistered else { return false }
            state.phase = .controlledShutdown
            return true
        }
        guard isRunning else { return false }
        logger.info("controlled shutdown begins")
        channel.eventLoop.scheduleTask(in: .milliseconds(milliseconds)) { [weak self] in
            self?.shutDown.fail(BrokerStartFailure("the controller did not let this broker go within \(milliseconds) ms"))
        }
        giveUpOnSilence(answers: 0)
        communicate(after: 0)
        do throws(BrokerStartFailure) {
            try wait(for: shutDown)
            return true
        } catch {
            logger.warning("the controlled shutdown was not completed", metadata: ["reason": "\(error)"])
            return false
        }
    }

    private func giveUpOnSilence(answers: Int) {
        channel.eventLoop.scheduleTask(in: .milliseconds(Self.silenceMilliseconds)) { [weak self] in
            guard let self, let now = state.withLock({ $0.phase == .controlledShutdown ? $0.shutdownAnswers : nil }) else { return }
            if now > answers { return giveUpOnSilence(answers: now) }
            shutDown.fail(BrokerStartFailure("no controller has answered for \(Self.silenceMilliseconds) ms"))
        }
    }

    /// No more communication; whoever waits is told.
    func close() {
        state.withLock { state in
            state.phase = .stopped
            state.schedule += 1
        }
        let failure = BrokerStartFailure("the node is stopping")
        caughtUp.fail(failure)
        unfenced.fail(failure)
        shutDown.fail(failure)
    }

    private func wait(for promise: EventLoopPromise<Void>) throws(BrokerStartFailure) {
        do {
            try promise.futureResult.wait()
        } catch {
            throw error as? BrokerStartFailure ?? BrokerStartFailure("\(error)")
        }
    }

    // MARK: what happens around it

    /// The active controller is another one, or has been found: it hears of this broker at once, for until then it cannot tell it from one
    /// that went along with the controller before.
    func controllerMoved() {
        if state.withLock({ $0.isRegistered }) { communicate(after: 0) }
    }

    /// The node has replayed newer metadata.
    func replayed(_ image: MetadataImage) {
        guard let broker = image.cluster.broker(nodeID) else { return unregistered(image) }
        let (isCaughtUp, mustRegister) = state.withLock { state -> (Bool, Bool) in
            guard state.isRegistered, broker.epoch == state.brokerEpoch else { return (false, false) }
            if state.phase == .starting {
                state.phase = .recovery
                return (true, false)
            }
            // A metadata.version that has directories was finalised after the registration (KIP-858).
            let lacksDirectories = broker.logDirectories.isEmpty && image.features.metadataVersion?.supportsDirectoryAssignment == true
            guard lacksDirectories, state.phase == .running else { return (false, false) }
            state.isRegistered = false
            return (false, true)
        }
        if isCaughtUp { caughtUp.succeed() }
        if mustRegister { communicate(after: 0) }
    }

    /// Somebody took this broker for gone and unregistered it (UnregisterBroker) while it runs. It registers again and takes up its work
    /// under a new epoch; where another process has taken its id it does not come to this.
    private func unregistered(_ image: MetadataImage) {
        let (isRegistering, mayGo) = state.withLock { state -> (Bool, Bool) in
            // Metadata from before the registration do not show it either.
            guard state.isRegistered, state.brokerEpoch <= image.provenance.offset else { return (false, false) }
            switch state.phase {
            case .idle, .stopped: return (false, false)
            case .controlledShutdown: return (false, true)
            case .starting, .recovery, .running:
                state.isRegistered = false
                // What this process wrote is still there, which a controller takes for the sign of a clean stop.
                state.registration.previousBrokerEpoch = state.brokerEpoch
                return (true, false)
            }
        }
        if mayGo { return shutDown.succeed() }
        guard isRegistering else { return }
        logger.warning("this broker was unregistered while it runs; it registers again", metadata: ["broker": "\(nodeID)"])
        communicate(after: 0)
    }

    /// The broker serves under newer metadata.
    func published(_ image: MetadataImage) {
        guard let broker = image.cluster.broker(nodeID) else { return }
        let (isUnfenced, mustAsk) = state.withLock { state -> (Bool, Bool) in
            guard broker.epoch == state.brokerEpoch else { return (false, false) }
            if broker.isFenced {
                // Fenced while it runs: the controller was not heard, or did not hear this broker. It asks to come back.
                return (false, state.phase == .running)
            }
            guard state.phase == .recovery, state.wantsUnfenced else { return (false, false) }
            state.phase = .running
            return (true, false)
        }
        if isUnfenced { unfenced.succeed() }
        if mustAsk { communicate(after: 0) }
    }

    /// A log directory has failed: the controller moves its replicas' leaders away.
    ///
    /// - Parameter giveUp: called when the controller could not be told within `log.dir.failure.timeout.ms`: others would go on
    ///   believing in what is in the directory.
    func directoryFailed(_ id: KafkaUUID, giveUp: @escaping @Sendable () -> Void) {
        state.withLock { state in
            if !state.offlineDirectories.contains(id) { state.offlineDirectories.append(id) }
        }
        communicate(after: 0)
        channel.eventLoop.scheduleTask(in: .milliseconds(settings.directoryFailureTimeoutMilliseconds)) { [weak self] in
            guard let self else { return }
            let isUntold = state.withLock { $0.phase != .stopped && !$0.toldDirectories.contains(id) }
            if isUntold { giveUp() }
        }
    }

    // MARK: communication

    private func communicate(after milliseconds: Int64) {
        let schedule = state.withLock { state -> Int? in
            guard state.phase != .stopped, state.phase != .idle else { return nil }
            state.schedule += 1
            return state.schedule
        }
        guard let schedule else { return }
        if milliseconds == 0 {
            channel.eventLoop.execute { [weak self] in self?.communicate(schedule) }
        } else {
            channel.eventLoop.scheduleTask(in: .milliseconds(milliseconds)) { [weak self] in self?.communicate(schedule) }
        }
    }

    private func communicate(_ schedule: Int) {
        let isRegistered = state.withLock { state -> Bool? in
            guard state.schedule == schedule else { return nil }
            if state.isInFlight {
                state.mustRepeat = true
                return nil
            }
            state.isInFlight = true
            return state.isRegistered
        }
        switch isRegistered {
        case true?: sendHeartbeat()
        case false?: sendRegistration()
        case nil: return
        }
    }

    private func sendRegistration() {
        channel.send(
            state.withLock { $0.registration }, timeoutMilliseconds: settings.initialRegistrationTimeoutMilliseconds,
            attemptTimeoutMilliseconds: Self.attemptMilliseconds
        ) { [weak self] outcome in
            guard let self else { return }
            switch outcome {
            case .success(let response) where response.errorCode == .none: registered(response.brokerEpoch)
            case .success(let response):
                refused("the controller answers \(response.errorCode)", isFinal: response.errorCode == .inconsistentClusterId)
            case .failure(let failure): refused("\(failure)", isFinal: false)
            }
        }
    }

    private func registered(_ epoch: Int64) {
        let isNew = state.withLock { state in
            defer { state.brokerEpoch = epoch }
            state.isInFlight = false
            state.mustRepeat = false
            state.isRegistered = true
            state.failures = 0
            return state.brokerEpoch != epoch
        }
        if isNew { logger.info("registered with the controller", metadata: ["broker": "\(nodeID)", "epoch": "\(epoch)"]) }
        // Seen already where the controller is in this process.
        replayed(image())
        communicate(after: state.withLock { $0.wantsUnfenced } ? 0 : 10)
    }

    private func refused(_ problem: String, isFinal: Bool) {
        let (pause, isStarting) = state.withLock { state -> (Int64, Bool) in
            state.isInFlight = false
            state.mustRepeat = false
            state.lastProblem = problem
            state.failures += 1
            let limits = Self.retryMilliseconds
            return (min(limits.upperBound, limits.lowerBound << Int64(min(state.failures - 1, 10))), state.phase == .starting)
        }
        logger.warning("registration or heartbeat refused", metadata: ["reason": "\(problem)"])
        if isFinal && isStarting { return caughtUp.fail(BrokerStartFailure("this broker cannot register: \(problem)")) }
        communicate(after: pause)
    }

    private func sendHeartbeat() {
        var request = BrokerHeartbeatRequest()
        request.brokerId = nodeID
        request.currentMetadataOffset = image().provenance.offset
        state.withLock { state in
            request.brokerEpoch = state.brokerEpoch
            request.wantFence = !state.wantsUnfenced
            request.wantShutDown = state.phase == .controlledShutdown
            request.offlineLogDirs = state.offlineDirectories
        }
        let told = request.offlineLogDirs
        channel.send(
            request, timeoutMilliseconds: max(Self.attemptMilliseconds, settings.sessionTimeoutMilliseconds),
            attemptTimeoutMilliseconds: Self.attemptMilliseconds
        ) { [weak self] outcome in
            guard let self else { return }
            switch outcome {
            case .success(let response) where response.errorCode == .none: answered(response, told: told)
            case .success(let response) where response.errorCode == .staleBrokerEpoch && forgetDisplacedRegistration():
                refused("another incarnation of this broker was registered after it; registering again", isFinal: false)
            case .success(let response): refused("the controller answers \(response.errorCode) to a heartbeat", isFinal: false)
            case .failure(let failure): refused("\(failure)", isFinal: false)
            }
        }
    }

    /// A registration that this node's former process had sent may arrive after that of the present one, and take its place. Nobody would
    /// ever send heartbeats for it, so this broker registers again; where the other one lives, the controller refuses that.
    private func forgetDisplacedRegistration() -> Bool {
        guard let known = image().cluster.broker(nodeID) else { return false }
        return state.withLock { state in
            guard state.phase != .controlledShutdown, known.epoch > state.brokerEpoch,
                known.incarnationID != state.registration.incarnationId
            else { return false }
            state.isRegistered = false
            return true
        }
    }

    private func answered(_ response: BrokerHeartbeatResponse, told: [KafkaUUID]) {
        let (pause, mayGo) = state.withLock { state -> (Int64, Bool) in
            state.isInFlight = false
            state.toldDirectories = told
            state.failures = 0
            state.isUnfencedByController = !response.isFenced
            let pause: Int64
            switch state.phase {
            case .starting: pause = 10
            case .recovery where state.wantsUnfenced && response.isFenced: pause = 50
            case .idle, .stopped, .recovery, .running: pause = settings.heartbeatIntervalMilliseconds
            case .controlledShutdown:
                if response.shouldShutDown { return (settings.heartbeatIntervalMilliseconds, true) }
                state.shutdownAnswers += 1
                // Most are done at once; the others wait for followers.
                pause = state.shutdownAnswers < 40 ? 50 : 500
            }
            defer { state.mustRepeat = false }
            return (state.mustRepeat ? 0 : pause, false)
        }
        if mayGo { return shutDown.succeed() }
        communicate(after: max(0, pause))
    }
}
