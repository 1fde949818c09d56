// What a mirror's fetcher makes of the source's answers.
import KafkaMessages
import KafkaWire
import Linking
import NIOCore
import Network
import Primitives
import RecordBatches
import Replication
import Storage

extension MirrorFetcher {
    func take(_ data: FetchResponse.PartitionData, _ key: FetchSessionKey, version: Int16) {
        guard plan.isCurrent(key), let mirror = mirrors[key], let asked = plan.position(of: key) else { return }
        switch data.errorCode {
        case .none: break
        case .offsetOutOfRange:
            return advance(key) { session, position in session.outOfRange(position) }
        case .notLeaderOrFollower, .leaderNotAvailable, .replicaNotAvailable, .fencedLeaderEpoch, .unknownLeaderEpoch,
            .unknownTopicId, .unknownTopicOrPartition, .inconsistentTopicId, .kafkaStorageError, .offsetNotAvailable:
            rest(key, "\(data.errorCode.name) at the source")
            mirrors[key]?.trust.isShaken = true
            owner?.lostLeader(mirror.partition, data.errorCode.name)
            return
        default: return rest(key, "\(data.errorCode.name) at the source: \(data.errorCode.defaultMessage)")
        }
        if data.divergingEpoch.endOffset >= 0 || data.divergingEpoch.epoch >= 0 {
            return advance(key) { session, position in session.parted(position) }
        }
        guard mirror.session.isFollowing else { return compare(data, key, mirror, asked) }
        if version < Self.firstVersionWithTopicIDs, doubts(data, key, mirror) { return }
        append(
            FetchedMirror(records: data.records ?? ByteBuffer(), sourceStart: data.logStartOffset, sourceEnd: data.highWatermark),
            key, mirror)
    }

    // MARK: Following

    /// Appends what was fetched.
    private func append(_ fetched: FetchedMirror, _ key: FetchSessionKey, _ mirror: Mirror) {
        let position = mirror.partition.mirrorPosition
        if let first = try? RecordBatchHeader(from: fetched.records), let position, !position.isEmpty,
            first.baseOffset < position.logEndOffset, first.lastOffset >= position.logEndOffset
        {
            return advance(key) { session, position in session.overlapped(from: first.baseOffset, position) }
        }
        let summary = FetchedBatches(fetched.records, readingMarkers: settings.keepsTransactionsWhole)
        do throws(PartitionError) {
            let taken = try mirror.partition.appendMirrored(
                fetched.records, leaderEpoch: mirror.session.leaderEpoch, sourceStartOffset: fetched.sourceStart, now: SystemClock.now())
            if taken.bytes > 0, throttle.isLimited { throttle.record(bytes: taken.bytes) }
            let end = taken.position.logEndOffset
            if settings.keepsTransactionsWhole, taken.bytes > 0, let from = position?.logEndOffset {
                owner?.appended(
                    summary.markers, to: mirror.partition, leaderEpoch: mirror.session.leaderEpoch, from: from, upTo: end)
            }
            note(mirror.partition, sourceEnd: fetched.sourceEnd, logEnd: end, summary)
            advance(key) { session, _ in session.appended(upTo: end, lastSourceEpoch: summary.lastEpoch) }
        } catch {
            giveUp(key, error)
        }
    }

    /// Another broker leads the mirror by now, or the topic is no mirror any more: whoever knows says so to this fetcher. What else goes wrong
    /// passes.
    private func giveUp(_ key: FetchSessionKey, _ error: PartitionError) {
        if case .notLeader = error { return drop(key) }
        rest(key, "\(error)")
    }

    // MARK: What comes next

    /// Lets a partition's session decide, and does what it says.
    func advance(_ key: FetchSessionKey, _ decide: (inout MirrorSession, MirrorPosition?) -> MirrorAction) {
        guard var mirror = mirrors[key] else { return }
        let action = decide(&mirror.session, mirror.partition.mirrorPosition)
        if case .ask = action { mirror.failures = 0 }
        mirrors[key] = mirror
        perform(action, key, mirror)
    }

