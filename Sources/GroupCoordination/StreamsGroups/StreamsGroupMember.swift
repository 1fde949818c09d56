// One member of a streams group: one thread of a Kafka Streams instance, what it says of itself, which tasks it has and in which epoch.
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives

/// Where a member stands on its way to its target assignment. The values are those of the records.
enum StreamsGroupMemberState: Int8, Sendable {
    /// It has what it is to have.
    case stable = 1
    /// It was told to give tasks back and has not confirmed it.
    case unrevokedTasks = 2
    /// Tasks that it is to have are still with others.
    case unreleasedTasks = 3
    /// Written by a newer version than ours.
    case unknown = 127
}

struct StreamsGroupMember: Sendable, Equatable {
    typealias Endpoint = StreamsGroupMemberMetadataValue.Endpoint
    typealias Tag = StreamsGroupMemberMetadataValue.KeyValue

    /// The epoch of a member that has left.
    static let leftEpoch: Int32 = -1
    /// The epoch of a static member that has left for a while and keeps its place.
    static let awayEpoch: Int32 = -2

    var memberID: String
    var instanceID: String?
    var rackID: String?
    var clientID = ""
    var clientHost = ""
    var rebalanceTimeoutMilliseconds: Int32 = -1
    /// The epoch of the topology that it runs.
    var topologyEpoch: Int32 = -1
    /// The instance of the application that it is a thread of: members of one process share their state directory.
    var processID = ""
    /// Where other instances ask it for its state.
    var userEndpoint: Endpoint?
    /// Sorted by key.
    var clientTags: [Tag] = []

    var memberEpoch: Int32 = 0
    var previousMemberEpoch: Int32 = 0
    var state = StreamsGroupMemberState.stable
    var assignedTasks = AssignedTasks()
    var tasksPendingRevocation = AssignedTasks()

    init(memberID: String) { self.memberID = memberID }

    func isReconciled(to targetAssignmentEpoch: Int32) -> Bool { state == .stable && memberEpoch == targetAssignmentEpoch }

    mutating func advance(to epoch: Int32) {
        previousMemberEpoch = memberEpoch
        memberEpoch = epoch
    }

    /// The epoch at which the active task became its own, be it to be given back.
    func assignmentEpoch(of task: TaskID) -> Int32? {
        assignedTasks.epoch(ofActive: task) ?? tasksPendingRevocation.epoch(ofActive: task)
    }
}

// MARK: - Records

extension StreamsGroupMember {
    mutating func update(with value: StreamsGroupMemberMetadataValue) {
        instanceID = value.instanceId
        rackID = value.rackId
        clientID = value.clientId
        clientHost = value.clientHost
        rebalanceTimeoutMilliseconds = value.rebalanceTimeoutMs
        topologyEpoch = value.topologyEpoch
        processID = value.processId
        userEndpoint = value.userEndpoint
        clientTags = value.clientTags
    }

    mutating func update(with value: StreamsGroupCurrentMemberAssignmentValue) {
        memberEpoch = value.memberEpoch
        previousMemberEpoch = value.previousMemberEpoch
        state = StreamsGroupMemberState(rawValue: value.state) ?? .unknown
        assignedTasks = AssignedTasks(
            active: .init(value.activeTasks, memberEpoch: value.memberEpoch), standby: TaskSet(value.standbyTasks),
            warmup: TaskSet(value.warmupTasks))
        tasksPendingRevocation = AssignedTasks(
            active: .init(value.activeTasksPendingRevocation, memberEpoch: value.memberEpoch),
            standby: TaskSet(value.standbyTasksPendingRevocation), warmup: TaskSet(value.warmupTasksPendingRevocation))
    }

    func metadataRecord(in group: String) -> CoordinatorRecord {
        var value = StreamsGroupMemberMetadataValue()
        value.instanceId = instanceID
        value.rackId = rackID
        value.clientId = clientID
        value.clientHost = clientHost
        value.rebalanceTimeoutMs = rebalanceTimeoutMilliseconds
        value.topologyEpoch = topologyEpoch
        value.processId = processID
        value.userEndpoint = userEndpoint
        value.clientTags = clientTags
        return .streamsGroup(.member(group: group, member: memberID, value))
    }

