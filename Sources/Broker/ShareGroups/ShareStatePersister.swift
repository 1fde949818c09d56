// Reaches the share coordinators, in this process or in another: each share partition's state has one, which may move at any time. What
// fails because of that is asked again a few times; the rest is for the caller to judge.
import Controlling
import KafkaMessages
import KafkaWire
import Logging
import NIOCore
import Network
import Primitives
import Runtime
import ShareCoordination
import Synchronization

/// Reads and writes the state of share partitions where it is kept.
final class ShareStatePersister: Sendable {
    private struct State {
        weak var services: BrokerServices?
        var connections: PeerConnections?
        var eventLoop: (any EventLoop)?
    }

    typealias Completion<Value: Sendable> = @Sendable (Result<Value, ShareStateRefusal>) -> Void

    /// What is asked, of a coordinator here or elsewhere.
    private struct Question<Value: Sendable>: Sendable {
        var key: SharePartitionKey
        var local: @Sendable (ShareCoordinatorRuntime, @escaping Completion<Value>) -> Void
        var remote: @Sendable (PeerConnections, PeerAddress, @escaping Completion<Value>) -> Void
        var completion: Completion<Value>
    }

    private static let maximumAttempts = 7
    private static let firstPauseMilliseconds: Int64 = 25

    private let state = Mutex(State())
    private let nodeID: NodeID
    private let timeoutMilliseconds: Int64

    init(nodeID: NodeID, timeoutMilliseconds: Int64) {
        self.nodeID = nodeID
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    func start(_ services: BrokerServices, on eventLoopGroup: any EventLoopGroup) {
        var options = services.security.peerOptions(
            clientID: "broker-\(nodeID)-share-state", listener: services.configuration.interBrokerListenerName)
        options.maximumWaiting = 10_000
        let connections = PeerConnections(options: options, eventLoopGroup: eventLoopGroup)
        state.withLock { $0 = State(services: services, connections: connections, eventLoop: eventLoopGroup.next()) }
    }

    func close() {
        let connections = state.withLock { state in
            defer { state = State() }
            return state.connections
        }
        connections?.close()
    }

    /// Connections to other brokers; nil before the start and after the end.
    var peers: PeerConnections? { state.withLock { $0.connections } }

    // MARK: Questions

    func read(_ key: SharePartitionKey, leaderEpoch: LeaderEpoch, completion: @escaping Completion<SharePartitionState>) {
        let timeout = timeoutMilliseconds
        ask(
            Question(
                key: key, local: { $0.read(key, leaderEpoch: leaderEpoch, completion: $1) },
                remote: { connections, address, answer in
                    let request = ReadShareGroupStateRequest(key, leaderEpoch: leaderEpoch)
                    connections.send(request, to: address, timeoutMilliseconds: timeout) { answer($0.answer { $0.state }) }
                }, completion: completion))
    }

    func write(_ key: SharePartitionKey, _ update: SharePartitionUpdate, completion: @escaping Completion<Void>) {
        let timeout = timeoutMilliseconds
        ask(
            Question(
                key: key, local: { $0.write(key, update, completion: $1) },
                remote: { connections, address, answer in
                    connections.send(WriteShareGroupStateRequest(key, update), to: address, timeoutMilliseconds: timeout) {
                        answer($0.answer { $0.outcome })
                    }
                }, completion: completion))
    }

    func initialize(_ key: SharePartitionKey, stateEpoch: Int32, startOffset: Offset, completion: @escaping Completion<Void>) {
        let timeout = timeoutMilliseconds
        ask(
            Question(
                key: key, local: { $0.initialize(key, stateEpoch: stateEpoch, startOffset: startOffset, completion: $1) },
                remote: { connections, address, answer in
                    let request = InitializeShareGroupStateRequest(key, stateEpoch: stateEpoch, startOffset: startOffset)
                    connections.send(request, to: address, timeoutMilliseconds: timeout) { answer($0.answer { $0.outcome }) }
                }, completion: completion))
    }

    func delete(_ key: SharePartitionKey, completion: @escaping Completion<Void>) {
        let timeout = timeoutMilliseconds
        ask(
            Question(
                key: key, local: { $0.delete(key, completion: $1) },
                remote: { connections, address, answer in
                    connections.send(DeleteShareGroupStateRequest(key), to: address, timeoutMilliseconds: timeout) {
                        answer($0.answer { $0.outcome })
                    }
                }, completion: completion))
    }

    func summary(_ key: SharePartitionKey, completion: @escaping Completion<SharePartitionState>) {
        let timeout = timeoutMilliseconds
        ask(
            Question(
                key: key, local: { $0.summary(key, completion: $1) },
                remote: { connections, address, answer in
                    connections.send(ReadShareGroupStateSummaryRequest(key), to: address, timeoutMilliseconds: timeout) {
                        answer($0.answer { $0.state })
                    }
                }, completion: completion))
    }

    // MARK: Finding the coordinator

    private func ask<Value>(_ question: Question<Value>, attempt: Int = 0) {
        let (services, connections) = state.withLock { ($0.services, $0.connections) }
        guard let services, let connections else { return question.completion(.failure(ShareStateRefusal(.coordinatorNotAvailable))) }
        let answer: Completion<Value> = { [self] result in
            if case .failure(let refusal) = result, refusal.code.isAboutCoordinator { return askAgain(question, attempt, refusal) }
            question.completion(result)
        }
        let runtime = services.shareGroups.coordinator
        let partition = TopicPartition(TopicName.shareGroupState, runtime.partition(for: question.key))
        guard let leader = services.image.topics.partition(partition)?.leader else {
            return services.ensureInternalTopic(TopicName.shareGroupState) { answer(.failure(ShareStateRefusal(.coordinatorNotAvailable))) }
        }
        if leader == nodeID { return question.local(runtime, answer) }
        guard leader >= 0, let address = services.replication.address(of: leader) else {
            return answer(.failure(ShareStateRefusal(.coordinatorNotAvailable)))
        }
        question.remote(connections, address, answer)
    }

    private func askAgain<Value>(_ question: Question<Value>, _ attempt: Int, _ refusal: ShareStateRefusal) {
        guard attempt + 1 < Self.maximumAttempts, let eventLoop = state.withLock({ $0.eventLoop }) else {
            return question.completion(.failure(refusal))
        }
        eventLoop.scheduleTask(in: .milliseconds(Self.firstPauseMilliseconds << Int64(attempt))) { [self] in
            ask(question, attempt: attempt + 1)
        }
    }
}

extension ErrorCode {
    /// Whether another broker may do what this one refused, or this one a moment later.
    fileprivate var isAboutCoordinator: Bool {
        switch self {
        case .notCoordinator, .coordinatorNotAvailable, .coordinatorLoadInProgress, .networkException: true
        default: false
        }
    }
}

extension Result where Failure == PeerFailure {
    /// The answer's own result; a broker that cannot be asked counts as a coordinator that has moved.
    fileprivate func answer<Value>(
        _ read: (Success) -> Result<Value, ShareStateRefusal>?
    ) -> Result<Value, ShareStateRefusal> {
        switch self {
        case .success(let response): read(response) ?? .failure(ShareStateRefusal(.unknownServerError))
        case .failure(.unsupportedVersion): .failure(ShareStateRefusal(.unsupportedVersion))
        case .failure: .failure(ShareStateRefusal(.networkException))
        }
    }
}
