// The producer that applications hold: takes records from any thread and hands them to the core behind one lock.
import DequeModule
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import Synchronization

/// Writes records.
///
/// ```swift
/// let producer = try KafkaProducer(bootstrapServers: "localhost:9092")
/// let written = try await producer.send(ProducerRecord(topic: "orders", key: "42", value: "two tables"))
/// print("partition \(written.partition), offset \(written.offset)")
/// try await producer.close()
/// ```
///
/// ``send(_:)`` waits for the acknowledgement of its record. For throughput, ``enqueue(_:onDelivery:)`` many and ``flush()`` once:
///
/// ```swift
/// for line in lines { try await producer.enqueue(ProducerRecord(topic: "log", value: line)) }
/// try await producer.flush()
/// ```
public final class KafkaProducer: Sendable {
    struct State {
        var core: ProducerCore
        var choosers: [String: PartitionChooser] = [:]
        var spaceWaiters: [Completion<Void>] = []
        var flushWaiters: [(through: UInt64, completion: Completion<Void>)] = []
        /// The first failure of a record that nobody asked about.
        var unclaimedError: KafkaError?
        var isClosed = false
        /// Whether the linger timer, or a pump, will look at a batch begun now.
        var timerDeadline = Int64.max
        var isRequestingProducerID = false
        var isRefreshing = false
        var connecting: Set<NodeID> = []
        /// Why nothing can be sent at the moment.
        var obstacle: KafkaError?
        var random = SeededRandom(seed: UInt64.random(in: 0 ... .max))
        /// Where the view of the cluster was when the choosers were last brought up to date.
        var viewUpdatedAt: Int64?
    }

    package let cluster: ClusterClient
    let configuration: ProducerConfiguration
    let state: Mutex<State>
    let eventLoop: any EventLoop
    let isPumpScheduled = Atomic(false)
    let timer: NIOLoopBoundBox<Scheduled<Void>?>

    public convenience init(bootstrapServers: String) throws(KafkaError) {
        try self.init(try ProducerConfiguration(bootstrapServers: bootstrapServers))
    }

    /// - Throws: `invalidArgument` for settings that do not fit together.
    public init(_ configuration: ProducerConfiguration) throws(KafkaError) {
        try configuration.validate()
        self.configuration = configuration
        cluster = ClusterClient(configuration.client)
        let settings = ProducerCore.Settings(
            isIdempotent: configuration.isIdempotent, compression: configuration.compression, batchSize: configuration.batchSize,
            lingerMilliseconds: configuration.linger.wholeMilliseconds,
            deliveryTimeoutMilliseconds: configuration.deliveryTimeout.wholeMilliseconds,
            maximumInFlight: configuration.isIdempotent
                ? min(5, configuration.client.maximumInFlightRequests) : configuration.client.maximumInFlightRequests,
            maximumRequestSize: configuration.maximumRequestSize, bufferMemory: configuration.bufferMemory,
            backoff: Backoff(initial: configuration.client.retryBackoff, maximum: configuration.client.maximumRetryBackoff))
        state = Mutex(State(core: ProducerCore(settings: settings, seed: UInt64.random(in: 0 ... .max))))
        eventLoop = configuration.client.eventLoopGroup.next()
        timer = NIOLoopBoundBox.makeBoxSendingValue(nil, eventLoop: eventLoop)
    }

    // MARK: Sending

    /// Sends a record and waits until it is acknowledged.
    public func send(_ record: ProducerRecord) async throws(KafkaError) -> RecordMetadata {
        let completion = Completion<RecordMetadata>()
        try await enqueue(record) { completion.finish($0) }
        return try await completion.value()
    }

    /// Takes a record to be sent with others; waits only for metadata of a new topic, or for space.
    ///
    /// - Parameter onDelivery: called with the record's fate on an event loop: be quick. Without it, failures show in ``flush()``.
    public func enqueue(_ record: ProducerRecord, onDelivery: DeliveryHandler? = nil) async throws(KafkaError) {
        var deadline: Int64?
        while true {
            switch try tryEnqueue(record, onDelivery) {
            case .taken: return
            case .needsMetadata:
                try await learn(topic: record.topic, partition: record.partition)
            case .full(let space):
                let now = SystemClock.monotonicMilliseconds()
                let end = deadline ?? (now &+ configuration.maximumBlockTime.wholeMilliseconds)
                deadline = end
                guard now < end else {
                    throw KafkaError(
                        .timedOut,
                        "no space for the record within \(configuration.maximumBlockTime): "
                            + "\(configuration.bufferMemory) bytes of records wait to be delivered", isRetriable: true)
                }
                // Woken when batches finish, which they do at the latest after the delivery timeout.
                let timeout = eventLoop.scheduleTask(in: .milliseconds(max(1, end - now))) { space.finish(.success(())) }
                defer { timeout.cancel() }
                try await space.value()
            }
        }
    }

    /// Takes a record without waiting.
    ///
    /// - Returns: false when there is no space now, or the topic's metadata is not known yet: `await` ``enqueue(_:onDelivery:)`` then.
    public func tryEnqueue(_ record: ProducerRecord) throws(KafkaError) -> Bool {
        switch try tryEnqueue(record, nil) {
        case .taken: true
        case .needsMetadata: false
        case .full(let space):
            {
                space.finish(.success(()))
                return false
            }()
        }
    }

