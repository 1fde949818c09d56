// What the core asks for, done to the simulated disk and network; and the checks that belong to each of its demands.
import Consensus
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import RecordBatches

extension QuorumNode {
    func perform(_ effect: QuorumEffect) {
        switch effect {
        case .send, .reply, .replyWithRecords, .replyWithSnapshot: break
        default: note(effect.summary)
        }
        switch effect {
        case .persist(let state): persist(state)
        case .append(let bytes), .appendFetched(let bytes): append(bytes)
        case .truncate(let offset): truncate(to: offset)
        case .commit(let offset): commit(upTo: offset)
        case .lead(let epoch): lead(epoch)
        case .resign, .follow:
            proposals.removeAll()
            program?.endTerm()
            program?.leadershipChanged()
        case .send(let request, let peer, let correlation): send(request, to: peer, correlation)
        case .reply(let token, let response): reply(token, response)
        case .replyWithRecords(let token, var response, let from, let limit, let maxBytes):
            guard response.responses.first?.partitions.first != nil else {
                return fail(.noUnexpectedError, "n\(id) answers a fetch without a partition")
            }
            response.responses[0].partitions[0].records = disk.read(from: from, upTo: limit, maxBytes: maxBytes)
            reply(token, .fetch(response))
        case .replyWithSnapshot(let token, let response, let id, let position, let maxBytes):
            reply(token, .fetchSnapshot(fill(response, id, position, maxBytes)))
        case .writeSnapshotChunk(let id, let position, let bytes):
            check { () throws(DiskError) in try disk.write(id, position: position, bytes) }
        case .installSnapshot(let id): install(id)
        case .stopped: if isShuttingDown { die("stopped in order") }
        }
    }

    private func check(_ body: () throws(DiskError) -> Void) {
        do throws(DiskError) {
            try body()
        } catch {
            fail(.diskMakesSense, "n\(id): \(error)")
        }
    }

    /// Runs the action later unless the process ends before.
    func after(_ delay: VirtualTime, _ action: @escaping () -> Void) {
        let incarnation = host.incarnation
        world.scheduler.after(delay) { [self] in
            if host.isRunning, host.incarnation == incarnation { action() }
        }
    }

    private var syncTime: VirtualTime { random.between(100...4_000) * diskSlowness }

    // MARK: Disk

    private func persist(_ state: ElectionState) {
        if isDiskFull { return die("its disk is full") }
        if world.mutation == .persistLate {
            return after(.milliseconds(500)) { [self] in disk.write(state) }
        }
        isBusy = true
        stateBeingPersisted = state
        after(syncTime) { [self] in
            disk.write(state)
            // A candidate's vote for itself is never answered to anybody.
            if state.votedID == id, let problem = world.ledger.vote(state.leaderEpoch, by: id, for: id) { fail(.oneVotePerEpoch, problem) }
            stateBeingPersisted = nil
            isBusy = false
            pump()
        }
    }

    private func append(_ bytes: ByteBuffer) {
        if isDiskFull { return die("its disk is full") }
        check { () throws(DiskError) in try disk.append(bytes) }
        if world.mutation == .acknowledgeUnsynced { inbox.append(.durable(disk.endOffset)) }
        sync()
    }

    private func sync() {
        guard !isSyncing else { return }
        isSyncing = true
        let (end, truncations) = (disk.endOffset, disk.truncations)
        after(syncTime) { [self] in
            isSyncing = false
            if disk.truncations == truncations {
                disk.synced(upTo: end)
                enqueue(.durable(end))
            }
            // What that led to may have been the end of the process.
            if host.isRunning, disk.durableOffset < disk.endOffset { sync() }
        }
    }

    private func truncate(to offset: Offset) {
        if offset < highWatermark {
            fail(.committedNeverTruncated, "n\(id) truncates to \(offset) although its high watermark is \(highWatermark)")
        }
        switch world.mutation {
        case .skipTruncation: return
        case .truncateTooMuch:
            let less = disk.log.last { $0.nextOffset <= offset }?.baseOffset ?? offset
            check { () throws(DiskError) in try disk.truncate(to: less) }
        default: check { () throws(DiskError) in try disk.truncate(to: offset) }
        }
    }

    // MARK: Commitment

    func commit(upTo offset: Offset) {
        guard offset >= highWatermark else {
            return fail(.highWatermarkNeverGoesBack, "n\(id) had a high watermark of \(highWatermark) and now has \(offset)")
        }
        guard offset <= disk.endOffset else {
            return fail(.diskMakesSense, "n\(id) calls \(offset) committed and its log ends at \(disk.endOffset)")
        }
        highWatermark = offset
        if var index = disk.index(of: appliedOffset) {
            while index < disk.log.count, disk.log[index].nextOffset <= offset {
                let batch = disk.log[index].fingerprint
                if let problem = world.ledger.commit(batch, by: id, in: quorum?.epoch ?? 0) { return fail(.logsMatch, problem) }
                state = QuorumLedger.next(state, batch)
                (appliedOffset, appliedEpoch) = (batch.nextOffset, batch.epoch)
                index += 1
            }
        }
        if isLeader {
            checkMajority(offset)
            acknowledge(upTo: offset)
        }
        program?.committed(upTo: offset)
        considerSnapshot()
    }

