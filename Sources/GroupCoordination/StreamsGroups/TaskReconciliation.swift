// From the tasks that a member has to those that it is to have (KIP-1071): first give back, then advance, then take what others have given
// back. Tasks that only change their role on the same member do so in place, so that the application keeps their state.
import Primitives

/// In which processes tasks are held at the moment.
struct TaskHolders: Sendable {
    /// The process that runs a task. Looked up only.
    private var active: [TaskID: String] = [:]
    /// Processes that keep copies of its state, once for each member that does. Looked up only.
    private var standby: [TaskID: [String]] = [:]
    private var warmup: [TaskID: [String]] = [:]

    func process(running task: TaskID) -> String? { active[task] }
    func isStandby(_ task: TaskID, in process: String) -> Bool { standby[task]?.contains(process) ?? false }
    func isWarmup(_ task: TaskID, in process: String) -> Bool { warmup[task]?.contains(process) ?? false }

    mutating func add(_ tasks: AssignedTasks, in process: String) {
        for entry in tasks.active { active[entry.task] = process }
        for task in tasks.standby.elements { standby[task, default: []].append(process) }
        for task in tasks.warmup.elements { warmup[task, default: []].append(process) }
    }

    mutating func remove(_ tasks: AssignedTasks, in process: String) {
        // Somebody else may have been noted since then: while a log is read, a compacted record may be missing.
        for entry in tasks.active where active[entry.task] == process { active[entry.task] = nil }
        for task in tasks.standby.elements { Self.remove(process, from: &standby, task) }
        for task in tasks.warmup.elements { Self.remove(process, from: &warmup, task) }
    }

    private static func remove(_ process: String, from holders: inout [TaskID: [String]], _ task: TaskID) {
        guard let index = holders[task]?.firstIndex(of: process) else { return }
        holders[task]?.remove(at: index)
        if holders[task]?.isEmpty == true { holders[task] = nil }
    }
}

/// One member's reconciliation with its target.
struct TaskReconciliation {
    var member: StreamsGroupMember
    var targetEpoch: Int32
    var target: MemberTasks
    /// What the member says it has; nil when it did not say.
    var owned: MemberTasks?
    var holders: TaskHolders

    /// The member as it is to be from now on.
    func reconciled() throws(GroupRefusal) -> StreamsGroupMember {
        switch member.state {
        case .stable:
            return member.memberEpoch == targetEpoch ? member : next(from: member.memberEpoch)
        case .unrevokedTasks:
            // Until it has given back what it was told to, it stays in its epoch.
            return hasReleased(member.tasksPendingRevocation) ? next(from: member.memberEpoch + 1) : member
        case .unreleasedTasks:
            return next(from: member.memberEpoch)
        case .unknown:
            guard let owned, owned.isEmpty else {
                throw GroupRefusal(
                    .fencedMemberEpoch,
                    "The streams group member is in a unknown state. The member must abandon all its tasks and rejoin.")
            }
            return next(from: targetEpoch)
        }
    }

    private func hasReleased(_ tasks: AssignedTasks) -> Bool {
        // A member that does not say what it has, has not confirmed anything.
        guard let owned else { return false }
        return !tasks.intersects(owned)
    }

    // MARK: When a task is free

    private func runsElsewhereInProcess(_ task: TaskID) -> Bool {
        holders.process(running: task) == member.processID && member.assignedTasks.epoch(ofActive: task) == nil
    }

    private func isStandbyElsewhereInProcess(_ task: TaskID) -> Bool {
        holders.isStandby(task, in: member.processID) && !member.assignedTasks.standby.contains(task)
    }

    private func isWarmupElsewhereInProcess(_ task: TaskID) -> Bool {
        holders.isWarmup(task, in: member.processID) && !member.assignedTasks.warmup.contains(task)
    }

    private func isActiveUnreleased(_ task: TaskID) -> Bool {
        holders.process(running: task) != nil || isStandbyElsewhereInProcess(task) || isWarmupElsewhereInProcess(task)
    }

