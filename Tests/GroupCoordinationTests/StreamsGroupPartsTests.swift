// The parts that streams groups are made of: the sticky task assignor, what a topology needs of the cluster, and how a role changes.
import KafkaRecords
import KafkaWire
import Primitives
import Testing

@testable import GroupCoordination

@Suite("Sticky task assignor")
struct StickyTaskAssignorTests {
    private func member(
        _ name: String, process: String? = nil, active: [TaskID] = [], standby: [TaskID] = [], offsets: [TaskID: Int64] = [:]
    ) -> TaskAssignmentMember {
        TaskAssignmentMember(
            memberID: name, processID: process ?? name, current: MemberTasks(active: TaskSet(active), standby: TaskSet(standby)),
            offsets: offsets.sorted { $0.key < $1.key }.map { (task: $0.key, sum: $0.value) })
    }

    private func subtopology(_ id: String, _ count: Int32, isStateful: Bool = true) -> TaskAssignmentSubtopology {
        TaskAssignmentSubtopology(id: id, taskCount: count, isStateful: isStateful)
    }

    @Test("Processes with more threads get more tasks")
    func processes() {
        let members = [member("a", process: "p"), member("b", process: "p"), member("c", process: "q")]
        let assignment = StickyTaskAssignor.assign(members, subtopologies: [subtopology("0", 6)], standbyCount: 0)
        #expect(assignment.map(\.active.count) == [2, 2, 2])
        #expect(Set(assignment.flatMap(\.active.elements)).count == 6)
    }

    @Test("Tasks stay where they are; a newcomer gets its share of them")
    func sticky() {
        let all = (0..<6).map { TaskID("0", $0) }
        let members = [member("a", active: Array(all[0..<3])), member("b", active: Array(all[3..<6])), member("c")]
        let assignment = StickyTaskAssignor.assign(members, subtopologies: [subtopology("0", 6)], standbyCount: 0)
        #expect(assignment.map(\.active.count) == [2, 2, 2])
        #expect(assignment[0].active.elements.allSatisfy { all[0..<3].contains($0) })
        #expect(assignment[1].active.elements.allSatisfy { all[3..<6].contains($0) })
    }

    @Test("Where a member is gone, its tasks go to who has copies of their state, or most of it on disk")
    func copies() {
        let (first, second) = (TaskID("0", 0), TaskID("0", 1))
        let members = [member("a", offsets: [second: 5]), member("b", standby: [first]), member("c", offsets: [second: 50])]
        let assignment = StickyTaskAssignor.assign(members, subtopologies: [subtopology("0", 2)], standbyCount: 0)
        #expect(assignment[1].active == [first])
        #expect(assignment[2].active == [second])
    }

    @Test("No process has a task twice, however many copies are asked for")
    func standby() {
        let members = [member("a", process: "p"), member("b", process: "p"), member("c", process: "q")]
        let assignment = StickyTaskAssignor.assign(
            members, subtopologies: [subtopology("0", 4), subtopology("1", 2, isStateful: false)], standbyCount: 2)
        #expect(assignment.flatMap(\.active.elements).count == 6)
        let standby = assignment.flatMap(\.standby.elements)
        #expect(standby.count == 4 && standby.allSatisfy { $0.subtopologyID == "0" }, "one other process, one copy")
        let process = [assignment[0], assignment[1]].flatMap { $0.active.elements + $0.standby.elements }
        #expect(Set(process).count == process.count)
    }

    @Test("From whatever was before: every task is given out once, and no process has one twice", arguments: 0..<50)
    func properties(_ seed: UInt64) {
        var random = SplitMix(state: seed)
        let subtopologies = (0..<random.next(3) + 1).map {
            subtopology("\($0)", Int32(random.next(12) + 1), isStateful: random.next(2) == 0)
        }
        let tasks = subtopologies.flatMap { subtopology in (0..<subtopology.taskCount).map { TaskID(subtopology.id, $0) } }
        let count = random.next(7) + 1
        let standbyCount = random.next(3)
        var active = [[TaskID]](repeating: [], count: count)
        var standby = [[TaskID]](repeating: [], count: count)
        for task in tasks {
            if random.next(4) > 0 { active[random.next(count)].append(task) }
            if random.next(3) == 0 { standby[random.next(count)].append(task) }
        }
        let members = (0..<count).map { index in
            member("m\(index)", process: "p\(random.next(4))", active: active[index], standby: standby[index])
        }
        let assignment = StickyTaskAssignor.assign(members, subtopologies: subtopologies, standbyCount: standbyCount)
        #expect(assignment.flatMap(\.active.elements).sorted() == tasks.sorted())
        var byProcess: [String: [TaskID]] = [:]
        for (member, share) in zip(members, assignment) {
            byProcess[member.processID, default: []] += share.active.elements + share.standby.elements
        }
        for held in byProcess.values { #expect(Set(held).count == held.count) }
        let others = byProcess.count - 1
        let stateful = subtopologies.filter(\.isStateful).reduce(0) { $0 + Int($1.taskCount) }
        #expect(assignment.reduce(0) { $0 + $1.standby.count } == stateful * min(standbyCount, others))
    }
}

/// A seeded source of small numbers.
private struct SplitMix {
    var state: UInt64