    private func perform(_ action: MirrorAction, _ key: FetchSessionKey, _ mirror: Mirror) {
        switch action {
        case .ask(let question): plan.advance(key, to: fetchPosition(question))
        case .rest(let reason): rest(key, reason)
        case .wait: break
        case .askBounds(let reason): askBounds(key, reason)
        case .needEpoch(let offset, let question):
            owner?.needsNewEpoch(mirror.partition, mirror.session.leaderEpoch)
            plan.advance(key, to: fetchPosition(question))
            rest(key, "records that the source does not have are to be cut off, from offset \(offset) on")
        case .keep(let offset, let position): keep(key, mirror, from: offset, position)
        case .cut(let offset): cut(key, mirror, to: offset)
        case .restart(let offset): restart(key, mirror, at: offset)
        case .skip(let reason, let question):
            board.noteBreak(mirror.partition.topicPartition)
            logger.warning(
                "a mirror goes on behind a gap", metadata: ["partition": "\(mirror.partition.topicPartition)", "reason": "\(reason)"])
            plan.advance(key, to: fetchPosition(question))
        case .fail(let reason):
            drop(key)
            note(mirror.partition, problem: reason)
            owner?.failed(mirror.partition, reason)
        case .drop: drop(key)
        }
    }

    /// Notes where the source's committed records end, and the mirror's.
    private func note(_ partition: Partition, sourceEnd: Offset, logEnd: Offset? = nil, _ batches: FetchedBatches? = nil) {
        let now = SystemClock.monotonicMilliseconds()
        let (clock, sentAt) = (clock, sentAt)
        guard let logEnd = logEnd ?? partition.mirrorPosition?.logEndOffset else { return }
        let committed = settings.keepsTransactionsWhole ? (try? partition.withLog { $0.highWatermark }) : nil
        board.update(partition.topicPartition, link: link) { progress in
            progress.sourceEndOffset = sourceEnd
            progress.logEndOffset = logEnd
            progress.answeredAt = now
            if let batches, batches.bytes > 0 {
                progress.bytes += Int64(batches.bytes)
                progress.records += batches.records
                if batches.maxTimestamp >= 0 { progress.latencyMilliseconds = max(0, SystemClock.now() - batches.maxTimestamp) }
            }
            progress.problem = ""
            progress.clock = clock
            if logEnd >= sourceEnd { progress.caughtUpAt = sentAt }
            if let committed { progress.noteSourceEnd(sourceEnd, askedAt: sentAt, committed: committed) }
        }
    }

    // MARK: Comparing

    private func compare(_ data: FetchResponse.PartitionData, _ key: FetchSessionKey, _ mirror: Mirror, _ asked: FetchPosition) {
        let offset = asked.fetchOffset
        let header = data.records.flatMap { try? RecordBatchHeader(from: $0) }
        // Left out for want of room in the answer: ask again.
        if header == nil, data.highWatermark > offset { return rest(key, "") }
        do throws(PartitionError) {
            let own = try mirror.partition.batchIdentity(at: offset)
            let source = header.map { BatchIdentity($0) }
            let isComparable = !mirror.partition.isCompacted
            advance(key) { session, position in
                session.compared(
                    at: offset, own: own, source: source, sourceEpoch: header?.partitionLeaderEpoch ?? -1, isComparable: isComparable,
                    sourceEnd: data.highWatermark, position)
            }
            // With nothing new there, no later answer will speak of the partition.
            if mirrors[key]?.session.isFollowing == true { note(mirror.partition, sourceEnd: data.highWatermark) }
        } catch {
            giveUp(key, error)
        }
    }

    // MARK: Cutting

    private func keep(_ key: FetchSessionKey, _ mirror: Mirror, from offset: Offset, _ position: MirrorPosition) {
        guard let owner else { return }
        // Nothing is asked for until the records are kept.
        plan.stop(key)
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        owner.willCut(mirror.partition, to: offset, end: position.logEndOffset) { [eventLoop] isKept in
            eventLoop.execute { bound.value.kept(isKept, key, mirror, from: offset, position) }
        }
    }

    private func kept(_ isKept: Bool, _ key: FetchSessionKey, _ mirror: Mirror, from offset: Offset, _ before: MirrorPosition) {
        guard mirrors[key]?.session == mirror.session, !plan.contains(key) else { return }
        plan.follow(key, from: fetchPosition(.batch(at: before.logEndOffset - 1)))
        advance(key) { session, position in session.kept(isKept, from: offset, before: before, position) }
        resume()
    }

