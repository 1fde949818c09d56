// Fills in what coordinators show when somebody scrapes: groups, transactions and share groups as they are at that moment.
import ClusterMetadata
import GroupCoordination
import Observability
import Primitives
import Runtime
import ShareCoordination
import TransactionCoordination

extension KafkaState.Meter {
    fileprivate init(_ reading: EventReading) { self.init(count: reading.count, perSecond: reading.perSecond) }
}

extension KafkaState.Coordinator {
    fileprivate init(_ partitions: CoordinatorPartitionCounts, _ loadTimes: RecentTimes) {
        self.init()
        self.partitions = [("loading", partitions.loading), ("active", partitions.active), ("failed", partitions.failed)]
        loadTimeAverage = loadTimes.average
        loadTimeMaximum = loadTimes.maximum
    }
}

extension GroupEvent {
    /// Kafka's name for the count and the rate, without their endings.
    fileprivate var metric: (name: String, help: String) {
        switch self {
        case .offsetCommit: ("offset_commit", "Committed offsets")
        case .offsetExpiration: ("offset_expiration", "Offsets forgotten because their retention is over")
        case .offsetDeletion: ("offset_deletion", "Offsets deleted by administrators")
        case .completedRebalance: ("group_completed_rebalance", "Completed rebalances of classic groups")
        case .consumerGroupRebalance: ("consumer_group_rebalance", "Rebalances of consumer groups")
        case .shareGroupRebalance: ("share_group_rebalance", "Rebalances of share groups")
        case .streamsGroupRebalance: ("streams_group_rebalance", "Rebalances of streams groups")
        }
    }
}

extension BrokerServices {
    func groupState() -> KafkaState.Groups {
        var state = KafkaState.Groups()
        state.coordinator = KafkaState.Coordinator(groups.partitionCounts, groups.loadTimes)
        let counts = groups.counts()
        state.offsetCount = counts.offsetCount
        state.counts = GroupCounts.states.map { type, states in
            (type: type.rawValue, states: states.map { (state: $0, count: counts.count(of: type, in: $0)) })
        }
        state.events = GroupEvent.allCases.map { event in
            (name: event.metric.name, help: event.metric.help, meter: KafkaState.Meter(groups.reading(of: event)))
        }
        return state
    }

    func transactionState() -> KafkaState.Transactions {
        let runtime = transactions.runtime
        var state = KafkaState.Transactions()
        state.coordinator = KafkaState.Coordinator(runtime.partitionCounts, runtime.loadTimes)
        let counts = runtime.counts()
        // Those that are in the log: a state that nobody is in now is shown as well, so that graphs have no holes.
        let stored: [TransactionState] = [.empty, .ongoing, .prepareCommit, .prepareAbort, .completeCommit, .completeAbort]
        state.states = stored.map { state in (state: state.name, count: counts.first { $0.state == state }?.count ?? 0) }
        state.committed = KafkaState.Meter(runtime.reading(of: .commit))
        state.aborted = KafkaState.Meter(runtime.reading(of: .abort))
        state.unknownDestinationQueueSize = transactions.markers.unknownDestinationCount
        state.logAppendRetryQueueSize = runtime.failedCompletionCount
        return state
    }

    func shareGroupState(_ image: MetadataImage) -> KafkaState.ShareGroups {
        let coordinator = shareGroups.coordinator
        var state = KafkaState.ShareGroups()
        state.coordinator = KafkaState.Coordinator(coordinator.partitionCounts, coordinator.loadTimes)
        state.writes = KafkaState.Meter(coordinator.writeReading)
        let times = coordinator.writeTimes
        state.writeLatencyAverage = times.average
        state.writeLatencyMaximum = times.maximum
        (state.sessionCount, state.sessionPartitionCount) = shareGroups.sessionCounts
        for entry in shareGroups.all {
            guard let topic = image.topics.topic(id: entry.key.partition.topicID)?.name else { continue }
            var partition = KafkaState.ShareGroups.Partition(
                group: entry.key.group, topic: topic, partition: entry.key.partition.partition)
            (partition.inFlightMessages, partition.inFlightBatches) = entry.inFlight
            partition.lockTimeouts = entry.lockTimeoutCount
            state.partitions.append(partition)
        }
        state.partitions.sort { ($0.group, $0.topic, $0.partition) < ($1.group, $1.topic, $1.partition) }
        return state
    }
}

extension SharePartitionEntry {
    /// Records between the first that is not done and the last that was given out, and the runs that they make.
    fileprivate var inFlight: (messages: Int, batches: Int) { read { ($0.inFlightCount, $0.runCount) } ?? (0, 0) }
}

extension ShareGroupMetrics {
    /// Counts records by what was said of them. Gaps are no records.
    func count(_ acknowledgements: [ShareAcknowledgement]) {
        for acknowledgement in acknowledgements {
            let each = acknowledgement.types.count == 1 ? Int(acknowledgement.lastOffset - acknowledgement.firstOffset + 1) : 1
            for type in acknowledgement.types {
                switch type {
                case .gap: break
                case .accept: accepted.increment(by: each)
                case .release: released.increment(by: each)
                case .reject: rejected.increment(by: each)
                case .renew: renewed.increment(by: each)
                }
            }
        }
    }
}