    mutating func next(_ bound: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return Int((mixed ^ (mixed >> 31)) % UInt64(bound))
    }
}

@Suite("What a topology needs")
struct ConfiguredTopologyTests {
    private func subtopology(
        _ id: String, sources: [String] = [], repartition: [(String, Int32)] = [], sinks: [String] = [], changelogs: [String] = [],
        joined: [([Int16], [Int16])] = []
    ) -> StreamsTopology.Subtopology {
        func info(_ name: String, _ partitions: Int32) -> StreamsTopology.TopicInfo {
            var info = StreamsTopology.TopicInfo()
            info.name = name
            info.partitions = partitions
            return info
        }
        var subtopology = StreamsTopology.Subtopology()
        subtopology.subtopologyId = id
        subtopology.sourceTopics = sources
        subtopology.repartitionSourceTopics = repartition.map { info($0.0, $0.1) }
        subtopology.repartitionSinkTopics = sinks
        subtopology.stateChangelogTopics = changelogs.map { info($0, 0) }
        subtopology.copartitionGroups = joined.map { sources, repartitions in
            var group = StreamsGroupTopologyValue.CopartitionGroup()
            group.sourceTopics = sources
            group.repartitionSourceTopics = repartitions
            return group
        }
        return subtopology
    }

    private func configured(
        _ subtopologies: [StreamsTopology.Subtopology], topics: [String: Int32]
    ) throws(GroupRefusal) -> ConfiguredTopology {
        var value = StreamsGroupTopologyValue()
        value.subtopologies = subtopologies
        var known = TestTopics()
        for (name, count) in topics.sorted(by: { $0.key < $1.key }) { known.add(name, partitions: count) }
        return try ConfiguredTopology(StreamsTopology(value), topics: known)
    }

    private func missing(_ topology: ConfiguredTopology) -> [String: Int32] {
        Dictionary(uniqueKeysWithValues: topology.missingInternalTopics.map { ($0.name, $0.partitionCount) })
    }

    @Test("A repartition topic is as wide as the widest topic that its writers read, along a chain")
    func chain() throws {
        let topology = try configured(
            [
                subtopology("2", repartition: [("second", 0)], changelogs: ["counts"]),
                subtopology("1", repartition: [("first", 0)], sinks: ["second"]),
                subtopology("0", sources: ["a", "b"], sinks: ["first"]),
            ], topics: ["a": 2, "b": 5])
        #expect(missing(topology) == ["first": 5, "second": 5, "counts": 5])
        #expect(topology.subtopologies?.mapValues(\.taskCount) == ["0": 5, "1": 5, "2": 5])
        #expect(topology.problem?.status == .missingInternalTopics && !topology.isReady)
    }

    @Test("A number that the application fixes is kept")
    func fixed() throws {
        let topology = try configured(
            [subtopology("0", sources: ["a"], sinks: ["r"]), subtopology("1", repartition: [("r", 7)], changelogs: ["c"])],
            topics: ["a": 2])
        #expect(missing(topology) == ["r": 7, "c": 7])
    }

    @Test("Topics that are joined have the same number of partitions")
    func joined() throws {
        let reading = subtopology("0", sources: ["a"], sinks: ["r"])
        let joining = subtopology("1", sources: ["b"], repartition: [("r", 0)], changelogs: ["c"], joined: [([0], [0])])
        #expect(missing(try configured([reading, joining], topics: ["a": 2, "b": 6])) == ["r": 6, "c": 6])
        let rigid = subtopology("1", sources: ["b"], repartition: [("r", 4)], joined: [([0], [0])])
        let problem = try configured([reading, rigid], topics: ["a": 2, "b": 6]).problem
        #expect(problem?.status == .incorrectlyPartitionedTopics)
        #expect(
            problem?.message
                == "Number of partitions [4] of repartition topic [r] doesn't match number of partitions [6] of the source topic.")
        let sources = subtopology("0", sources: ["a", "b"], joined: [([0, 1], [])])
        let different = try configured([sources], topics: ["a": 2, "b": 6]).problem
        #expect(different?.message == "Following topics do not have the same number of partitions: [{a=2, b=6}]")
    }

    @Test("What no topics could satisfy is refused")
    func invalid() {
        func refusal(_ subtopologies: [StreamsTopology.Subtopology]) -> ErrorCode? {
            do throws(GroupRefusal) {
                _ = try configured(subtopologies, topics: ["a": 2])
                return nil
            } catch {
                return error.code
            }
        }
        let loop = subtopology("0", repartition: [("r", 0)], sinks: ["r"])
        #expect(refusal([loop]) == .streamsInvalidTopology)
        #expect(refusal([subtopology("0", repartition: [("r", 0)])]) == .streamsInvalidTopology)
        #expect(refusal([subtopology("0")]) == .streamsInvalidTopology)
        #expect(refusal([subtopology("0", sources: ["a"], joined: [([1], [])])]) == .streamsInvalidTopology)
        #expect(refusal([subtopology("0", sources: ["a"], joined: [([-1], [])])]) == .streamsInvalidTopology)
        #expect(refusal([subtopology("0", repartition: [("r", -1)])]) == .streamsInvalidTopology)
        #expect(refusal([subtopology("0", sources: ["a"]), subtopology("0", sources: ["a"])]) == .streamsInvalidTopology)
        #expect(refusal([subtopology("0", sources: ["a"])]) == nil)
    }
}

