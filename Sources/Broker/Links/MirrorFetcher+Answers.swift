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
            guard mirror.held == nil else { return letGo(key, mirror) }
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
            guard mirror.held == nil else { return letGo(key, mirror) }
            return advance(key) { session, position in session.parted(position) }
        }
        guard mirror.session.isFollowing else { return compare(data, key, mirror, asked) }
        if version < Self.firstVersionWithTopicIDs, doubts(data, key, mirror) { return }
        append(
            FetchedMirror(records: data.records ?? ByteBuffer(), sourceStart: data.logStartOffset, sourceEnd: data.highWatermark),
            key, mirror)
    }

    // MARK: Following

    /// Appends what was fetched, up to the first transaction that may not be shown as committed yet.
    func append(_ fetched: FetchedMirror, _ key: FetchSessionKey, _ mirror: Mirror) {
        guard mirror.held == nil else { return holdMore(fetched, key) }
        if let first = try? RecordBatchHeader(from: fetched.records), let position = mirror.partition.mirrorPosition, !position.isEmpty,
            first.baseOffset < position.logEndOffset, first.lastOffset >= position.logEndOffset
        {
            return advance(key) { session, position in session.overlapped(from: first.baseOffset, position) }
        }
        var summary = FetchedBatches(fetched.records)
        var (records, held) = (fetched.records, [HeldMarker]())
        if settings.keepsTransactionsWhole, let first = summary.commits.first(where: { !mirror.permitted.contains($0.offset) }) {
            records = fetched.records.getSlice(at: records.readerIndex, length: first.position - records.readerIndex) ?? ByteBuffer()
            held = summary.markers(of: mirror)
            summary = FetchedBatches(records)
        }
        do throws(PartitionError) {
            let taken = try mirror.partition.appendMirrored(
                records, leaderEpoch: mirror.session.leaderEpoch, sourceStartOffset: fetched.sourceStart, now: SystemClock.now())
            if taken.bytes > 0, throttle.isLimited { throttle.record(bytes: taken.bytes) }
            note(mirror.partition, sourceEnd: fetched.sourceEnd, logEnd: taken.position.logEndOffset, summary)
            if held.isEmpty { mirrors[key]?.permitted = [] }
            advance(key) { session, _ in session.appended(upTo: taken.position.logEndOffset, lastSourceEpoch: summary.lastEpoch) }
            guard !held.isEmpty, mirrors[key] != nil else { return }
            var rest = fetched
            rest.records.moveReaderIndex(forwardBy: records.readableBytes)
            rest.records = rest.records.slice()
            mirrors[key]?.held = rest
            mirrors[key]?.inherited = nil
            fetchOn(key, behind: rest)
            owner?.holds(held, of: key, fetcher: self)
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

    // MARK: Holding

    /// What a mirror holds grows, for the marker that it waits for may stand behind another in a mirror that waits for this one.
    private func holdMore(_ fetched: FetchedMirror, _ key: FetchSessionKey) {
        guard var mirror = mirrors[key], var held = mirror.held else { return }
        mirrors[key]?.held = nil
        let batches = FetchedBatches(fetched.records)
        var more = fetched.records.getSlice(at: fetched.records.readerIndex, length: batches.bytes) ?? ByteBuffer()
        held.records.writeBuffer(&more)
        held.sourceStart = fetched.sourceStart
        held.sourceEnd = fetched.sourceEnd
        mirror.held = held
        mirrors[key] = mirror
        note(mirror.partition, sourceEnd: fetched.sourceEnd)
        fetchOn(key, behind: held)
        let markers = batches.markers(of: mirror)
        if !markers.isEmpty { owner?.holds(markers, of: key, fetcher: self) }
    }

    /// Fetches behind what is held, within the memory that there is for that.
    private func fetchOn(_ key: FetchSessionKey, behind held: FetchedMirror) {
        let batches = FetchedBatches(held.records)
        let bytes = mirrors.values.reduce(0) { $0 + ($1.held?.records.readableBytes ?? 0) }
        guard let end = batches.nextOffset, bytes <= Int(settings.fetchResponseMaxBytes) * Self.heldResponses else { return plan.stop(key) }
        plan.advance(key, to: fetchPosition(.records(from: end, sourceEpoch: batches.lastEpoch ?? -1)))
    }

    /// The source has changed its mind about what is held: it is fetched again.
    func letGo(_ key: FetchSessionKey, _ mirror: Mirror) {
        guard let position = mirror.partition.mirrorPosition else { return drop(key) }
        mirrors[key]?.held = nil
        mirrors[key]?.permitted = []
        plan.advance(key, to: fetchPosition(.records(from: position.logEndOffset, sourceEpoch: mirror.session.sourceEpoch)))
    }

    /// Markers that were held may be appended now.
    func permit(_ offsets: [Offset], of key: FetchSessionKey) {
        guard var mirror = mirrors[key], let fetched = mirror.held else { return }
        mirror.permitted.formUnion(offsets)
        mirror.held = nil
        mirrors[key] = mirror
        guard let position = mirror.partition.mirrorPosition, position.leaderEpoch == mirror.session.leaderEpoch else { return drop(key) }
        if !plan.contains(key) {
            plan.follow(key, from: fetchPosition(.records(from: position.logEndOffset, sourceEpoch: mirror.session.sourceEpoch)))
        }
        append(fetched, key, mirror)
        resume()
    }

    /// Notes where the source's committed records end, and the mirror's.
    private func note(_ partition: Partition, sourceEnd: Offset, logEnd: Offset? = nil, _ batches: FetchedBatches? = nil) {
        let now = SystemClock.monotonicMilliseconds()
        let (clock, sentAt) = (clock, sentAt)
        guard let logEnd = logEnd ?? partition.mirrorPosition?.logEndOffset else { return }
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
    var commits: [CommitMarker] = []
    /// Behind the last one.
    var nextOffset: Offset?

    /// The commit markers that a mirror may not append yet.
    func markers(of mirror: MirrorFetcher.Mirror) -> [HeldMarker] {
        commits.filter { !mirror.permitted.contains($0.offset) }.map {
            HeldMarker(partition: mirror.partition.topicPartition, producer: $0.producer, offset: $0.offset, timestamp: $0.timestamp)
        }
    }

    init(_ buffer: ByteBuffer) {
        var position = buffer.readerIndex
        while let header = try? RecordBatchHeader(from: buffer, at: position), position + header.sizeInBytes <= buffer.writerIndex {
            bytes += header.sizeInBytes
            records += Int64(header.recordCount)
            lastEpoch = header.partitionLeaderEpoch
            nextOffset = header.nextOffset
            maxTimestamp = max(maxTimestamp, header.maxTimestamp)
            if header.isControl, let marker = CommitMarker(header, in: buffer, at: position) { commits.append(marker) }
            position += header.sizeInBytes
        }
    }
}