    private func cut(_ key: FetchSessionKey, _ mirror: Mirror, to offset: Offset) {
        let former = mirror.partition.mirrorPosition?.logEndOffset ?? offset
        // Before and after, for a report may be made between.
        board.noteBreak(mirror.partition.topicPartition)
        defer { board.noteBreak(mirror.partition.topicPartition) }
        do throws(PartitionError) {
            let position = try mirror.partition.cutMirror(
                to: offset, leaderEpoch: mirror.session.leaderEpoch, now: SystemClock.now())
            board.update(mirror.partition.topicPartition, link: link) { $0.cutRecords += former - offset }
            advance(key) { session, _ in session.wasCut(position) }
        } catch {
            rest(key, "\(error)")
        }
    }

    private func restart(_ key: FetchSessionKey, _ mirror: Mirror, at offset: Offset) {
        board.noteBreak(mirror.partition.topicPartition)
        defer { board.noteBreak(mirror.partition.topicPartition) }
        do throws(PartitionError) {
            let position = try mirror.partition.restartMirror(
                at: offset, leaderEpoch: mirror.session.leaderEpoch, now: SystemClock.now())
            advance(key) { session, _ in session.restarted(position) }
        } catch {
            giveUp(key, error)
        }
    }

    // MARK: Offsets that the source does not have

    private func askBounds(_ key: FetchSessionKey, _ reason: String) {
        guard let asked = plan.position(of: key) else { return }
        rest(key, reason)
        askOffset(key, timestamp: -2) { [self] start in
            askOffset(key, timestamp: -1) { [self] end in
                guard plan.position(of: key)?.fetchOffset == asked.fetchOffset else { return }
                advance(key) { [settings] session, position in
                    session.bounds(start: start, end: end, policy: settings.gapPolicy, position)
                }
                resume()
            }
        }
    }

    private func askOffset(_ key: FetchSessionKey, timestamp: Int64, _ answer: @escaping (Offset) -> Void) {
        guard let name = owner?.sourceName(key) else { return }
        var partition = ListOffsetsRequest.ListOffsetsPartition()
        partition.partitionIndex = key.partition
        partition.timestamp = timestamp
        var topic = ListOffsetsRequest.ListOffsetsTopic()
        topic.name = name
        topic.partitions = [partition]
        var request = ListOffsetsRequest()
        request.replicaId = -1
        request.topics = [topic]
        let bound = NIOLoopBound(answer, eventLoop: eventLoop)
        connections.send(request, to: address, versions: 1...7, timeoutMilliseconds: 30_000, on: eventLoop) { [self] result in
            guard let mirror = mirrors[key] else { return }
            guard case .success(let response) = result, let found = response.topics.first?.partitions.first, found.errorCode == .none else {
                // A replica that only follows answers fetches, but does not say where the log ends.
                owner?.lostLeader(mirror.partition, "the source does not say where its log begins and ends")
                return
            }
            bound.value(found.offset)
        }
    }
}

extension Partition {
    var isCompacted: Bool { state.withLock { $0.log.configuration.cleanupPolicy.contains(.compact) } }
}

/// What was fetched of a mirror.
struct FetchedMirror {
    var records: ByteBuffer
    /// What lies before is gone at the source.
    var sourceStart: Offset
    /// Of the committed records.
    var sourceEnd: Offset
}

/// What the whole batches of an answer amount to, by their headers.
struct FetchedBatches {
    var bytes = 0
    var records: Int64 = 0
    /// The leader epoch of the last one; nil without any.
    var lastEpoch: LeaderEpoch?
    /// The newest timestamp; -1 without any.
    var maxTimestamp: Timestamp = -1
    var markers: [MirroredMarker] = []
    /// Behind the last one.
    var nextOffset: Offset?

    /// - Parameter readingMarkers: whether to look into control batches.
    init(_ buffer: ByteBuffer, readingMarkers: Bool = false) {
        var position = buffer.readerIndex
        while let header = try? RecordBatchHeader(from: buffer, at: position), position + header.sizeInBytes <= buffer.writerIndex {
            bytes += header.sizeInBytes
            records += Int64(header.recordCount)
            lastEpoch = header.partitionLeaderEpoch
            nextOffset = header.nextOffset
            maxTimestamp = max(maxTimestamp, header.maxTimestamp)
            if readingMarkers, header.isControl, let marker = MirroredMarker(header, in: buffer, at: position) { markers.append(marker) }
            position += header.sizeInBytes
        }
    }
}
