// What a follower asks one leader for: many partitions over one connection, one request at a time, and after the first request only
// what has changed (the client's side of KIP-227).
import Collections
import Primitives

/// One fetch request to be sent.
public struct ReplicaFetchRequest: Sendable {
    public var sessionID: Int32
    public var sessionEpoch: Int32
    /// All partitions of a full request; those that changed of an incremental one.
    public var partitions: [(key: FetchSessionKey, position: FetchPosition)]
    public var forgotten: [FetchSessionKey]
}

/// What comes next.
public enum ReplicaFetchStep: Sendable {
    case send(ReplicaFetchRequest)
    /// Nothing to ask for before that time (monotonic milliseconds).
    case wait(until: Int64)
    /// Nothing to ask for at all.
    case idle
}

/// The partitions that one fetcher follows, and its session with their leader.
public struct ReplicaFetchPlan: Sendable {
    private struct Entry: Sendable {
        var position: FetchPosition
        /// Rests until then; nil while it is fetched.
        var delayedUntil: Int64?
    }

    private var entries: OrderedDictionary<FetchSessionKey, Entry> = [:]
    /// What the leader's session holds for us.
    private var sent: [FetchSessionKey: FetchPosition] = [:]
    /// Partitions that may differ from `sent`.
    private var dirty: OrderedSet<FetchSessionKey> = []
    private var delayed: OrderedSet<FetchSessionKey> = []
    private var sessionID: Int32 = 0
    private var sessionEpoch: Int32 = 0

    public init() {}

    public var count: Int { entries.count }
    public var keys: [FetchSessionKey] { Array(entries.keys) }

    /// Begins to follow a partition, or goes on at another position.
    public mutating func follow(_ key: FetchSessionKey, from position: FetchPosition) {
        entries[key] = Entry(position: position)
        delayed.remove(key)
        dirty.append(key)
    }

    public mutating func stop(_ key: FetchSessionKey) {
        guard entries.removeValue(forKey: key) != nil else { return }
        delayed.remove(key)
        dirty.append(key)
    }

    public func contains(_ key: FetchSessionKey) -> Bool { entries[key] != nil }

    /// Whether an answer for the partition still answers what is wanted now.
    public func isCurrent(_ key: FetchSessionKey) -> Bool {
        guard let entry = entries[key], entry.delayedUntil == nil, let asked = sent[key] else { return false }
        return asked.fetchOffset == entry.position.fetchOffset && asked.currentLeaderEpoch == entry.position.currentLeaderEpoch
    }

    /// The position from which the partition is fetched.
    public func position(of key: FetchSessionKey) -> FetchPosition? { entries[key]?.position }

    /// Goes on from another position.
    public mutating func advance(_ key: FetchSessionKey, to position: FetchPosition) {
        guard var entry = entries[key], entry.position != position else { return }
        entry.position = position
        entries[key] = entry
        dirty.append(key)
    }

    /// Lets the partition rest after an error.
    public mutating func delay(_ key: FetchSessionKey, until time: Int64) {
        guard entries[key] != nil else { return }
        entries[key]?.delayedUntil = time
        delayed.append(key)
        dirty.append(key)
    }

    public func isResting(_ key: FetchSessionKey) -> Bool { delayed.contains(key) }

    // MARK: Requests

    /// The next request, if there is something to ask for.
    public mutating func next(now: Int64) -> ReplicaFetchStep {
        release(now: now)
        let request = sessionEpoch == 0 ? full() : incremental()
        if let request { return .send(request) }
        guard let first = delayed.compactMap({ entries[$0]?.delayedUntil }).min() else { return .idle }
        return .wait(until: first)
    }

    private mutating func release(now: Int64) {
        for key in delayed.filter({ entries[$0]?.delayedUntil.map { $0 <= now } ?? true }) {
            entries[key]?.delayedUntil = nil
            delayed.remove(key)
            dirty.append(key)
        }
    }

    private mutating func full() -> ReplicaFetchRequest? {
        sent = [:]
        dirty = []
        var partitions: [(key: FetchSessionKey, position: FetchPosition)] = []
        for (key, entry) in entries where entry.delayedUntil == nil {
            partitions.append((key, entry.position))
            sent[key] = entry.position
        }
        if partitions.isEmpty, sessionID == 0 { return nil }
        return ReplicaFetchRequest(
            sessionID: sessionID, sessionEpoch: partitions.isEmpty ? FetchSessionCache.finalEpoch : FetchSessionCache.initialEpoch,
            partitions: partitions, forgotten: [])
    }

    private mutating func incremental() -> ReplicaFetchRequest? {
        var request = ReplicaFetchRequest(sessionID: sessionID, sessionEpoch: sessionEpoch, partitions: [], forgotten: [])
        for key in dirty {
            if let entry = entries[key], entry.delayedUntil == nil {
                guard sent[key] != entry.position else { continue }
                request.partitions.append((key, entry.position))
                sent[key] = entry.position
            } else if sent.removeValue(forKey: key) != nil {
                request.forgotten.append(key)
            }
        }
        dirty = []
        if sent.isEmpty {
            // Nothing is left in the session: close it, and begin anew once there is something to fetch.
            sessionEpoch = 0
            if request.forgotten.isEmpty { return nil }
            request.sessionEpoch = FetchSessionCache.finalEpoch
            request.forgotten = []
        }
        return request
    }

    // MARK: Answers

    /// The leader answered: notes its session.
    public mutating func answered(sessionID: Int32) {
        if sessionID == 0 { return resetSession() }
        sessionEpoch = sessionID == self.sessionID && sessionEpoch > 0 ? (sessionEpoch == .max ? 1 : sessionEpoch + 1) : 1
        self.sessionID = sessionID
    }

    /// The session is lost, or the answer never came: the next request names everything.
    public mutating func resetSession() {
        sessionID = 0
        sessionEpoch = 0
    }
}
