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
    func take(_ data: FetchResponse.PartitionData, _ key: FetchSessionKey) {
        guard plan.isCurrent(key), let mirror = mirrors[key], let asked = plan.position(of: key) else { return }
        switch data.errorCode {
        case .none: break
        case .offsetOutOfRange: return resolveOutOfRange(key, mirror, asked)
        case .notLeaderOrFollower, .leaderNotAvailable, .replicaNotAvailable, .fencedLeaderEpoch, .unknownLeaderEpoch,
            .unknownTopicId, .unknownTopicOrPartition, .inconsistentTopicId, .kafkaStorageError, .offsetNotAvailable:
            rest(key, "\(data.errorCode.name) at the source")
            owner?.lostLeader(mirror.partition, data.errorCode.name)
            return
        default: return rest(key, "\(data.errorCode.name) at the source: \(data.errorCode.defaultMessage)")
        }
        if data.divergingEpoch.endOffset >= 0 || data.divergingEpoch.epoch >= 0 {
            return search(key, sourceStart: data.logStartOffset, sourceEnd: data.highWatermark)
        }
        switch mirror.phase {
        case .following:
            append(
                FetchedMirror(
                    records: data.records ?? ByteBuffer(), sourceStart: data.logStartOffset, sourceEnd: data.highWatermark), key, mirror)
        case .comparing, .searching: compare(data, key, mirror, asked)
        }
    }

    // MARK: Following

    /// Appends what was fetched, up to the first transaction that may not be shown as committed yet.
    func append(_ fetched: FetchedMirror, _ key: FetchSessionKey, _ mirror: Mirror) {
        var summary = FetchedBatches(fetched.records)
        var (records, held) = (fetched.records, [HeldMarker]())
        if settings.keepsTransactionsWhole, let first = summary.commits.first(where: { !mirror.permitted.contains($0.offset) }) {
            records = fetched.records.getSlice(at: records.readerIndex, length: first.position - records.readerIndex) ?? ByteBuffer()
            held = summary.commits.filter { !mirror.permitted.contains($0.offset) }.prefix(Self.markersPerQuestion).map {
                HeldMarker(
                    partition: mirror.partition.topicPartition, producer: $0.producer, offset: $0.offset, timestamp: $0.timestamp)
            }
            summary = FetchedBatches(records)
        }
        do throws(PartitionError) {
            let taken = try mirror.partition.appendMirrored(
                records, leaderEpoch: mirror.leaderEpoch, sourceStartOffset: fetched.sourceStart, now: SystemClock.now())
            var changed = mirror
            changed.failures = 0
            if let epoch = summary.lastEpoch { changed.sourceEpoch = epoch }
            if taken.bytes > 0, throttle.isLimited { throttle.record(bytes: taken.bytes) }
            note(mirror.partition, sourceEnd: fetched.sourceEnd, logEnd: taken.position.logEndOffset, summary)
            guard held.isEmpty else {
                changed.held = fetched
                changed.held?.records.moveReaderIndex(forwardBy: records.readableBytes)
                mirrors[key] = changed
                plan.stop(key)
                owner?.holds(held, of: key, fetcher: self)
                return
            }
            changed.permitted = []
            mirrors[key] = changed
            plan.advance(key, to: fetchPosition(taken.position.logEndOffset, changed.sourceEpoch))
        } catch {
            // Another broker leads the mirror by now, or the topic is no mirror any more: whoever knows says so to this fetcher.
            if case .notLeader = error { return drop(key) }
            rest(key, "\(error)")
        }
    }

    /// Markers that were held may be appended now.
    func permit(_ offsets: [Offset], of key: FetchSessionKey) {
        guard var mirror = mirrors[key], let fetched = mirror.held else { return }
        mirror.permitted.formUnion(offsets)
        mirror.held = nil
        mirrors[key] = mirror
        guard let position = mirror.partition.mirrorPosition, position.leaderEpoch == mirror.leaderEpoch else { return drop(key) }
        plan.follow(key, from: fetchPosition(position.logEndOffset, mirror.sourceEpoch))
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
        let header = data.records.flatMap { try? RecordBatchHeader(from: $0) }
        // Left out for want of room in the answer: ask again.
        if header == nil, data.highWatermark > asked.fetchOffset { return rest(key, "") }
        do throws(PartitionError) {
            let own = try mirror.partition.batchIdentity(at: asked.fetchOffset)
            let source = header.flatMap { $0.baseOffset <= asked.fetchOffset ? BatchIdentity($0) : nil }
            // Compaction takes records away on each side in its own time: what is left does not compare.
            let isCompacted = mirror.partition.isCompacted && data.highWatermark > asked.fetchOffset
            let isSame = own == source && own != nil || isCompacted
            switch mirror.phase {
            case .following: break
            case .comparing:
                guard isSame else { return search(key, sourceStart: data.logStartOffset, sourceEnd: data.highWatermark) }
                // With nothing new there, no later answer will speak of the partition.
                note(mirror.partition, sourceEnd: data.highWatermark)
                goOn(key, sourceEpoch: header?.partitionLeaderEpoch ?? -1)
            case .searching(var search):
                if isSame {
                    search.agreed(endingAt: max(own?.lastOffset ?? asked.fetchOffset, asked.fetchOffset) + 1)
                } else {
                    search.differed(beginningAt: min(own?.baseOffset ?? asked.fetchOffset, asked.fetchOffset))
                }
                proceed(key, search)
            }
        } catch {
            if case .notLeader = error { return drop(key) }
            rest(key, "\(error)")
        }
    }

    /// Follows from the mirror's end.
    private func goOn(_ key: FetchSessionKey, sourceEpoch: LeaderEpoch) {
        guard var mirror = mirrors[key], let position = mirror.partition.mirrorPosition, position.leaderEpoch == mirror.leaderEpoch else {
            return drop(key)
        }
        mirror.phase = .following
        mirror.sourceEpoch = sourceEpoch
        mirror.failures = 0
        mirrors[key] = mirror
        plan.advance(key, to: fetchPosition(position.logEndOffset, sourceEpoch))
    }

    /// The source does not have what the mirror has: finds out where they part.
    private func search(_ key: FetchSessionKey, sourceStart: Offset, sourceEnd: Offset) {
        guard let mirror = mirrors[key], let position = mirror.partition.mirrorPosition else { return drop(key) }
        proceed(
            key,
            CommonPointSearch(start: max(position.logStartOffset, sourceStart), end: min(position.logEndOffset, sourceEnd)))
    }

    private func proceed(_ key: FetchSessionKey, _ search: CommonPointSearch) {
        guard var mirror = mirrors[key] else { return }
        switch search.step {
        case .probe(let offset):
            mirror.phase = .searching(search)
            mirrors[key] = mirror
            plan.advance(key, to: comparePosition(offset))
        case .found(let offset): cut(key, mirror, to: offset)
        }
    }

    private func cut(_ key: FetchSessionKey, _ mirror: Mirror, to offset: Offset) {
        guard let position = mirror.partition.mirrorPosition, position.leaderEpoch == mirror.leaderEpoch else { return drop(key) }
        guard offset < position.logEndOffset else { return goOn(key, sourceEpoch: -1) }
        guard mirror.partition.mayCutMirror else {
            owner?.needsNewEpoch(mirror.partition, mirror.leaderEpoch)
            // With the new epoch it begins anew; until then, or if that comes to nothing, it is tried again.
            mirrors[key]?.phase = .comparing
            plan.advance(key, to: comparePosition(position.logEndOffset - 1))
            return rest(key, "records that the source does not have are to be cut off, from offset \(offset) on")
        }
        // Nothing is asked for until the records are kept.
        plan.stop(key)
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        owner?.willCut(mirror.partition, to: offset, end: position.logEndOffset) { [eventLoop] isKept in
            eventLoop.execute { bound.value.cutKept(key, mirror, position, to: offset, isKept: isKept) }
        }
    }

    private func cutKept(_ key: FetchSessionKey, _ mirror: Mirror, _ position: MirrorPosition, to offset: Offset, isKept: Bool) {
        guard mirrors[key]?.leaderEpoch == mirror.leaderEpoch, !plan.contains(key) else { return }
        plan.follow(key, from: comparePosition(position.logEndOffset - 1))
        mirrors[key]?.phase = .comparing
        guard isKept, mirror.partition.mirrorPosition == position else {
            rest(key, "records that the source does not have cannot be kept aside")
            return resume()
        }
        do throws(PartitionError) {
            _ = try mirror.partition.cutMirror(to: offset, leaderEpoch: mirror.leaderEpoch, now: SystemClock.now())
            board.update(mirror.partition.topicPartition, link: link) { $0.cutRecords += position.logEndOffset - offset }
            goOn(key, sourceEpoch: -1)
        } catch {
            rest(key, "\(error)")
        }
        resume()
    }

    // MARK: Offsets that the source does not have

    private func resolveOutOfRange(_ key: FetchSessionKey, _ mirror: Mirror, _ asked: FetchPosition) {
        rest(key, "OFFSET_OUT_OF_RANGE at the source")
        askOffset(key, timestamp: -2) { [self] start in
            askOffset(key, timestamp: -1) { [self] end in
                guard let mirror = mirrors[key], let position = mirror.partition.mirrorPosition,
                    plan.position(of: key)?.fetchOffset == asked.fetchOffset
                else { return }
                resolve(key, mirror, position, start: start, end: end)
            }
        }
    }

    private func resolve(_ key: FetchSessionKey, _ mirror: Mirror, _ position: MirrorPosition, start: Offset, end: Offset) {
        let isEmpty = position.logStartOffset >= position.logEndOffset
        // Nothing here yet: the mirror begins where the source does.
        if isEmpty, start > position.logEndOffset || end < position.logEndOffset { return restart(key, mirror, at: start) }
        if end < position.logEndOffset { return search(key, sourceStart: start, sourceEnd: end) }
        // Everything that could be compared is gone at the source, but nothing is missing.
        if start == position.logEndOffset { return goOn(key, sourceEpoch: -1) }
        if start < position.logEndOffset {
            mirrors[key]?.phase = .comparing
            return plan.advance(key, to: comparePosition(position.logEndOffset - 1))
        }
        let missing = "the source has deleted the records from offset \(position.logEndOffset) to \(start - 1) before they were fetched"
        switch settings.gapPolicy {
        case .skip:
            logger.warning(
                "a mirror goes on behind a gap", metadata: ["partition": "\(mirror.partition.topicPartition)", "reason": "\(missing)"])
            mirrors[key]?.phase = .following
            plan.advance(key, to: fetchPosition(start, -1))
        case .fail:
            drop(key)
            note(mirror.partition, problem: missing)
            owner?.failed(
                mirror.partition,
                missing + "; set mirror.gap.policy=skip and resume to go on behind the gap, or delete the topic and mirror it anew")
        }
    }

    private func restart(_ key: FetchSessionKey, _ mirror: Mirror, at offset: Offset) {
        do throws(PartitionError) {
            let position = try mirror.partition.restartMirror(at: offset, leaderEpoch: mirror.leaderEpoch, now: SystemClock.now())
            mirrors[key]?.phase = .following
            plan.advance(key, to: fetchPosition(position.logEndOffset, -1))
        } catch {
            if case .notLeader = error { return drop(key) }
            rest(key, "\(error)")
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
            guard case .success(let response) = result, let found = response.topics.first?.partitions.first, found.errorCode == .none else {
                return
            }
            guard mirrors[key] != nil else { return }
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

    init(_ buffer: ByteBuffer) {
        var position = buffer.readerIndex
        while let header = try? RecordBatchHeader(from: buffer, at: position), position + header.sizeInBytes <= buffer.writerIndex {
            bytes += header.sizeInBytes
            records += Int64(header.recordCount)
            lastEpoch = header.partitionLeaderEpoch
            maxTimestamp = max(maxTimestamp, header.maxTimestamp)
            if header.isControl, let marker = CommitMarker(header, in: buffer, at: position) { commits.append(marker) }
            position += header.sizeInBytes
        }
    }
}
