// The coordinator's eye on the transactions of one link's source: feeds the gate with what the source decides and what the mirrors have,
// has its steps recorded, and tells all brokers what is settled.
import Collections
import KafkaWire
import Linking
import Logging
import Primitives
import Runtime
import Synchronization

/// One link's transactions.
final class TransactionWatch: Sendable {
    /// Whether everything that was decided by a time is settled.
    fileprivate struct Waiter {
        var ends: [Int32: Offset]
        var topics: Set<String>?
        var continuation: CheckedContinuation<Bool, Never>
        var deadline: Int64
    }

    /// What the source had decided at a time.
    struct Goal {
        /// Monotonic milliseconds.
        var time: Int64
        /// Nil while it is being asked for.
        var ends: [Int32: Offset]?
    }

    struct State {
        var gate: TransactionGate
        /// What brokers are told, of that what is recorded and committed.
        var news: MirrorNews
        /// What groups are to have that settled transactions committed, and what of that they have.
        fileprivate var groupOffsets: GroupOffsets = [:]
        fileprivate var givenOffsets: GroupOffsets = [:]
        fileprivate var waiters: [Waiter] = []
        /// Why offsets do not go with their transactions; nil while they do.
        var offsetsProblem: String?
        /// The last one that the log names.
        fileprivate var loggedOffsetsProblem: String?
        /// Why transactions are not kept whole; nil while they are.
        var problem: String?
        var committed = 0
        var isRecording = false
        var nextRecord: Int64 = 0
        /// Begins again with what is recorded, or somewhere else.
        var isOver = false
    }

    private static let maximumWaiters = 1_000
    private static let recordMilliseconds: Int64 = 5_000
    private static let restartMilliseconds = 50

    let link: LinkDefinition
    let settings: LinkSettings
    let links: LinkServices
    let logger: Logger
    let state: Mutex<State>
    /// What is to be read before more is known of the markers that wait.
    let goal = Mutex<Goal?>(nil)

    private init(_ link: LinkDefinition, _ settings: LinkSettings, _ beginning: SettlingBeginning, links: LinkServices, logger: Logger) {
        self.link = link
        self.settings = settings
        self.links = links
        self.logger = logger
        state = Mutex(
            State(
                gate: TransactionGate(beginning.recorded, maximumHoldMilliseconds: settings.transactionHoldMilliseconds),
                news: beginning.news, groupOffsets: beginning.recorded.groupOffsets))
    }

    /// Watches until the task is cancelled.
    static func run(_ link: LinkDefinition, links: LinkServices, logger: Logger) async {
        guard let settings = try? LinkSettings(link.configuration), settings.keepsTransactionsWhole else { return }
        while !Task.isCancelled {
            // By way of the log: nothing that an earlier coordinator recorded may be missing.
            let name = link.name
            let beginning = try? await links.change { coordinator in
                let (beginning, records) = coordinator.beginSettling(link: name)
                return (beginning, records)
            }
            if let beginning {
                let watch = TransactionWatch(link, settings, beginning, links: links, logger: logger)
                links.watches.withLock { $0[name] = watch }
                await watch.run()
                links.watches.withLock { watches in
                    if watches[name] === watch { watches[name] = nil }
                }
                watch.end()
            }
            try? await Task.sleep(for: .milliseconds(restartMilliseconds))
        }
    }

    private func run() async {
        let telling = links.tasks.begin { [self] in await MirrorTeller(watch: self).run() }
        let following = links.tasks.begin { [self] in await OffsetsLogReader(watch: self).run() }
        if settings.isPaused {
            while !isOver { try? await Task.sleep(for: .milliseconds(Self.restartMilliseconds)) }
        } else {
            await TransactionLogReader(watch: self).run()
        }
        for task in [telling, following] { task.cancel() }
        for task in [telling, following] { await task.value }
    }

    /// Whether the watch has to end.
    var isOver: Bool { Task.isCancelled || !links.runtime.isActive || state.withLock { $0.isOver } }

