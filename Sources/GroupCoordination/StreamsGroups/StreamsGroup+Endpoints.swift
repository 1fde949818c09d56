// Where the state of a streams application can be asked for: the endpoints of its instances, and the partitions that each looks after
// (interactive queries, KIP-535).
import KafkaMessages
import Primitives

extension StreamsGroup {
    /// What a heartbeat tells of all members that name an endpoint.
    ///
    /// - Parameters:
    ///   - changed: the member whose heartbeat this is, as it is to be.
    ///   - replaced: the former self of a static member.
    func endpoints(
        with changed: StreamsGroupMember, replacing replaced: StreamsGroupMember?, topics: any GroupTopics
    ) -> [StreamsGroupHeartbeatResponse.EndpointToPartitions] {
        var entries: [StreamsGroupHeartbeatResponse.EndpointToPartitions] = []
        for member in members.values where member.memberID != changed.memberID && member.memberID != replaced?.memberID {
            if let entry = endpoint(of: member, topics) { entries.append(entry) }
        }
        if let entry = endpoint(of: changed, topics) { entries.append(entry) }
        return entries
    }

    private func endpoint(
        of member: StreamsGroupMember, _ topics: any GroupTopics
    ) -> StreamsGroupHeartbeatResponse.EndpointToPartitions? {
        guard let endpoint = member.userEndpoint else { return nil }
        var entry = StreamsGroupHeartbeatResponse.EndpointToPartitions()
        entry.userEndpoint.host = endpoint.host
        entry.userEndpoint.port = endpoint.port
        entry.activePartitions = partitions(of: member.assignedTasks.activeTasks, topics)
        entry.standbyPartitions = partitions(of: member.assignedTasks.standby.union(member.assignedTasks.warmup), topics)
        return entry
    }

    /// The partitions of source topics that tasks stand for.
    private func partitions(of tasks: TaskSet, _ topics: any GroupTopics) -> [StreamsGroupHeartbeatResponse.TopicPartition] {
        var entries: [StreamsGroupHeartbeatResponse.TopicPartition] = []
        for (id, partitions) in tasks.bySubtopology {
            guard let subtopology = configured?.subtopologies?[id] else { continue }
            for name in subtopology.sourceTopics + subtopology.repartitionSourceTopics.map(\.name) {
                guard let count = topics.topic(named: name)?.partitionCount else { continue }
                let read = partitions.filter { $0 < count }
                guard !read.isEmpty else { continue }
                var entry = StreamsGroupHeartbeatResponse.TopicPartition()
                entry.topic = name
                entry.partitions = read
                entries.append(entry)
            }
        }
        return entries
    }
}
