// Streams groups (KIP-1071): which thread runs what, which topics are missing, and that all of it survives a restart of the coordinator.
import GroupCoordination
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import Testing

@Suite("Streams groups")
struct StreamsGroupTests {
    private let allTasks = ["0-0", "0-1", "1-0", "1-1"]

    private func activeTasks(_ threads: [StreamsThread]) -> [String] { threads.flatMap(\.active).sorted() }

    @Test("Threads share all tasks; nobody ever runs one that another has not given back")
    func sharing() {
        let harness = GroupHarness.streams()
        var threads = [StreamsThread("a")]
        harness.beat(&threads[0])
        #expect(threads[0].active == allTasks)
        #expect(threads[0].epoch == 2, "Kafka counts from 1 on")
        #expect(harness.streamsState == "Stable")
        threads.append(StreamsThread("b"))
        harness.beat(&threads[1])
        #expect(threads[1].active.isEmpty)
        #expect(harness.streamsState == "Reconciling")
        harness.beat(&threads[0])
        #expect(threads[0].active.count == 2)
        #expect(threads[0].epoch == 2, "until it has given back, it stays in its epoch")
        harness.beat(&threads[1])
        #expect(threads[1].active.isEmpty, "what the other has not yet given back is not given on")
        harness.settle(&threads)
        #expect(activeTasks(threads) == allTasks)
        #expect(threads.map(\.active.count) == [2, 2])
        #expect(threads.map(\.epoch) == [3, 3])
        #expect(harness.streamsState == "Stable")
        #expect(harness.reasons.map(\.kind) == [.memberJoined, .memberJoined])
        #expect(harness.reasons.map(\.type) == [.streams, .streams])
    }

    @Test("Missing internal topics are named with their partitions and settings; tasks follow when they are there")
    func internalTopics() throws {
        let harness = GroupHarness.streams(partitions: 3, hasInternalTopics: false)
        var thread = StreamsThread("a")
        let first = harness.beat(&thread)
        #expect(first.missingInternalTopics.map(\.name) == ["app-changelog", "app-repartition"])
        #expect(first.missingInternalTopics.map(\.partitionCount) == [3, 3])
        let changelog = try #require(first.missingInternalTopics.first)
        #expect(changelog.configurations.map { "\($0.name)=\($0.value)" } == ["cleanup.policy=compact"])
        #expect(thread.lastStatus == [StreamsGroupStatusCode.missingInternalTopics.rawValue])
        #expect(first.response.status?.first?.statusDetail == "Internal topics are missing: app-changelog, app-repartition")
        #expect(thread.active.isEmpty)
        #expect(harness.streamsState == "NotReady")
        harness.createInternalTopics(partitions: 3)
        harness.beat(&thread)
        #expect(thread.active == ["0-0", "0-1", "0-2", "1-0", "1-1", "1-2"])
        #expect(thread.lastStatus.isEmpty)
        #expect(harness.streamsState == "Stable")
        // A topic that is there in another width is nothing to work with.
        harness.setTopics({ $0.add("app-changelog", partitions: 2) }, changed: ["app-changelog"])
        harness.beat(&thread)
        #expect(thread.lastStatus == [StreamsGroupStatusCode.incorrectlyPartitionedTopics.rawValue])
        harness.beat(&thread)
        #expect(thread.active.isEmpty)
        harness.setTopics({ $0.remove("t") }, changed: ["t"])
        harness.beat(&thread)
        #expect(thread.lastStatus == [StreamsGroupStatusCode.missingSourceTopics.rawValue])
    }

    @Test("Who leaves or falls silent loses its tasks, and the reason is kept")
    func leaving() {
        let harness = GroupHarness.streams()
        var threads = ["a", "b", "c"].map { StreamsThread($0) }
        harness.settle(&threads)
        #expect(activeTasks(threads) == allTasks)
        var gone = threads.removeLast()
        harness.beat(&gone) { $0.memberEpoch = -1 }
        #expect(gone.epoch == -1)
        harness.settle(&threads)
        #expect(activeTasks(threads) == allTasks)
        for _ in 0..<5 {
            harness.advance(10_000)
            harness.beat(&threads[0])
        }
        var left = [threads[0]]
        harness.settle(&left)
        #expect(left[0].active == allTasks)
        #expect(harness.reasons.suffix(2).map(\.kind) == [.memberLeft, .sessionTimedOut])
        harness.beat(&threads[1])
        #expect(threads[1].lastError == .unknownMemberId)
    }

