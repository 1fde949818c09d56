// The mirroring of one partition by its leader: asks the source, and does what the session says, as `MirrorFetcher` does.
import Linking
import Primitives

/// What a source's broker answers to a fetch.
enum ModelAnswer {
    case refused(String)
    case outOfRange
    case data(start: Offset, highWatermark: Offset, [ModelBatch], hasDiverged: Bool)
}

extension ModelCluster {
    /// The partition of a topic if that broker leads it.
    func led(_ name: String, _ id: TopicID, _ index: Int32, by broker: NodeID) -> ModelPartition? {
        guard let topic = topic(id: id), Int(index) < topic.partitions.count else {
            return nil
        }
        let partition = topic.partitions[Int(index)]
        return partition.leader == broker && self.broker(broker)?.isRunning == true ? partition : nil
    }

    func answer(_ question: MirrorQuestion, _ partition: ModelPartition) -> ModelAnswer {
        guard let replica = partition.leading else { return .refused("no leader") }
        let (offset, epoch, count) =
            switch question {
            case .records(let offset, let epoch): (offset, epoch, 8)
            case .batch(let offset): (offset, LeaderEpoch(-1), 1)
            }
        if epoch >= 0 {
            let (known, end) = replica.log.endOfEpoch(epoch)
            if known < epoch || end < offset {
                return .data(start: replica.log.start, highWatermark: replica.highWatermark, [], hasDiverged: true)
            }
        }
        guard offset >= replica.log.start, offset <= replica.log.end else { return .outOfRange }
        return .data(
            start: replica.log.start, highWatermark: replica.highWatermark,
            replica.log.batches(from: offset, to: replica.highWatermark, count: count), hasDiverged: false)
    }

    /// Where a log begins and ends; nil while a new leader does not know what is committed.
    func bounds(_ partition: ModelPartition) -> (start: Offset, end: Offset)? {
        guard let replica = partition.leading else { return nil }
        if replica.highWatermark < partition.epochBegan { return nil }
        return (replica.log.start, replica.highWatermark)
    }
}

/// One mirror partition on its leader.
final class MirrorRun {
    let broker: ModelBroker
    let partition: ModelPartition
    let mirror: MirrorTopic
    let link: LinkDefinition
    private(set) var session: MirrorSession
    private var question: MirrorQuestion
    private var leader: NodeID = -1
    private var failures: Int64 = 0
    /// Answers to what was asked before the last change of mind are not looked at.
    private var turn = 0
    var isStopped = false

    init?(_ broker: ModelBroker, _ partition: ModelPartition, _ mirror: MirrorTopic, _ link: LinkDefinition) {
        guard let position = Self.position(broker, partition) else { return nil }
        self.broker = broker
        self.partition = partition
        self.mirror = mirror
        self.link = link
        (session, question) = Self.beginning(position, broker.world.mutation)
    }

    private static func beginning(_ position: MirrorPosition, _ mutation: LinkMutation?) -> (MirrorSession, MirrorQuestion) {
        guard mutation == .skipComparing else {
            let (session, question) = MirrorSession.begin(position)
            return (session, question)
        }
        var empty = position
        empty.logStartOffset = position.logEndOffset
        let (session, question) = MirrorSession.begin(empty)
        return (session, question)
    }

    private var world: LinkWorld { broker.world }
    private var source: ModelCluster? { world.cluster(link.sourceClusterID) }
    private var replica: ModelReplica? { partition.leading }

    private func note(_ text: @autoclosure () -> String) { broker.note("\(partition.name) \(text())") }

    private static func position(_ broker: ModelBroker, _ partition: ModelPartition) -> MirrorPosition? {
        guard partition.leader == broker.id, let replica = partition.leading, replica.access == .mirror else { return nil }
        return MirrorPosition(
            leaderEpoch: partition.epoch, logStartOffset: replica.log.start, logEndOffset: replica.log.end,
            mayCut: partition.mayCut || broker.world.mutation == .cutInTheSameEpoch)
    }

    private var position: MirrorPosition? { Self.position(broker, partition) }

    // MARK: Asking

