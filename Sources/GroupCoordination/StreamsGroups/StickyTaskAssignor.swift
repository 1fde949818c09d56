// Kafka's sticky task assignor (KIP-1071, group.streams.assignors=sticky): tasks stay where their state is as long as that is fair, and
// the load is spread over processes first and over their threads then. Ties go to whoever comes first.
import Collections

/// One member as the assignor sees it.
struct TaskAssignmentMember: Sendable {
    var memberID: String
    var processID: String
    /// What it has now.
    var current: MemberTasks
    /// How much of a task's state it says that it has, in records of its changelogs.
    var offsets: [(task: TaskID, sum: Int64)]
}

/// One subtopology as the assignor sees it.
struct TaskAssignmentSubtopology: Sendable {
    var id: String
    var taskCount: Int32
    var isStateful: Bool
}

struct StickyTaskAssignor {
    static let name = "sticky"

    private var processes: [AssignmentProcess] = []
    /// The place of each member: its process, and its number there.
    private var places: [MemberPlace] = []
    /// Who ran a task last. Looked up only.
    private var previousActive: [TaskID: MemberPlace] = [:]
    /// Who has its state, the likeliest first. Looked up only.
    private var previousStandby: [TaskID: [MemberPlace]] = [:]
    private var activeQuota: TaskQuota
    private var totalQuota: TaskQuota
    private let standbyCount: Int

    /// Gives out all tasks of the subtopologies.
    ///
    /// - Returns: what each member is to have, in the order of `members`. Fewer standby tasks than asked for where there are too few
    ///   processes. No warm-up tasks: Kafka's assignor gives out none either.
    static func assign(
        _ members: [TaskAssignmentMember], subtopologies: [TaskAssignmentSubtopology], standbyCount: Int
    ) -> [MemberTasks] {
        guard !members.isEmpty else { return [] }
        var assignor = StickyTaskAssignor(members, subtopologies: subtopologies, standbyCount: standbyCount)
        func tasks(of subtopologies: [TaskAssignmentSubtopology]) -> [TaskID] {
            subtopologies.flatMap { subtopology in (0..<subtopology.taskCount).map { TaskID(subtopology.id, $0) } }
        }
        assignor.assignActive(tasks(of: subtopologies))
        if standbyCount > 0 { assignor.assignStandby(tasks(of: subtopologies.filter(\.isStateful))) }
        return assignor.places.map { place in
            let member = assignor.processes[place.process].members[place.member]
            return MemberTasks(active: TaskSet(member.active), standby: TaskSet(member.standby))
        }
    }

    private init(_ members: [TaskAssignmentMember], subtopologies: [TaskAssignmentSubtopology], standbyCount: Int) {
        self.standbyCount = standbyCount
        let activeCount = subtopologies.reduce(0) { $0 + Int($1.taskCount) }
        let statefulCount = subtopologies.reduce(0) { $0 + ($1.isStateful ? Int($1.taskCount) : 0) }
        activeQuota = TaskQuota(taskCount: activeCount, memberCount: members.count)
        totalQuota = TaskQuota(taskCount: activeCount + statefulCount * standbyCount, memberCount: members.count)
        // Looked up only.
        var indexes: [String: Int] = [:]
        var candidates: OrderedDictionary<TaskID, [StandbyCandidate]> = [:]
        for member in members {
            let process = indexes[member.processID] ?? processes.count
            if process == processes.count {
                indexes[member.processID] = process
                processes.append(AssignmentProcess())
            }
            let place = MemberPlace(process: process, member: processes[process].addMember())
            places.append(place)
            for task in member.current.active.elements { previousActive[task] = place }
            // Looked up only.
            let sums = Dictionary(member.offsets.map { ($0.task, $0.sum) }, uniquingKeysWith: { first, _ in first })
            for task in member.current.standby.elements {
                candidates[task, default: []].append(StandbyCandidate(place: place, isStandby: true, sum: sums[task] ?? 0))
            }
            for (task, sum) in member.offsets where !member.current.standby.contains(task) {
                candidates[task, default: []].append(StandbyCandidate(place: place, isStandby: false, sum: sum))
            }
        }
        for (task, list) in candidates { previousStandby[task] = list.sorted { $0.precedes($1) }.map(\.place) }
    }

    // MARK: Active tasks

    private mutating func assignActive(_ tasks: [TaskID]) {
        // By partition first, so that a member that keeps one task of a partition keeps those of other subtopologies too.
        var rest = tasks.sorted { ($0.partition, $0.subtopologyID) < ($1.partition, $1.subtopologyID) }
        rest.removeAll { task in
            guard let place = previousActive[task] else { return false }
            return keep(task, at: place)
        }
        rest.removeAll { task in
            guard let place = leastLoaded(previousStandby[task] ?? [], without: nil) else { return false }
            return keep(task, at: place)
        }
        rest.sort()
        var byLoad = loads()
        for task in rest {
            guard let least = byLoad.popMin() else { return }
            let count = processes[least.index].addToLeastLoadedMember(task, isActive: true)
            activeQuota.taken(count)
            totalQuota.taken(count)
            byLoad.insert(ProcessLoad(load: processes[least.index].load, index: least.index))
        }
    }