    private enum Attempt {
        case taken
        case needsMetadata
        case full(Completion<Void>)
    }

    private func tryEnqueue(_ record: ProducerRecord, _ onDelivery: DeliveryHandler?) throws(KafkaError) -> Attempt {
        let size = RecordBatchBuilder.sizeUpperBound(key: record.key, value: record.value, headers: record.headers)
        guard size + RecordBatchHeader.size <= configuration.maximumRequestSize else {
            throw KafkaError(
                .messageTooLarge, "the record of \(size) bytes is larger than maximumRequestSize (\(configuration.maximumRequestSize))")
        }
        let now = SystemClock.monotonicNanoseconds()
        let timestamp = record.timestamp ?? SystemClock.now()
        var wakes = false
        let result = state.withLock { state -> Result<Attempt, KafkaError> in
            guard !state.isClosed else { return .failure(KafkaError(.closed, "the producer is closed")) }
            guard let chosen = state.choosePartition(record, size: size, configuration) else { return .success(.needsMetadata) }
            guard let chooser = state.choosers[record.topic], chosen >= 0, chosen < chooser.count else {
                return record.partition == nil
                    ? .failure(KafkaError(.invalidArgument, "the partitioner chose partition \(chosen) of topic '\(record.topic)'"))
                    : .success(.needsMetadata)
            }
            let partition = TopicPartition(record.topic, chosen)
            switch state.core.append(
                record, to: partition, size: size, timestamp: timestamp, nowNanoseconds: now, delivery: onDelivery)
            {
            case .full:
                let waiter = Completion<Void>()
                state.spaceWaiters.append(waiter)
                return .success(.full(waiter))
            case .appended(let isReady, let isNew):
                wakes = isReady || (isNew && state.timerDeadline > now / 1_000_000 + state.core.settings.lingerMilliseconds)
                return .success(.taken)
            }
        }
        let attempt = try result.get()
        if case .full = attempt { wakes = true }
        if wakes { wake() }
        return attempt
    }

    /// Learns a topic's partitions; creates the topic when the broker does so for unknown names.
    private func learn(topic name: String, partition: Int32?) async throws(KafkaError) {
        let known = state.withLock { $0.choosers[name]?.count }
        // A partition beyond the known ones may have been added since.
        if known != nil { try await cluster.refreshMetadata(topics: [name]) }
        let topic = try await cluster.topic(
            name, allowAutoCreation: configuration.allowTopicCreation, timeout: configuration.maximumBlockTime)
        _ = try? await cluster.refreshMetadata(topics: [name])
        let count = Int32(topic.partitions.count)
        if let partition, !(0..<count).contains(partition) {
            throw KafkaError(
                .unknownTopicOrPartition, "topic '\(name)' has partitions 0 to \(count - 1), not \(partition)")
        }
        let view = cluster.view
        state.withLock { $0.update(from: view, adding: name) }
    }

    // MARK: Ending

    /// Sends everything without waiting for fuller batches, and waits until it is acknowledged or given up.
    ///
    /// - Throws: the first failure since the last flush of a record without an `onDelivery` handler.
    public func flush() async throws(KafkaError) {
        let completion = Completion<Void>()
        state.withLock { state in
            let id = state.core.flush()
            if state.core.isFinished(through: id) {
                completion.finish(.success(()))
            } else {
                state.flushWaiters.append((id, completion))
            }
        }
        wake()
        try await completion.value()
        let error = state.withLock { state in
            defer { state.unclaimedError = nil }
            return state.unclaimedError
        }
        if let error { throw error }
    }

    /// Flushes, then closes all connections. No record is accepted from the beginning on.
    public func close() async throws(KafkaError) {
        state.withLock { $0.isClosed = true }
        var failure: KafkaError?
        do throws(KafkaError) { try await flush() } catch { failure = error }
        abort()
        if let failure { throw failure }
    }

    /// Closes at once; records that are not acknowledged yet fail.
    public func abort() {
        cluster.close()
        let finished = state.withLock { state in
            state.isClosed = true
            return state.core.failWaiting(KafkaError(.closed, "the producer was closed"))
        }
        settle(finished)
        eventLoop.execute { [timer] in
            timer.value?.cancel()
            timer.value = nil
        }
    }
}

extension KafkaProducer.State {
    /// Nil when the topic is not known.
    mutating func choosePartition(_ record: ProducerRecord, size: Int, _ configuration: ProducerConfiguration) -> Int32? {
        guard choosers[record.topic] != nil else { return nil }
        if let partition = record.partition { return partition }
        return choosers[record.topic]?.choose(
            record, size: size, partitioner: configuration.partitioner, stickyLimit: configuration.batchSize, using: &random)
    }

    mutating func update(from view: ClusterView, adding name: String? = nil) {
        viewUpdatedAt = view.updatedAt
        var names = Array(choosers.keys)
        if let name { names.append(name) }
        for name in names {
            guard let topic = view.topics[name], !topic.partitions.isEmpty else { continue }
            let available = topic.partitions.filter { $0.leader != nil }.map(\.partition)
            let count = Int32(topic.partitions.count)
            if choosers[name] == nil {
                choosers[name] = PartitionChooser(count: count, available: available)
            } else {
                choosers[name]?.update(count: count, available: available)
            }
        }
    }
}
