// Decides how far a link's mirrors are settled: which transactions may be shown as committed, because they have ended in all mirrors that
// they touched. Mirrors take the source's records as they come; a marker behind the settled offset of its mirror counts for nothing yet,
// and a fail-over cuts the mirror there. Knows what the source decided from its `__transaction_state`, and the markers from the mirrors'
// leaders. A value: events go in, steps come out, which are recorded before anybody goes by them.
//
// A marker names a producer and its epoch, which before transaction.version 2 are the same for many transactions. The source writes a
// producer's markers in the order of its decisions, all of one before the first of the next, so the order tells which marker is of which
// decision once one of them is known; the record keeps that known from coordinator to coordinator.
import Collections
import Primitives

/// The gate of one link.
public struct TransactionGate: Sendable {
    struct Decision: Sendable {
        var decision: TransactionDecision
        /// Markers that stand behind the settled offset.
        var markers: [TopicPartition: Offset] = [:]
        /// Mirrors that have carried it out, or never will.
        var passed: Set<TopicPartition> = []
        /// When the source had written all markers, as far as is known here: monotonic milliseconds, and by the source's clock.
        var completedAt: Int64?
        var completionTimestamp: Timestamp?
        var firstMarkerAt: Int64?
        /// Of all decisions, in the order in which they were observed.
        var number: Int
    }

    struct Marker: Sendable {
        enum Fate: Sendable, Hashable {
            /// Its decision has not been found.
            case unknown
            case of(DecisionID)
            /// Of a decision from before those that are known, or of one that nobody will ever know.
            case free
        }

        var marker: MirroredMarker
        var reportedAt: Int64
        var fate = Fate.unknown
    }

    struct Mirror: Sendable {
        /// Nil while it is not waited for: then markers count as they come.
        var settled: SettledMirror?
        /// Since when it is not waited for: it is again once it has everything that the source had then.
        var freeSince: Int64
        var leaderEpoch: LeaderEpoch = -1
        /// Behind the settled offset, in order.
        var markers: [Marker] = []
        /// What is known ends here; -1 when nothing is.
        var upTo: Offset = -1
        var stableOffset: Offset = 0
        var coveredAt: Int64?
        /// When its leader was heard of first, while it is not waited for: markers from then on are reported.
        var heardAt: Int64?
        /// Decisions from this one on were made since.
        var firstDecision: Int?
        /// Since when brokers are asked to show no more of it, before it is waited for; monotonic milliseconds.
        var heldSince: Int64?
        /// Whether all of them have heard.
        var isHeldByAll = false
        /// Whether its leader held it when it reported last.
        var isHeldByLeader = false
        /// Producers whose next marker is known to be of their next decision; nil for all of them.
        var sequenced: Set<ProducerID>? = []
    }

    let maximumHold: Int64
    /// How long after the source's last marker a mirror that covers that time must have had it: a source's new leader may say for a moment
    /// that less is committed than there is.
    static let coverageMilliseconds: Int64 = 2_000
    /// Decisions that are kept in mind; the oldest are let go of beyond that.
    private static let maximumDecisions = 200_000

    var decisions: [DecisionID: Decision] = [:]
    var order: OrderedDictionary<Int32, Deque<DecisionID>> = [:]
    var byProducer: [ProducerID: [DecisionID]] = [:]
    /// The last one of a transactional id, while it is not known to be complete.
    var incomplete: [String: DecisionID] = [:]
    var nextOffsets: OrderedDictionary<Int32, Offset> = [:]
    let recorded: SettledDecisions
    var mirrors: [TopicPartition: Mirror] = [:]
    /// What was recorded of mirrors, until it is known which of them fetch.
    var recordedMirrors: [TopicPartition: SettledMirror]
    /// Partitions of `__consumer_offsets` that transactions name and that are not read yet, with when the first of those began, by the
    /// source's clock.
    public internal(set) var offsetsToBegin: [Int32: Timestamp] = [:]
    /// Mirror topic by source topic; nil until they are known.
    var topics: [String: String]?
    private(set) var sources: [String: String] = [:]
    private var partitionCount = 0
    /// How many decisions have been observed.
    private var observed = 0
    /// All decisions made before this time have been observed.
    var readThrough: Int64 = .min
    /// While the source's decisions cannot be read nothing is waited for.
    var isOpen = false
    /// Changes since the last step.
    var pending = SettlingStep()
    var pendingHolds: [TopicPartition: SettledMirror?] = [:]
    /// Transactions shown though a mirror's marker had not come.
    public var incompleteTransactions = 0