    /// Looks for the source's leader, and begins anew when it is another.
    func lookUp() {
        guard !isStopped, let source else { return }
        turn += 1
        let asked = turn
        world.ask(broker, source) { [self] () -> NodeID? in
            guard let topic = source.topics[mirror.sourceName], topic.id == mirror.sourceID,
                Int(partition.name.partition) < topic.partitions.count
            else { return nil }
            return topic.partitions[Int(partition.name.partition)].leader
        } _: { [self] found in
            guard !isStopped, turn == asked else { return }
            guard let found, found >= 0 else { return broker.later(50...600) { [self] in lookUp() } }
            if found != leader {
                note("follows broker \(found) of \(source.name)")
                leader = found
                guard let position else { return broker.forget(self) }
                (session, question) = Self.beginning(position, world.mutation)
            }
            ask()
        }
    }

    private func ask() {
        guard !isStopped, let source else { return }
        turn += 1
        let (asked, question, sentAt) = (turn, question, world.now)
        world.ask(broker, source) { [self] () -> ModelAnswer? in
            guard let partition = source.led(mirror.sourceName, mirror.sourceID, partition.name.partition, by: leader) else {
                return .refused("not the leader")
            }
            return source.answer(question, partition)
        } _: { [self] answer in
            guard !isStopped, turn == asked else { return }
            take(answer ?? .refused("no answer"), question, sentAt)
        }
    }

    private func rest() {
        failures += 1
        let asked = turn
        broker.later(10...(20 << min(failures, 5))) { [self] in if turn == asked { ask() } }
    }

    // MARK: Answers

    private func take(_ answer: ModelAnswer, _ question: MirrorQuestion, _ sentAt: Int64) {
        switch answer {
        case .refused(let reason):
            note("is refused: \(reason)")
            broker.later(10...200) { [self] in lookUp() }
        case .outOfRange: advance { session, position in session.outOfRange(position) }
        case .data(let start, let highWatermark, let batches, let hasDiverged):
            if hasDiverged { return advance { session, position in session.parted(position) } }
            if session.isFollowing {
                append(batches, start: start, highWatermark, sentAt)
            } else {
                compare(question, batches.first, highWatermark, sentAt)
            }
        }
    }

    private func append(_ batches: [ModelBatch], start: Offset, _ highWatermark: Offset, _ sentAt: Int64) {
        guard let replica, position?.leaderEpoch == session.leaderEpoch else { return broker.forget(self) }
        if !batches.isEmpty { world.ledger.follows(broker.cluster, partition) }
        for batch in batches where batch.last >= replica.log.end {
            if replica.log.isEmpty, batch.base != replica.log.end { begin(replica, at: batch.base, sourceStart: start) }
            guard batch.base >= replica.log.end else {
                return advance { session, position in session.overlapped(from: batch.base, position) }
            }
            world.ledger.goesOn(partition, replica, at: batch.base, sourceStart: start)
            var own = batch
            own.epoch = partition.epoch
            replica.log.append(own)
        }
        replica.sourceStart = start
        broker.lead(partition)
        broker.followSourceStart(partition, replica)
        noteProgress(replica, highWatermark, sentAt)
        advance { session, _ in session.appended(upTo: replica.log.end, lastSourceEpoch: batches.last?.epoch) }
    }

    private func noteProgress(_ replica: ModelReplica, _ sourceEnd: Offset, _ sentAt: Int64) {
        broker.board[partition.name]?.note(
            sourceEnd: sourceEnd, logEnd: replica.log.end, committed: replica.highWatermark, askedAt: sentAt)
    }

    private func compare(_ question: MirrorQuestion, _ batch: ModelBatch?, _ highWatermark: Offset, _ sentAt: Int64) {
        let offset =
            switch question {
            case .batch(let offset), .records(let offset, _): offset
            }
        if batch == nil, highWatermark > offset {
            note("gets no batch at \(offset)")
            return rest()
        }
        guard position != nil, let replica else { return broker.forget(self) }
        let own = replica.log.batches(from: offset, to: .max, count: 1).first.map(Self.identity)
        var source = batch.map(Self.identity)
        if world.mutation == .believeEveryBatch, source != nil { source = own }
        advance { session, position in
            session.compared(
                at: offset, own: own, source: source, sourceEpoch: batch?.epoch ?? -1, isComparable: true, sourceEnd: highWatermark,
                position)
        }
        if session.isFollowing { noteProgress(replica, highWatermark, sentAt) }
    }

    private static func identity(_ batch: ModelBatch) -> BatchIdentity {
        BatchIdentity(baseOffset: batch.base, lastOffset: batch.last, crc: UInt32(truncatingIfNeeded: batch.id))
    }

