// Decides when a link's mirrors may append the commit marker of a transaction: when the markers have arrived at all mirrors that it touched.
// Until then a marker is held by the mirror's leader, with everything behind it, so a mirror never has half of a transaction. Knows what the
// source decided from its `__transaction_state`, and which markers wait from the leaders. A value: events go in, releases come out.
import Collections
import Primitives

/// What the source decided about one transaction that it committed.
public struct CommitDecision: Sendable, Hashable {
    public var id: DecisionID
    public var transactionalID: String
    public var producer: TransactionProducer
    /// By the source's names.
    public var partitions: [TopicPartition]
    /// By the clock of the source's coordinator.
    public var startedAt: Timestamp
    public var decidedAt: Timestamp

    public init(
        id: DecisionID, transactionalID: String, producer: TransactionProducer, partitions: [TopicPartition], startedAt: Timestamp,
        decidedAt: Timestamp
    ) {
        self.id = id
        self.transactionalID = transactionalID
        self.producer = producer
        self.partitions = partitions
        self.startedAt = startedAt
        self.decidedAt = decidedAt
    }
}

/// What a mirror's leader says of its progress.
public struct MirrorStanding: Sendable, Hashable {
    public var highWatermark: Offset
    /// Monotonic milliseconds at which, at the latest, the mirror had everything; nil if it never had.
    public var caughtUpAt: Int64?

    public init(highWatermark: Offset, caughtUpAt: Int64?) {
        self.highWatermark = highWatermark
        self.caughtUpAt = caughtUpAt
    }
}

/// The gate of one link.
public struct TransactionGate: Sendable {
    private struct Decision: Sendable {
        var decision: CommitDecision
        var markers: [TopicPartition: Offset] = [:]
        /// Mirrors that are not waited for: they lag behind.
        var skipped: Set<TopicPartition> = []
        /// Mirrors that had appended the marker before this gate heard of it.
        var passed: Set<TopicPartition> = []
        /// When the source had written all markers, as far as is known here: monotonic milliseconds, and by the source's clock.
        var completedAt: Int64?
        var completionTimestamp: Timestamp?
        var firstMarkerAt: Int64?
        /// Handed out to be recorded.
        var isSubmitted = false
        var isReleased = false
    }

    private struct Sequence: Hashable, Sendable {
        var partition: TopicPartition
        var producer: TransactionProducer
    }

    private struct Held: Sendable {
        var marker: HeldMarker
        var reportedAt: Int64
        var decision: DecisionID?
        var isPermitted = false
    }

    /// What may be appended now.
    public struct Outcome: Sendable, Equatable {
        /// To be recorded; ``released(_:)`` says that they are.
        public var candidates: [TransactionRelease] = []
        /// Markers that may be appended.
        public var permitted: [HeldMarker] = []
        /// Mirrors that the others do not wait for any longer.
        public var leftBehind: [TopicPartition] = []
    }

    private let maximumHold: Int64
    /// Decisions and markers that are kept in mind; beyond that markers pass unchecked.
    private static let maximumKept = 200_000

    private var decisions: [DecisionID: Decision] = [:]
    /// Those that are not released, the same again.
    private var unreleased: Set<DecisionID> = []
    private var order: OrderedDictionary<Int32, Deque<DecisionID>> = [:]
    private var byProducer: [TransactionProducer: [DecisionID]] = [:]
    /// The last one of a transactional id, while it is not known to be complete.
    private var incomplete: [String: DecisionID] = [:]
    private var nextOffsets: OrderedDictionary<Int32, Offset> = [:]
    private var held: [TopicPartition: [Offset: Held]] = [:]
    /// Markers without a decision.
    private var unmatched: [HeldMarker] = []
    /// Producers of mirrors of which markers have been matched: the next marker belongs to the next decision.
    private var sequenced: Set<Sequence> = []
    /// Recorded before this gate came to be.
    private var recorded: [DecisionID: TransactionRelease] = [:]
    /// Mirror by source topic, and the other way round; nil until they are known.
    private var mirrors: [String: String]?
    private var sources: [String: String] = [:]
    /// Mirrors that the others do not wait for, and since when.
    private var lagging: [TopicPartition: Int64] = [:]
    /// Topics whose mirrors have just been made: they have everything to fetch yet.
    private var newTopics: Set<String> = []
    /// All decisions made before this time have been observed.
    private var readThrough: Int64 = .min
    /// Transactions released though a mirror's marker had not come.
    public private(set) var incompleteReleases = 0