    /// - Parameters:
    ///   - recorded: by coordinators before this one.
    ///   - maximumHoldMilliseconds: how long a transaction waits for a marker that does not come.
    public init(_ recorded: SettledTransactions, maximumHoldMilliseconds: Int64) {
        maximumHold = maximumHoldMilliseconds
        self.recorded = recorded.decisions
        nextOffsets = recorded.decisions.positions
        recordedMirrors = recorded.mirrors
    }

    // MARK: What is known

    /// Where to go on reading; nil for a partition that nothing is known of.
    public func position(of partition: Int32) -> Offset? { nextOffsets[partition] }

    /// Whether markers have waited since a time for decisions that have not been observed, or mirrors to be waited for.
    public func awaitsDecisions(since time: Int64) -> Bool {
        mirrors.values.contains { mirror in
            if let heardAt = mirror.heardAt, mirror.firstDecision == nil, heardAt <= time { return true }
            return mirror.markers.contains { $0.fate == .unknown && $0.reportedAt <= time }
        }
    }

    /// Committed transactions of which some markers have arrived, but not all.
    public var heldTransactions: Int {
        decisions.values.count { $0.decision.isCommit && $0.firstMarkerAt != nil && !waiting($0).isEmpty }
    }

    /// Whether something is under way, so that news of mirrors is wanted soon.
    public var isBusy: Bool {
        decisions.values.contains { !waiting($0).isEmpty } || mirrors.values.contains { !$0.markers.isEmpty || $0.heldSince != nil }
    }

    public var mirrorTopics: Int { sources.count - (sources[OffsetsLog.topic] == nil ? 0 : 1) }

    /// Mirror partitions that the others do not wait for, with those that have not been heard of.
    public var freeMirrors: Int {
        let own = mirrors.filter { $0.key.topic != OffsetsLog.topic }
        return max(partitionCount, own.count) - own.values.count { $0.settled != nil }
    }

    /// Up to where a mirror's committed records go, as far as is known; -1 when nothing is.
    public func reach(of partition: TopicPartition) -> Offset { mirrors[partition]?.upTo ?? -1 }

    /// Whether all decisions before some offsets have been observed, and what they committed is settled.
    ///
    /// - Parameter topics: in these mirrors, whether the others wait for them or not; nil for all that are waited for.
    public func hasSettled(before ends: [Int32: Offset], in topics: Set<String>? = nil) -> Bool {
        ends.allSatisfy { nextOffsets[$0.key] ?? 0 >= $0.value }
            && decisions.values.allSatisfy { entry in
                let id = entry.decision.id
                guard entry.decision.isCommit, id.offset < ends[id.partition] ?? 0 else { return true }
                guard let topics else { return waiting(entry).isEmpty }
                let chosen = mirrored(entry.decision.partitions).filter { topics.contains($0.topic) }
                return chosen.isEmpty || waiting(entry).isEmpty && chosen.allSatisfy { entry.passed.contains($0) }
            }
    }

    /// Whether nothing before some offsets of a mirror topic's partitions is held back.
    public func isSettled(_ topic: String, before ends: [Offset]) -> Bool {
        ends.indices.allSatisfy { index in
            guard let mirror = mirrors[TopicPartition(topic, Int32(index))] else { return ends[index] == 0 }
            guard mirror.settled != nil else { return true }
            return mirror.upTo >= ends[index] && !mirror.markers.contains { $0.marker.offset < ends[index] && $0.marker.isCommit }
        }
    }

    // MARK: Events

    /// Begins to read a partition at an offset.
    public mutating func begin(_ partition: Int32, at offset: Offset) { nextOffsets[partition] = offset }

    /// The source has decided.
    public mutating func observe(_ decision: TransactionDecision) {
        let id = decision.id
        nextOffsets[id.partition] = id.offset + 1
        guard decisions[id] == nil, !recorded.isDone(id) else { return }
        if decisions.count >= Self.maximumDecisions { forgetOldest() }
        observed += 1
        var entry = Decision(decision: decision, number: observed)
        entry.passed = recorded.partial[id] ?? []
        decisions[id] = entry
        order[id.partition, default: []].append(id)
        byProducer[decision.producer.id, default: []].append(id)
        incomplete[decision.transactionalID] = id
        waitForOffsets(of: decision)
    }

