// How a follower gets the leader's log: batches as they are, cut where the logs diverge, or a snapshot where the leader's log begins
// later than this one ends.
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import RecordBatches

extension Quorum {
    func fetchRequest() -> FetchRequest {
        var partition = FetchRequest.FetchPartition()
        partition.currentLeaderEpoch = epoch
        partition.fetchOffset = endOffset
        partition.lastFetchedEpoch = log.lastEpoch
        partition.replicaDirectoryId = configuration.localDirectoryID
        partition.highWatermark = highWatermark
        var topic = FetchRequest.FetchTopic()
        topic.topic = Self.topicName
        topic.topicId = Self.topicID
        topic.partitions = [partition]
        var request = FetchRequest()
        request.clusterId = configuration.clusterID
        request.replicaState.replicaId = configuration.localID
        request.maxWaitMs = Int32(clamping: configuration.timing.fetchMaximumWait)
        request.maxBytes = configuration.maximumFetchBytes
        request.topics = [topic]
        return request
    }

    func fetchSnapshotRequest(_ id: SnapshotID, position: Int64) -> FetchSnapshotRequest {
        var partition = FetchSnapshotRequest.PartitionSnapshot()
        partition.currentLeaderEpoch = epoch
        partition.snapshotId.endOffset = id.endOffset
        partition.snapshotId.epoch = id.epoch
        partition.position = position
        partition.replicaDirectoryId = configuration.localDirectoryID
        var topic = FetchSnapshotRequest.TopicSnapshot()
        topic.name = Self.topicName
        topic.partitions = [partition]
        var request = FetchSnapshotRequest()
        request.clusterId = configuration.clusterID
        request.replicaId = configuration.localID
        request.maxBytes = configuration.maximumFetchBytes
        request.topics = [topic]
        return request
    }

    mutating func handle(_ response: FetchResponse, to sent: SentRequest) -> Bool {
        guard response.errorCode == .none, response.responses.count == 1, response.responses[0].partitions.count == 1,
            response.responses[0].topic == Self.topicName || response.responses[0].topicId == Self.topicID
        else { return false }
        let partition = response.responses[0].partitions[0]
        let leaderID = partition.currentLeader.leaderId
        let nodes = response.nodeEndpoints.compactMap { node in UInt16(exactly: node.port).map { (node.nodeId, node.host, $0) } }
        switch learn(
            from: partition.errorCode, leaderID: leaderID, epoch: partition.currentLeader.leaderEpoch, endpoints: endpoints(leaderID, nodes)
        )
        {
        case .done: return true
        case .failed: return false
        case .goOn: break
        }
        guard partition.errorCode == .none, role == .follower, case .fetch(let request) = sent.request,
            request.metadataPartition?.fetchOffset == endOffset, installing == nil
        else { return false }
        if partition.divergingEpoch.epoch >= 0 {
            guard truncate(partition.divergingEpoch.epoch, endOffset: partition.divergingEpoch.endOffset) else { return false }
        } else if partition.snapshotId.epoch >= 0 || partition.snapshotId.endOffset >= 0 {
            let id = SnapshotID(endOffset: partition.snapshotId.endOffset, epoch: partition.snapshotId.epoch)
            guard id.epoch >= 0, id.endOffset > 0, id.endOffset >= highWatermark else { return false }
            following.snapshot = (id, 0)
        } else {
            guard appendFetched(partition.records ?? ByteBuffer()) else { return false }
            if partition.highWatermark >= 0 { commit(upTo: partition.highWatermark) }
        }
        fetchSucceeded()
        return true
    }

    private mutating func fetchSucceeded() {
        following.fetchDeadline = now + configuration.timing.fetchTimeout
        following.hasFetched = true
        following.refusals = 0
    }

    /// The leader's process does not answer. Two refusals with a pause between them are no dropped connection but a process that is
    /// gone: there is no need to sit out the fetch timeout. That this cannot unseat a leader that others still reach is what votes on
    /// votes are for. The others notice at the same time, so that they stand for election one after the other.
    mutating func leaderRefused() {
        following.refusals += 1
        guard following.refusals >= 2, isVoter, let leader else { return }
        following.hasFetched = false
        let others = voters.voters.keys.filter { $0 != leader.id }
        let rank = Int64(others.firstIndex(of: configuration.localID) ?? 0)
        let wait = min(rank * 60, configuration.timing.electionTimeout) + Int64.random(in: 0..<20, using: &random)
        following.fetchDeadline = min(following.fetchDeadline, now + wait)
    }