    private func end() {
        let waiters = state.withLock { state in
            state.isOver = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.continuation.resume(returning: false) }
    }

    // MARK: Steps

    /// Takes what the source or the mirrors say, and decides.
    func take(_ change: (inout TransactionGate) -> Void) {
        state.withLock { change(&$0.gate) }
        advance()
    }

    /// Decides anew, after anything has happened. One step is recorded after the other.
    private func advance() {
        // What cannot be read is not given up for lost.
        guard !settings.isPaused else { return }
        let now = SystemClock.monotonicMilliseconds()
        let brokers = links.liveBrokers
        let (left, step) = state.withLock { state -> ([TopicPartition], SettlingStep?) in
            guard !state.isOver else { return ([], nil) }
            state.gate.areHeldByAll(state.news.takeHeld(by: brokers))
            let left = state.gate.evaluate(now: now)
            state.news.hold(state.gate.takeHolds(), by: brokers)
            guard !state.isRecording, state.gate.hasStep || now >= state.nextRecord else { return (left, nil) }
            state.isRecording = true
            state.nextRecord = now + Self.recordMilliseconds
            var step = state.gate.takeStep()
            step.givenOffsets = state.givenOffsets
            return (left, step)
        }
        for partition in left {
            logger.warning(
                "transactions are shown though a mirror does not get on: at a fail-over it may lack what others have",
                metadata: ["link": "\(link.name)", "mirror": "\(partition)", "waitedMs": "\(settings.transactionHoldMilliseconds)"])
        }
        if let step { record(step) }
        answer(now)
    }

    /// Has a step recorded; when it is refused everything begins anew with what is recorded.
    private func record(_ step: SettlingStep) {
        let name = link.name
        links.runtime.submit(now: SystemClock.now()) { coordinator -> (value: GroupOffsets?, records: [LinkRecord]) in
            guard let records = coordinator.settle(step, link: name) else { return (nil, []) }
            var after = coordinator
            for record in records { after.replay(record) }
            return (after.transactions[name]?.groupOffsets ?? [:], records)
        } _: { [weak self] (result: Result<GroupOffsets?, LinkFailure>) in
            guard let self else { return }
            guard case .success(let offsets?) = result else { return state.withLock { $0.isOver = true } }
            state.withLock { state in
                state.isRecording = false
                state.committed += step.committed
                state.groupOffsets = offsets
                state.givenOffsets.remove(step.givenOffsets)
                state.news.recorded(step.mirrors)
            }
            links.tasks.begin { self.advance() }
        }
    }

    // MARK: Waiting

    private func answer(_ now: Int64) {
        var resumed: [(CheckedContinuation<Bool, Never>, Bool)] = []
        state.withLock { state in
            state.waiters.removeAll { waiter in
                let isDone = state.problem != nil || !state.isRecording && state.gate.hasSettled(before: waiter.ends, in: waiter.topics)
                guard isDone || waiter.deadline <= now else { return false }
                resumed.append((waiter.continuation, isDone))
                return true
            }
        }
        for (continuation, isDone) in resumed { continuation.resume(returning: isDone) }
    }