    /// A transactional id has gone on: the source has written all markers of what it decided before.
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
    public mutating func readThrough(_ time: Int64) {
        readThrough = max(readThrough, time)
        for (partition, mirror) in mirrors where mirror.firstDecision == nil && mirror.heardAt ?? .max <= readThrough {
            mirrors[partition]?.firstDecision = observed + 1
        }
    }

    /// Whether mirrors wait for each other; they do not while the source's decisions cannot be read.
    public mutating func setOpen(_ open: Bool, now: Int64) {
        guard open != isOpen else { return }
        isOpen = open
        if open { for partition in Array(mirrors.keys) { free(partition, now: now) } }
    }

    /// The mirrors that fetch, by their sources' names.
    ///
    /// - Parameters:
    ///   - partitions: of all of them.
    ///   - withOffsets: whether what groups commit within transactions is waited for, too.
    public mutating func setMirrors(_ topics: [String: String], partitions: Int = 0, withOffsets: Bool = false, now: Int64) {
        partitionCount = partitions
        var topics = topics
        // Under a prefix even that topic may have a mirror, which tells nothing here.
        if withOffsets, topics[OffsetsLog.topic] == nil { topics[OffsetsLog.topic] = OffsetsLog.topic }
        guard topics != self.topics else { return }
        self.topics = topics
        sources = Dictionary(topics.map { ($0.value, $0.key) }) { first, _ in first }
        if !withOffsets { offsetsToBegin = [:] }
        for partition in Array(mirrors.keys) where sources[partition.topic] == nil {
            forgetMarkers(of: partition)
            release(partition)
            if mirrors.removeValue(forKey: partition)?.settled != nil { pending.mirrors[partition] = .some(nil) }
        }
        for (partition, settled) in recordedMirrors {
            // One that does not fetch any more is waited for when it has caught up again.
            guard sources[partition.topic] != nil else {
                pending.mirrors[partition] = .some(nil)
                continue
            }
            var mirror = Mirror(settled: settled, freeSince: now)
            mirror.sequenced = nil
            mirrors[partition] = mirror
        }
        recordedMirrors = [:]
    }

    /// A mirror's leader says how far it is.
    ///
    /// - Returns: whether it fits what is known; if not, all of it has to be said, from the settled offset on.
    public mutating func report(_ report: MirrorReport, of partition: TopicPartition, now: Int64) -> Bool {
        guard sources[partition.topic] != nil else { return true }
        var mirror = mirrors[partition] ?? Mirror(settled: nil, freeSince: now)
        guard report.leaderEpoch >= mirror.leaderEpoch else { return true }
        mirror.isHeldByLeader = report.isHeld
        if report.isBroken || report.leaderEpoch > mirror.leaderEpoch && mirror.leaderEpoch >= 0 {
            // Another leader, too, may have cut the log.
            forgetMarkers(of: partition)
            mirror.markers = []
            mirror.upTo = -1
            mirror.coveredAt = nil
            (mirror.heardAt, mirror.firstDecision) = (nil, nil)
            // Markers that nobody has reported may lie between.
            if report.isBroken || mirror.settled == nil { mirror.sequenced = [] }
        }
        if report.isBroken {
            // It is waited for again once it has caught up.
            if mirror.settled != nil { pending.mirrors[partition] = .some(nil) }
            mirror.settled = nil
            mirror.freeSince = now
            (mirror.heldSince, mirror.isHeldByAll) = (nil, false)
            pendingHolds[partition] = .some(nil)
        }
        mirror.leaderEpoch = report.leaderEpoch
        let fits = mirror.upTo < 0 ? report.from <= mirror.settled?.end ?? .max : report.from <= mirror.upTo
        guard fits else {
            mirrors[partition] = mirror
            return false
        }
        if mirror.settled == nil, mirror.heardAt == nil { mirror.heardAt = now }
        let known = max(mirror.upTo, mirror.settled?.end ?? 0)
        mirror.markers += report.markers.filter { $0.offset >= known }.map { Marker(marker: $0, reportedAt: now) }
        mirror.upTo = max(mirror.upTo, report.upTo)
        if report.isHeld || mirror.settled == nil { mirror.stableOffset = report.stableOffset }
        if let time = report.coveredAt { mirror.coveredAt = max(mirror.coveredAt ?? .min, time) }
        mirrors[partition] = mirror
        return true
    }

