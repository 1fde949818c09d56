// Requests to the cluster as a whole: finds the right broker, keeps metadata and coordinators, hides connections.
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import Synchronization

/// Who is to answer a request.
package enum RequestTarget: Hashable, Sendable {
    case node(NodeID)
    /// Any broker.
    case any
    /// The broker that forwards to the controller, or the controller itself.
    case controller
    /// A bootstrap server, without asking for metadata first; also reaches controllers' own listeners.
    case bootstrap
    /// The coordinator of a group.
    case coordinator(group: String)
    /// The coordinator of a transactional id.
    case transactionCoordinator(String)
}

/// The core under producer, consumer and admin client; one per client, shared freely between tasks.
package final class ClusterClient: Sendable {
    package let configuration: ClientConfiguration
    let pool: ConnectionPool
    let backoff: Backoff

    struct State {
        var view = ClusterView()
        /// Topics that someone asked for; a refresh asks for all of them.
        var interestingTopics: Set<String> = []
        var refresh: Task<Result<Void, KafkaError>, Never>?
        var coordinators: [String: NodeID] = [:]
        var nextBootstrap = 0
        var isClosed = false
    }

    let state = Mutex(State())

    package init(_ configuration: ClientConfiguration) {
        self.configuration = configuration
        pool = ConnectionPool(configuration)
        backoff = Backoff(initial: configuration.retryBackoff, maximum: configuration.maximumRetryBackoff)
    }

    package var view: ClusterView { state.withLock { $0.view } }

    /// Closes every connection; whatever waits for a response fails.
    package func close() {
        state.withLock { $0.isClosed = true }
        pool.closeAll()
    }

    /// Why no broker can be spoken to at the moment, for those who wait; nil when one can.
    package var obstacle: KafkaError? { pool.obstacle() }

    // MARK: Connections

    /// A connection to a target, made if need be.
    package func connection(
        to target: RequestTarget, purpose: ConnectionPurpose = .general
    ) async throws(KafkaError) -> BrokerConnection {
        switch target {
        case .node(let node): return try await connection(toNode: node, purpose: purpose)
        case .bootstrap: return try await bootstrapConnection(purpose: purpose)
        case .any: return try await anyConnection(purpose: purpose)
        case .controller:
            do throws(KafkaError) {
                if view.updatedAt == nil { try await refreshMetadata() }
            } catch {
                // A controller's own listener tells no metadata, and is what was wanted.
                if error.kind == .unsupportedVersion { return try await bootstrapConnection(purpose: purpose) }
                throw error
            }
            if let controller = view.controllerID, view.brokers[controller] != nil {
                return try await connection(toNode: controller, purpose: purpose)
            }
            return try await anyConnection(purpose: purpose)
        case .coordinator(let group): return try await connection(toNode: try await coordinator(group, type: 0), purpose: purpose)
        case .transactionCoordinator(let id): return try await connection(toNode: try await coordinator(id, type: 1), purpose: purpose)
        }
    }

    /// The connection to a broker if it is open: for callers that must not wait.
    func openConnection(toNode node: NodeID, purpose: ConnectionPurpose) -> BrokerConnection? {
        guard let broker = view.brokers[node] else { return nil }
        return pool.openConnection(ConnectionPool.Key(endpoint: .node(node), purpose: purpose), address: broker.address)
    }

    func connection(toNode node: NodeID, purpose: ConnectionPurpose) async throws(KafkaError) -> BrokerConnection {
        if view.brokers[node] == nil { try await refreshMetadata() }
        guard let broker = view.brokers[node] else {
            throw KafkaError(.connectionFailed, "broker \(node) is not part of the cluster at the moment", isRetriable: true)
        }
        let key = ConnectionPool.Key(endpoint: .node(node), purpose: purpose)
        do throws(KafkaError) {
            return try await pool.connection(key, address: broker.address)
        } catch {
            throw explain(error, broker)
        }
    }

    /// The commonest mistake of all: `advertised.listeners` names an address that only the broker can reach.
    private func explain(_ error: KafkaError, _ broker: BrokerNode) -> KafkaError {
        guard error.kind == .connectionFailed, !configuration.bootstrapServers.contains(broker.address) else { return error }
        guard let bootstrap = pool.firstOpenBootstrap() else { return error }
        return KafkaError(
            .advertisedListenerUnreachable,
            "connected to bootstrap server \(bootstrap), but broker \(broker.id) advertises \(broker.address), which cannot be reached: "
                + "\(error.explanation). Set advertised.listeners of broker \(broker.id) to an address that this client can reach",
            isRetriable: true)
    }

    private func anyConnection(purpose: ConnectionPurpose) async throws(KafkaError) -> BrokerConnection {
        let nodes = Array(view.brokers.values)
        for node in nodes {
            if let open = pool.openConnection(ConnectionPool.Key(endpoint: .node(node.id), purpose: purpose), address: node.address) {
                return open
            }
        }
        // What failed lately is tried last.
        let ordered = nodes.shuffled().sorted { failures($0, purpose) < failures($1, purpose) }
        for node in ordered {
            do throws(KafkaError) {
                return try await pool.connection(ConnectionPool.Key(endpoint: .node(node.id), purpose: purpose), address: node.address)
            } catch {
                if error.kind == .closed || error.kind == .cancelled { throw error }
            }
        }
        return try await bootstrapConnection(purpose: purpose)
    }

    private func failures(_ node: BrokerNode, _ purpose: ConnectionPurpose) -> Int {
        pool.failures(ConnectionPool.Key(endpoint: .node(node.id), purpose: purpose)).count
    }

    private func bootstrapConnection(purpose: ConnectionPurpose) async throws(KafkaError) -> BrokerConnection {
        let servers = configuration.bootstrapServers
        guard !servers.isEmpty else { throw KafkaError(.invalidArgument, "the list of bootstrap servers is empty") }
        let start = state.withLock { $0.nextBootstrap }
        var reasons: [String] = []
        var isRefusal = true
        for attempt in servers.indices {
            let position = (start + attempt) % servers.count
            let key = ConnectionPool.Key(endpoint: .bootstrap(servers[position]), purpose: purpose)
            do throws(KafkaError) {
                let connection = try await pool.connection(key, address: servers[position])
                state.withLock { $0.nextBootstrap = position }
                return connection
            } catch {
                // Another server would refuse the same password.
                if [.closed, .cancelled, .authenticationFailed].contains(error.kind) { throw error }
                reasons.append(error.explanation)
                isRefusal = isRefusal && error.isRefusal
            }
        }
        var error = KafkaError(
            .connectionFailed, "no bootstrap server can be used: " + reasons.joined(separator: "; "), isRetriable: true)
        error.isRefusal = isRefusal
        throw error
    }

    // MARK: Requests

    /// Sends a request once and waits for its response. Errors inside the response are the caller's.
    ///
    /// - Parameters:
    ///   - timeout: nil for the configuration's request timeout.
    ///   - allowed: versions that the request's content can be sent in; nil for all.
    package func send<Request: KafkaRequest>(
        _ request: Request, to target: RequestTarget, purpose: ConnectionPurpose = .general, timeout: Duration? = nil,
        allowed: ClosedRange<Int16>? = nil
    ) async throws(KafkaError) -> Request.Response {
        let connection = try await connection(to: target, purpose: purpose)
        do throws(KafkaError) {
            return try await connection.send(request, timeout: timeout ?? configuration.requestTimeout, allowed: allowed)
        } catch {
            if error.isConnectionLoss { forgetCoordinator(target) }
            throw error
        }
    }

    /// Repeats an operation while it fails with retriable errors, with growing pauses, until the operation timeout.
    package func retrying<Value: Sendable>(
        timeout: Duration? = nil, coordinator target: RequestTarget? = nil, _ operation: () async throws(KafkaError) -> Value
    ) async throws(KafkaError) -> Value {
        let deadline = SystemClock.monotonicMilliseconds() &+ (timeout ?? configuration.operationTimeout).wholeMilliseconds
        var failures = 0
        while true {
            do throws(KafkaError) {
                return try await operation()
            } catch {
                failures += 1
                let pause = backoff.milliseconds(afterFailures: failures)
                guard error.isRetriable, SystemClock.monotonicMilliseconds() &+ pause < deadline else { throw error }
                if Task.isCancelled { throw .cancelled }
                await recover(from: error, coordinator: target)
                try await Self.pause(milliseconds: pause)
            }
        }
    }

    private func recover(from error: KafkaError, coordinator target: RequestTarget?) async {
        if error.kind == .broker, error.errorCode == .notCoordinator || error.errorCode == .coordinatorNotAvailable, let target {
            forgetCoordinator(target)
        }
        if error.kind != .broker || error.errorCode.refreshesMetadata || error.errorCode == .notController {
            _ = try? await refreshMetadata()
        }
    }

    package static func pause(milliseconds: Int64) async throws(KafkaError) {
        do {
            try await Task.sleep(for: .milliseconds(milliseconds))
        } catch {
            throw .cancelled
        }
    }
}