@Suite("Change of tasks")
struct TaskReconciliationTests {
    private let task = TaskID("0", 0)

    private func member(_ assigned: AssignedTasks, state: StreamsGroupMemberState = .stable) -> StreamsGroupMember {
        var member = StreamsGroupMember(memberID: "m")
        member.processID = "p"
        member.memberEpoch = 2
        member.assignedTasks = assigned
        member.state = state
        return member
    }

    private func step(
        _ member: StreamsGroupMember, to target: MemberTasks, owned: MemberTasks? = nil, others: [(AssignedTasks, String)] = []
    ) throws -> StreamsGroupMember {
        var holders = TaskHolders()
        holders.add(member.assignedTasks, in: member.processID)
        holders.add(member.tasksPendingRevocation, in: member.processID)
        for (tasks, process) in others { holders.add(tasks, in: process) }
        return try TaskReconciliation(member: member, targetEpoch: 3, target: target, owned: owned, holders: holders).reconciled()
    }

    private var running: AssignedTasks { AssignedTasks(active: [ActiveTask(task: task, epoch: 1)]) }
    private var copying: AssignedTasks { AssignedTasks(standby: [task]) }

    @Test("A copy becomes the task in place, as soon as the last owner has let go of it")
    func promotion() throws {
        let before = member(copying)
        let waiting = try step(before, to: MemberTasks(active: [task]), others: [(running, "q")])
        #expect(waiting.state == .unreleasedTasks && waiting.assignedTasks == copying, "it keeps the copy meanwhile")
        let promoted = try step(waiting, to: MemberTasks(active: [task]))
        #expect(promoted.state == .stable)
        #expect(promoted.assignedTasks == AssignedTasks(active: [ActiveTask(task: task, epoch: 3)]))
    }

    @Test("A task becomes a copy in place, while it is still to be given back")
    func demotion() throws {
        let demoted = try step(member(running), to: MemberTasks(standby: [task]), owned: MemberTasks(active: [task]))
        #expect(demoted.state == .unrevokedTasks && demoted.memberEpoch == 2)
        #expect(demoted.assignedTasks == copying && demoted.tasksPendingRevocation == running)
        let done = try step(demoted, to: MemberTasks(standby: [task]), owned: MemberTasks(standby: [task]))
        #expect(done.state == .stable && done.memberEpoch == 3 && done.assignedTasks == copying)
    }

    @Test("A process never has a task twice, while copies in other processes are in nobody's way")
    func processes() throws {
        let free = try step(member(AssignedTasks()), to: MemberTasks(standby: [task]), others: [(running, "q"), (copying, "r")])
        #expect(free.state == .stable && free.assignedTasks == copying)
        let beside = try step(member(AssignedTasks()), to: MemberTasks(standby: [task]), others: [(running, "p")])
        #expect(beside.state == .unreleasedTasks && beside.assignedTasks.isEmpty)
        let twin = try step(member(AssignedTasks()), to: MemberTasks(active: [task]), others: [(copying, "p")])
        #expect(twin.state == .unreleasedTasks && twin.assignedTasks.isEmpty)
        let warm = try step(member(AssignedTasks(warmup: [task])), to: MemberTasks(standby: [task]))
        #expect(warm.state == .stable && warm.assignedTasks == copying)
    }

    @Test("Silence confirms nothing; what is confirmed opens the next epoch")
    func revocation() throws {
        let other = TaskID("0", 1)
        let told = try step(member(running), to: MemberTasks(active: [other]))
        #expect(told.state == .unrevokedTasks && told.assignedTasks.isEmpty && told.tasksPendingRevocation == running)
        #expect(try step(told, to: MemberTasks(active: [other])) == told)
        #expect(try step(told, to: MemberTasks(active: [other]), owned: MemberTasks(active: [task])) == told)
        let next = try step(told, to: MemberTasks(active: [other]), owned: MemberTasks())
        #expect(next.state == .stable && next.memberEpoch == 3)
        #expect(next.assignedTasks.active == [ActiveTask(task: other, epoch: 3)])
    }

    @Test("A state of a newer version is left only with nothing in hand")
    func unknown() throws {
        let strange = member(running, state: .unknown)
        #expect(throws: GroupRefusal.self) { try step(strange, to: MemberTasks(active: [task])) }
        #expect(try step(strange, to: MemberTasks(active: [task]), owned: MemberTasks()).state == .stable)
    }
}
