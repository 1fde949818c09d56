// Brings proposals of in-sync replicas to the controller: those of many partitions in one request, one request at a time, again until
// the controller has answered (KIP-497).
import Collections
import KafkaMessages
import KafkaWire
import Logging
import NIOCore
import Observability
import Primitives
import Replication
import Synchronization

/// Sends AlterPartition.
final class AlterPartitionSender: Sendable {
    typealias Answer = Result<AlterPartitionResponse, any Error>
    /// Sends a request to the active controller.
    typealias Channel = @Sendable (AlterPartitionRequest, @escaping @Sendable (Answer) -> Void) -> Void

    private struct State {
        var waiting: OrderedDictionary<TopicIDPartition, (partition: Partition, proposal: InSyncReplicasProposal)> = [:]
        var isBusy = false
        var isClosed = false
    }

    /// After a failure that may pass.
    private static let pause = TimeAmount.milliseconds(50)

    private let state = Mutex(State())
    private let nodeID: NodeID
    private let brokerEpoch: @Sendable () -> Int64
    private let channel: Channel
    private let eventLoop: any EventLoop
    private let metrics: KafkaMetrics?
    private let logger: Logger

    init(
        nodeID: NodeID, brokerEpoch: @escaping @Sendable () -> Int64, eventLoop: any EventLoop, metrics: KafkaMetrics? = nil,
        logger: Logger, channel: @escaping Channel
    ) {
        self.metrics = metrics
        self.nodeID = nodeID
        self.brokerEpoch = brokerEpoch
        self.eventLoop = eventLoop
        self.logger = logger
        self.channel = channel
    }

    /// Takes a proposal; a partition has one at a time, a later one replaces it.
    func submit(_ proposal: InSyncReplicasProposal, of partition: Partition) {
        let key = TopicIDPartition(partition.topicID, partition.topicPartition.partition)
        state.withLock { $0.waiting[key] = (partition, proposal) }
        sendNext()
    }

    func close() {
        state.withLock { state in
            state.isClosed = true
            state.waiting = [:]
        }
    }

    private func sendNext() {
        let batch = state.withLock { state -> [(partition: Partition, proposal: InSyncReplicasProposal)] in
            guard !state.isBusy, !state.isClosed, !state.waiting.isEmpty else { return [] }
            state.isBusy = true
            defer { state.waiting = [:] }
            return Array(state.waiting.values)
        }
        guard !batch.isEmpty else { return }
        channel(request(batch)) { [self] answer in
            let failed = finish(batch, answer)
            state.withLock { state in
                state.isBusy = false
                for entry in failed {
                    let key = TopicIDPartition(entry.partition.topicID, entry.partition.topicPartition.partition)
                    if state.waiting[key] == nil { state.waiting[key] = entry }
                }
            }
            if failed.isEmpty {
                sendNext()
            } else {
                eventLoop.scheduleTask(in: Self.pause) { [self] in sendNext() }
            }
        }
    }

    private func request(_ batch: [(partition: Partition, proposal: InSyncReplicasProposal)]) -> AlterPartitionRequest {
        var request = AlterPartitionRequest()
        request.brokerId = nodeID
        request.brokerEpoch = brokerEpoch()
        var topics: OrderedDictionary<TopicID, AlterPartitionRequest.TopicData> = [:]
        for (partition, proposal) in batch {
            var data = AlterPartitionRequest.PartitionData()
            data.partitionIndex = partition.topicPartition.partition
            data.leaderEpoch = proposal.leaderEpoch
            data.partitionEpoch = proposal.partitionEpoch
            data.newIsrWithEpochs = proposal.members.map { member in
                var state = AlterPartitionRequest.BrokerState()
                state.brokerId = member.id
                state.brokerEpoch = member.id == nodeID ? request.brokerEpoch : member.brokerEpoch
                return state
            }
            topics[partition.topicID, default: .init()].topicId = partition.topicID
            topics[partition.topicID]?.partitions.append(data)
        }
        request.topics = Array(topics.values)
        return request
    }

    /// Hands out the answers. Returns what has to be sent again.
    private func finish(
        _ batch: [(partition: Partition, proposal: InSyncReplicasProposal)], _ answer: Answer
    ) -> [(partition: Partition, proposal: InSyncReplicasProposal)] {
        let now = SystemClock.monotonicMilliseconds()
        var answers: [TopicIDPartition: InSyncReplicasAnswer] = [:]
        switch answer {
        case .failure(let reason):
            logger.warning("the controller did not take a change of in-sync replicas; asking again", metadata: ["reason": "\(reason)"])
        case .success(let response) where response.errorCode != .none:
            logger.warning(
                "the controller refused a change of in-sync replicas; asking again", metadata: ["error": "\(response.errorCode.name)"])
        case .success(let response):
            for topic in response.topics {
                for data in topic.partitions {
                    answers[TopicIDPartition(topic.topicId, data.partitionIndex)] = InSyncReplicasAnswer(
                        data.errorCode, leaderEpoch: data.leaderEpoch, partitionEpoch: data.partitionEpoch, isr: data.isr)
                }
            }
        }
        return batch.filter { partition, proposal in
            let key = TopicIDPartition(partition.topicID, partition.topicPartition.partition)
            let answer = answers[key] ?? .failed
            count(answer, to: proposal)
            let outcome = partition.answered(proposal, answer, now: now)
            if outcome == .committed {
                logger.info(
                    "in-sync replicas changed",
                    metadata: [
                        "partition": "\(partition.topicPartition)",
                        "isr": "\(proposal.members.map { String($0.id) }.joined(separator: " "))",
                    ])
            }
            return outcome == .sendAgain
        }
    }

    /// By the answer, not by what the partition makes of it: the metadata may have told the partition before.
    private func count(_ answer: InSyncReplicasAnswer, to proposal: InSyncReplicasProposal) {
        switch answer {
        case .committed: (proposal.isExpansion ? metrics?.inSyncReplicaExpands : metrics?.inSyncReplicaShrinks)?.increment()
        case .refused, .outdated: metrics?.failedInSyncReplicaUpdates.increment()
        case .failed: break
        }
    }
}
