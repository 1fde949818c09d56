// The consumer that applications hold: what to read, from where, and the state that its background tasks share.
import NIOCore
import Primitives
import Synchronization

/// Reads records, alone or as a member of a group.
///
/// ```swift
/// var configuration = try ConsumerConfiguration(bootstrapServers: "localhost:9092", group: "billing")
/// configuration.offsetReset = .earliest
/// let consumer = try KafkaConsumer(configuration)
/// try await consumer.subscribe(["orders"])
/// for try await record in consumer.records {
///     print(record.offset, try record.value(as: String.self) ?? "deleted")
///     if record.offset == 99 { break }
/// }
/// try await consumer.close()
/// ```
///
/// Records are fetched ahead in the background; heartbeats are sent in the background too. A group's rebalance waits until the
/// application asks for the next record, so that it never loses a partition in the middle of a record.
public final class KafkaConsumer: Sendable {
    enum Subscription: Equatable, Sendable {
        case none
        case manual
        case topics([String])
    }

    struct State {
        var consumption = ConsumptionState()
        var subscription = Subscription.none
        var listener = RebalanceListener()
        /// Unpacked records that are handed out one by one.
        var current: [ConsumerRecord] = []
        var currentIndex = 0
        var currentBatch: (partition: TopicPartition, nextOffset: Offset, generation: UInt64)?
        /// Handed out, but the application has not come back yet.
        var unconfirmed: [TopicPartition: (offset: Offset, epoch: LeaderEpoch)] = [:]
        var isApplicationBusy = false
        /// Monotonic milliseconds of the last call for records.
        var lastPoll: Int64 = 0
        var recordWaiters: [Completion<Void>] = []
        var pollWaiters: [Completion<Void>] = []
        /// Handed to the application with its next call.
        var pendingError: KafkaError?
        var fetchingNodes: Set<NodeID> = []
        /// Monotonic milliseconds before which a broker is not fetched from, after an error.
        var fetchNotBefore: [NodeID: Int64] = [:]
        var isLocating = false
        var membership: GroupMembership?
        var background: [Task<Void, Never>] = []
        var isClosed = false
    }

    package let cluster: ClusterClient
    let configuration: ConsumerConfiguration
    let state = Mutex(State())

    public convenience init(bootstrapServers: String, group: String? = nil) throws(KafkaError) {
        try self.init(try ConsumerConfiguration(bootstrapServers: bootstrapServers, group: group))
    }

    /// - Throws: `invalidArgument` for settings that do not fit together.
    public init(_ configuration: ConsumerConfiguration) throws(KafkaError) {
        try configuration.validate()
        self.configuration = configuration
        cluster = ClusterClient(configuration.client)
    }

    // MARK: What to read

    /// Joins the configuration's group and reads the partitions that it assigns.
    ///
    /// Calling it again changes the topics.
    public func subscribe(_ topics: [String], listener: RebalanceListener = RebalanceListener()) async throws(KafkaError) {
        guard let group = configuration.group else { throw KafkaError(.invalidArgument, "subscribing needs a group") }
        guard !topics.isEmpty else { throw KafkaError(.invalidArgument, "the list of topics is empty") }
        let isFirst = try begin(.topics(Set(topics).sorted())) { state in
            state.listener = listener
            state.lastPoll = SystemClock.monotonicMilliseconds()
            if state.membership == nil {
                state.membership = GroupMembership(
                    group: group, groupInstanceID: self.configuration.groupInstanceID, assignors: self.configuration.assignors)
            }
        }
        do throws(KafkaError) {
            try await cluster.refreshMetadata(topics: topics)
        } catch {
            // Tried again by the group's task; a cluster that is away for a moment is no reason to give up.
            if !error.isRetriable { throw error }
        }
        if isFirst {
            start { await $0.runGroup() }
            startAutomaticCommits()
        }
    }

