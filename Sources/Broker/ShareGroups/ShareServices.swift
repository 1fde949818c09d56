// Share groups on this broker: the coordinator of what it leads of __share_group_state, the share partitions of what it leads of other
// topics, and the sessions of members that fetch from it (KIP-932).
import ClusterMetadata
import Configuration
import Controlling
import KafkaWire
import Logging
import NIOCore
import Observability
import Primitives
import Runtime
import ShareCoordination
import Storage
import Synchronization

/// The parts of a broker that share groups need.
final class ShareServices: Sendable {
    private struct State {
        var sessions: ShareSessions
        var partitions: [SharePartitionKey: SharePartitionEntry] = [:]
        /// How many sessions a group has here.
        var members: [String: Int] = [:]
    }

    let coordinator: ShareCoordinatorRuntime
    let persister: ShareStatePersister
    let epochs = CoordinatedEpochs()
    let metrics = ShareGroupMetrics(now: SystemClock.monotonicNanoseconds())
    private let state: Mutex<State>
    /// How often the beginning of the state's log is cut off.
    private let pruneIntervalMilliseconds: Int64
    private let nextPruning = Atomic<Int64>(0)

    init(configuration: BrokerConfiguration, image: MetadataImage) {
        let settings = configuration.shareGroups
        var runtime = ShareCoordinatorRuntimeConfiguration()
        runtime.coordinator.updatesPerSnapshot = settings.updatesPerSnapshot
        runtime.coordinator.coldSnapshotIntervalMilliseconds = settings.coldSnapshotIntervalMilliseconds
        // The topic decides once it exists: a share partition's state must be found where it is.
        runtime.partitionCount =
            image.topics.topic(named: TopicName.shareGroupState).map { Int32($0.partitions.count) } ?? settings.topicPartitions
        coordinator = ShareCoordinatorRuntime(configuration: runtime)
        persister = ShareStatePersister(
            nodeID: configuration.nodeID, timeoutMilliseconds: configuration.cluster.requestTimeoutMilliseconds)
        state = Mutex(State(sessions: ShareSessions(maximum: settings.maxSessions)))
        pruneIntervalMilliseconds = settings.pruneIntervalMilliseconds
        nextPruning.store(SystemClock.monotonicMilliseconds() + settings.pruneIntervalMilliseconds, ordering: .relaxed)
    }

    /// Ends coordinating and serving; before logs are closed.
    func close() {
        for entry in takeAll() { entry.end(.notLeaderOrFollower) }
        epochs.endAll()
        coordinator.endAllTerms()
        persister.close()
    }

    // MARK: Share partitions

    /// The share partition, begun now if this is the first to ask for it.
    func entry(
        _ key: SharePartitionKey, _ partition: Partition, _ settings: @autoclosure () -> ShareGroupOverrides
    ) -> SharePartitionEntry {
        let leaderEpoch = partition.leadership.leaderEpoch
        let (entry, isNew, replaced) = state.withLock { state -> (SharePartitionEntry, Bool, SharePartitionEntry?) in
            let known = state.partitions[key]
            if let known, known.leaderEpoch >= leaderEpoch, known.partition === partition { return (known, false, nil) }
            let entry = SharePartitionEntry(
                key: key, partition: partition, leaderEpoch: leaderEpoch, persister: persister, metrics: metrics,
                onEnd: { [weak self] entry in self?.forget(entry) })
            state.partitions[key] = entry
            return (entry, true, known)
        }
        replaced?.end(.notLeaderOrFollower)
        if isNew { entry.load(settings()) }
        return entry
    }

    /// The share partition, if somebody has fetched from it.
    func existingEntry(_ key: SharePartitionKey) -> SharePartitionEntry? { state.withLock { $0.partitions[key] } }

    /// All share partitions that are served here.
    var all: [SharePartitionEntry] { state.withLock { Array($0.partitions.values) } }

    /// Members that fetch from this broker, and the partitions that they fetch.
    var sessionCounts: (sessions: Int, partitions: Int) { state.withLock { ($0.sessions.count, $0.sessions.partitionCount) } }

    private func forget(_ entry: SharePartitionEntry) {
        state.withLock { state in
            if state.partitions[entry.key] === entry { state.partitions[entry.key] = nil }
        }
    }

    private func takeAll() -> [SharePartitionEntry] {
        state.withLock { state in
            defer { state.partitions = [:] }
            return Array(state.partitions.values)
        }
    }

    /// Takes back what is locked for too long.
    func advance() {
        coordinator.advance()
        let now = SystemClock.monotonicMilliseconds()
        let entries = state.withLock { state in state.partitions.isEmpty ? [] : Array(state.partitions.values) }
        for entry in entries { entry.expire(now: now) }
    }

    /// This broker no longer leads these partitions in the epoch that it served them in.
    func leadershipChanged(_ topic: TopicImage, nodeID: NodeID) {
        let ended = state.withLock { state in
            state.partitions.values.filter { entry in
                guard entry.key.partition.topicID == topic.id else { return false }
                let placed = topic.partition(entry.key.partition.partition)
                return placed?.leader != nodeID || placed?.leaderEpoch != entry.leaderEpoch
            }
        }
        for entry in ended { entry.end(.notLeaderOrFollower) }
    }

