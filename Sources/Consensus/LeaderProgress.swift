// What a leader knows of the other replicas: how far each has fetched and when, whence follow the high watermark, whether the majority
// is still there, and who would be the best successor.
import KafkaMessages
import OrderedCollections
import Primitives

/// How far one replica has come.
struct ReplicaProgress: Sendable {
    var key: ReplicaKey
    /// Nil until it has fetched, or for the leader until its log is durable.
    var endOffset: Offset?
    var lastFetch: Int64?
    var lastCaughtUp: Int64?
    /// The high watermark of the newest answer to it.
    var toldHighWatermark: Offset = -1
    private var leaderEndAtLastFetch: Offset?

    init(key: ReplicaKey) {
        self.key = key
    }

    func matches(_ other: ReplicaKey) -> Bool {
        key.id == other.id && (key.directoryID == .zero || key.directoryID == other.directoryID)
    }

    mutating func fetched(at offset: Offset, leaderEnd: Offset, now: Int64) {
        if offset >= leaderEnd {
            lastCaughtUp = now
        } else if let before = leaderEndAtLastFetch, before > 0, offset >= before, let lastFetch {
            lastCaughtUp = max(lastCaughtUp ?? lastFetch, lastFetch)
        }
        leaderEndAtLastFetch = leaderEnd
        lastFetch = now
        endOffset = offset
    }
}

/// A fetch that waits until there is something to answer.
struct WaitingFetch: Sendable {
    var request: FetchRequest
    var context: QuorumRequestContext
    var deadline: Int64
}

/// The leader's view of the quorum.
struct Leading: Sendable {
    private static let observerSession: Int64 = 300_000
    /// How many replicas that do not vote are remembered.
    private static let maximumObservers = 10_000

    private(set) var voters: OrderedDictionary<NodeID, ReplicaProgress> = [:]
    private(set) var observers: OrderedDictionary<ReplicaKey, ReplicaProgress> = [:]
    var granting: [NodeID] = []
    /// False until a record of this epoch is committed.
    var hasHighWatermark = false
    var waiting: [WaitingFetch] = []
    var change: VoterChange?
    var mustResign = false
    /// What the voters said of themselves while kraft.version 0 keeps it out of the log; needed to raise kraft.version.
    var volatileVoters: VoterSet?
    var checkQuorumDeadline: Int64 = .max
    var beginEpochDeadline: Int64 = .max
    private var fetchedVoters: Set<NodeID> = []
    private var local = ReplicaKey(id: -1)
    private var timing = QuorumTiming()

    init() {}

    init(voters: VoterSet, local: ReplicaKey, now: Int64, timing: QuorumTiming) {
        self.local = local
        self.timing = timing
        checkQuorumDeadline = now + timing.fetchTimeout * 3 / 2
        beginEpochDeadline = now
        update(voters)
    }

    var beginEpochInterval: Int64 { timing.fetchTimeout / 2 }

    /// Takes over a set of voters that was appended.
    mutating func update(_ set: VoterSet) {
        var next: OrderedDictionary<NodeID, ReplicaProgress> = [:]
        for voter in set.voters.values {
            let key = ReplicaKey(id: voter.id, directoryID: voter.directoryID)
            var progress = self.progress(of: key) ?? ReplicaProgress(key: key)
            progress.key = key
            observers[key] = nil
            next[voter.id] = progress
        }
        for (id, old) in voters where next[id] == nil { observers[old.key] = old }
        voters = next
        fetchedVoters.formIntersection(next.keys)
    }

    func progress(of key: ReplicaKey) -> ReplicaProgress? {
        if let voter = voters[key.id], voter.matches(key) { return voter }
        return observers[key]
    }

    /// Notes a fetch; true if it was a voter's, so that the high watermark may move.
    mutating func fetched(_ key: ReplicaKey, at offset: Offset, leaderEnd: Offset, now: Int64) -> Bool {
        if var voter = voters[key.id], voter.matches(key) {
            voter.fetched(at: offset, leaderEnd: leaderEnd, now: now)
            voters[key.id] = voter
            heard(from: key, now: now)
            return true
        }
        removeIdleObservers(now: now)
        guard observers[key] != nil || observers.count < Self.maximumObservers else { return false }
        var observer = observers[key] ?? ReplicaProgress(key: key)
        observer.fetched(at: offset, leaderEnd: leaderEnd, now: now)
        observers[key] = observer
        return false
    }

    /// The high watermark that the replica knows of: by its request or, before version 18 in which requests carry it, by what it was told.
    func knownHighWatermark(_ request: FetchRequest.FetchPartition, _ key: ReplicaKey, version: Int16) -> Offset {
        version >= 18 ? request.highWatermark : progress(of: key)?.toldHighWatermark ?? .max
    }

    mutating func told(_ key: ReplicaKey, highWatermark: Offset) {
        if let voter = voters[key.id], voter.matches(key) {
            voters[key.id]?.toldHighWatermark = highWatermark
        } else {
            observers[key]?.toldHighWatermark = highWatermark
        }
    }

    /// This leader's own log is durable up to there.
    mutating func reachedLocally(_ offset: Offset) {
        if var voter = voters[local.id], voter.matches(local) {
            voter.endOffset = offset
            voters[local.id] = voter
        }
    }

    /// A voter is there. Once the majority was, the wait for it begins anew.
    mutating func heard(from key: ReplicaKey, now: Int64) {
        guard let voter = voters[key.id], voter.matches(key), key.id != local.id else { return }
        fetchedVoters.insert(key.id)
        let majority = voters.count / 2 + 1 - (voters[local.id] == nil ? 0 : 1)
        if fetchedVoters.count >= majority {
            fetchedVoters = []
            checkQuorumDeadline = now + timing.fetchTimeout * 3 / 2
        }
    }

    /// A leader alone needs nobody.
    var quorumDeadline: Int64 { voters.count == 1 ? .max : checkQuorumDeadline }

    /// What the majority has.
    var majorityOffset: Offset? {
        let offsets = voters.values.map { $0.endOffset ?? -1 }.sorted(by: >)
        guard !offsets.isEmpty else { return nil }
        let offset = offsets[offsets.count / 2]
        return offset < 0 ? nil : offset
    }

    /// Voters that have not fetched lately and may not know who leads.
    func silentVoters(now: Int64) -> [ReplicaKey] {
        voters.values.filter { voter in
            voter.key.id != local.id && voter.lastFetch.map { now - $0 >= beginEpochInterval } ?? true
        }.map(\.key)
    }

    /// The other voters, those with the longest log first.
    func successors(besides id: NodeID) -> [ReplicaKey] {
        voters.values.filter { $0.key.id != id }
            .sorted { ($1.endOffset ?? -1, $0.key.id) < ($0.endOffset ?? -1, $1.key.id) }
            .map(\.key)
    }

    /// Whether a replica has reached the end of the log, and fetched within the hour.
    func isCaughtUp(_ key: ReplicaKey, now: Int64) -> Bool {
        guard let observer = observers[key], observer.lastCaughtUp != nil, let lastFetch = observer.lastFetch else { return false }
        return now - lastFetch < 3_600_000
    }

    mutating func removeIdleObservers(now: Int64) {
        observers.removeAll { $0.key != local && now - ($0.value.lastFetch ?? now) >= Self.observerSession }
    }

    var nextDeadline: Int64 {
        var deadline = min(quorumDeadline, beginEpochDeadline, change?.deadline ?? .max)
        for fetch in waiting { deadline = min(deadline, fetch.deadline) }
        return deadline
    }
}