    /// - Parameters:
    ///   - recorded: by coordinators before this one.
    ///   - maximumHoldMilliseconds: how long the markers of a transaction wait for one that does not come.
    public init(_ recorded: RecordedTransactions, maximumHoldMilliseconds: Int64) {
        maximumHold = maximumHoldMilliseconds
        for (partition, offset) in recorded.positions { nextOffsets[partition] = offset }
        for release in recorded.releases.values.joined() { self.recorded[release.id] = release }
    }

    /// Where to go on reading; nil for a partition that nothing is known of.
    public func position(of partition: Int32) -> Offset? { nextOffsets[partition] }

    /// Whether markers have waited since a time for decisions that have not been observed.
    public func awaitsDecisions(since time: Int64) -> Bool {
        unmatched.contains { held[$0.partition]?[$0.offset].map { $0.reportedAt <= time } ?? false }
    }

    /// Transactions of which some markers have arrived, but not all.
    public var heldTransactions: Int { unreleased.count { decisions[$0]?.firstMarkerAt != nil } }

    /// Whether all decisions before some offsets have been observed, and none of them waits to be released.
    public func hasReleased(before ends: [Int32: Offset]) -> Bool {
        ends.allSatisfy { nextOffsets[$0.key] ?? 0 >= $0.value }
            && unreleased.allSatisfy { id in
                id.offset >= ends[id.partition] ?? 0 || decisions[id].map { needed($0)?.isEmpty ?? true } ?? true
            }
    }

    public var mirrorTopics: Int { sources.count }

    /// Mirror partitions and new mirror topics that the others do not wait for.
    public var laggingMirrors: Int { lagging.count + newTopics.count }

    /// Whether a marker may be appended.
    public func isPermitted(_ marker: HeldMarker) -> Bool { held[marker.partition]?[marker.offset]?.isPermitted == true }

    // MARK: Events

    /// Begins to read a partition at an offset.
    public mutating func begin(_ partition: Int32, at offset: Offset) { nextOffsets[partition] = offset }

    /// The source decided to commit.
    public mutating func observe(_ decision: CommitDecision) {
        let id = decision.id
        nextOffsets[id.partition] = id.offset + 1
        guard decisions[id] == nil, decisions.count < Self.maximumKept else { return }
        var entry = Decision(decision: decision)
        if let release = recorded[id] {
            entry.isReleased = true
            entry.markers = Dictionary(uniqueKeysWithValues: release.markers.map { ($0.key, $0.value) })
        }
        // A mirror that lags may have passed the marker, or not have come to it: it is not waited for, even if it has caught up meanwhile.
        for partition in mirrored(decision.partitions) where lags(partition) { entry.skipped.insert(partition) }
        decisions[id] = entry
        if !entry.isReleased { unreleased.insert(id) }
        order[id.partition, default: []].append(id)
        byProducer[decision.producer, default: []].append(id)
        incomplete[decision.transactionalID] = id
    }

    /// A transactional id has gone on: the source has written all markers of what it committed before.
    ///
    /// - Parameters:
    ///   - timestamp: by the source's clock.
    ///   - now: monotonic milliseconds.
    public mutating func observeCompletion(_ transactionalID: String, at id: DecisionID, timestamp: Timestamp, now: Int64) {
        nextOffsets[id.partition] = id.offset + 1
        guard let earlier = incomplete.removeValue(forKey: transactionalID) else { return }
        decisions[earlier]?.completedAt = now
        decisions[earlier]?.completionTimestamp = timestamp
    }