    /// Copies in other processes are in nobody's way; twice in one process is once too often.
    private func isStandbyUnreleased(_ task: TaskID) -> Bool {
        runsElsewhereInProcess(task) || holders.isStandby(task, in: member.processID) || isWarmupElsewhereInProcess(task)
    }

    private func isWarmupUnreleased(_ task: TaskID) -> Bool {
        holders.process(running: task) == member.processID || isStandbyElsewhereInProcess(task)
            || holders.isWarmup(task, in: member.processID)
    }

    // MARK: The step

    /// What becomes of the tasks of one role.
    private struct Difference {
        var kept: TaskSet
        var revoked: TaskSet
        /// To be given now.
        var added: TaskSet
        var hasUnreleased: Bool

        init(from current: TaskSet, to target: TaskSet, isUnreleased: (TaskID) -> Bool) {
            kept = current.filter { target.contains($0) }
            revoked = current.filter { !target.contains($0) }
            let wanted = target.filter { !current.contains($0) }
            added = wanted.filter { !isUnreleased($0) }
            hasUnreleased = added.count < wanted.count
        }

        /// Gives a task at once instead of with what is added.
        mutating func take(_ task: TaskID) {
            added.remove(task)
            kept.insert(task)
        }
    }

    private func next(from epoch: Int32) -> StreamsGroupMember {
        let assigned = member.assignedTasks
        let active = Difference(from: assigned.activeTasks, to: target.active, isUnreleased: isActiveUnreleased)
        var standby = Difference(from: assigned.standby, to: target.standby, isUnreleased: isStandbyUnreleased)
        var warmup = Difference(from: assigned.warmup, to: target.warmup, isUnreleased: isWarmupUnreleased)
        // What it runs and is to keep a copy of: the copy is its own at once, while the others wait until it has stopped running it.
        for entry in assigned.active where standby.added.contains(entry.task) { standby.take(entry.task) }
        for task in assigned.standby.elements where warmup.added.contains(task) {
            warmup.take(task)
            standby.revoked.remove(task)
        }
        for task in assigned.warmup.elements where standby.added.contains(task) {
            standby.take(task)
            warmup.revoked.remove(task)
        }
        // A copy that is to become the task itself is never given back on the way.
        standby.revoked = standby.revoked.filter { !target.active.contains($0) }
        warmup.revoked = warmup.revoked.filter { !target.active.contains($0) }
        let revoked = AssignedTasks(
            active: assigned.active.filter { active.revoked.contains($0.task) }, standby: standby.revoked, warmup: warmup.revoked)
        let mustRevoke = !revoked.isEmpty && !hasReleased(revoked)
        for task in assigned.standby.elements where isPromotedLater(task, active, mustRevoke) { standby.kept.insert(task) }
        for task in assigned.warmup.elements where isPromotedLater(task, active, mustRevoke) { warmup.kept.insert(task) }
        let keptActive = assigned.active.filter { active.kept.contains($0.task) }
        var updated = member
        updated.advance(to: mustRevoke ? epoch : targetEpoch)
        if mustRevoke {
            updated.state = .unrevokedTasks
            updated.assignedTasks = AssignedTasks(active: keptActive, standby: standby.kept, warmup: warmup.kept)
            updated.tasksPendingRevocation = revoked
            return updated
        }
        updated.state = active.hasUnreleased || standby.hasUnreleased || warmup.hasUnreleased ? .unreleasedTasks : .stable
        updated.assignedTasks = AssignedTasks(
            active: keptActive.merged(with: active.added.elements.map { ActiveTask(task: $0, epoch: targetEpoch) }),
            standby: standby.kept.union(standby.added), warmup: warmup.kept.union(warmup.added))
        updated.tasksPendingRevocation = AssignedTasks()
        return updated
    }

    /// Whether a copy is to become the task itself, but not in this step.
    private func isPromotedLater(_ task: TaskID, _ active: Difference, _ mustRevoke: Bool) -> Bool {
        target.active.contains(task) && (mustRevoke || !active.added.contains(task))
    }
}