    /// The leader's log does not hold the end of this one. False if it asks for what was committed, which it must not.
    private mutating func truncate(_ leaderEpoch: LeaderEpoch, endOffset leaderEnd: Offset) -> Bool {
        let offset = log.truncationOffset(leaderEpoch: leaderEpoch, endOffset: leaderEnd)
        guard offset >= highWatermark, offset >= log.startOffset else { return false }
        guard offset < endOffset else { return true }
        log.truncate(to: offset)
        durableOffset = min(durableOffset, offset)
        effects.append(.truncate(to: offset))
        return true
    }

    /// Takes over whole batches that continue this log; false if there is none among those that came.
    private mutating func appendFetched(_ bytes: ByteBuffer) -> Bool {
        guard bytes.readableBytes > 0 else { return true }
        var batches = RecordBatchIterator(bytes)
        var length = 0
        // What is wrong with a batch keeps it and those behind it out; it is fetched again.
        while let batch = try? batches.next(), accept(batch) {
            length += batch.header.sizeInBytes
        }
        guard length > 0, let accepted = bytes.getSlice(at: bytes.readerIndex, length: length) else { return false }
        effects.append(.appendFetched(accepted))
        return true
    }

    private mutating func accept(_ batch: RecordBatch) -> Bool {
        let header = batch.header
        guard header.baseOffset == endOffset, header.lastOffset >= header.baseOffset, header.partitionLeaderEpoch >= log.lastEpoch,
            header.partitionLeaderEpoch <= epoch
        else { return false }
        do throws(RecordBatchError) { try batch.verifyChecksum() } catch { return false }
        if header.isControl {
            guard let records = try? batch.allRecords() else { return false }
            var changed = log
            for record in records {
                do throws(QuorumError) {
                    if let control = try QuorumControlRecord.decode(record) { try changed.replay(control, at: record.offset) }
                } catch {
                    return false
                }
            }
            log = changed
        }
        log.append(endingAt: header.nextOffset, epoch: header.partitionLeaderEpoch)
        return true
    }

    mutating func handle(_ response: FetchSnapshotResponse) -> Bool {
        guard response.errorCode == .none, response.topics.count == 1, response.topics[0].name == Self.topicName,
            response.topics[0].partitions.count == 1
        else { return false }
        let partition = response.topics[0].partitions[0]
        let leaderID = partition.currentLeader.leaderId
        let endpoints = endpoints(leaderID, response.nodeEndpoints.map { ($0.nodeId, $0.host, $0.port) })
        switch learn(
            from: partition.errorCode, leaderID: leaderID, epoch: partition.currentLeader.leaderEpoch, endpoints: endpoints)
        {
        case .done: return true
        case .failed: return false
        case .goOn: break
        }
        guard role == .follower, let fetching = following.snapshot else { return false }
        let id = SnapshotID(endOffset: partition.snapshotId.endOffset, epoch: partition.snapshotId.epoch)
        if partition.errorCode == .snapshotNotFound || id.endOffset < 0 || id.epoch < 0 {
            // The leader has replaced it by a newer one: the next fetch tells which.
            following.snapshot = nil
            fetchSucceeded()
            return true
        }
        guard partition.errorCode == .none else {
            following.snapshot = nil
            return false
        }
        let bytes = partition.unalignedRecords
        let end = fetching.position + Int64(bytes.readableBytes)
        guard id == fetching.id, partition.position == fetching.position, bytes.readableBytes > 0, end <= partition.size else {
            following.snapshot = nil
            return false
        }
        effects.append(.writeSnapshotChunk(id, position: fetching.position, bytes))
        if end == partition.size {
            following.snapshot = nil
            installing = id
            effects.append(.installSnapshot(id))
        } else {
            following.snapshot = (id, end)
        }
        fetchSucceeded()
        return true
    }

    /// The log begins anew at the end of a snapshot. All that it holds is committed.
    mutating func installed(_ id: SnapshotID, _ history: VoterHistory) {
        installing = nil
        log.restart(at: id, history)
        durableOffset = id.endOffset
        commit(upTo: id.endOffset)
        if role == .follower { following.fetchDeadline = now + configuration.timing.fetchTimeout }
    }
}