    /// Something else stands there.
    public mutating func pass(_ id: DecisionID) { nextOffsets[id.partition] = id.offset + 1 }

    /// Everything that the source had decided at a time has been observed.
    public mutating func readThrough(_ time: Int64) { readThrough = max(readThrough, time) }

    /// The mirrors that fetch, by their sources' names.
    public mutating func setMirrors(_ mirrors: [String: String]) {
        guard mirrors != self.mirrors else { return }
        if let former = self.mirrors { newTopics.formUnion(Set(mirrors.values).subtracting(former.values)) }
        newTopics.formIntersection(mirrors.values)
        self.mirrors = mirrors
        sources = Dictionary(mirrors.map { ($0.value, $0.key) }) { first, _ in first }
        held = held.filter { sources[$0.key.topic] != nil }
        unmatched.removeAll { sources[$0.partition.topic] == nil }
        lagging = lagging.filter { sources[$0.key.topic] != nil }
        sequenced = sequenced.filter { sources[$0.partition.topic] != nil }
    }

    /// Leaders have fetched markers.
    public mutating func report(_ markers: [HeldMarker], now: Int64) {
        for marker in markers where sources[marker.partition.topic] != nil && held[marker.partition]?[marker.offset] == nil {
            held[marker.partition, default: [:]][marker.offset] = Held(marker: marker, reportedAt: now)
            unmatched.append(marker)
        }
        unmatched.sort { ($0.partition, $0.offset) < ($1.partition, $1.offset) }
    }

    /// Recorded: these are committed here.
    ///
    /// - Returns: the markers that may be appended now.
    public mutating func released(_ ids: [DecisionID]) -> [HeldMarker] {
        var outcome = Outcome()
        for id in ids {
            decisions[id]?.isReleased = true
            unreleased.remove(id)
            for (partition, offset) in decisions[id]?.markers ?? [:] { permit(partition, offset, &outcome) }
        }
        return outcome.permitted
    }

    /// They could not be recorded, and are handed out again.
    public mutating func notReleased(_ ids: [DecisionID]) {
        for id in ids { decisions[id]?.isSubmitted = false }
    }

    // MARK: Decisions

    /// What follows from everything so far.
    public mutating func evaluate(now: Int64) -> Outcome {
        var outcome = Outcome()
        var ready: [DecisionID: Decision] = [:]
        match(now: now, &outcome)
        for id in unreleased {
            guard let entry = decisions[id], !entry.isSubmitted, var waiting = needed(entry) else { continue }
            waiting.subtract(entry.markers.keys)
            if !waiting.isEmpty, let first = entry.firstMarkerAt, now - first > maximumHold {
                outcome.leftBehind += waiting
                for partition in waiting { lagging[partition] = now }
                decisions[id]?.skipped.formUnion(waiting)
                incompleteReleases += 1
                waiting = []
            }
            if waiting.isEmpty, !entry.markers.isEmpty { ready[id] = entry }
        }
        for (id, entry) in withoutBlocked(ready) {
            decisions[id]?.isSubmitted = true
            let markers = entry.markers.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
            outcome.candidates.append(
                TransactionRelease(id: id, producer: entry.decision.producer, markers: OrderedDictionary(uniqueKeysWithValues: markers)))
        }
        outcome.candidates.sort { $0.id < $1.id }
        outcome.leftBehind.sort()
        permitLagging(&outcome)
        outcome.permitted.sort { ($0.partition, $0.offset) < ($1.partition, $1.offset) }
        return outcome
    }

    /// Without those that have a marker behind one of a transaction that is not released and does not go with them: what a mirror appends of
    /// what it holds is whole transactions then. Transactions whose markers stand in different orders in different mirrors go together.
    private func withoutBlocked(_ ready: [DecisionID: Decision]) -> [DecisionID: Decision] {
        var left = ready
        while true {
            let blocked = left.filter { _, entry in
                entry.markers.contains { partition, offset in
                    held[partition]?.contains { earlier, other in
                        earlier < offset && !other.isPermitted && !(other.decision.map { goes($0, with: left) } ?? false)
                    } ?? false
                }
            }
            if blocked.isEmpty { return left }
            for id in blocked.keys { left[id] = nil }
        }
    }

