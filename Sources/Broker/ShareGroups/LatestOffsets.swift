// Where partitions end, whoever leads them: for the lag of share groups, which the broker reckons and not the client (KIP-1226).
import KafkaMessages
import KafkaWire
import Network
import Primitives
import Storage

/// An error code as an error.
struct ErrorCodeError: Error, Equatable, Sendable {
    var code: ErrorCode
}

extension BrokerServices {
    /// The high watermarks of partitions, asked of their leaders; what cannot be had has an error.
    func latestOffsets(
        of asked: [TopicIDPartition], completion: @escaping @Sendable ([TopicIDPartition: Result<Offset, ErrorCodeError>]) -> Void
    ) {
        var found: [TopicIDPartition: Result<Offset, ErrorCodeError>] = [:]
        var elsewhere: [NodeID: [TopicIDPartition]] = [:]
        for partition in asked {
            guard let placed = image.topics.topic(id: partition.topicID)?.partition(partition.partition) else {
                found[partition] = .failure(ErrorCodeError(code: .unknownTopicOrPartition))
                continue
            }
            if placed.leader == nodeID, let local = partitions.topic(partition.topicID)?[partition.partition] {
                do throws(PartitionError) {
                    found[partition] = .success(
                        try local.withCommittedLog(currentLeaderEpoch: -1) { log throws(StorageError) in log.highWatermark })
                } catch {
                    found[partition] = .failure(ErrorCodeError(code: error.errorCode))
                }
            } else {
                elsewhere[placed.leader, default: []].append(partition)
            }
        }
        let questions = Array(elsewhere)
        let here = found
        let gathering = Gathering<[TopicIDPartition: Result<Offset, ErrorCodeError>]>(questions.count) { answers in
            completion(answers.reduce(into: here) { $0.merge($1) { first, _ in first } })
        }
        for (index, (leader, partitions)) in questions.enumerated() {
            askLatestOffsets(of: partitions, leader) { gathering.add(index, $0) }
        }
    }

    private func askLatestOffsets(
        of asked: [TopicIDPartition], _ leader: NodeID,
        completion: @escaping @Sendable ([TopicIDPartition: Result<Offset, ErrorCodeError>]) -> Void
    ) {
        func failed(_ error: ErrorCode) -> [TopicIDPartition: Result<Offset, ErrorCodeError>] {
            Dictionary(asked.map { ($0, .failure(ErrorCodeError(code: error))) }, uniquingKeysWith: { first, _ in first })
        }
        guard leader >= 0, let address = replication.address(of: leader), let peers = shareGroups.persister.peers else {
            return completion(failed(.leaderNotAvailable))
        }
        var request = ListOffsetsRequest()
        request.replicaId = -1
        var ids: [String: TopicID] = [:]
        for (id, partitions) in Dictionary(grouping: asked, by: \.topicID) {
            guard let name = image.topics.topic(id: id)?.name else { continue }
            ids[name] = id
            var topic = ListOffsetsRequest.ListOffsetsTopic()
            topic.name = name
            topic.partitions = partitions.map { partition in
                var entry = ListOffsetsRequest.ListOffsetsPartition()
                entry.partitionIndex = partition.partition
                entry.currentLeaderEpoch = -1
                entry.timestamp = -1
                return entry
            }
            request.topics.append(topic)
        }
        let unanswered = failed(.unknownServerError)
        let unreachable = failed(.leaderNotAvailable)
        peers.send(request, to: address, timeoutMilliseconds: configuration.cluster.requestTimeoutMilliseconds) { [ids] result in
            guard case .success(let response) = result else { return completion(unreachable) }
            var found = unanswered
            for topic in response.topics {
                guard let id = ids[topic.name] else { continue }
                for partition in topic.partitions {
                    found[TopicIDPartition(id, partition.partitionIndex)] =
                        partition.errorCode == .none ? .success(partition.offset) : .failure(ErrorCodeError(code: partition.errorCode))
                }
            }
            completion(found)
        }
    }
}