    /// Gives an active task to who had it or its state, unless it has its share.
    private mutating func keep(_ task: TaskID, at place: MemberPlace) -> Bool {
        guard processes[place.process].members[place.member].taskCount < activeQuota.perMember else { return false }
        let count = processes[place.process].add(task, to: place.member, isActive: true)
        activeQuota.taken(count)
        totalQuota.taken(count)
        return true
    }

    // MARK: Standby tasks

    private mutating func assignStandby(_ tasks: [TaskID]) {
        var leftOver: [(task: TaskID, count: Int)] = []
        for task in tasks.sorted(by: { ($0.partition, $0.subtopologyID) > ($1.partition, $1.subtopologyID) }) {
            for number in 0..<standbyCount {
                if let place = previousActive[task], !processes[place.process].has(task), takeStandby(task, at: place) { continue }
                if let place = leastLoaded(previousStandby[task] ?? [], without: task), takeStandby(task, at: place) { continue }
                leftOver.append((task, standbyCount - number))
                break
            }
        }
        leftOver.sort { $0.task > $1.task }
        var byLoad = loads()
        for (task, count) in leftOver {
            for _ in 0..<count where !giveStandbyToLeastLoaded(task, &byLoad) { break }
        }
    }

    private mutating func takeStandby(_ task: TaskID, at place: MemberPlace) -> Bool {
        guard processes[place.process].members[place.member].taskCount < totalQuota.perMember else { return false }
        totalQuota.taken(processes[place.process].add(task, to: place.member, isActive: false))
        return true
    }

    /// A process never has a task twice: two copies of its state on one machine would be lost together.
    private mutating func giveStandbyToLeastLoaded(_ task: TaskID, _ byLoad: inout Heap<ProcessLoad>) -> Bool {
        var passedOver: [ProcessLoad] = []
        defer { for entry in passedOver { byLoad.insert(entry) } }
        while let least = byLoad.popMin() {
            guard !processes[least.index].has(task) else {
                passedOver.append(least)
                continue
            }
            totalQuota.taken(processes[least.index].addToLeastLoadedMember(task, isActive: false))
            byLoad.insert(ProcessLoad(load: processes[least.index].load, index: least.index))
            return true
        }
        return false
    }

    // MARK: Load

    private func loads() -> Heap<ProcessLoad> {
        Heap(processes.indices.map { ProcessLoad(load: processes[$0].load, index: $0) })
    }

    /// The first whose process and who itself have less to do than those before it; processes that have the task are left out.
    private func leastLoaded(_ candidates: [MemberPlace], without task: TaskID?) -> MemberPlace? {
        var best: (place: MemberPlace, processLoad: Double, memberLoad: Int)?
        for place in candidates {
            let process = processes[place.process]
            if let task, process.has(task) { continue }
            let memberLoad = process.members[place.member].taskCount
            if best.map({ process.load < $0.processLoad && memberLoad < $0.memberLoad }) ?? true {
                best = (place, process.load, memberLoad)
            }
        }
        return best?.place
    }
}

private struct MemberPlace {
    var process: Int
    var member: Int
}

private struct StandbyCandidate {
    var place: MemberPlace
    var isStandby: Bool
    var sum: Int64

    func precedes(_ other: StandbyCandidate) -> Bool {
        isStandby == other.isStandby ? sum > other.sum : isStandby
    }
}

/// How many tasks a member may be given before others get their share: what is left, divided by those who have not had theirs.
private struct TaskQuota {
    private var taskCount: Int
    private var memberCount: Int
    private(set) var perMember: Int

    init(taskCount: Int, memberCount: Int) {
        self.taskCount = taskCount
        self.memberCount = memberCount
        perMember = Self.share(taskCount, memberCount)
    }

    /// A member has `count` tasks now.
    mutating func taken(_ count: Int) {
        guard count == perMember else { return }
        memberCount -= 1
        taskCount -= count
        perMember = Self.share(taskCount, memberCount)
    }

    private static func share(_ taskCount: Int, _ memberCount: Int) -> Int {
        memberCount > 0 ? (taskCount + memberCount - 1) / memberCount : 0
    }
}

private struct ProcessLoad: Comparable {
    var load: Double
    var index: Int

    static func < (left: ProcessLoad, right: ProcessLoad) -> Bool { (left.load, left.index) < (right.load, right.index) }
}

/// One instance of the application with its threads.
private struct AssignmentProcess {
    struct Member {
        var active: [TaskID] = []
        var standby: [TaskID] = []
        var taskCount: Int { active.count + standby.count }
    }

    private(set) var members: [Member] = []
    /// Looked up only.
    private var tasks: Set<TaskID> = []
    private var taskCount = 0

    /// Tasks for each thread.
    var load: Double { Double(taskCount) / Double(max(members.count, 1)) }

    mutating func addMember() -> Int {
        members.append(Member())
        return members.count - 1
    }

    func has(_ task: TaskID) -> Bool { tasks.contains(task) }

    /// - Returns: how many tasks the member has then.
    mutating func add(_ task: TaskID, to member: Int, isActive: Bool) -> Int {
        taskCount += 1
        tasks.insert(task)
        if isActive { members[member].active.append(task) } else { members[member].standby.append(task) }
        return members[member].taskCount
    }

    mutating func addToLeastLoadedMember(_ task: TaskID, isActive: Bool) -> Int {
        var least = 0
        for index in members.indices where members[index].taskCount < members[least].taskCount { least = index }
        return add(task, to: least, isActive: isActive)
    }
}
