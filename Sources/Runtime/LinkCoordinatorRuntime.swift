// Drives the coordinator of links: step, append, replay, commit, answer; and hands its image to the brokers that follow it. There is one
// partition of __cluster_links, so one lock guards all of it; answers go out after it.
import Collections
import KafkaWire
import Linking
import NIOCore
import Primitives
import RecordBatches
import Storage
import Synchronization

/// Why a request about links came to nothing.
public enum LinkFailure: Error, Sendable, Equatable {
    case refused(LinkRefusal)
    /// Another broker may do it, or this one later.
    case coordinator(ErrorCode)
}

/// The image of links at a point of their log; what is in it is committed.
public struct LinkPublication: Sendable {
    /// The end of the log that the image stands for; grows with every change.
    public var revision: Offset
    public var image: LinkImage

    public init(revision: Offset, image: LinkImage) {
        self.revision = revision
        self.image = image
    }
}

/// The coordinator of links, whether this broker has it or not.
///
/// Requests are submitted with a completion, which is called exactly once, on the calling thread or later on any other.
public final class LinkCoordinatorRuntime: Sendable {
    public typealias Step<Value: Sendable> = @Sendable (LinkCoordinator) throws(LinkRefusal) -> (value: Value, records: [LinkRecord])
    public typealias Completion<Value: Sendable> = @Sendable (Result<Value, LinkFailure>) -> Void

    private struct Waiting: Sendable {
        var endOffset: Offset
        var answer: @Sendable (ErrorCode) -> Void
    }

    /// A broker that waits for news.
    private struct Follower: Sendable {
        var revision: Offset
        /// Monotonic milliseconds at which it is told that there is none.
        var deadline: Int64
        var answer: Completion<LinkPublication>
    }

    private enum Phase: Sendable {
        case elsewhere
        case loading
        case active(any CoordinatorLog)
    }

    private struct State: Sendable {
        var phase = Phase.elsewhere
        var term: UInt64 = 0
        var core = LinkCoordinator()
        var waiting: Deque<Waiting> = []
        var followers: [Follower] = []
        /// What each broker has taken over, by its last question.
        var acknowledged: [NodeID: Offset] = [:]
        /// End of what is replayed, and of what is committed of it.
        var endOffset: Offset = 0
        var committed: Offset = 0
        /// End of what the image is made of: other records concern nobody but the coordinator.
        var imageEnd: Offset = 0

        var publication: LinkPublication? {
            committed >= imageEnd ? LinkPublication(revision: imageEnd, image: core.image) : nil
        }
    }

    /// Bytes after which records go into another batch: the topic takes batches up to max.message.bytes only.
    private static let maximumBatchSize = 256 << 10
    /// The same for records that count only together.
    private static let maximumStepSize = 900 << 10
    /// Steps and followers that may wait.
    private static let maximumWaiting = 10_000

    private let state = Mutex(State())

    public init() {}

    /// Whether this broker coordinates links and has read what there is.
    public var isActive: Bool {
        state.withLock { state in
            if case .active = state.phase { return true }
            return false
        }
    }

    /// The coordinator's image, committed or not; nil unless links are coordinated here.
    public var image: LinkImage? {
        state.withLock { state in
            if case .active = state.phase { return state.core.image }
            return nil
        }
    }

    /// The end of what the image is made of, committed or not; -1 unless links are coordinated here.
    public var revision: Offset {
        state.withLock { state in
            if case .active = state.phase { return state.imageEnd }
            return -1
        }
    }

    /// Runs a step; `completion` is called when what the answer rests on is committed.
    public func submit<Value: Sendable>(now: Timestamp, _ step: Step<Value>, _ completion: @escaping Completion<Value>) {
        var outbox: [@Sendable () -> Void] = []
        state.withLock { state in
            guard case .active(let log) = state.phase else {
                let error: ErrorCode = if case .loading = state.phase { .coordinatorLoadInProgress } else { .notCoordinator }
                outbox.append { completion(.failure(.coordinator(error))) }
                return
            }
            do throws(LinkFailure) {
                let value: Value
                let records: [LinkRecord]
                do throws(LinkRefusal) {
                    (value, records) = try step(state.core)
                } catch {
                    throw .refused(error)
                }
                if !records.isEmpty { try Self.append(records, to: log, now: now, &state) }
                state.waiting.append(
                    Waiting(endOffset: state.endOffset) { error in
                        completion(error == .none ? .success(value) : .failure(.coordinator(error)))
                    })
                Self.answer(&state, &outbox)
            } catch {
                outbox.append { completion(.failure(error)) }
            }
        }
        for call in outbox { call() }
    }

    private static func append(
        _ records: [LinkRecord], to log: any CoordinatorLog, now: Timestamp, _ state: inout State
    ) throws(LinkFailure) {
        guard state.waiting.count < maximumWaiting else { throw .coordinator(.coordinatorNotAvailable) }
        var rest = records[...]
        do throws(CoordinatorLogError) {
            while !rest.isEmpty {
                var builder = RecordBatchBuilder()
                var count = 0
                for record in rest {
                    if builder.uncompressedSize >= (record.isPartOfStep ? maximumStepSize : maximumBatchSize) { break }
                    let (key, value) = record.encoded
                    builder.append(
                        timestamp: now, key: ByteBuffer(string: key.description), value: value.map { ByteBuffer(string: $0.description) })
                    count += 1
                }
                let appended = try log.append(builder.buildUncompressed(), transaction: TransactionTerms(), now: now)
                for record in rest.prefix(count) { state.core.replay(record) }
                state.endOffset = appended.baseOffset + Offset(count)
                if rest.prefix(count).contains(where: \.concernsAllBrokers) { state.imageEnd = state.endOffset }
                state.committed = max(state.committed, appended.highWatermark)
                rest = rest.dropFirst(count)
            }
        } catch {
            throw .coordinator(error.code == .notLeaderOrFollower ? .notCoordinator : error.code)
        }
    }

