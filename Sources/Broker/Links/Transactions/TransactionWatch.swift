// The coordinator's eye on the transactions of one link's source: feeds the gate with what the source decides and what the mirrors hold,
// records what is released, and answers the leaders that wait.
import Collections
import KafkaWire
import Linking
import Logging
import Primitives
import Runtime
import Synchronization

/// One link's transactions.
final class TransactionWatch: Sendable {
    /// Nil when there is nobody to ask.
    typealias Answer = @Sendable ([HeldMarker]?) -> Void

    fileprivate struct Question {
        var markers: [HeldMarker]
        var deadline: Int64
        var answer: Answer
    }

    /// Whether everything that was decided by a time is committed here.
    fileprivate struct Waiter {
        var ends: [Int32: Offset]
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
        fileprivate var questions: [Question] = []
        fileprivate var waiters: [Waiter] = []
        /// Why transactions are not kept whole; nil while they are.
        var problem: String?
        var released = 0
        var isEnded = false
    }

    private static let maximumQuestions = 1_000
    private static let waitMilliseconds: Int64 = 500

    let link: LinkDefinition
    let settings: LinkSettings
    let links: LinkServices
    let logger: Logger
    let state: Mutex<State>
    /// What is to be read before more is known of the markers that wait.
    let goal = Mutex<Goal?>(nil)

    private init(_ link: LinkDefinition, _ settings: LinkSettings, _ recorded: RecordedTransactions, links: LinkServices, logger: Logger) {
        self.link = link
        self.settings = settings
        self.links = links
        self.logger = logger
        state = Mutex(State(gate: TransactionGate(recorded, maximumHoldMilliseconds: settings.transactionHoldMilliseconds)))
    }

    /// Watches until the task is cancelled.
    static func run(_ link: LinkDefinition, links: LinkServices, logger: Logger) async {
        guard let settings = try? LinkSettings(link.configuration), settings.keepsTransactionsWhole, !settings.isPaused else { return }
        var recorded: RecordedTransactions?
        while recorded == nil, !Task.isCancelled {
            recorded = try? await links.change { coordinator in (coordinator.transactions[link.name] ?? RecordedTransactions(), []) }
            if recorded == nil { try? await Task.sleep(for: .milliseconds(50)) }
        }
        guard let recorded else { return }
        let watch = TransactionWatch(link, settings, recorded, links: links, logger: logger)
        links.watches.withLock { $0[link.name] = watch }
        await TransactionLogReader(watch: watch).run()
        links.watches.withLock { watches in
            if watches[link.name] === watch { watches[link.name] = nil }
        }
        watch.end()
    }

    private func end() {
        let (questions, waiters) = state.withLock { state in
            state.isEnded = true
            defer {
                state.questions = []
                state.waiters = []
            }
            return (state.questions, state.waiters)
        }
        for question in questions { question.answer(nil) }
        for waiter in waiters { waiter.continuation.resume(returning: false) }
    }

    // MARK: Questions

    /// Answers with the markers that may be appended as soon as there is one, or with none after a while.
    func ask(_ markers: [HeldMarker], _ answer: @escaping Answer) {
        let now = SystemClock.monotonicMilliseconds()
        let isTaken = state.withLock { state in
            guard !state.isEnded, state.questions.count < Self.maximumQuestions else { return false }
            state.gate.report(markers, now: now)
            state.questions.append(Question(markers: markers, deadline: now + Self.waitMilliseconds, answer: answer))
            return true
        }
        guard isTaken else { return answer(nil) }
        advance()
    }

    /// Decides anew, after anything has happened.
    func advance() {
        let now = SystemClock.monotonicMilliseconds()
        let outcome = state.withLock { $0.gate.evaluate(now: now) }
        for partition in outcome.leftBehind {
            logger.warning(
                "transactions are shown though a mirror does not get on: at a fail-over it may lack what others have",
                metadata: ["link": "\(link.name)", "mirror": "\(partition)", "waitedMs": "\(settings.transactionHoldMilliseconds)"])
        }
        if !outcome.candidates.isEmpty { record(outcome.candidates, now: now) }
        answer(now)
    }

    private func record(_ candidates: [TransactionRelease], now: Int64) {
        let name = link.name
        links.runtime.submit(now: SystemClock.now()) { coordinator in
            let (released, records) = coordinator.release(candidates, link: name)
            return (released, records)
        } _: { [weak self] result in
            guard let self else { return }
            let released = (try? result.get()) ?? []
            state.withLock { state in
                _ = state.gate.released(released)
                state.gate.notReleased(candidates.map(\.id).filter { !released.contains($0) })
                state.released += released.count
            }
            // What was refused is looked at again with the next event: its mirrors stop.
            answer(SystemClock.monotonicMilliseconds())
        }
    }

    private func answer(_ now: Int64) {
        var answers: [(Answer, [HeldMarker])] = []
        var resumed: [(CheckedContinuation<Bool, Never>, Bool)] = []
        state.withLock { state in
            state.questions.removeAll { question in
                let permitted = question.markers.filter { state.problem != nil || state.gate.isPermitted($0) }
                guard !permitted.isEmpty || question.deadline <= now else { return false }
                answers.append((question.answer, permitted))
                return true
            }
            state.waiters.removeAll { waiter in
                let isDone = state.problem != nil || state.gate.hasReleased(before: waiter.ends)
                guard isDone || waiter.deadline <= now else { return false }
                resumed.append((waiter.continuation, isDone))
                return true
            }
        }
        for (answer, permitted) in answers { answer(permitted) }
        for (continuation, isDone) in resumed { continuation.resume(returning: isDone) }
    }

    /// Waits until everything that was decided before some offsets is committed here.
    func awaitReleases(before ends: [Int32: Offset], milliseconds: Int64) async -> Bool {
        let deadline = SystemClock.monotonicMilliseconds() + milliseconds
        return await withCheckedContinuation { continuation in
            let isEnded = state.withLock { state in
                guard !state.isEnded, state.waiters.count < Self.maximumQuestions else { return true }
                state.waiters.append(Waiter(ends: ends, continuation: continuation, deadline: deadline))
                return false
            }
            if isEnded { return continuation.resume(returning: false) }
            answer(SystemClock.monotonicMilliseconds())
        }
    }

    // MARK: The source

    /// Takes what the source's log says, and decides.
    func take(_ change: (inout TransactionGate) -> Void) {
        state.withLock { change(&$0.gate) }
        advance()
    }

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
        advance()
    }

    struct Counts {
        var held: Int
        var released: Int
        var incomplete: Int
    }

    /// For metrics.
    var counts: Counts {
        state.withLock { Counts(held: $0.gate.heldTransactions, released: $0.released, incomplete: $0.gate.incompleteReleases) }
    }

    /// For `martlet link describe`.
    var status: JSONValue {
        state.withLock { state in
            [
                "held": .integer(Int64(state.gate.heldTransactions)), "released": .integer(Int64(state.released)),
                "mirrors": .integer(Int64(state.gate.mirrorTopics)), "lagging": .integer(Int64(state.gate.laggingMirrors)),
                "incomplete": .integer(Int64(state.gate.incompleteReleases)), "problem": .string(state.problem ?? ""),
            ]
        }
    }
}