    /// Waits until everything that was decided before some offsets is settled.
    ///
    /// - Parameter topics: in these mirrors; nil for all of them.
    func awaitSettled(before ends: [Int32: Offset], in topics: Set<String>?, milliseconds: Int64) async -> Bool {
        let deadline = SystemClock.monotonicMilliseconds() + milliseconds
        return await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                guard !state.isOver, state.waiters.count < Self.maximumWaiters else { return true }
                state.waiters.append(Waiter(ends: ends, topics: topics, continuation: continuation, deadline: deadline))
                return false
            }
            if isOver { return continuation.resume(returning: false) }
            answer(SystemClock.monotonicMilliseconds())
        }
    }

    /// Whether nothing before the ends of a mirror topic's partitions is held back.
    func isSettled(_ topic: String, before ends: [Offset]) -> Bool {
        state.withLock { $0.problem != nil || !$0.isRecording && $0.gate.isSettled(topic, before: ends) }
    }

    // MARK: Offsets of groups

    private static let givenMilliseconds: Int64 = 200

    /// Whether a group has to be given offsets that it could have.
    var hasOffsetsToGive: Bool { state.withLock { !$0.offsetsToGive { _ in true }.isEmpty } }

    /// What groups are to be given that a broker coordinates: what the mirrors have come to.
    func offsetsToGive(by broker: NodeID) -> GroupOffsets {
        guard let services = links.services else { return [:] }
        return state.withLock { $0.offsetsToGive { services.coordinator(ofGroup: $0) == broker } }
    }

    /// Groups have got offsets.
    func gaveOffsets(_ offsets: GroupOffsets) {
        let now = SystemClock.monotonicMilliseconds()
        state.withLock { state in
            state.givenOffsets.merge(offsets)
            state.nextRecord = min(state.nextRecord, now + Self.givenMilliseconds)
        }
    }

    /// While the source's offsets cannot be read, transactions do not wait for them.
    func setOffsetsProblem(_ problem: String?) {
        let isNew = state.withLock { state in
            state.offsetsProblem = problem
            defer { state.loggedOffsetsProblem = problem ?? state.loggedOffsetsProblem }
            return state.loggedOffsetsProblem != problem
        }
        guard isNew, let problem else { return }
        logger.warning(
            "offsets that a link's source commits within transactions are copied after them, not with them",
            metadata: ["link": "\(link.name)", "reason": "\(problem)"])
    }

    // MARK: The source

    /// While the source's decisions cannot be read, mirrors do not wait for them.
    func setProblem(_ problem: String?) {
        let isNew = state.withLock { state in
            defer { state.problem = problem }
            return state.problem != problem
        }
        guard isNew else { return }
        if let problem {
            logger.warning(
                "transactions of a link's source cannot be kept whole", metadata: ["link": "\(link.name)", "reason": "\(problem)"])
        } else {
            logger.notice("transactions of a link's source are kept whole again", metadata: ["link": "\(link.name)"])
        }
        let now = SystemClock.monotonicMilliseconds()
        take { $0.setOpen(problem != nil, now: now) }
    }

    /// Whether the source's decisions cannot be read.
    var hasProblem: Bool { state.withLock { $0.problem != nil } }

    // MARK: Status

    struct Counts {
        var held: Int
        var released: Int
        var incomplete: Int
    }

    /// For metrics.
    var counts: Counts {
        state.withLock { Counts(held: $0.gate.heldTransactions, released: $0.committed, incomplete: $0.gate.incompleteTransactions) }
    }

    /// For `martlet link describe`.
    var status: JSONValue {
        state.withLock { state in
            [
                "held": .integer(Int64(state.gate.heldTransactions)), "released": .integer(Int64(state.committed)),
                "mirrors": .integer(Int64(state.gate.mirrorTopics)), "lagging": .integer(Int64(state.gate.freeMirrors)),
                "incomplete": .integer(Int64(state.gate.incompleteTransactions)), "problem": .string(state.problem ?? ""),
                "groupsToGiveOffsets": .integer(Int64(state.groupOffsets.subtracting(state.givenOffsets).count)),
                "offsetsProblem": .string(state.offsetsProblem ?? ""),
            ]
        }
    }
}

extension TransactionWatch.State {
    /// What some groups are to be given, as far as the mirrors have come to it.
    fileprivate func offsetsToGive(_ isWanted: (String) -> Bool) -> GroupOffsets {
        guard !groupOffsets.isEmpty else { return [:] }
        return groupOffsets.subtracting(givenOffsets).filter { isWanted($0.key) }
            .mapValues { $0.filter { gate.reach(of: $0.key) >= $0.value.offset } }.filter { !$0.value.isEmpty }
    }
}
