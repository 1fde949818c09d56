// Drives controller and quorum: decide, append, commit, replay, publish, reply. One serial queue does all of it, so that nothing here
// needs a lock but the two things others look at: the published image and the requests that wait.
import ClusterMetadata
import Consensus
import Controlling
import KafkaMessages
import KafkaRecords
import KafkaWire
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Network
import Primitives
import Storage
import Synchronization

/// What the metadata runtime is started with.
public struct MetadataRuntimeConfiguration: Sendable {
    public var log: MetadataLogConfiguration
    public var quorum: QuorumConfiguration
    public var controller: ControllerConfiguration
    /// Whether every commit waits for the disk. As in Kafka's KRaft it does; off, a commit survives `kill -9` but not a power failure.
    public var flushesCommits = true
    /// Requests that may wait; more are refused.
    public var maximumPendingRequests = 10_000

    public init(log: MetadataLogConfiguration, quorum: QuorumConfiguration, controller: ControllerConfiguration) {
        self.log = log
        self.quorum = quorum
        self.controller = controller
    }
}

/// The metadata of the cluster on this node: its part in the quorum, the log, the controller while this node leads, and the image that
/// brokers follow. Voters and observers run the same.
///
/// Requests are decided one after another, and those that wait together share one flush. Whoever subscribed sees every image in order,
/// committed ones only, and sees it before the request that made it is answered.
public final class MetadataRuntime: Sendable {
    /// What `submit` hands over to the serial queue.
    private typealias Request = @Sendable (inout MetadataActor) -> Void

    private struct Shared {
        var image: MetadataImage
        var kraftVersion: Int16
        var leadership = MetadataLeadership()
        var quorum = QuorumSummary()
        var pending: [Request] = []
        var isDraining = false
    }

    private let shared: Mutex<Shared>
    private let queue = SerialQueue()
    private let snapshotQueue = SerialQueue()
    private let state: MetadataActorBox
    private let outbox: MetadataOutbox
    private let traffic: PeerTraffic?
    private let alarm: MetadataAlarm
    private let configuration: MetadataRuntimeConfiguration
    private let logger: Logger

    /// Opens the metadata log, and reads snapshot and log. Nothing is written or sent yet: see `start`.
    ///
    /// - Parameters:
    ///   - directories: the node's data directories; the metadata log is opened among them.
    ///   - network: the way to the other members; nil only where there are none.
    /// - Throws: when the log cannot be read, or there is nobody to vote.
    public init(
        _ configuration: MetadataRuntimeConfiguration, directories: LogDirectories, network: QuorumNetwork? = nil, logger: Logger
    ) throws(MetadataStorageError) {
        let began = SystemClock.monotonicMilliseconds()
        let now = SystemClock.now()
        let log = try MetadataLog(configuration.log, directories: directories, now: now, logger: logger)
        let loaded = try log.load()
        traffic = network?.peers.traffic
        outbox = MetadataOutbox(network, timeoutMilliseconds: configuration.quorum.timing.requestTimeout)
        alarm = MetadataAlarm(network?.eventLoopGroup.next())
        let actor = try MetadataActor(configuration, log: log, loaded: loaded, outbox: outbox, now: now, logger: logger)
        let image = actor.committedImage
        self.configuration = configuration
        self.logger = logger
        shared = Mutex(Shared(image: image, kraftVersion: actor.quorum.kraftVersion))
        state = MetadataActorBox(actor)
        outbox.deliver(to: { [weak self] outcome, correlation in
            self?.enqueue { $0.received(outcome, correlation: correlation) }
        })
        alarm.whenDue { [weak self] in self?.enqueue { $0.tick() } }
        logger.info(
            "metadata loaded",
            metadata: [
                "offset": "\(image.provenance.offset)", "topics": "\(image.topics.count)", "brokers": "\(image.cluster.brokers.count)",
                "milliseconds": "\(SystemClock.monotonicMilliseconds() - began)",
            ])
    }