    func topicsDeleted(_ ids: [TopicID]) {
        coordinator.topicsDeleted(ids)
        let ended = state.withLock { state in state.partitions.values.filter { ids.contains($0.key.partition.topicID) } }
        for entry in ended { entry.end(.unknownTopicOrPartition) }
    }

    // MARK: Sessions

    /// Begins a fetch of a member.
    func fetch(
        _ key: ShareSessionKey, epoch: Int32, adding: [TopicIDPartition], forgetting: [TopicIDPartition], hasAcknowledgements: Bool,
        connection: UInt64
    ) throws(ShareStateRefusal) -> ShareSessions.Fetch {
        try state.withLock { state -> Result<ShareSessions.Fetch, ShareStateRefusal> in
            let before = state.sessions.count
            defer { if state.sessions.count != before { state.members[key.group, default: 0] += state.sessions.count - before } }
            do throws(ShareStateRefusal) {
                return .success(
                    try state.sessions.fetch(
                        key, epoch: epoch, adding: adding, forgetting: forgetting, hasAcknowledgements: hasAcknowledgements,
                        connection: connection))
            } catch {
                return .failure(error)
            }
        }.get()
    }

    func acknowledge(_ key: ShareSessionKey, epoch: Int32) throws(ShareStateRefusal) {
        try state.withLock { state -> Result<Void, ShareStateRefusal> in
            do throws(ShareStateRefusal) { return .success(try state.sessions.acknowledge(key, epoch: epoch)) } catch {
                return .failure(error)
            }
        }.get()
    }

    /// Ends a member's session and lets go of what it has.
    ///
    /// - Parameter connection: only if that connection began it; nil in any case.
    func endSession(_ key: ShareSessionKey, of connection: UInt64? = nil) {
        let (entries, isLast) = state.withLock { state -> ([SharePartitionEntry], Bool) in
            guard state.sessions.end(key, of: connection) else { return ([], false) }
            let left = (state.members[key.group] ?? 1) - 1
            state.members[key.group] = left > 0 ? left : nil
            // All of the group's: a member may have records of partitions that it does not fetch any more.
            return (state.partitions.values.filter { $0.key.group == key.group }, left <= 0)
        }
        for entry in entries {
            entry.release(key.member) { [self] in
                // Without members the state may be changed elsewhere: it is read again for the next.
                if isLast, takeIfIdle(entry) { entry.end(.notLeaderOrFollower) }
            }
        }
    }

    /// Takes a share partition out, unless its group has members here again.
    private func takeIfIdle(_ entry: SharePartitionEntry) -> Bool {
        state.withLock { state in
            guard (state.members[entry.key.group] ?? 0) == 0, state.partitions[entry.key] === entry else { return false }
            state.partitions[entry.key] = nil
            return true
        }
    }

    // MARK: The log of the state

    /// The partitions of __share_group_state whose beginning is not needed any longer, when it is time to look.
    func dueForPruning() -> [(partition: Int32, offset: Offset)] {
        let now = SystemClock.monotonicMilliseconds()
        guard now >= nextPruning.load(ordering: .relaxed) else { return [] }
        nextPruning.store(now + pruneIntervalMilliseconds, ordering: .relaxed)
        return coordinator.redundantOffsets
    }
}

extension BrokerServices {
    /// Whether share groups are served, by the cluster's features.
    var servesShareGroups: Bool { image.features.level(of: FeatureName.share) > 0 }

    /// Begins to coordinate the share state of every partition of __share_group_state that this node leads.
    func assignShareCoordinators(_ topic: TopicImage) {
        guard let placed = partitions.topic(topic.id) else { return }
        let runtime = shareGroups.coordinator
        for partition in topic.partitions where partition.index < runtime.configuration.partitionCount {
            guard partition.leader == nodeID, let local = placed[partition.index] else {
                shareGroups.epochs.end(partition.index)
                runtime.endTerm(partition: partition.index)
                placed[partition.index]?.onHighWatermark(nil)
                continue
            }
            guard shareGroups.epochs.begin(partition.index, partition.leaderEpoch) else { continue }
            let term = runtime.beginTerm(partition: partition.index)
            local.onHighWatermark { [index = partition.index] offset in
                runtime.highWatermarkAdvanced(partition: index, to: offset)
            }
            backgroundWork.run { [logger, index = partition.index] in
                do throws(CoordinatorLogError) {
                    try runtime.load(partition: index, term: term, from: PartitionCoordinatorLog(partition: local))
                } catch {
                    logger.error(
                        "the state of share groups cannot be loaded; their clients are told to wait",
                        metadata: ["partition": "\(local.topicPartition)", "reason": "\(error.code)"])
                }
            }
        }
    }

    /// Removes what is not needed any longer of the logs of __share_group_state: a snapshot stands for all that came before.
    func pruneShareState() {
        for (index, offset) in shareGroups.dueForPruning() {
            guard let partition = partitions.partition(TopicPartition(TopicName.shareGroupState, index)) else { continue }
            // Whoever does not lead it any more leaves that to the next leader.
            _ = try? partition.withLog { log throws(StorageError) in
                guard offset > log.logStartOffset else { return }
                _ = try log.deleteRecords(before: offset, now: SystemClock.now())
            }
        }
    }
}
