// What ShareFetch and ShareAcknowledge have in common: acknowledgements of many partitions, checked one by one, answered together.
import ClusterMetadata
import Controlling
import KafkaWire
import Primitives
import ShareCoordination

/// What became of the acknowledgements for one partition.
struct ShareAcknowledgedPartition: Sendable {
    /// As the wire has it.
    struct Request: Sendable {
        var partition: TopicIDPartition
        var batches: [(first: Offset, last: Offset, types: [Int8])]
    }

    var partition: TopicIDPartition
    var refusal: ShareStateRefusal?
}

/// Whose acknowledgements they are, and what they may say.
struct ShareAcknowledgementTerms: Sendable {
    var group: String
    var member: String
    var settings: ShareGroupOverrides
    /// Whether the request is one that renews (KIP-1222).
    var permitsRenewal: Bool
}

extension BrokerServices {
    /// Takes acknowledgements in; calls back with one answer for each partition when all of them count, or do not.
    func acknowledge(
        _ requests: [ShareAcknowledgedPartition.Request], _ terms: ShareAcknowledgementTerms, _ access: Access,
        completion: @escaping @Sendable ([ShareAcknowledgedPartition]) -> Void
    ) {
        let gathering = Gathering(requests.count, completion: completion)
        let now = SystemClock.monotonicMilliseconds()
        for (index, request) in requests.enumerated() {
            @Sendable func answer(_ refusal: ShareStateRefusal?) {
                gathering.add(index, ShareAcknowledgedPartition(partition: request.partition, refusal: refusal))
            }
            guard let topic = image.topics.topic(id: request.partition.topicID) else {
                answer(ShareStateRefusal(.unknownTopicId))
                continue
            }
            guard let batches = request.acknowledgements(permittingRenewal: terms.permitsRenewal) else {
                answer(ShareStateRefusal(.invalidRequest))
                continue
            }
            guard access.allows(.read, .topic, topic.name) else {
                answer(ShareStateRefusal(.topicAuthorizationFailed))
                continue
            }
            let key = SharePartitionKey(group: terms.group, partition: request.partition)
            guard !batches.isEmpty else {
                answer(topic.partition(request.partition.partition) == nil ? ShareStateRefusal(.unknownTopicOrPartition) : nil)
                continue
            }
            guard let entry = shareGroups.existingEntry(key) else {
                // The records were acquired from another leader, or from this one in another life.
                let leader = topic.partition(request.partition.partition)?.leader
                answer(ShareStateRefusal(leader == nil || leader == nodeID ? .unknownTopicOrPartition : .notLeaderOrFollower))
                continue
            }
            entry.acknowledge(terms.member, batches, settings: terms.settings, now: now, completion: answer)
        }
    }
}

extension ShareAcknowledgedPartition.Request {
    /// The acknowledgements, if they are what the protocol permits: in order, with one type for all records or one for each.
    fileprivate func acknowledgements(permittingRenewal: Bool) -> [ShareAcknowledgement]? {
        var end: Offset = -1
        var result: [ShareAcknowledgement] = []
        for batch in batches {
            let types = batch.types.compactMap { AcknowledgeType(rawValue: $0) }
            guard batch.first >= 0, batch.first <= batch.last, batch.first > end || end < 0, !types.isEmpty,
                types.count == batch.types.count, types.count == 1 || Int64(types.count - 1) == batch.last - batch.first,
                permittingRenewal || !types.contains(.renew)
            else { return nil }
            end = batch.last
            result.append(ShareAcknowledgement(firstOffset: batch.first, lastOffset: batch.last, types: types))
        }
        return result
    }
}

/// Who leads partitions, for answers to those who asked the wrong broker, and where the leaders are.
struct ShareLeaders {
    private let image: MetadataImage
    private let view: ClusterView
    private(set) var nodes: [NodeID: ClusterView.Node] = [:]

    init(image: MetadataImage, listenerName: String) {
        self.image = image
        view = ClusterView(image: image, listenerName: listenerName)
    }

    mutating func leader(of partition: TopicIDPartition) -> (id: NodeID, epoch: LeaderEpoch) {
        guard let placed = image.topics.topic(id: partition.topicID)?.partition(partition.partition) else { return (-1, -1) }
        if let node = view.node(placed.leader) { nodes[placed.leader] = node }
        return (placed.leader, placed.leaderEpoch)
    }
}