    private func checkMajority(_ offset: Offset) {
        guard let voters = quorum?.voters, let last = disk.index(of: offset - 1).map({ disk.log[$0].fingerprint }) else { return }
        let holders = voters.voters.keys.filter { world.node($0)?.disk.isDurable(last) ?? false }
        if holders.count * 2 <= voters.voters.count {
            fail(
                .committedOnMajority,
                "n\(id) calls \(last) committed, which is durable on \(holders) alone of the voters \(voters.voters.keys.elements)")
        }
    }

    private func acknowledge(upTo offset: Offset) {
        guard let epoch = quorum?.epoch else { return }
        proposals.removeAll { proposal in
            guard proposal.offset < offset else { return false }
            if proposal.epoch == epoch { world.acknowledged(proposal) }
            return true
        }
    }

    private func lead(_ epoch: LeaderEpoch) {
        program?.leadershipChanged()
        if let problem = world.ledger.lead(epoch, id) { return fail(.oneLeaderPerEpoch, problem) }
        guard let last = world.ledger.lastCommitted(before: epoch) else { return }
        let isThere =
            disk.startOffset >= last.nextOffset || disk.index(of: last.baseOffset).map { disk.log[$0].fingerprint == last } ?? false
        if !isThere { fail(.leaderIsComplete, "n\(id) leads in epoch \(epoch) without \(last), which was committed") }
    }

    // MARK: Snapshots

    private func considerSnapshot() {
        let interval = world.plan.recordsBetweenSnapshots
        let last = disk.snapshots.last?.id.endOffset ?? 0
        guard interval > 0, !isWritingSnapshot, appliedOffset - last >= interval, let quorum else { return }
        // An image in the middle of a metadata transaction cannot be written.
        if let program, program.committedImage.provenance.offset + 1 != appliedOffset { return }
        isWritingSnapshot = true
        let id = SnapshotID(endOffset: appliedOffset, epoch: appliedEpoch)
        let digest = world.mutation == .snapshotBeyondState ? state ^ 1 : state
        let header = quorum.snapshotHeader(endOffset: id.endOffset, lastContainedTimestamp: 0)
        do throws(QuorumError) {
            let file = try SnapshotFile(id: id, header: header, state: digest, records: program?.snapshotRecords() ?? [])
            after(syncTime * 3) { [self] in enqueue(.snapshotWritten(file)) }
        } catch {
            fail(.noUnexpectedError, "n\(self.id) cannot write a snapshot: \(error)")
        }
    }

    func finish(_ file: SnapshotFile, _ core: inout Quorum) {
        // A newer one may have been fetched in the meantime.
        guard disk.snapshots.last.map({ $0.id < file.id }) ?? true else { return }
        // Others need some time to fetch one; in a few cases they do not get it.
        let isEager = !world.faultsEnded && random.chance(300)
        disk.keep(file, at: world.scheduler.now, removingOlderThan: isEager ? world.scheduler.now : world.scheduler.now - .seconds(5))
        note("has written snapshot \(file.id); its log begins at \(disk.startOffset)")
        core.snapshotWritten(file.id, startOffset: disk.startOffset)
    }

    private func install(_ id: SnapshotID) {
        guard id.endOffset >= highWatermark else {
            return fail(.highWatermarkNeverGoesBack, "n\(self.id) loads snapshot \(id) below its high watermark \(highWatermark)")
        }
        do throws(DiskError) {
            let file = try disk.installPartial(id)
            let (controls, digest, records) = try file.read()
            adopt(id, digest)
            highWatermark = id.endOffset
            program?.load(id, records)
            isBusy = true
            after(syncTime * 3) { [self] in
                isBusy = false
                inbox.prepend(.snapshotInstalled(id, controls))
                pump()
            }
        } catch {
            fail(.diskMakesSense, "n\(self.id): \(error)")
        }
    }

    private func fill(
        _ response: FetchSnapshotResponse, _ id: SnapshotID, _ position: Int64, _ maxBytes: Int
    ) -> FetchSnapshotResponse {
        var response = response
        guard response.topics.first?.partitions.first != nil else { return response }
        guard let file = disk.snapshots.first(where: { $0.id == id }) else {
            response.topics[0].partitions[0].errorCode = .snapshotNotFound
            return response
        }
        let size = file.bytes.readableBytes
        guard position < size, position >= 0 else {
            response.topics[0].partitions[0].errorCode = .positionOutOfRange
            return response
        }
        // Small pieces, so that a snapshot takes several requests.
        let count = min(maxBytes, size - Int(position), world.plan.snapshotChunkBytes)
        response.topics[0].partitions[0].size = Int64(size)
        response.topics[0].partitions[0].unalignedRecords =
            file.bytes.getSlice(at: file.bytes.readerIndex + Int(position), length: count) ?? ByteBuffer()
        return response
    }

