// AlterPartition: a leader proposes another ISR, or confirms that it has recovered from an unclean election (KIP-497, KIP-704).
import ClusterMetadata
import ConfigDefinitions
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives

extension Controller {
    /// Decides an AlterPartition request.
    ///
    /// - Parameter apiVersion: the request's; before 3 the proposed ISR comes without the brokers' epochs.
    /// - Throws: STALE_BROKER_EPOCH.
    public func alterPartition(
        _ request: AlterPartitionRequest, apiVersion: Int16
    ) throws(RequestFailure) -> ControllerResult<AlterPartitionResponse> {
        if request.topics.isEmpty { return ControllerResult(AlterPartitionResponse()) }
        _ = try checkedBroker(request.brokerId, epoch: request.brokerEpoch)
        var response = AlterPartitionResponse()
        var records: [VersionedRecord] = []
        let inherited = TopicConfiguration(layers: layers)
        for topicData in request.topics {
            var answer = AlterPartitionResponse.TopicData()
            answer.topicId = topicData.topicId
            let topic = image.topics.topic(id: topicData.topicId)
            let settings = topic.map { topicConfiguration($0.name, inherited: inherited) } ?? inherited
            for data in topicData.partitions {
                do throws(RequestFailure) {
                    guard let topic else { throw RequestFailure(.unknownTopicId) }
                    answer.partitions.append(
                        try alterPartition(topic, settings, data, by: request.brokerId, isWithEpochs: apiVersion >= 3, records: &records))
                } catch {
                    var result = AlterPartitionResponse.PartitionData()
                    result.partitionIndex = data.partitionIndex
                    result.errorCode = error.code
                    answer.partitions.append(result)
                }
            }
            response.topics.append(answer)
        }
        return ControllerResult(response, records: records, isAtomic: false)
    }

    private func alterPartition(
        _ topic: TopicImage, _ settings: TopicConfiguration, _ data: AlterPartitionRequest.PartitionData, by leader: NodeID,
        isWithEpochs: Bool, records: inout [VersionedRecord]
    ) throws(RequestFailure) -> AlterPartitionResponse.PartitionData {
        guard var partition = topic.partition(data.partitionIndex) else { throw RequestFailure(.unknownTopicOrPartition) }
        let isr: [(id: NodeID, epoch: Int64)] =
            isWithEpochs ? data.newIsrWithEpochs.map { ($0.brokerId, $0.brokerEpoch) } : data.newIsr.map { ($0, -1) }
        try checkEpochs(data, partition, leader: leader)
        try checkIsr(isr.map(\.id), data, partition)
        for (id, epoch) in isr where !isEligible(id, epoch: epoch) { throw RequestFailure(.ineligibleReplica) }
        var builder = makeBuilder(partition, of: topic, settings)
        if settings.uncleanLeaderElectionEnable { builder.election = .unclean }
        builder.targetIsr = isr.map(\.id)
        builder.targetIsRecovering = data.leaderRecoveryState == 1
        if let record = builder.build(), case .partitionChange(let change) = record.record {
            do throws(MetadataError) {
                partition = try partition.merging(change)
            } catch {
                throw RequestFailure(.unknownServerError, error.description)
            }
            records.append(record)
            // The leader cannot depose itself, but a reassignment that this completes can: then it has to read metadata first.
            if change.leader != leader && change.leader != PartitionImage.noLeaderChange { throw RequestFailure(.newLeaderElected) }
        }
        var result = AlterPartitionResponse.PartitionData()
        result.partitionIndex = data.partitionIndex
        result.leaderId = partition.leader
        result.leaderEpoch = partition.leaderEpoch
        result.isr = partition.isr
        result.leaderRecoveryState = partition.isRecovering ? 1 : 0
        result.partitionEpoch = partition.partitionEpoch
        return result
    }

    private func checkEpochs(
        _ data: AlterPartitionRequest.PartitionData, _ partition: PartitionImage, leader: NodeID
    ) throws(RequestFailure) {
        // A leader that knows more than this controller has seen a newer one.
        if data.leaderEpoch > partition.leaderEpoch || data.partitionEpoch > partition.partitionEpoch {
            throw RequestFailure(.notController)
        }
        if data.leaderEpoch < partition.leaderEpoch { throw RequestFailure(.fencedLeaderEpoch) }
        if leader != partition.leader { throw RequestFailure(.invalidRequest) }
        if data.partitionEpoch < partition.partitionEpoch { throw RequestFailure(.invalidUpdateVersion) }
    }

    private func checkIsr(
        _ isr: [NodeID], _ data: AlterPartitionRequest.PartitionData, _ partition: PartitionImage
    ) throws(RequestFailure) {
        let isValid =
            isr.allSatisfy(partition.replicas.contains) && Set(isr).count == isr.count && isr.contains(partition.leader)
            && (0...1).contains(data.leaderRecoveryState)
        if !isValid { throw RequestFailure(.invalidRequest) }
        if data.leaderRecoveryState == 1 && (isr.count > 1 || !partition.isRecovering) { throw RequestFailure(.invalidRequest) }
    }

    /// Whether a broker may be in an ISR: alive, not stopping, and still the process whose log the leader saw (KIP-903).
    private func isEligible(_ id: NodeID, epoch: Int64) -> Bool {
        guard let broker = image.cluster.broker(id), broker.isActive else { return false }
        return epoch == -1 || epoch == broker.epoch
    }
}
