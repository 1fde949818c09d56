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

/// The metadata of the cluster on this node: the log, the active controller, and the image that brokers follow.
///
/// Requests are decided one after another, and those that wait together share one flush. Whoever subscribed sees every image in order,
/// and sees it before the request that made it is answered.
public final class MetadataRuntime: Sendable {
    /// What `submit` hands over to the serial queue.
    private typealias Request = @Sendable (inout MetadataActor) -> Void

    private struct Shared {
        var image: MetadataImage
        var kraftVersion: Int16
        var isActive = false
        var pending: [Request] = []
        var isDraining = false
    }

    private let shared: Mutex<Shared>
    private let queue = SerialQueue()
    private let snapshotQueue = SerialQueue()
    private let state: MetadataActorBox
    private let configuration: MetadataRuntimeConfiguration
    private let logger: Logger

    /// Opens the metadata log, and reads snapshot and log. Nothing is written yet: see `activate`.
    ///
    /// - Parameter directories: the node's data directories; the metadata log is opened among them.
    /// - Throws: when the log cannot be read, or its voters cannot be served by this node.
    public init(
        _ configuration: MetadataRuntimeConfiguration, directories: LogDirectories, logger: Logger
    ) throws(MetadataStorageError) {
        let began = SystemClock.monotonicMilliseconds()
        let now = SystemClock.now()
        let log = try MetadataLog(configuration.log, directories: directories, now: now, logger: logger)
        let loaded = try log.load()
        let actor = try MetadataActor(configuration, log: log, loaded: loaded, now: now, logger: logger)
        let image = loaded.replay.image
        self.configuration = configuration
        self.logger = logger
        shared = Mutex(Shared(image: image, kraftVersion: actor.quorum.kraftVersion))
        state = MetadataActorBox(actor)
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
    public var isActive: Bool { shared.withLock { $0.isActive } }

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

    /// Makes this node the leader of the quorum in a new epoch and its controller active: writes what an empty log begins with, aborts
    /// what a predecessor left open, and registers the controller. Blocks until that is committed.
    ///
    /// - Parameter registration: the controller's registration; nil to leave it out.
    public func activate(registering registration: ControllerRegistrationRequest?) throws(MetadataStorageError) {
        let result = queue.sync { [self] () -> Result<Void, MetadataStorageError> in
            do throws(MetadataStorageError) {
                try state.actor.activate(registering: registration)
                publishPending()
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try result.get()
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
        let request: Request = { actor in
            do throws(RequestFailure) {
                let response = try actor.perform(decide)
                actor.replies.append { failure in completion(failure.map { .failure($0) } ?? .success(response)) }
            } catch {
                actor.replies.append { _ in completion(.failure(error)) }
            }
        }
        let limit = configuration.maximumPendingRequests
        let (isAccepted, mustDrain) = shared.withLock { shared -> (Bool, Bool) in
            guard shared.pending.count < limit else { return (false, false) }
            shared.pending.append(request)
            defer { shared.isDraining = true }
            return (true, !shared.isDraining)
        }
        if !isAccepted {
            return completion(.failure(RequestFailure(.throttlingQuotaExceeded, "Too many requests wait for the controller.")))
        }
        if mustDrain { queue.async { [self] in drain() } }
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

    /// Gives up leadership, makes everything durable and closes the log. The runtime answers NOT_CONTROLLER from then on.
    public func close() {
        queue.sync { [self] in
            state.actor.commit()
            publishPending()
            state.actor.close()
            publishPending()
        }
        snapshotQueue.sync {}
    }

    /// Decides everything that waits, flushes once, and then publishes and answers.
    private func drain() {
        while true {
            let requests = shared.withLock { shared -> [Request] in
                defer { shared.pending = [] }
                if shared.pending.isEmpty { shared.isDraining = false }
                return shared.pending
            }
            if requests.isEmpty { return }
            for request in requests { request(&state.actor) }
            state.actor.commit()
            publishPending()
        }
    }

    /// Shows committed images to the world, and only then sends the answers that wait for them.
    private func publishPending() {
        let publications = state.actor.takePublications()
        let kraftVersion = state.actor.quorum.kraftVersion
        let isActive = state.actor.isActive
        for publication in publications {
            shared.withLock {
                $0.image = publication.image
                $0.kraftVersion = kraftVersion
            }
            for subscriber in state.actor.subscribers { subscriber(publication) }
        }
        shared.withLock { $0.isActive = isActive }
        let (replies, failure) = state.actor.takeReplies()
        for reply in replies { reply(failure) }
        writeSnapshotIfDue()
    }

    /// Snapshots are written beside the queue: an image is immutable, and a large one takes its time.
    private func writeSnapshotIfDue() {
        guard let work = state.actor.beginSnapshot(now: SystemClock.now()) else { return }
        snapshotQueue.async { [self] in
            let error = work.run()
            queue.async { [self] in state.actor.finishSnapshot(work, error: error, now: SystemClock.now()) }
        }
    }
}

/// The queue's own state; touched on the queue alone.
private final class MetadataActorBox: @unchecked Sendable {
    var actor: MetadataActor

    init(_ actor: MetadataActor) {
        self.actor = actor
    }
}