    private func goes(_ id: DecisionID, with others: [DecisionID: Decision]) -> Bool {
        others[id] != nil || decisions[id].map { $0.isReleased || $0.isSubmitted } ?? true
    }

    /// The mirrors whose markers a transaction waits for; nil when nobody mirrors any of its partitions.
    private func needed(_ entry: Decision) -> Set<TopicPartition>? {
        let mirrored = mirrored(entry.decision.partitions)
        return mirrored.isEmpty ? nil : Set(mirrored.filter { !entry.skipped.contains($0) && !entry.passed.contains($0) && !lags($0) })
    }

    /// Under the names of the mirrors.
    private func mirrored(_ partitions: [TopicPartition]) -> [TopicPartition] {
        partitions.compactMap { partition in mirrors?[partition.topic].map { TopicPartition($0, partition.partition) } }
    }

    private func lags(_ partition: TopicPartition) -> Bool { lagging[partition] != nil || newTopics.contains(partition.topic) }

    /// Finds for each marker the decision that it carries out.
    private mutating func match(now: Int64, _ outcome: inout Outcome) {
        var left: [HeldMarker] = []
        for marker in unmatched {
            guard let entry = held[marker.partition]?[marker.offset] else { continue }
            switch decision(of: marker) {
            case .found(let id, let passed):
                decisions[id]?.markers[marker.partition] = marker.offset
                held[marker.partition]?[marker.offset]?.decision = id
                for earlier in passed { decisions[earlier]?.passed.insert(marker.partition) }
                if decisions[id]?.firstMarkerAt == nil { decisions[id]?.firstMarkerAt = entry.reportedAt }
                if sequenced.count >= Self.maximumKept { sequenced = [] }
                sequenced.insert(Sequence(partition: marker.partition, producer: marker.producer))
                if decisions[id]?.isReleased == true { permit(marker.partition, marker.offset, &outcome) }
            case .unknown: permit(marker.partition, marker.offset, &outcome)
            case .toCome:
                // Of a decision from before this link looked at them nothing more will be known.
                let isLate = now - entry.reportedAt > maximumHold
                if entry.reportedAt > readThrough, decisions.count < Self.maximumKept, !isLate {
                    left.append(marker)
                } else {
                    if isLate { incompleteReleases += 1 }
                    permit(marker.partition, marker.offset, &outcome)
                }
            }
        }
        unmatched = left
    }

    private enum Match {
        /// And earlier decisions, which the mirror has passed.
        case found(DecisionID, passed: [DecisionID])
        /// Of a decision from before those that are known.
        case unknown
        case toCome
    }

    /// The source writes a producer's markers in the order of its decisions, all of one before the first of the next. From the first
    /// marker on that this gate has matched, order alone tells them apart; for the first one time has to, unless each decision has an
    /// epoch of its own (KIP-890).
    private func decision(of marker: HeldMarker) -> Match {
        let partition = marker.partition
        let source = TopicPartition(sources[partition.topic] ?? "", partition.partition)
        let all = (byProducer[marker.producer] ?? []).filter { decisions[$0]?.decision.partitions.contains(source) == true }
        if let same = all.first(where: { decisions[$0]?.markers[partition] == marker.offset }) { return .found(same, passed: []) }
        let anchor = all.lastIndex { id in decisions[id]?.markers[partition].map { $0 < marker.offset } ?? false }
        let following = all[(anchor.map { $0 + 1 } ?? 0)...].filter { decisions[$0]?.passed.contains(partition) == false }
        guard let first = following.first, let earliest = decisions[first]?.decision else { return .toCome }
        if sequenced.contains(Sequence(partition: partition, producer: marker.producer)) { return .found(first, passed: []) }
        var best: (index: Int, distance: Int64)?
        for (index, id) in following.enumerated() {
            guard let entry = decisions[id] else { continue }
            let distance = max(
                0, entry.decision.decidedAt - marker.timestamp, entry.completionTimestamp.map { marker.timestamp - $0 } ?? 0)
            if distance < best?.distance ?? .max { best = (index, distance) }
        }
        guard let best else { return .toCome }
        // An earlier transaction of the producer had ended before this one began.
        if anchor == nil, max(0, marker.timestamp - earliest.startedAt) < best.distance { return .unknown }
        return .found(following[best.index], passed: Array(following[..<best.index]))
    }