    // MARK: Network

    private func send(_ request: QuorumRequest, to peer: QuorumPeer, _ correlation: UInt64) {
        guard let target = world.node(peer) else {
            return fail(.messagesCanBeSent, "n\(id) sends to n\(peer.id) at \(peer.host):\(peer.port), which is nowhere")
        }
        note("sends \(request.summary) to n\(target.id)")
        epochTold = max(epochTold, request.epoch)
        guard let request = world.throughWire(request, from: self) else {
            return enqueue(.failure(correlation, .unsupportedVersion))
        }
        let incarnation = host.incarnation
        world.network.send(
            .quorum(request), from: host, to: target.host, timeout: .milliseconds(configuration.timing.requestTimeout)
        ) { [self] result in
            guard host.isRunning, host.incarnation == incarnation else { return }
            switch result {
            case .success(.quorum(let response)):
                note("gets \(response.summary) from n\(target.id)")
                enqueue(.response(world.mutate(received: response, by: self), correlation))
            case .failure(.disconnected): enqueue(.failure(correlation, .disconnected))
            case .failure(.timedOut): enqueue(.failure(correlation, .timedOut))
            case .success: break
            }
        }
    }

    private func reply(_ token: UInt64, _ response: QuorumResponse) {
        guard let request = pending.removeValue(forKey: token) else {
            return fail(.noUnexpectedError, "n\(id) answers the request \(token) twice or out of nothing: \(response.summary)")
        }
        if let vote = request.vote, case .vote(let message) = response, message.topics.first?.partitions.first?.voteGranted == true {
            if let problem = world.ledger.vote(vote.epoch, by: id, for: vote.candidate) { fail(.oneVotePerEpoch, problem) }
        }
        epochTold = max(epochTold, response.epoch)
        note("answers n\(request.path.connection.client.id) \(response.summary)")
        world.network.reply(.quorum(response), to: request.path)
    }
}

extension QuorumDisk {
    /// Whether a batch survives a loss of power, in the log or in a snapshot.
    func isDurable(_ batch: BatchFingerprint) -> Bool {
        if startOffset >= batch.nextOffset { return true }
        guard durableOffset >= batch.nextOffset, let index = index(of: batch.baseOffset) else { return false }
        return log[index].fingerprint == batch
    }
}

extension QuorumEffect {
    /// In a few words, for traces.
    var summary: String {
        switch self {
        case .persist(let state): "persists epoch \(state.leaderEpoch) leader \(state.leaderID) vote \(state.votedID)"
        case .append(let bytes): "appends \(Self.describe(bytes))"
        case .appendFetched(let bytes): "appends as fetched \(Self.describe(bytes))"
        case .truncate(let offset): "truncates to \(offset)"
        case .commit(let offset): "commits up to \(offset)"
        case .lead(let epoch): "LEADS in epoch \(epoch)"
        case .resign: "resigns"
        case .follow(let leader, let epoch): leader.map { "follows n\($0) in epoch \(epoch)" } ?? "knows no leader in epoch \(epoch)"
        case .send(let request, let peer, _): "sends \(request.summary) to n\(peer.id)"
        case .reply(_, let response): "answers \(response.summary)"
        case .replyWithRecords(_, _, let from, let limit, _): "answers with records from \(from) below \(limit)"
        case .replyWithSnapshot(_, _, let id, let position, _): "answers with snapshot \(id) from \(position)"
        case .writeSnapshotChunk(let id, let position, let bytes): "writes \(bytes.readableBytes) bytes of snapshot \(id) at \(position)"
        case .installSnapshot(let id): "installs snapshot \(id)"
        case .stopped: "has stopped"
        }
    }

    private static func describe(_ bytes: ByteBuffer) -> String {
        var parts: [String] = []
        var batches = RecordBatchIterator(bytes)
        while let batch = try? batches.next() { parts.append(StoredBatch(batch).fingerprint.description) }
        return parts.joined(separator: ", ")
    }
}

extension QuorumRequest {
    /// The version that both sides of simulated links speak: the newest.
    var version: Int16 {
        switch self {
        case .vote: VoteRequest.validVersions.upperBound
        case .beginQuorumEpoch: BeginQuorumEpochRequest.validVersions.upperBound
        case .endQuorumEpoch: EndQuorumEpochRequest.validVersions.upperBound
        case .fetch: FetchRequest.validVersions.upperBound
        case .fetchSnapshot: FetchSnapshotRequest.validVersions.upperBound
        case .addRaftVoter: AddRaftVoterRequest.validVersions.upperBound
        case .removeRaftVoter: RemoveRaftVoterRequest.validVersions.upperBound
        case .updateRaftVoter: UpdateRaftVoterRequest.validVersions.upperBound
        case .apiVersions: ApiVersionsRequest.validVersions.upperBound
        }
    }
}
