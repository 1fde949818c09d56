// The way from this node to the active controller, wherever it is: in this process, or at the other end of a connection. Requests wait
// while nobody knows where it is, and are sent again when the controller turns out to be another one.
import Controlling
import KafkaMessages
import KafkaWire
import Logging
import NIOCore
import Network
import Primitives
import Synchronization

/// Where the active controller is.
enum ControllerLocation: Sendable, Hashable {
    /// In this process.
    case here
    case elsewhere(PeerAddress)
    /// There is none, or nobody here knows of it.
    case unknown
}

/// Why a request to the controller has no answer.
enum ControllerChannelFailure: Error, Sendable, CustomStringConvertible {
    /// No controller answered in the time allowed. It may have acted on the request.
    case timedOut
    /// The controller offers no version of the API that can carry the request.
    case unsupportedVersion
    /// Too many requests wait already.
    case overloaded
    /// The node stops.
    case closed
    /// The controller ended the connection over the request, or answered what cannot be read.
    case refused(String)

    var description: String {
        switch self {
        case .timedOut: "no controller answered in time"
        case .unsupportedVersion: "the controller does not know a common version of the API"
        case .overloaded: "too many requests wait for the controller"
        case .closed: "the node stops"
        case .refused(let reason): reason
        }
    }

    /// What a client is told whose request was to be forwarded.
    var requestFailure: RequestFailure {
        switch self {
        case .timedOut: RequestFailure(.requestTimedOut, "The controller did not answer in time.")
        case .unsupportedVersion: RequestFailure(.unsupportedVersion, "The controller does not support this version of the request.")
        case .overloaded: RequestFailure(.throttlingQuotaExceeded, "Too many requests wait for the controller.")
        case .closed: RequestFailure(.networkException, "This broker is stopping.")
        case .refused(let reason): RequestFailure(.unknownServerError, reason)
        }
    }
}

/// Sends requests to the active controller. Thread-safe; answers come on the channel's event loop.
final class ControllerChannel: Sendable {
    /// A request's answer in the version that was chosen.
    struct Answer: Sendable {
        var version: Int16
        var body: ByteBuffer
    }

    private struct State {
        var outstanding = 0
        var isClosed = false
        var location = ControllerLocation.unknown
        /// Requests that wait for a controller; told at once when there is one.
        var waiting: [Attempt] = []
    }

    /// One request until it is answered.
    fileprivate final class Attempt: Sendable {
        let api: ApiKey
        let deadline: Int64
        let attemptTimeout: Int64
        let encode: PeerConnections.Encoder
        let isDone = Atomic(false)
        let failures = Atomic(0)
        let completion: @Sendable (Result<Answer, ControllerChannelFailure>) -> Void

        init(
            _ api: ApiKey, deadline: Int64, attemptTimeout: Int64, encode: @escaping PeerConnections.Encoder,
            completion: @escaping @Sendable (Result<Answer, ControllerChannelFailure>) -> Void
        ) {
            self.api = api
            self.deadline = deadline
            self.attemptTimeout = attemptTimeout
            self.encode = encode
            self.completion = completion
        }
    }

    /// Requests that may be on their way or wait.
    private static let maximumOutstanding = 10_000
    private static let backoffMilliseconds: ClosedRange<Int64> = 20...500

    private let state = Mutex(State())
    private let local: ControllerServices?
    private let connections: PeerConnections
    let eventLoop: any EventLoop
    private let clientID: String
    private let logger: Logger

    /// - Parameter local: this node's controller; nil on a node that is only a broker.
    init(local: ControllerServices?, connections: PeerConnections, eventLoop: any EventLoop, clientID: String, logger: Logger) {
        self.local = local
        self.connections = connections
        self.eventLoop = eventLoop
        self.clientID = clientID
        self.logger = logger
    }

    /// Where requests go at present.
    var location: ControllerLocation { state.withLock { $0.location } }

    /// The versions of each API that an active controller elsewhere and this software know; nil when it is here or not known well enough.
    var offeredVersions: [Int16: ClosedRange<Int16>]? {
        guard case .elsewhere(let peer) = location else { return nil }
        return connections.versions(of: peer)
    }