    private static func answer(_ state: inout State, _ outbox: inout [@Sendable () -> Void]) {
        while let first = state.waiting.first, first.endOffset <= state.committed {
            state.waiting.removeFirst()
            outbox.append { first.answer(.none) }
        }
        guard let publication = state.publication else { return }
        state.followers.removeAll { follower in
            guard follower.revision != publication.revision else { return false }
            outbox.append { follower.answer(.success(publication)) }
            return true
        }
    }

    public func highWatermarkAdvanced(to highWatermark: Offset) {
        var outbox: [@Sendable () -> Void] = []
        state.withLock { state in
            guard case .active = state.phase else { return }
            state.committed = max(state.committed, highWatermark)
            Self.answer(&state, &outbox)
        }
        for call in outbox { call() }
    }

    // MARK: Followers

    /// Answers with the image as soon as it differs from the one of `revision`, or when the time is over.
    ///
    /// - Parameter broker: has taken over the image of `revision`; -1 for an image out of turn.
    public func follow(
        _ broker: NodeID, from revision: Offset, waitMilliseconds: Int64, completion: @escaping Completion<LinkPublication>
    ) {
        let now = SystemClock.monotonicMilliseconds()
        let answer = state.withLock { state -> Result<LinkPublication, LinkFailure>? in
            guard case .active = state.phase else {
                let error: ErrorCode = if case .loading = state.phase { .coordinatorLoadInProgress } else { .notCoordinator }
                return .failure(.coordinator(error))
            }
            guard state.followers.count < Self.maximumWaiting else { return .failure(.coordinator(.coordinatorNotAvailable)) }
            if revision >= 0 { state.acknowledged[broker] = revision }
            if let publication = state.publication, publication.revision != revision { return .success(publication) }
            state.followers.append(Follower(revision: revision, deadline: now + waitMilliseconds, answer: completion))
            return nil
        }
        if let answer { completion(answer) }
    }

    /// Which of these brokers have not taken over what there is now, or was at a revision; nil unless links are coordinated here.
    public func behind(_ brokers: [NodeID], revision: Offset? = nil) -> [NodeID]? {
        state.withLock { state in
            guard case .active = state.phase else { return nil }
            return brokers.filter { (state.acknowledged[$0] ?? -1) < revision ?? state.imageEnd }
        }
    }

    /// Tells followers whose time is over that there is no news. To be called now and then.
    public func advance() {
        let now = SystemClock.monotonicMilliseconds()
        let answers = state.withLock { state -> [(Completion<LinkPublication>, LinkPublication)] in
            guard !state.followers.isEmpty, let publication = state.publication else { return [] }
            var due: [(Completion<LinkPublication>, LinkPublication)] = []
            state.followers.removeAll { follower in
                guard follower.deadline <= now else { return false }
                due.append((follower.answer, publication))
                return true
            }
            return due
        }
        for (answer, publication) in answers { answer(.success(publication)) }
    }

    // MARK: Terms

    /// This broker became leader of the partition: requests are told to wait until it is loaded.
    public func beginTerm() -> UInt64 {
        endTerm()
        return state.withLock { state in
            state.term += 1
            state.phase = .loading
            return state.term
        }
    }

    /// Reads the log and becomes active, unless the term has ended meanwhile. Not for event loops.
    public func load(term: UInt64, from log: any CoordinatorLog) throws(CoordinatorLogError) {
        var core = LinkCoordinator()
        do throws(CoordinatorLogError) {
            let end = try Self.read(log, into: &core)
            var outbox: [@Sendable () -> Void] = []
            state.withLock { state in
                guard case .loading = state.phase, state.term == term else { return }
                state.core = core
                state.endOffset = end
                state.imageEnd = end
                state.committed = log.highWatermark
                state.phase = .active(log)
                Self.answer(&state, &outbox)
            }
            for call in outbox { call() }
        } catch {
            state.withLock { state in
                guard case .loading = state.phase, state.term == term else { return }
                state.phase = .elsewhere
            }
            throw error
        }
    }

    /// Lets go of the state: everybody who waits is told to look for the coordinator again.
    public func endTerm() {
        let (waiting, followers) = state.withLock { state in
            let left = (state.waiting, state.followers)
            let term = state.term
            state = State()
            state.term = term
            return left
        }
        for entry in waiting { entry.answer(.notCoordinator) }
        for follower in followers { follower.answer(.failure(.coordinator(.notCoordinator))) }
    }

    private static func read(_ log: any CoordinatorLog, into core: inout LinkCoordinator) throws(CoordinatorLogError) -> Offset {
        var next = log.logStartOffset
        while true {
            let chunk = try log.readCommitted(from: next, maximumBytes: 4 << 20)
            let before = next
            do throws(RecordBatchError) {
                var batches = RecordBatchIterator(chunk)
                while let batch = try batches.next() {
                    next = batch.header.nextOffset
                    guard !batch.header.isControl else { continue }
                    var records = try batch.records()
                    while let record = try records.next() { replay(record, into: &core) }
                }
            } catch {
                throw CoordinatorLogError(.corruptMessage)
            }
            if next == before { return next }
        }
    }

    private static func replay(_ record: Record, into core: inout LinkCoordinator) {
        func json(_ bytes: ByteBuffer?) -> JSONValue? { bytes.flatMap { try? JSONValue(parsing: Array($0.readableBytesView)) } }
        // What is not understood was written by a newer version, or by hand; it does no harm.
        guard let key = json(record.key), let change = LinkRecord(key: key, value: json(record.value)) else { return }
        core.replay(change)
    }
}