    /// The newest committed image.
    public var image: MetadataImage { shared.withLock { $0.image } }

    /// The quorum's level of kraft.version, which is no metadata record and so not in the image.
    public var kraftVersion: Int16 { shared.withLock { $0.kraftVersion } }

    /// Whether this node leads the quorum and decides.
    public var isActive: Bool { shared.withLock { $0.leadership.isActive } }

    /// Who leads the quorum; nil when this node knows of nobody.
    public var leader: MetadataLeader? { shared.withLock { $0.leadership.leader } }

    /// Where the active controller listens; nil when this node knows of none.
    public var controllerAddress: PeerAddress? { shared.withLock { $0.leadership.controllerAddress } }

    /// What this node knows about who leads.
    public var leadership: MetadataLeadership { shared.withLock { $0.leadership } }

    /// This node's part in the quorum as of the last thing that happened.
    public var quorum: QuorumSummary { shared.withLock { $0.quorum } }

    /// How fast the quorum commits, elects, appends and fetches at the moment.
    public var quorumRates: QuorumRates {
        queue.sync { [self] in state.actor.measurements.rates(now: SystemClock.monotonicNanoseconds()) }
    }

    /// What went to other members of the quorum and came back since the start.
    public var quorumTraffic: PeerTraffic.Totals { traffic?.totals ?? PeerTraffic.Totals() }

    /// Calls `subscriber` with what is known now and with every change, in order, on the runtime's queue.
    public func onLeadershipChange(_ subscriber: @escaping @Sendable (MetadataLeadership) -> Void) {
        queue.sync { [self] in
            subscriber(leadership)
            state.leadershipSubscribers.append(subscriber)
        }
    }

    /// Sets who is told, once, when the metadata log fails: from then on this node neither decides nor learns anything.
    public func onFailure(_ handler: @escaping @Sendable (String) -> Void) {
        queue.sync { [self] in state.failureHandler = handler }
    }

    /// Lets `subscriber` follow the metadata: first the image as it is, as if everything in it were new, then every change in order.
    ///
    /// Called on the runtime's queue; requests are answered only after all subscribers returned, so it must not wait for one.
    public func subscribe(_ subscriber: @escaping @Sendable (MetadataPublication) -> Void) {
        queue.sync { [self] in
            let image = self.image
            subscriber(MetadataPublication(image: image, changes: MetadataChanges(from: .empty, to: image)))
            state.actor.subscribers.append(subscriber)
        }
    }