    /// The active controller is there now. What is on its way to another node is taken back and sent there.
    func controllerMoved(to location: ControllerLocation) {
        let (former, waiting) = state.withLock { state -> (ControllerLocation, [Attempt]) in
            let former = state.location
            state.location = location
            guard location != .unknown else { return (former, []) }
            defer { state.waiting = [] }
            return (former, state.waiting)
        }
        guard former != location else { return attemptAll(waiting) }
        logger.info("the active controller", metadata: ["is": "\(location)", "was": "\(former)"])
        if case .elsewhere(let peer) = former { connections.disconnect(from: peer) }
        attemptAll(waiting)
    }

    private func attemptAll(_ attempts: [Attempt]) {
        for attempt in attempts { eventLoop.execute { self.attempt(attempt) } }
    }

    /// Fails everything that waits and refuses what comes.
    func close() {
        let waiting = state.withLock { state in
            state.isClosed = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for attempt in waiting { finish(attempt, .failure(.closed)) }
    }

    /// Sends a request in the highest version that the controller knows, until it is answered.
    ///
    /// - Parameters:
    ///   - versions: those that will do; nil for all.
    ///   - timeoutMilliseconds: for all attempts together.
    ///   - attemptTimeoutMilliseconds: after which a silent controller is given up and asked again over a new connection.
    func send<Request: KafkaRequest>(
        _ request: Request, versions: ClosedRange<Int16>? = nil, timeoutMilliseconds: Int64, attemptTimeoutMilliseconds: Int64? = nil,
        completion: @escaping @Sendable (Result<Request.Response, ControllerChannelFailure>) -> Void
    ) {
        send(
            Request.apiKey, timeoutMilliseconds: timeoutMilliseconds, attemptTimeoutMilliseconds: attemptTimeoutMilliseconds,
            encode: { offered in
                let allowed = versions ?? Request.validVersions
                guard offered.overlaps(allowed) else { return nil }
                let version = offered.clamped(to: allowed).upperBound
                do throws(WireError) {
                    return PeerRequest(version: version, body: try request.encoded(version: version))
                } catch {
                    // The controller's version has no room for what the request says.
                    return nil
                }
            },
            completion: { outcome in
                completion(
                    outcome.flatMap { answer in
                        do throws(WireError) {
                            return .success(try Request.Response(decoding: answer.body, version: answer.version))
                        } catch {
                            return .failure(.refused("the controller's answer cannot be read: \(error)"))
                        }
                    })
            })
    }

    /// Sends a request that `encode` writes in one of the versions that both sides know.
    func send(
        _ api: ApiKey, timeoutMilliseconds: Int64, attemptTimeoutMilliseconds: Int64? = nil, encode: @escaping PeerConnections.Encoder,
        completion: @escaping @Sendable (Result<Answer, ControllerChannelFailure>) -> Void
    ) {
        let attempt = Attempt(
            api, deadline: SystemClock.monotonicMilliseconds() + timeoutMilliseconds,
            attemptTimeout: attemptTimeoutMilliseconds ?? timeoutMilliseconds, encode: encode, completion: completion)
        let refusal = state.withLock { state -> ControllerChannelFailure? in
            if state.isClosed { return .closed }
            if state.outstanding >= Self.maximumOutstanding { return .overloaded }
            state.outstanding += 1
            return nil
        }
        if let refusal { return eventLoop.execute { completion(.failure(refusal)) } }
        eventLoop.execute { self.attempt(attempt) }
    }

    private func attempt(_ attempt: Attempt) {
        let left = attempt.deadline - SystemClock.monotonicMilliseconds()
        guard left > 0 else { return finish(attempt, .failure(.timedOut)) }
        let (location, isClosed) = state.withLock { ($0.location, $0.isClosed) }
        if isClosed { return finish(attempt, .failure(.closed)) }
        switch location {
        case .here:
            guard let local else { return wait(attempt) }
            askHere(attempt, local)
        case .elsewhere(let peer):
            connections.send(
                to: peer, api: attempt.api.rawValue, timeoutMilliseconds: min(left, attempt.attemptTimeout), on: eventLoop,
                encode: attempt.encode
            ) { [self] outcome in
                switch outcome {
                case .success(let response):
                    if Self.saysNotController(attempt.api, response.version, response.body) { return retry(attempt) }
                    finish(attempt, .success(Answer(version: response.version, body: response.body)))
                case .failure(.unsupportedVersion): finish(attempt, .failure(.unsupportedVersion))
                case .failure(let failure):
                    logger.debug("request to the controller failed", metadata: ["api": "\(attempt.api)", "reason": "\(failure)"])
                    retry(attempt)
                }
            }
        case .unknown: wait(attempt)
        }
    }

    /// The controller in this process: no connection, no thread but its own.
    private func askHere(_ attempt: Attempt, _ local: ControllerServices) {
        guard let encoded = attempt.encode(attempt.api.stableVersions) else { return finish(attempt, .failure(.unsupportedVersion)) }
        local.handle(
            ControllerRequest(
                apiKey: attempt.api, version: encoded.version, clientID: clientID, clientHost: "127.0.0.1", principal: nil,
                body: encoded.body, listenerName: nil, connection: nil
            ) { [self] reply in
                switch reply {
                case .body(let body):
                    if attempt.api == .envelope, Self.saysNotController(.envelope, 0, body) { return retry(attempt) }
                    finish(attempt, .success(Answer(version: encoded.version, body: body)))
                case .notController: retry(attempt)
                case .refused(let reason): finish(attempt, .failure(.refused(reason)))
                }
            })
    }

    private func retry(_ attempt: Attempt) {
        let failures = attempt.failures.wrappingAdd(1, ordering: .relaxed).oldValue
        let pause = min(Self.backoffMilliseconds.upperBound, Self.backoffMilliseconds.lowerBound << Int64(min(failures, 10)))
        eventLoop.scheduleTask(in: .milliseconds(pause)) { self.attempt(attempt) }
    }

    /// Until a controller is known, or the time is up.
    private func wait(_ attempt: Attempt) {
        state.withLock { $0.waiting.append(attempt) }
        let left = attempt.deadline - SystemClock.monotonicMilliseconds()
        eventLoop.scheduleTask(in: .milliseconds(max(1, left))) { [weak self] in self?.expire(attempt) }
        // The controller may have been found between the look and the entry.
        if location != .unknown, let waiting = takeWaiting(attempt) { self.attempt(waiting) }
    }

    private func expire(_ attempt: Attempt) {
        if let expired = takeWaiting(attempt) { finish(expired, .failure(.timedOut)) }
    }

    private func takeWaiting(_ attempt: Attempt) -> Attempt? {
        state.withLock { state in
            guard let index = state.waiting.firstIndex(where: { $0 === attempt }) else { return nil }
            return state.waiting.remove(at: index)
        }
    }

    private func finish(_ attempt: Attempt, _ outcome: Result<Answer, ControllerChannelFailure>) {
        guard !attempt.isDone.exchange(true, ordering: .relaxed) else { return }
        state.withLock { $0.outstanding -= 1 }
        if eventLoop.inEventLoop { attempt.completion(outcome) } else { eventLoop.execute { attempt.completion(outcome) } }
    }

    /// Whether a response says NOT_CONTROLLER. All requests that nodes send to the controller are answered with the throttle time and the
    /// error code in front, an Envelope with the inner response and the error code.
    private static func saysNotController(_ api: ApiKey, _ version: Int16, _ body: ByteBuffer) -> Bool {
        if api == .envelope {
            return (try? EnvelopeResponse(decoding: body, version: 0))?.errorCode == .notController
        }
        if api == .createTopics {
            // Says it topic by topic.
            return (try? CreateTopicsResponse(decoding: body, version: version))?.topics.first?.errorCode == .notController
        }
        return body.getInteger(at: body.readerIndex + 4, as: Int16.self) == ErrorCode.notController.rawValue
    }
}