    /// Reads these partitions, without the group deciding. Offsets can still be committed when there is a group.
    public func assign(_ partitions: [TopicPartition]) async throws(KafkaError) {
        let isFirst = try begin(.manual) { state in
            state.consumption.assign(partitions)
            state.dropCurrent { !partitions.contains($0) }
        }
        if isFirst { startAutomaticCommits() }
        try await cluster.refreshMetadata(topics: Set(partitions.map(\.topic)))
        startFetching()
    }

    /// What is read at the moment.
    public var assignment: [TopicPartition] { state.withLock { Array($0.consumption.partitions.keys) } }

    /// The id of this consumer in its group; nil while it is not a member.
    public var memberID: String? { state.withLock { $0.membership?.isMember == true ? $0.membership?.memberID : nil } }

    /// Returns whether this is the first subscription of its kind.
    private func begin(_ subscription: Subscription, _ change: (inout State) -> Void) throws(KafkaError) -> Bool {
        let result = state.withLock { state -> Result<Bool, KafkaError> in
            guard !state.isClosed else { return .failure(KafkaError(.closed, "the consumer is closed")) }
            switch (state.subscription, subscription) {
            case (.manual, .topics), (.topics, .manual):
                return .failure(KafkaError(.invalidArgument, "a consumer either subscribes or is assigned partitions, not both"))
            default: break
            }
            let isFirst = state.subscription == .none
            state.subscription = subscription
            change(&state)
            return .success(isFirst)
        }
        return try result.get()
    }

    /// Runs a background task until the consumer is closed.
    func start(_ body: @escaping @Sendable (KafkaConsumer) async -> Void) {
        let task = Task { [weak self] in
            if let self { await body(self) }
        }
        state.withLock { $0.background.append(task) }
    }

    // MARK: Positions

    /// Goes on at an offset.
    public func seek(_ partition: TopicPartition, to offset: Int64) throws(KafkaError) {
        guard offset >= 0 else { throw KafkaError(.invalidArgument, "offset \(offset) is negative") }
        try change(partition) { $0.consumption.seek(partition, to: offset) }
    }

    /// Goes on at the first record that is left.
    public func seekToBeginning(_ partitions: [TopicPartition]) throws(KafkaError) {
        for partition in partitions { try change(partition) { $0.consumption.request(.query(.earliest), for: partition) } }
    }

    /// Goes on with records that are yet to be written.
    public func seekToEnd(_ partitions: [TopicPartition]) throws(KafkaError) {
        for partition in partitions { try change(partition) { $0.consumption.request(.query(.latest), for: partition) } }
    }

    /// Goes on at the first record of a time, in milliseconds since 1970, or at the end if there is none.
    public func seek(_ partition: TopicPartition, toTimestamp timestamp: Int64) throws(KafkaError) {
        try change(partition) { $0.consumption.request(.query(.timestamp(timestamp)), for: partition) }
    }

    /// Hands out no records of these partitions until ``resume(_:)``.
    public func pause(_ partitions: [TopicPartition]) throws(KafkaError) {
        for partition in partitions { try change(partition) { $0.consumption.setPaused(true, partition) } }
    }

    public func resume(_ partitions: [TopicPartition]) throws(KafkaError) {
        for partition in partitions { try change(partition) { $0.consumption.setPaused(false, partition) } }
    }

    private func change(_ partition: TopicPartition, _ body: (inout State) -> Bool) throws(KafkaError) {
        let isAssigned = state.withLock { state in
            guard body(&state) else { return false }
            state.dropCurrent { $0 == partition }
            return true
        }
        guard isAssigned else { throw KafkaError(.invalidArgument, "\(partition) is not assigned to this consumer") }
        startFetching()
    }

    /// The offset of the next record that will be handed out; waits until it is known.
    public func position(_ partition: TopicPartition) async throws(KafkaError) -> Int64 {
        let deadline = SystemClock.monotonicMilliseconds() + configuration.client.operationTimeout.wholeMilliseconds
        while true {
            let (isAssigned, position, error) = state.withLock { state in
                let found = state.consumption.partitions[partition]
                return (found != nil, found?.position, state.pendingError)
            }
            guard isAssigned else { throw KafkaError(.invalidArgument, "\(partition) is not assigned to this consumer") }
            if let position { return position }
            if let error { throw error }
            guard SystemClock.monotonicMilliseconds() < deadline else {
                throw KafkaError(.timedOut, "the position of \(partition) could not be found in time", isRetriable: true)
            }
            startFetching()
            try await ClusterClient.pause(milliseconds: 10)
        }
    }

