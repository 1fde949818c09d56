// The bounded set of fetch sessions of one broker, and the rules by which requests open, use and close them (KIP-227).
import Collections
import Primitives

/// How a fetch request relates to a session, from its session id and epoch.
public enum FetchSessionDecision: Sendable {
    /// No session: serve exactly what the request names; the response carries session id 0.
    case sessionless
    /// A session was opened from a full request; serve everything the request names and return the id.
    case opened(sessionID: Int32)
    /// Serve these partitions and report only changes.
    case incremental(sessionID: Int32, partitions: [(key: FetchSessionKey, position: FetchPosition)])
    case failed(FetchSessionFailure)
}

/// Why a session cannot be used; the client falls back to a full fetch.
public enum FetchSessionFailure: Error, Sendable {
    case sessionNotFound
    case invalidEpoch
    /// The session began with topic names and the request has ids, or the reverse.
    case topicIDMismatch
}

/// All sessions of one broker. A full cache evicts only sessions that were idle long enough, so that busy ones stay.
public struct FetchSessionCache: Sendable {
    /// A request's epoch that opens a session.
    public static let initialEpoch: Int32 = 0
    /// A request's epoch that closes the session, or wants none.
    public static let finalEpoch: Int32 = -1

    private let slots: Int
    private let evictionMilliseconds: Int64
    private var sessions: OrderedDictionary<Int32, FetchSession> = [:]
    private var random: SeededRandom

    /// - Parameters:
    ///   - slots: `max.incremental.fetch.session.cache.slots`.
    ///   - evictionMilliseconds: how long a session must have been idle before another may take its slot; Kafka: 120 000.
    public init(slots: Int, evictionMilliseconds: Int64 = 120_000, seed: UInt64) {
        self.slots = slots
        self.evictionMilliseconds = evictionMilliseconds
        random = SeededRandom(seed: seed)
    }

    public var count: Int { sessions.count }

    /// Partitions followed by all sessions together.
    public var partitionCount: Int { sessions.values.reduce(0) { $0 + $1.count } }

    /// Applies a request to its session.
    public mutating func begin(
        sessionID: Int32, epoch: Int32, usesTopicIDs: Bool, changes: [(key: FetchSessionKey, position: FetchPosition)],
        forgotten: [FetchSessionKey], now: Int64
    ) -> FetchSessionDecision {
        if epoch == Self.finalEpoch {
            sessions.removeValue(forKey: sessionID)
            return .sessionless
        }
        if epoch == Self.initialEpoch {
            sessions.removeValue(forKey: sessionID)
            return open(usesTopicIDs: usesTopicIDs, changes: changes, now: now)
        }
        guard var session = sessions[sessionID] else { return .failed(.sessionNotFound) }
        guard session.nextEpoch == epoch else { return .failed(.invalidEpoch) }
        guard session.usesTopicIDs == usesTopicIDs else { return .failed(.topicIDMismatch) }
        session.update(changes, forgotten: forgotten)
        session.lastUsedAt = now
        session.nextEpoch = epoch == Int32.max ? 1 : epoch + 1
        if session.count == 0 {
            sessions.removeValue(forKey: sessionID)
            return .sessionless
        }
        sessions[sessionID] = session
        return .incremental(sessionID: sessionID, partitions: session.requested)
    }

    /// Which of the outcomes the response must contain, and notes that the client then knows them.
    public mutating func finish(sessionID: Int32, outcomes: [(key: FetchSessionKey, outcome: FetchOutcome)]) -> [Bool] {
        guard let index = sessions.index(forKey: sessionID) else { return outcomes.map { _ in true } }
        var served: [FetchSessionKey] = []
        let report = outcomes.map { key, outcome in
            if outcome.recordBytes > 0 { served.append(key) }
            return sessions.values[index].mustReport(key, outcome)
        }
        sessions.values[index].moveToEnd(served)
        return report
    }

    /// Gives a session up.
    public mutating func remove(_ sessionID: Int32) { sessions.removeValue(forKey: sessionID) }

    private mutating func open(
        usesTopicIDs: Bool, changes: [(key: FetchSessionKey, position: FetchPosition)], now: Int64
    ) -> FetchSessionDecision {
        guard !changes.isEmpty, makeRoom(now: now) else { return .sessionless }
        var id: Int32
        repeat { id = Int32.random(in: 1...Int32.max, using: &random) } while sessions[id] != nil
        var session = FetchSession(id: id, usesTopicIDs: usesTopicIDs, now: now)
        session.update(changes, forgotten: [])
        sessions[id] = session
        return .opened(sessionID: id)
    }

    private mutating func makeRoom(now: Int64) -> Bool {
        if sessions.count < slots { return true }
        guard let oldest = sessions.values.min(by: { $0.lastUsedAt < $1.lastUsedAt }),
            now - oldest.lastUsedAt > evictionMilliseconds
        else { return false }
        sessions.removeValue(forKey: oldest.id)
        return true
    }
}