    /// Begins to take part in the quorum. A sole voter leads and has its controller active when this returns; others wait for an
    /// election or a leader: see `onLeadershipChange`.
    ///
    /// - Parameter registration: written whenever this node's controller becomes active; nil to leave that to a request.
    /// - Throws: when the quorum cannot be begun, or a sole voter's controller cannot.
    public func start(registering registration: ControllerRegistrationRequest? = nil) throws(MetadataStorageError) {
        let result = queue.sync { [self] () -> Result<Void, MetadataStorageError> in
            do throws(MetadataStorageError) {
                try state.actor.start(registering: registration)
                finishRound()
                if let failure = state.actor.failure ?? state.actor.activationFailure { throw .invalidOption(failure.description) }
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    /// As `start`, for the only voter of a quorum.
    public func activate(registering registration: ControllerRegistrationRequest?) throws(MetadataStorageError) {
        try start(registering: registration)
    }

    /// Lets the quorum answer a request of another node, or of a tool that changes the voters.
    ///
    /// - Parameters:
    ///   - version: the request's; the answer is for the same one.
    ///   - listenerName: the listener that the request came by.
    ///   - completion: called once, on the runtime's queue, perhaps after `fetch.max.wait.ms`; with nil when this node cannot take part
    ///     any longer, and the connection should be closed.
    public func handle(
        _ request: QuorumRequest, version: Int16, listenerName: String, completion: @escaping @Sendable (QuorumResponse?) -> Void
    ) {
        // Bounded by the connections, each of which has one request in progress.
        enqueue { $0.received(request, version: version, listenerName: listenerName, reply: completion) }
    }

    /// Lets the controller decide, commits the records, publishes the image, and hands the answer to `completion`, on the runtime's
    /// queue. A `RequestFailure` means that nothing was changed.
    public func submit<Response: Sendable>(
        _ decide: @escaping @Sendable (inout Controller) throws(RequestFailure) -> ControllerResult<Response>,
        completion: @escaping @Sendable (Result<Response, RequestFailure>) -> Void
    ) {
        submit(at: { (controller, _) throws(RequestFailure) in try decide(&controller) }, completion: completion)
    }

    /// As `submit`, for decisions that depend on the offset at which their first record will lie.
    public func submit<Response: Sendable>(
        at decide: @escaping @Sendable (inout Controller, _ nextOffset: Offset) throws(RequestFailure) -> ControllerResult<Response>,
        completion: @escaping @Sendable (Result<Response, RequestFailure>) -> Void
    ) {
        let isAccepted = enqueue(limit: configuration.maximumPendingRequests) { $0.run(decide, completion: completion) }
        if !isAccepted {
            completion(.failure(RequestFailure(.throttlingQuotaExceeded, "Too many requests wait for the controller.")))
        }
    }

    /// Decides UpdateFeatures, of which kraft.version is the quorum's business. Otherwise as `submit`.
    public func updateFeatures(
        _ request: UpdateFeaturesRequest, apiVersion: Int16,
        completion: @escaping @Sendable (Result<UpdateFeaturesResponse, RequestFailure>) -> Void
    ) {
        let isAccepted = enqueue(limit: configuration.maximumPendingRequests) {
            $0.updateFeatures(request, apiVersion: apiVersion, completion: completion)
        }
        if !isAccepted {
            completion(.failure(RequestFailure(.throttlingQuotaExceeded, "Too many requests wait for the controller.")))
        }
    }

    /// Puts work on the queue, unless too much waits there.
    @discardableResult
    private func enqueue(limit: Int = .max, _ work: @escaping Request) -> Bool {
        let (isAccepted, mustDrain) = shared.withLock { shared -> (Bool, Bool) in
            guard shared.pending.count < limit else { return (false, false) }
            shared.pending.append(work)
            defer { shared.isDraining = true }
            return (true, !shared.isDraining)
        }
        if mustDrain { queue.async { [self] in drain() } }
        return isAccepted
    }

    /// As `submit`, for callers that can wait: `try await runtime.submit { controller in … }`.
    public func submit<Response: Sendable>(
        _ decide: @escaping @Sendable (inout Controller) throws(RequestFailure) -> ControllerResult<Response>
    ) async -> Result<Response, RequestFailure> {
        await withCheckedContinuation { continuation in
            submit(decide) { continuation.resume(returning: $0) }
        }
    }

    /// As `submit`, blocking: for starting and stopping, never on an event loop or from a subscriber.
    public func submitAndWait<Response: Sendable>(
        at decide: @escaping @Sendable (inout Controller, _ nextOffset: Offset) throws(RequestFailure) -> ControllerResult<Response>
    ) throws(RequestFailure) -> Response {
        let outcome = NIOLockedValueBox<Result<Response, RequestFailure>?>(nil)
        let done = ConditionLock(value: false)
        submit(at: decide) { result in
            outcome.withLockedValue { $0 = result }
            done.lock()
            done.unlock(withValue: true)
        }
        done.lock(whenValue: true)
        done.unlock()
        guard let result = outcome.withLockedValue({ $0 }) else { throw RequestFailure(.unknownServerError) }
        return try result.get()
    }

    /// Answers DescribeQuorum.
    public func describeQuorum(
        _ request: DescribeQuorumRequest, completion: @escaping @Sendable (DescribeQuorumResponse) -> Void
    ) {
        queue.async { [self] in completion(state.actor.quorum.describe(request)) }
    }

    /// Leaves the quorum, makes everything durable and closes the log. A leader tells the others first, so that they elect another one
    /// at once. The runtime answers NOT_CONTROLLER from then on.
    ///
    /// - Parameter patienceMilliseconds: how long the others may take.
    public func close(patienceMilliseconds: Int64 = 2000) {
        queue.sync { [self] in
            state.actor.settle()
            state.actor.shutDown()
            finishRound()
        }
        let deadline = SystemClock.monotonicMilliseconds() + patienceMilliseconds
        while !state.waitUntilStopped(seconds: 0.05), SystemClock.monotonicMilliseconds() < deadline {
            enqueue { $0.tick() }
        }
        queue.sync { [self] in
            state.actor.settle()
            showCommitted()
            state.actor.close()
            finishRound()
        }
        alarm.cancel()
        outbox.close()
        snapshotQueue.sync {}
    }

    /// Works through everything that waits, flushes once, and then publishes and answers.
    private func drain() {
        while true {
            let requests = shared.withLock { shared -> [Request] in
                defer { shared.pending = [] }
                if shared.pending.isEmpty { shared.isDraining = false }
                return shared.pending
            }
            if requests.isEmpty { return }
            let began = SystemClock.monotonicNanoseconds()
            for request in requests { request(&state.actor) }
            finishRound()
            state.actor.measurements.worked(since: began, now: SystemClock.monotonicNanoseconds())
        }
    }

    private func finishRound() {
        state.actor.settle()
        showCommitted()
        if state.actor.isStopped { state.stop() }
        let summary = QuorumSummary(state.actor.quorum)
        shared.withLock { $0.quorum = summary }
        if let failure = state.actor.logFailure, let handler = state.failureHandler {
            state.failureHandler = nil
            handler("the metadata log has failed: \(failure)")
        }
        if let deadline = state.actor.quorum.nextDeadline, !state.actor.isStopped { alarm.set(deadline) }
    }

    /// Shows committed images to the world, and only then sends the answers that wait for them.
    private func showCommitted() {
        let publications = state.actor.takePublications()
        let kraftVersion = state.actor.quorum.kraftVersion
        for publication in publications {
            shared.withLock {
                $0.image = publication.image
                $0.kraftVersion = kraftVersion
            }
            for subscriber in state.actor.subscribers { subscriber(publication) }
        }
        showLeadership()
        for reply in state.actor.takeReplies() { reply.send(reply.failure) }
        writeSnapshotIfDue()
    }

    private func showLeadership() {
        let leadership = MetadataLeadership(of: state.actor)
        let hasChanged = shared.withLock { shared in
            defer { shared.leadership = leadership }
            return shared.leadership != leadership
        }
        guard hasChanged else { return }
        for subscriber in state.leadershipSubscribers { subscriber(leadership) }
    }

    /// Snapshots are written beside the queue: an image is immutable, and a large one takes its time.
    private func writeSnapshotIfDue() {
        guard let work = state.actor.beginSnapshot(now: SystemClock.now()) else { return }
        snapshotQueue.async { [self] in
            let error = work.run()
            enqueue { $0.finishSnapshot(work, error: error, now: SystemClock.now()) }
        }
    }
}

/// The queue's own state; touched on the queue alone.
private final class MetadataActorBox: @unchecked Sendable {
    var actor: MetadataActor
    var leadershipSubscribers: [@Sendable (MetadataLeadership) -> Void] = []
    var failureHandler: (@Sendable (String) -> Void)?
    /// True once the member has left the quorum.
    private let stopped = ConditionLock(value: false)

    init(_ actor: MetadataActor) {
        self.actor = actor
    }

    func stop() {
        stopped.lock()
        stopped.unlock(withValue: true)
    }

    func waitUntilStopped(seconds: Double) -> Bool {
        guard stopped.lock(whenValue: true, timeoutSeconds: seconds) else { return false }
        stopped.unlock()
        return true
    }
}
