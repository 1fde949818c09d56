// What StreamsGroupDescribe tells of a group: its topology, and what each member has and is to have.
import Collections
import KafkaMessages
import Primitives

extension StreamsGroup {
    var described: StreamsGroupDescribeResponse.DescribedGroup {
        var description = StreamsGroupDescribeResponse.DescribedGroup()
        description.groupId = groupID
        description.groupState = state
        description.groupEpoch = groupEpoch
        description.assignmentEpoch = assignmentEpoch
        description.assignorName = StickyTaskAssignor.name
        description.topology = describedTopology
        description.members = members.values.map { member in
            member.described(target: targetAssignment[member.memberID] ?? MemberTasks(), offsets: taskOffsets[member.memberID])
        }
        return description
    }

    /// With the partitions that were decided on, where all topics are there; else as the application described it.
    private var describedTopology: StreamsGroupDescribeResponse.Topology? {
        guard let topology else { return nil }
        var description = StreamsGroupDescribeResponse.Topology()
        description.epoch = topology.epoch
        if let configured, configured.isReady, let subtopologies = configured.subtopologies {
            description.subtopologies = subtopologies.map { id, subtopology in
                var described = StreamsGroupDescribeResponse.Subtopology()
                described.subtopologyId = id
                described.sourceTopics = subtopology.sourceTopics
                described.repartitionSinkTopics = subtopology.repartitionSinkTopics
                described.repartitionSourceTopics = subtopology.repartitionSourceTopics.map(\.described)
                described.stateChangelogTopics = subtopology.stateChangelogTopics.map(\.described)
                return described
            }
            return description
        }
        func described(_ infos: [StreamsTopology.TopicInfo]) -> [StreamsGroupDescribeResponse.TopicInfo] {
            infos.sorted { $0.name < $1.name }.map { StreamsInternalTopic($0, partitionCount: $0.partitions).described }
        }
        description.subtopologies = topology.subtopologies.map { subtopology in
            var description = StreamsGroupDescribeResponse.Subtopology()
            description.subtopologyId = subtopology.subtopologyId
            description.sourceTopics = subtopology.sourceTopics.sorted()
            description.repartitionSinkTopics = subtopology.repartitionSinkTopics.sorted()
            description.repartitionSourceTopics = described(subtopology.repartitionSourceTopics)
            description.stateChangelogTopics = described(subtopology.stateChangelogTopics)
            return description
        }
        return description
    }
}

extension StreamsInternalTopic {
    fileprivate var described: StreamsGroupDescribeResponse.TopicInfo {
        var info = StreamsGroupDescribeResponse.TopicInfo()
        info.name = name
        info.partitions = partitionCount
        info.replicationFactor = replicationFactor
        info.topicConfigs = configurations.map { setting in
            var described = StreamsGroupDescribeResponse.KeyValue()
            described.key = setting.name
            described.value = setting.value
            return described
        }
        return info
    }
}

extension StreamsGroupMember {
    fileprivate func described(target: MemberTasks, offsets: MemberTaskOffsets?) -> StreamsGroupDescribeResponse.Member {
        var description = StreamsGroupDescribeResponse.Member()
        description.memberId = memberID
        description.memberEpoch = memberEpoch
        description.instanceId = instanceID
        description.rackId = rackID
        description.clientId = clientID
        description.clientHost = clientHost
        description.topologyEpoch = topologyEpoch
        description.processId = processID
        description.userEndpoint = userEndpoint.map { endpoint in
            var described = StreamsGroupDescribeResponse.Endpoint()
            described.host = endpoint.host
            described.port = endpoint.port
            return described
        }
        description.clientTags = clientTags.map { tag in
            var described = StreamsGroupDescribeResponse.KeyValue()
            described.key = tag.key
            described.value = tag.value
            return described
        }
        description.taskOffsets = (offsets?.offsets ?? [:]).described
        description.taskEndOffsets = (offsets?.endOffsets ?? [:]).described
        description.assignment = .init(
            MemberTasks(active: assignedTasks.activeTasks, standby: assignedTasks.standby, warmup: assignedTasks.warmup))
        description.targetAssignment = .init(target)
        return description
    }
}

extension StreamsGroupDescribeResponse.Assignment {
    fileprivate init(_ tasks: MemberTasks) {
        func described(_ tasks: TaskSet) -> [StreamsGroupDescribeResponse.TaskIds] {
            tasks.bySubtopology.map { id, partitions in
                var entry = StreamsGroupDescribeResponse.TaskIds()
                entry.subtopologyId = id
                entry.partitions = partitions
                return entry
            }
        }
        self.init()
        activeTasks = described(tasks.active)
        standbyTasks = described(tasks.standby)
        warmupTasks = described(tasks.warmup)
    }
}

extension OrderedDictionary<TaskID, Int64> {
    fileprivate var described: [StreamsGroupDescribeResponse.TaskOffset] {
        keys.sorted().map { task in
            var entry = StreamsGroupDescribeResponse.TaskOffset()
            entry.subtopologyId = task.subtopologyID
            entry.partition = task.partition
            entry.offset = self[task] ?? 0
            return entry
        }
    }
}
