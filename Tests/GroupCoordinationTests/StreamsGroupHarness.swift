// What tests of streams groups ask a coordinator, in short.
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives

/// A thread of a streams application that does what it is told, as Kafka Streams does.
struct StreamsThread {
    var name: String
    var process: String
    var epoch: Int32 = 0
    var active: [String] = []
    var standby: [String] = []
    var instanceID: String?
    var topology = StreamsThread.wordCount
    var endpoint: UInt16?
    var tags: [String: String] = [:]
    var endpointEpoch: Int32 = -1
    var lastError = ErrorCode.none
    var lastStatus: [Int8] = []

    init(_ name: String, process: String? = nil) {
        self.name = name
        self.process = process ?? "process-\(name)"
    }

    typealias Topology = StreamsGroupHeartbeatRequest.Topology
    typealias TopicInfo = StreamsGroupHeartbeatRequest.TopicInfo

    /// Reads `t`, passes on by another key, and keeps counts.
    static var wordCount: Topology {
        var reading = StreamsGroupHeartbeatRequest.Subtopology()
        reading.subtopologyId = "0"
        reading.sourceTopics = ["t"]
        reading.repartitionSinkTopics = ["app-repartition"]
        var counting = StreamsGroupHeartbeatRequest.Subtopology()
        counting.subtopologyId = "1"
        counting.repartitionSourceTopics = [info("app-repartition")]
        counting.stateChangelogTopics = [info("app-changelog", ["cleanup.policy": "compact"])]
        var topology = Topology()
        topology.subtopologies = [reading, counting]
        return topology
    }

    /// One subtopology that reads `t` and keeps nothing.
    static var stateless: Topology {
        var topology = Topology()
        var reading = StreamsGroupHeartbeatRequest.Subtopology()
        reading.subtopologyId = "0"
        reading.sourceTopics = ["t"]
        topology.subtopologies = [reading]
        return topology
    }

    static func info(_ name: String, _ configurations: [String: String] = [:]) -> TopicInfo {
        var info = TopicInfo()
        info.name = name
        info.topicConfigs = configurations.sorted { $0.key < $1.key }.map { key, value in
            var setting = StreamsGroupHeartbeatRequest.KeyValue()
            setting.key = key
            setting.value = value
            return setting
        }
        return info
    }
}

extension GroupHarness {
    /// One heartbeat. Takes over epoch and tasks from the answer; gives back what is not in it.
    @discardableResult
    func beat(
        _ thread: inout StreamsThread, version: Int16 = 1, _ change: (inout StreamsGroupHeartbeatRequest) -> Void = { _ in }
    ) -> StreamsGroupHeartbeatResult {
        var request = StreamsGroupHeartbeatRequest()
        request.groupId = GroupHarness.group
        request.memberId = thread.name
        request.memberEpoch = thread.epoch
        request.instanceId = thread.instanceID
        request.endpointInformationEpoch = thread.endpointEpoch
        request.activeTasks = Self.tasks(thread.active)
        request.standbyTasks = Self.tasks(thread.standby)
        request.warmupTasks = []
        if thread.epoch == 0 {
            request.topology = thread.topology
            request.rebalanceTimeoutMs = 60_000
            request.processId = thread.process
            request.activeTasks = []
            request.standbyTasks = []
            request.userEndpoint = thread.endpoint.map { port in
                var endpoint = StreamsGroupHeartbeatRequest.Endpoint()
                endpoint.host = "host-\(thread.name)"
                endpoint.port = port
                return endpoint
            }
            request.clientTags = thread.tags.sorted { $0.key < $1.key }.map { key, value in
                var tag = StreamsGroupHeartbeatRequest.KeyValue()
                tag.key = key
                tag.value = value
                return tag
            }
        }
        change(&request)
        let context = GroupRequestContext(apiVersion: version, clientID: "client-\(thread.name)", clientHost: "/127.0.0.1")
        let result = take(core.streamsGroupHeartbeat(request, context: context, now: now))
        thread.take(result.response)
        return result
    }

    /// Beats for all threads in turn, a second apart, until nobody's epoch or share changes any more.
    func settle(_ threads: inout [StreamsThread], rounds: Int = 20) {
        var calm = 0
        for _ in 0..<rounds where calm < 2 {
            let before = threads.map { "\($0.epoch) \($0.active) \($0.standby)" }
            for index in threads.indices { beat(&threads[index]) }
            advance(1_000)
            calm = threads.map { "\($0.epoch) \($0.active) \($0.standby)" } == before ? calm + 1 : 0
        }
    }

    private static func tasks(_ names: [String]) -> [StreamsGroupHeartbeatRequest.TaskIds] {
        var entries: [StreamsGroupHeartbeatRequest.TaskIds] = []
        for name in names {
            let parts = name.split(separator: "-")
            var entry = StreamsGroupHeartbeatRequest.TaskIds()
            entry.subtopologyId = String(parts[0])
            if let index = entries.firstIndex(where: { $0.subtopologyId == entry.subtopologyId }) {
                entries[index].partitions.append(Int32(parts[1])!)
            } else {
                entry.partitions = [Int32(parts[1])!]
                entries.append(entry)
            }
        }
        return entries
    }

    /// A coordinator without waiting, of a cluster that has the topic `t`, and the internal topics if asked for.
    static func streams(
        partitions: Int32 = 2, hasInternalTopics: Bool = true, _ configure: (inout StreamsGroupConfiguration) -> Void = { _ in }
    ) -> GroupHarness {
        let harness = GroupHarness {
            $0.streams.assignmentIntervalMilliseconds = 0
            $0.streams.initialRebalanceDelayMilliseconds = 0
            configure(&$0.streams)
        }
        harness.setTopics({ $0.add("t", partitions: partitions) }, changed: ["t"], hasNew: true)
        if hasInternalTopics { harness.createInternalTopics(partitions: partitions) }
        return harness
    }

    func createInternalTopics(partitions: Int32) {
        setTopics(
            {
                $0.add("app-repartition", partitions: partitions)
                $0.add("app-changelog", partitions: partitions)
            }, changed: ["app-repartition", "app-changelog"], hasNew: true)
    }

    var streamsState: String { core.describeStreamsGroup(GroupHarness.group).groupState }
}

extension StreamsThread {
    fileprivate mutating func take(_ response: StreamsGroupHeartbeatResponse) {
        lastError = response.errorCode
        guard response.errorCode == .none else {
            if response.errorCode == .fencedMemberEpoch || response.errorCode == .unknownMemberId {
                epoch = 0
                active = []
                standby = []
            }
            return
        }
        func names(_ entries: [StreamsGroupHeartbeatResponse.TaskIds]) -> [String] {
            entries.flatMap { entry in entry.partitions.map { "\(entry.subtopologyId)-\($0)" } }
        }
        lastStatus = (response.status ?? []).map(\.statusCode)
        epoch = response.memberEpoch
        endpointEpoch = response.endpointInformationEpoch
        if let tasks = response.activeTasks { active = names(tasks) }
        if let tasks = response.standbyTasks { standby = names(tasks) }
    }
}