    private mutating func permit(_ partition: TopicPartition, _ offset: Offset, _ outcome: inout Outcome) {
        guard let entry = held[partition]?[offset], !entry.isPermitted else { return }
        held[partition]?[offset]?.isPermitted = true
        outcome.permitted.append(entry.marker)
    }

    private mutating func permitLagging(_ outcome: inout Outcome) {
        guard !lagging.isEmpty || !newTopics.isEmpty else { return }
        for (partition, entries) in held where lags(partition) {
            for offset in entries.keys { permit(partition, offset, &outcome) }
        }
    }

    // MARK: Progress

    /// Takes note of how far mirrors are, and forgets what has arrived everywhere.
    public mutating func progressed(_ standings: [TopicPartition: MirrorStanding]) {
        for (partition, standing) in standings {
            if let since = lagging[partition], let caughtUpAt = standing.caughtUpAt, caughtUpAt > since { lagging[partition] = nil }
            held[partition] = held[partition]?.filter { $0.key >= standing.highWatermark }
            if held[partition]?.isEmpty == true { held[partition] = nil }
        }
        for topic in newTopics {
            let own = standings.filter { $0.key.topic == topic }
            if !own.isEmpty, own.values.allSatisfy({ $0.caughtUpAt != nil }) { newTopics.remove(topic) }
        }
        passMarkers(standings)
        forgetSettled(standings)
    }

    /// A mirror that has had everything since the source wrote the last marker, and holds none, has appended it long ago.
    private mutating func passMarkers(_ standings: [TopicPartition: MirrorStanding]) {
        for id in unreleased {
            guard let entry = decisions[id], let completedAt = entry.completedAt, let needed = needed(entry) else { continue }
            for partition in needed where entry.markers[partition] == nil {
                guard let caughtUpAt = standings[partition]?.caughtUpAt, caughtUpAt > completedAt else { continue }
                decisions[id]?.passed.insert(partition)
            }
        }
    }

    private mutating func forgetSettled(_ standings: [TopicPartition: MirrorStanding]) {
        for partition in Array(order.keys) {
            while let id = order[partition]?.first, let entry = decisions[id], isSettled(entry, standings) {
                order[partition]?.removeFirst()
                forget(id, entry)
            }
        }
    }

    private func isSettled(_ entry: Decision, _ standings: [TopicPartition: MirrorStanding]) -> Bool {
        guard entry.completedAt != nil else { return false }
        guard let needed = needed(entry) else { return true }
        guard entry.isReleased else { return needed.isEmpty && entry.markers.isEmpty }
        return entry.markers.allSatisfy { partition, offset in
            sources[partition.topic] == nil || standings[partition].map { $0.highWatermark > offset } ?? false
        }
    }

    private mutating func forget(_ id: DecisionID, _ entry: Decision) {
        decisions[id] = nil
        unreleased.remove(id)
        recorded[id] = nil
        let producer = entry.decision.producer
        byProducer[producer]?.removeAll { $0 == id }
        if byProducer[producer]?.isEmpty == true { byProducer[producer] = nil }
        if incomplete[entry.decision.transactionalID] == id { incomplete[entry.decision.transactionalID] = nil }
    }

    /// By partition of `__transaction_state`: all decisions before are carried out in all mirrors.
    public var settledPositions: OrderedDictionary<Int32, Offset> {
        var positions = nextOffsets
        for (partition, ids) in order {
            if let first = ids.first { positions[partition] = first.offset }
        }
        return positions
    }
}