    /// What the group has committed; partitions without a committed offset are left out.
    public func committed(_ partitions: [TopicPartition]) async throws(KafkaError) -> [TopicPartition: CommittedOffset] {
        guard let group = configuration.group else { throw KafkaError(.invalidArgument, "committed offsets need a group") }
        return try await cluster.committedOffsets(group: group, partitions: partitions)
    }

    public func beginningOffsets(_ partitions: [TopicPartition]) async throws(KafkaError) -> [TopicPartition: Int64] {
        try await cluster.offsets(partitions.map { ($0, .earliest) }).mapValues(\.offset)
    }

    /// The offsets after the last records that this consumer's isolation level lets it read.
    public func endOffsets(_ partitions: [TopicPartition]) async throws(KafkaError) -> [TopicPartition: Int64] {
        try await cluster.offsets(partitions.map { ($0, .latest) }, isolation: configuration.isolation).mapValues(\.offset)
    }

    /// The first offsets with at least these timestamps; partitions without such a record are left out.
    public func offsets(forTimes times: [TopicPartition: Int64]) async throws(KafkaError) -> [TopicPartition: ListedOffset] {
        let queries = times.sorted { $0.key < $1.key }.map { (partition: $0.key, query: OffsetQuery.timestamp($0.value)) }
        return try await cluster.offsets(queries, isolation: configuration.isolation).filter { $0.value.offset >= 0 }
    }

    /// A topic's partitions.
    public func partitions(of topic: String) async throws(KafkaError) -> [TopicPartition] {
        try await cluster.topic(topic).partitions.map { TopicPartition(topic, $0.partition) }
    }

    // MARK: Ending

    /// Commits what was read if that is automatic, leaves the group and closes all connections. Iterations end.
    ///
    /// - Parameter confirmingLastPoll: whether what the last call handed out counts as read.
    public func close(confirmingLastPoll: Bool = true) async throws(KafkaError) {
        let (tasks, membership, wasOpen) = state.withLock { state in
            let wasOpen = !state.isClosed
            if confirmingLastPoll { state.confirm() } else { state.unconfirmed.removeAll() }
            state.isClosed = true
            defer { state.background = [] }
            return (state.background, state.membership, wasOpen)
        }
        guard wasOpen else { return }
        for task in tasks { task.cancel() }
        for task in tasks { await task.value }
        var failure: KafkaError?
        do throws(KafkaError) { try await commitAtEnd() } catch { failure = error }
        if let membership, membership.isMember { await leave(membership) }
        wakeApplication()
        cluster.close()
        if let failure { throw failure }
    }

    func wakeApplication() {
        let woken = state.withLock { state in
            defer { state.recordWaiters = [] }
            return state.recordWaiters
        }
        for waiter in woken { waiter.finish(.success(())) }
    }

    /// Has the application's next call fail.
    func report(_ error: KafkaError) {
        state.withLock { if $0.pendingError == nil { $0.pendingError = error } }
        wakeApplication()
    }
}

extension KafkaConsumer.State {
    /// What was handed out counts as read from now on.
    mutating func confirm() {
        guard !unconfirmed.isEmpty else { return }
        for (partition, read) in unconfirmed {
            consumption.partitions[partition]?.consumed = read.offset
            consumption.partitions[partition]?.consumedEpoch = read.epoch
        }
        unconfirmed.removeAll(keepingCapacity: true)
    }

    /// Forgets unpacked records of partitions.
    mutating func dropCurrent(where isDropped: (TopicPartition) -> Bool) {
        if let currentBatch, isDropped(currentBatch.partition) {
            self.currentBatch = nil
            current = []
            currentIndex = 0
        }
        unconfirmed = unconfirmed.filter { !isDropped($0.key) }
    }
}