    func currentAssignmentRecord(in group: String) -> CoordinatorRecord {
        var value = StreamsGroupCurrentMemberAssignmentValue()
        value.memberEpoch = memberEpoch
        value.previousMemberEpoch = previousMemberEpoch
        value.state = state.rawValue
        value.activeTasks = assignedTasks.active.record
        value.standbyTasks = assignedTasks.standby.currentRecord
        value.warmupTasks = assignedTasks.warmup.currentRecord
        value.activeTasksPendingRevocation = tasksPendingRevocation.active.record
        value.standbyTasksPendingRevocation = tasksPendingRevocation.standby.currentRecord
        value.warmupTasksPendingRevocation = tasksPendingRevocation.warmup.currentRecord
        return .streamsGroup(.currentAssignment(group: group, member: memberID, value))
    }
}

extension [ActiveTask] {
    /// Reads a record's tasks; those stored before epochs were count as given at the member's epoch.
    fileprivate init(_ stored: [StreamsGroupCurrentMemberAssignmentValue.TaskIds], memberEpoch: Int32) {
        self = stored.flatMap { entry in
            let epochs = entry.assignmentEpochs.flatMap { $0.count == entry.partitions.count ? $0 : nil }
            return entry.partitions.enumerated().map { index, partition in
                ActiveTask(task: TaskID(entry.subtopologyId, partition), epoch: epochs?[index] ?? memberEpoch)
            }
        }
        sort { $0.task < $1.task }
    }

    fileprivate var record: [StreamsGroupCurrentMemberAssignmentValue.TaskIds] {
        var entries: [StreamsGroupCurrentMemberAssignmentValue.TaskIds] = []
        for element in self {
            if entries.last?.subtopologyId != element.task.subtopologyID {
                var entry = StreamsGroupCurrentMemberAssignmentValue.TaskIds()
                entry.subtopologyId = element.task.subtopologyID
                entries.append(entry)
            }
            entries[entries.count - 1].partitions.append(element.task.partition)
            entries[entries.count - 1].assignmentEpochs = (entries[entries.count - 1].assignmentEpochs ?? []) + [element.epoch]
        }
        return entries
    }
}

extension TaskSet {
    fileprivate init(_ stored: [StreamsGroupCurrentMemberAssignmentValue.TaskIds]) {
        self.init(stored.flatMap { entry in entry.partitions.map { TaskID(entry.subtopologyId, $0) } })
    }

    fileprivate var currentRecord: [StreamsGroupCurrentMemberAssignmentValue.TaskIds] {
        bySubtopology.map { id, partitions in
            var entry = StreamsGroupCurrentMemberAssignmentValue.TaskIds()
            entry.subtopologyId = id
            entry.partitions = partitions
            return entry
        }
    }
}

extension MemberTasks {
    init(_ value: StreamsGroupTargetAssignmentMemberValue) {
        func tasks(_ stored: [StreamsGroupTargetAssignmentMemberValue.TaskIds]) -> TaskSet {
            TaskSet(stored.flatMap { entry in entry.partitions.map { TaskID(entry.subtopologyId, $0) } })
        }
        self.init(active: tasks(value.activeTasks), standby: tasks(value.standbyTasks), warmup: tasks(value.warmupTasks))
    }

    var record: StreamsGroupTargetAssignmentMemberValue {
        func stored(_ tasks: TaskSet) -> [StreamsGroupTargetAssignmentMemberValue.TaskIds] {
            tasks.bySubtopology.map { id, partitions in
                var entry = StreamsGroupTargetAssignmentMemberValue.TaskIds()
                entry.subtopologyId = id
                entry.partitions = partitions
                return entry
            }
        }
        var value = StreamsGroupTargetAssignmentMemberValue()
        value.activeTasks = stored(active)
        value.standbyTasks = stored(standby)
        value.warmupTasks = stored(warmup)
        return value
    }
}
