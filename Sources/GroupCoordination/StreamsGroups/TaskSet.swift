// Tasks of a streams group (KIP-1071): a subtopology's share of one partition. Sorted and flat, as partitions of consumer groups are.
import Primitives

/// One task: what a subtopology does with the partition of that number of all its source topics.
struct TaskID: Sendable, Hashable, Comparable {
    var subtopologyID: String
    var partition: Int32

    init(_ subtopologyID: String, _ partition: Int32) {
        self.subtopologyID = subtopologyID
        self.partition = partition
    }

    static func < (left: TaskID, right: TaskID) -> Bool {
        left.subtopologyID == right.subtopologyID ? left.partition < right.partition : left.subtopologyID < right.subtopologyID
    }
}

/// Sorted tasks without duplicates.
struct TaskSet: Sendable, Equatable, ExpressibleByArrayLiteral {
    private(set) var elements: [TaskID]

    init(_ tasks: some Sequence<TaskID>) {
        elements = tasks.sorted()
        var last: TaskID?
        elements.removeAll { element in
            defer { last = element }
            return element == last
        }
    }

    /// Takes tasks that are sorted already.
    init(sorted: [TaskID]) { elements = sorted }

    init(arrayLiteral elements: TaskID...) { self.init(elements) }

    var isEmpty: Bool { elements.isEmpty }
    var count: Int { elements.count }

    func contains(_ task: TaskID) -> Bool {
        let index = position(of: task)
        return index < elements.count && elements[index] == task
    }

    func filter(_ isIncluded: (TaskID) -> Bool) -> TaskSet { TaskSet(sorted: elements.filter(isIncluded)) }

    func union(_ other: TaskSet) -> TaskSet { other.isEmpty ? self : TaskSet(elements + other.elements) }

    mutating func insert(_ task: TaskID) {
        let index = position(of: task)
        if index == elements.count || elements[index] != task { elements.insert(task, at: index) }
    }

    mutating func remove(_ task: TaskID) {
        let index = position(of: task)
        if index < elements.count, elements[index] == task { elements.remove(at: index) }
    }

    /// Where the task is, or would have to be.
    private func position(of task: TaskID) -> Int {
        var low = 0
        var high = elements.count
        while low < high {
            let middle = (low + high) / 2
            if elements[middle] < task { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The tasks by subtopology, in order.
    var bySubtopology: [(id: String, partitions: [Int32])] {
        var groups: [(id: String, partitions: [Int32])] = []
        for element in elements {
            if groups.last?.id == element.subtopologyID {
                groups[groups.count - 1].partitions.append(element.partition)
            } else {
                groups.append((element.subtopologyID, [element.partition]))
            }
        }
        return groups
    }
}

/// Tasks by the role in which a member runs them.
struct MemberTasks: Sendable, Equatable {
    var active: TaskSet = []
    var standby: TaskSet = []
    /// Tasks that catch up before they become active elsewhere.
    var warmup: TaskSet = []

    var isEmpty: Bool { active.isEmpty && standby.isEmpty && warmup.isEmpty }
}

/// An active task and the epoch at which it was given to its member.
struct ActiveTask: Sendable, Hashable {
    var task: TaskID
    var epoch: Int32
}

/// What a member has, or has to give back: active tasks come with their epochs, which decide over late commits (KIP-1251).
struct AssignedTasks: Sendable, Equatable {
    /// Sorted by task.
    var active: [ActiveTask] = []
    var standby: TaskSet = []
    var warmup: TaskSet = []

    var isEmpty: Bool { active.isEmpty && standby.isEmpty && warmup.isEmpty }

    var activeTasks: TaskSet { TaskSet(sorted: active.map(\.task)) }

    /// The epoch at which the active task was given; nil when it was not.
    func epoch(ofActive task: TaskID) -> Int32? {
        var low = 0
        var high = active.count
        while low < high {
            let middle = (low + high) / 2
            if active[middle].task < task { low = middle + 1 } else { high = middle }
        }
        return low < active.count && active[low].task == task ? active[low].epoch : nil
    }

    /// Whether `tasks` has any of these in the same role.
    func intersects(_ tasks: MemberTasks) -> Bool {
        active.contains { tasks.active.contains($0.task) } || standby.elements.contains { tasks.standby.contains($0) }
            || warmup.elements.contains { tasks.warmup.contains($0) }
    }

    /// Whether these are all that `tasks` has, or more.
    func contains(_ tasks: MemberTasks) -> Bool {
        tasks.active.elements.allSatisfy { epoch(ofActive: $0) != nil } && tasks.standby.elements.allSatisfy { standby.contains($0) }
            && tasks.warmup.elements.allSatisfy { warmup.contains($0) }
    }
}

extension [ActiveTask] {
    /// With others in between, in order.
    func merged(with others: [ActiveTask]) -> [ActiveTask] {
        others.isEmpty ? self : (self + others).sorted { $0.task < $1.task }
    }
}
