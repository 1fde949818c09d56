// One connection per broker and purpose, made when first needed and made again, with growing pauses, after it was lost.
import NIOCore
import Primitives
import Synchronization

/// What a connection is for. Long polls and group requests that wait for others must not hold up the rest.
package enum ConnectionPurpose: Hashable, Sendable {
    case general
    case produce
    case fetch
    case group
}

/// Connections by endpoint and purpose.
final class ConnectionPool: Sendable {
    struct Key: Hashable, Sendable {
        var endpoint: Endpoint
        var purpose: ConnectionPurpose
    }

    enum Endpoint: Hashable, Sendable {
        case bootstrap(BrokerAddress)
        case node(NodeID)
    }

    private struct Slot {
        var address: BrokerAddress
        var connection: BrokerConnection?
        var connecting: Task<Result<BrokerConnection, KafkaError>, Never>?
        var failures = 0
        var notBefore: Int64 = 0
        var lastError: KafkaError?
    }

    private struct State {
        var slots: [Key: Slot] = [:]
        var isClosed = false
    }

    private let configuration: ClientConfiguration
    private let backoff: Backoff
    private let state = Mutex(State())

    init(_ configuration: ClientConfiguration) {
        self.configuration = configuration
        backoff = Backoff(initial: configuration.reconnectBackoff, maximum: configuration.maximumReconnectBackoff)
    }

    /// The connection if it is open now.
    func openConnection(_ key: Key, address: BrokerAddress) -> BrokerConnection? {
        state.withLock { state in
            guard let slot = state.slots[key], slot.address == address, let connection = slot.connection, connection.isActive else {
                return nil
            }
            return connection
        }
    }

    /// The open connection, or a new one. Callers at the same time share one attempt; after failures it waits its turn first.
    func connection(_ key: Key, address: BrokerAddress) async throws(KafkaError) -> BrokerConnection {
        let step = state.withLock { state -> Result<Task<Result<BrokerConnection, KafkaError>, Never>, KafkaError> in
            guard !state.isClosed else { return .failure(.closed) }
            var slot = state.slots[key] ?? Slot(address: address)
            if slot.address != address {
                slot.connection?.close()
                slot = Slot(address: address)
            }
            if let connection = slot.connection, connection.isActive {
                return .success(Task { .success(connection) })
            }
            slot.connection = nil
            if let task = slot.connecting {
                state.slots[key] = slot
                return .success(task)
            }
            let wait = slot.notBefore - SystemClock.monotonicMilliseconds()
            let task = Task.detached { [self] in await connect(key, address: address, after: wait) }
            slot.connecting = task
            state.slots[key] = slot
            return .success(task)
        }
        let result = await (try step.get()).value
        if Task.isCancelled { throw .cancelled }
        return try result.get()
    }

    private func connect(_ key: Key, address: BrokerAddress, after wait: Int64) async -> Result<BrokerConnection, KafkaError> {
        if wait > 0 { try? await Task.sleep(for: .milliseconds(wait)) }
        let result: Result<BrokerConnection, KafkaError>
        do throws(KafkaError) {
            result = .success(try await BrokerConnection.connect(to: address, configuration: configuration))
        } catch {
            result = .failure(error)
        }
        let abandoned = state.withLock { state -> Bool in
            guard !state.isClosed, var slot = state.slots[key], slot.address == address else { return true }
            slot.connecting = nil
            switch result {
            case .success(let connection):
                slot.connection = connection
                slot.failures = 0
                slot.lastError = nil
                slot.notBefore = 0
            case .failure(let error):
                slot.failures += 1
                slot.lastError = error
                slot.notBefore = SystemClock.monotonicMilliseconds() + backoff.milliseconds(afterFailures: slot.failures)
            }
            state.slots[key] = slot
            return false
        }
        if abandoned, case .success(let connection) = result {
            connection.close()
            return .failure(.closed)
        }
        return result
    }

    /// How often in a row connecting failed, and why.
    func failures(_ key: Key) -> (count: Int, error: KafkaError?) {
        state.withLock { ($0.slots[key]?.failures ?? 0, $0.slots[key]?.lastError) }
    }

    /// An address that has an open connection of any purpose, to explain what can be reached.
    func firstOpenBootstrap() -> BrokerAddress? {
        state.withLock { state in
            state.slots.first { if case .bootstrap = $0.key.endpoint { $0.value.connection?.isActive == true } else { false } }?.value
                .address
        }
    }

    /// Why the latest attempts to connect failed; nil while any connection is open.
    func obstacle() -> KafkaError? {
        state.withLock { state in
            if state.slots.values.contains(where: { $0.connection?.isActive == true }) { return nil }
            return state.slots.values.max { $0.failures < $1.failures }?.lastError
        }
    }

    func closeAll() {
        let open = state.withLock { state -> [BrokerConnection] in
            state.isClosed = true
            let open = state.slots.values.compactMap(\.connection)
            state.slots.removeAll()
            return open
        }
        for connection in open { connection.close() }
    }
}