    private func askBounds() {
        guard let source else { return }
        turn += 1
        let asked = turn
        world.ask(broker, source) { [self] in
            source.led(mirror.sourceName, mirror.sourceID, partition.name.partition, by: leader).flatMap { source.bounds($0) }
        } _: { [self] bounds in
            guard !isStopped, turn == asked else { return }
            note("gets bounds \(bounds.map { "\($0)" } ?? "not now")")
            guard let bounds else { return broker.later(10...200) { [self] in lookUp() } }
            let policy: LinkSettings.GapPolicy = world.plan.skipsGaps || world.mutation == .skipGaps ? .skip : .fail
            advance { session, position in
                session.bounds(start: bounds.start, end: bounds.end, policy: policy, position)
            }
        }
    }

    // MARK: What comes next

    private func advance(_ decide: (inout MirrorSession, MirrorPosition?) -> MirrorAction) {
        let action = decide(&session, position)
        if case .ask = action { failures = 0 } else { note("\(action)") }
        perform(action)
    }

    private func perform(_ action: MirrorAction) {
        switch action {
        case .ask(let next):
            question = next
            broker.later(session.isFollowing ? 5...60 : 0...5) { [self, turn] in if self.turn == turn { ask() } }
        case .rest: rest()
        case .wait: break
        case .askBounds: askBounds()
        case .needEpoch(let offset, let next):
            note("needs a new epoch to be cut to \(offset)")
            question = next
            let (leader, epoch) = (broker.id, session.leaderEpoch)
            world.after(1...40) { [self] in broker.cluster.beginEpoch(partition, leader: leader, after: epoch) }
            rest()
        case .keep(let offset, let before): keep(from: offset, before)
        case .cut(let offset): cut(to: world.mutation == .cutTooFar ? max(before(offset), 0) : offset)
        case .restart(let offset):
            guard let replica else { return broker.forget(self) }
            begin(replica, at: offset, sourceStart: offset)
            advance { session, position in position.map { session.restarted($0) } ?? .drop }
        case .skip(_, let next):
            note("goes on behind a gap")
            broker.noteBreak(partition.name)
            question = next
            ask()
        case .fail(let reason):
            note("fails: \(reason)")
            broker.board[partition.name]?.failure = reason
            isStopped = true
        case .drop: broker.forget(self)
        }
    }

    private func begin(_ replica: ModelReplica, at offset: Offset, sourceStart: Offset) {
        note("begins anew at \(offset)")
        if replica.log.end > 0 { world.ledger.goesOn(partition, replica, at: offset, sourceStart: sourceStart) }
        world.ledger.transactions.wasCut(partition.name, broker.cluster)
        broker.noteBreak(partition.name)
        replica.log.restart(at: offset)
        replica.log.assign(partition.epoch)
        replica.highWatermark = min(replica.highWatermark, offset)
        replica.followers = [:]
        partition.epochBegan = min(partition.epochBegan, offset)
        partition.committed.restart(at: offset)
        world.ledger.historyChanged(partition)
    }

    private func keep(from offset: Offset, _ before: MirrorPosition) {
        let turn = turn
        // Read now, durable later.
        let kept = replica?.log.batches(from: offset, to: .max, count: .max / 2) ?? []
        broker.later(0...100) { [self] in
            guard !isStopped, self.turn == turn else { return }
            if world.mutation != .cutWithoutKeeping { world.ledger.kept(kept) }
            question = .batch(at: before.logEndOffset - 1)
            let isKept = !world.random.chance(50)
            advance { session, position in session.kept(isKept, from: offset, before: before, position) }
        }
    }

    /// Where the batch before an offset begins.
    private func before(_ offset: Offset) -> Offset {
        replica?.log.batch(at: offset - 1)?.base ?? offset
    }

    private func cut(to offset: Offset) {
        guard let replica, position?.leaderEpoch == session.leaderEpoch else { return broker.forget(self) }
        note("is cut from \(replica.log.end) to \(offset)")
        let isOriginal = source?.committedImage.mirrors[mirror.sourceName]?.state.isWritable ?? true
        world.ledger.cut(partition, replica, to: offset, isOriginal ? source?.topic(id: mirror.sourceID) : nil)
        world.ledger.transactions.wasCut(partition.name, broker.cluster)
        broker.noteBreak(partition.name)
        replica.cut(to: offset, partition, isNewEpoch: world.mutation != .cutInTheSameEpoch)
        world.ledger.historyChanged(partition)
        advance { session, position in session.wasCut(position) }
    }
}