    @Test("Who does not give tasks back in time is removed")
    func revocation() {
        let harness = GroupHarness.streams()
        var threads = [StreamsThread("a"), StreamsThread("b")]
        harness.beat(&threads[0])
        harness.beat(&threads[1])
        let before = threads[0].active
        harness.beat(&threads[0])
        for _ in 0..<6 {
            harness.advance(10_000)
            // It goes on with what it was to give back.
            harness.beat(&threads[0]) { request in
                request.activeTasks = before.map { name in
                    var entry = StreamsGroupHeartbeatRequest.TaskIds()
                    entry.subtopologyId = String(name.prefix(1))
                    entry.partitions = [Int32(name.suffix(1))!]
                    return entry
                }
            }
            harness.beat(&threads[1])
        }
        #expect(threads[0].lastError == .unknownMemberId)
        #expect(harness.reasons.contains { $0.kind == .rebalanceTimedOut && $0.memberID == "a" })
    }

    @Test("Copies of state are kept in other processes, and become the task where the task goes down")
    func standby() {
        let harness = GroupHarness.streams { $0.standbyReplicaCount = 1 }
        var threads = [StreamsThread("a", process: "one"), StreamsThread("b", process: "two"), StreamsThread("c", process: "two")]
        harness.settle(&threads)
        #expect(activeTasks(threads) == allTasks)
        #expect(threads.flatMap(\.standby).sorted() == ["1-0", "1-1"], "only what has state has copies")
        for task in ["1-0", "1-1"] {
            let running = threads.first { $0.active.contains(task) }
            let copying = threads.first { $0.standby.contains(task) }
            #expect(running?.process != copying?.process)
        }
        guard let copying = threads.first(where: { $0.standby.contains("1-0") })?.name,
            let index = threads.firstIndex(where: { $0.active.contains("1-0") })
        else {
            Issue.record("task 1-0 has no copy")
            return
        }
        var gone = threads.remove(at: index)
        harness.beat(&gone) { $0.memberEpoch = -1 }
        harness.settle(&threads)
        #expect(threads.first { $0.active.contains("1-0") }?.name == copying)
    }

    @Test("More copies are kept when the setting of the group says so, for which the group rebalances")
    func settingsOfAGroup() {
        let harness = GroupHarness.streams()
        var threads = [StreamsThread("a"), StreamsThread("b")]
        harness.settle(&threads)
        #expect(threads.flatMap(\.standby).isEmpty)
        var overrides = StreamsGroupOverrides()
        overrides.standbyReplicaCount = 1
        overrides.heartbeatIntervalMilliseconds = 7_000
        harness.setTopics({ $0.streamsOverrides[GroupHarness.group] = overrides }, changed: [])
        harness.settle(&threads)
        #expect(threads.flatMap(\.standby).sorted() == ["1-0", "1-1"])
        #expect(harness.reasons.last?.kind == .settingsChanged)
        #expect(harness.reasons.last?.detail == "num.standby.replicas=1")
        #expect(harness.beat(&threads[0]).response.heartbeatIntervalMs == 7_000)
    }

    @Test("A new group waits for more members before its first assignment")
    func initialDelay() {
        let harness = GroupHarness.streams { $0.initialRebalanceDelayMilliseconds = 3_000 }
        var threads = [StreamsThread("a"), StreamsThread("b")]
        harness.beat(&threads[0])
        #expect(threads[0].lastStatus == [StreamsGroupStatusCode.assignmentDelayed.rawValue])
        #expect(threads[0].active.isEmpty && threads[0].epoch == 1)
        harness.advance(1_000)
        harness.beat(&threads[1])
        #expect(threads[1].active.isEmpty)
        harness.advance(2_000)
        harness.beat(&threads[0])
        harness.beat(&threads[1])
        #expect(activeTasks(threads) == allTasks)
        #expect(threads.map(\.active.count) == [2, 2])
        #expect(threads.flatMap(\.lastStatus).isEmpty)
    }

    @Test("Assignments are apart by their interval")
    func interval() {
        let harness = GroupHarness.streams { $0.assignmentIntervalMilliseconds = 1_000 }
        var threads = [StreamsThread("a"), StreamsThread("b")]
        harness.beat(&threads[0])
        harness.advance(100)
        harness.beat(&threads[1])
        #expect(threads[1].lastStatus == [StreamsGroupStatusCode.assignmentDelayed.rawValue])
        #expect(harness.streamsState == "Assigning")
        harness.settle(&threads)
        #expect(threads.map(\.active.count) == [2, 2])
    }