    // MARK: Decisions

    /// The mirrors that have to carry a decision out before it counts, and have not.
    func waiting(_ entry: Decision) -> Set<TopicPartition> {
        Set(mirrored(entry.decision.partitions).filter { mirrors[$0]?.settled != nil && !entry.passed.contains($0) })
    }

    /// Under the names of the mirrors.
    func mirrored(_ partitions: [TopicPartition]) -> [TopicPartition] {
        partitions.compactMap { partition in topics?[partition.topic].map { TopicPartition($0, partition.partition) } }
    }

    mutating func forgetMarkers(of partition: TopicPartition) {
        for marker in mirrors[partition]?.markers ?? [] {
            if case .of(let id) = marker.fate { decisions[id]?.markers[partition] = nil }
        }
    }

    /// Whether nothing more will be asked about a decision. Topics that are not mirrored may be before all of its markers are there.
    private func isDone(_ entry: Decision, now: Int64) -> Bool {
        let own = mirrored(entry.decision.partitions)
        guard own.allSatisfy({ entry.passed.contains($0) }) else { return false }
        return own.count == entry.decision.partitions.count || now - (entry.completedAt ?? .max) > Self.coverageMilliseconds
    }

    mutating func forgetDone(now: Int64) {
        for partition in Array(order.keys) {
            while let id = order[partition]?.first {
                if let entry = decisions[id], !isDone(entry, now: now) { break }
                order[partition]?.removeFirst()
                forget(id)
            }
        }
    }

    private mutating func forgetOldest() {
        guard let partition = order.max(by: { $0.value.count < $1.value.count })?.key, let id = order[partition]?.popFirst() else { return }
        // Mirrors that have not carried it out do not know any longer which of the producer's markers is next.
        if let entry = decisions[id] {
            for mirror in mirrored(entry.decision.partitions) where !entry.passed.contains(mirror) {
                if mirrors[mirror]?.sequenced == nil { mirrors[mirror]?.sequenced = [] }
                mirrors[mirror]?.sequenced?.remove(entry.decision.producer.id)
            }
        }
        forget(id)
    }

    private mutating func forget(_ id: DecisionID) {
        guard let entry = decisions.removeValue(forKey: id) else { return }
        let producer = entry.decision.producer.id
        byProducer[producer]?.removeAll { $0 == id }
        if byProducer[producer]?.isEmpty == true { byProducer[producer] = nil }
        if incomplete[entry.decision.transactionalID] == id { incomplete[entry.decision.transactionalID] = nil }
    }

    /// What an earlier coordinator recorded as done is not looked at again, and stays so.
    private func keepRecorded(in settled: inout SettledDecisions) {
        for (partition, ranges) in recorded.done {
            let position = settled.positions[partition] ?? 0
            let kept = ranges.filter { $0.upperBound >= position }.map { max($0.lowerBound, position)...$0.upperBound }
            if !kept.isEmpty { settled.done[partition, default: []] += kept }
        }
        for (id, mirrors) in recorded.partial where id.offset >= nextOffsets[id.partition] ?? 0 { settled.partial[id] = mirrors }
    }

    /// Mirrors that nobody waits for do not keep the record long: once the source has written all markers, those come with what is there.
    private func isRecordedAsDone(_ entry: Decision) -> Bool {
        guard waiting(entry).isEmpty else { return false }
        let own = mirrored(entry.decision.partitions)
        return entry.completedAt != nil || own.count == entry.decision.partitions.count && own.allSatisfy { entry.passed.contains($0) }
    }

    /// What the mirrors' settled offsets stand for.
    var settledDecisions: SettledDecisions {
        var settled = SettledDecisions()
        settled.positions = nextOffsets
        for (partition, ids) in order {
            var run: ClosedRange<Offset>?
            var isFirst = true
            for id in ids {
                guard let entry = decisions[id] else { continue }
                if isRecordedAsDone(entry) {
                    if !isFirst { run = (run?.lowerBound ?? id.offset)...id.offset }
                    continue
                }
                if isFirst { settled.positions[partition] = id.offset }
                isFirst = false
                if let ended = run { settled.done[partition, default: []].append(ended) }
                run = nil
                if !entry.passed.isEmpty { settled.partial[id] = entry.passed }
            }
            if let ended = run { settled.done[partition, default: []].append(ended) }
        }
        keepRecorded(in: &settled)
        return settled
    }
}