    @Test("All of a group is in the log: a coordinator that has only read it goes on where the last one stopped")
    func replay() throws {
        let harness = GroupHarness.streams { $0.standbyReplicaCount = 1 }
        var threads = [StreamsThread("a"), StreamsThread("b")]
        threads[1].instanceID = "static"
        harness.settle(&threads)
        let before = harness.core.describeStreamsGroup(GroupHarness.group)
        #expect(before.members.count == 2 && before.topology?.subtopologies?.count == 2)
        harness.restart()
        let after = harness.core.describeStreamsGroup(GroupHarness.group)
        #expect(after.groupState == "Stable" && after.groupEpoch == before.groupEpoch && after.assignmentEpoch == before.assignmentEpoch)
        #expect(after.members == before.members)
        let epochs = threads.map(\.epoch)
        harness.settle(&threads)
        #expect(threads.map(\.epoch) == epochs, "nobody's tasks change because the coordinator moved")
        // What is stored is read back the same, and takes the same bytes.
        for case .streamsGroup(let record) in harness.log {
            let stored = try CoordinatorRecord.streamsGroup(record).encoded()
            #expect(try CoordinatorRecord(key: stored.key, value: stored.value) == .streamsGroup(record))
        }
        harness.advance(60_000)
        #expect(harness.streamsState == "Empty", "sessions go on after a restart")
    }

    @Test("A static member that comes back finds its tasks without a rebalance")
    func staticMembers() {
        let harness = GroupHarness.streams()
        var threads = [StreamsThread("a"), StreamsThread("b")]
        threads[0].instanceID = "one"
        threads[1].instanceID = "two"
        harness.settle(&threads)
        let (epoch, tasks) = (threads[0].epoch, threads[0].active)
        var second = StreamsThread("c")
        second.instanceID = "one"
        harness.beat(&second)
        #expect(second.lastError == .unreleasedInstanceId)
        harness.beat(&threads[0]) { $0.memberEpoch = -2 }
        #expect(threads[0].epoch == -2)
        second.process = threads[0].process
        harness.beat(&second)
        #expect(second.lastError == .none)
        #expect(second.active == tasks && second.epoch == epoch)
        threads[0].epoch = epoch
        harness.beat(&threads[0])
        #expect(threads[0].lastError == .fencedInstanceId)
        #expect(harness.reasons.count == 2, "\(harness.reasons)")
    }

    @Test("Endpoints and their partitions are told to who has not heard of them")
    func endpoints() {
        let harness = GroupHarness.streams()
        var threads = [StreamsThread("a"), StreamsThread("b")]
        threads[0].endpoint = 1111
        threads[1].endpoint = 2222
        harness.settle(&threads)
        let told = harness.beat(&threads[0]) { $0.endpointInformationEpoch = -1 }.response.partitionsByUserEndpoint ?? []
        #expect(told.map(\.userEndpoint.port).sorted() == [1111, 2222])
        let partitions = told.flatMap(\.activePartitions).flatMap { topic in topic.partitions.map { "\(topic.topic)-\($0)" } }
        #expect(partitions.sorted() == ["app-repartition-0", "app-repartition-1", "t-0", "t-1"])
        #expect(harness.beat(&threads[0]).response.partitionsByUserEndpoint == nil, "nothing is new")
    }

    @Test("One thread that asks for it stops the whole application, until all are gone")
    func shutdown() {
        let harness = GroupHarness.streams()
        var threads = [StreamsThread("a"), StreamsThread("b")]
        harness.settle(&threads)
        harness.beat(&threads[0]) { $0.shutdownApplication = true }
        harness.beat(&threads[1])
        #expect(threads[1].lastStatus == [StreamsGroupStatusCode.shutdownApplication.rawValue])
        for index in threads.indices { harness.beat(&threads[index]) { $0.memberEpoch = -1 } }
        var fresh = StreamsThread("c")
        harness.beat(&fresh)
        #expect(fresh.lastStatus.isEmpty)
    }

    @Test("Who lacks a tag that is asked for is told, if it can understand that")
    func tags() {
        let harness = GroupHarness.streams { $0.rackAwareAssignmentTags = ["zone", "rack"] }
        var a = StreamsThread("a")
        a.tags = ["zone": "1"]
        harness.beat(&a)
        #expect(a.lastStatus == [StreamsGroupStatusCode.missingClientTags.rawValue])
        harness.beat(&a, version: 0)
        #expect(a.lastStatus.isEmpty)
    }
}
