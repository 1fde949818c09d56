// The quorum's side: its effects on files and peers, requests of other members, answers of theirs, snapshots that are fetched.
import ClusterMetadata
import Consensus
import Controlling
import KafkaMessages
import KafkaWire
import Logging
import NIOCore
import Primitives
import RecordBatches
import Storage

extension MetadataActor {
    /// Begins to take part in the quorum. A sole voter leads at once.
    mutating func start(registering registration: ControllerRegistrationRequest?) throws(MetadataStorageError) {
        self.registration = registration
        let now = moment()
        let effects: [QuorumEffect]
        do throws(QuorumError) { effects = try quorum.start(now: now) } catch { throw .quorum(error) }
        do throws(StorageError) { try perform(effects) } catch { throw .storage(error) }
        // What a sole voter begins its epoch and its controller's term with shares one flush.
        beginTermIfReady()
    }

    /// A request of another node. `reply` is called once, now or later; with nil when this node cannot take part any longer.
    mutating func received(
        _ request: QuorumRequest, version: Int16, listenerName: String, reply: @escaping @Sendable (QuorumResponse?) -> Void
    ) {
        guard failure == nil else { return reply(nil) }
        let token = nextToken()
        owed[token] = reply
        let now = moment()
        step(quorum.received(request, QuorumRequestContext(token: token, version: version, listenerName: listenerName), now: now))
    }

    mutating func received(_ answer: QuorumAnswer, correlation: UInt64) {
        let now = moment()
        leaderless.received(answer, correlation: correlation)
        switch answer {
        case .response(let response): step(quorum.received(response, correlation: correlation, now: now))
        case .failed(let failure): step(quorum.peerFailed(correlation, failure, now: now))
        }
    }

    mutating func tick() {
        let now = moment()
        step(quorum.tick(now: now))
        if let warning = leaderless.warning(
            hasLeader: leader != nil || isStopped || failure != nil, voters: quorum.voters, localID: configuration.quorum.localID, now: now)
        {
            logger.warning("\(warning)")
        }
    }

    mutating func shutDown() {
        let now = moment()
        step(quorum.shutDown(now: now))
    }

    /// Performs effects of a step that cannot be taken back.
    mutating func step(_ effects: [QuorumEffect]) {
        guard failure == nil else { return }
        do throws(StorageError) {
            try perform(effects)
        } catch {
            fail("\(error)")
        }
        if quorum.role == .prospective || quorum.role == .candidate {
            measurements.standsForElection(now: SystemClock.monotonicNanoseconds())
        }
    }

    /// Carries out what the quorum asks for, in order.
    mutating func perform(_ effects: [QuorumEffect]) throws(StorageError) {
        hasSentInStep = false
        for effect in effects {
            switch effect {
            case .persist(let state): try persist(state)
            case .append(let batch):
                try log.append(batch, now: SystemClock.now())
                noteAppended(bytes: batch.readableBytes)
                if let header = try? RecordBatchHeader(from: batch) {
                    lastTimestamp = header.maxTimestamp
                    measurements.appended(
                        count: Int(header.nextOffset - header.baseOffset), endOffset: header.nextOffset,
                        now: SystemClock.monotonicNanoseconds())
                }
            case .appendFetched(let batches):
                let end = log.log.logEndOffset
                try log.append(batches, now: SystemClock.now())
                measurements.fetched(count: Int(log.log.logEndOffset - end), now: SystemClock.monotonicNanoseconds())
                noteAppended(bytes: batches.readableBytes)
            case .truncate(let offset): try truncate(to: offset)
            case .commit(let offset):
                committedOffset = max(committedOffset, offset)
                measurements.committed(upTo: offset, now: SystemClock.monotonicNanoseconds())
            case .lead(let epoch):
                measurements.leaderKnown(now: SystemClock.monotonicNanoseconds())
                logger.info("leading the metadata quorum", metadata: ["epoch": "\(epoch)"])
            case .resign:
                endTerm()
                measurements.resigned()
            case .follow(let leader, let epoch):
                endTerm()
                measurements.resigned()
                if leader != nil { measurements.leaderKnown(now: SystemClock.monotonicNanoseconds()) }
                noteFollowing(leader, epoch)
            case .send(let request, let peer, let correlation):
                hasSentInStep = true
                leaderless.sent(to: peer, correlation: correlation)
                outbox.send(request, to: peer, correlation: correlation)
            case .reply(let token, let response):
                hasSentInStep = true
                owed.removeValue(forKey: token)?(response)
            case .replyWithRecords(let token, let response, let from, let upTo, let maxBytes):
                hasSentInStep = true
                owed.removeValue(forKey: token)?(.fetch(filled(response, from: from, upTo: upTo, maxBytes: maxBytes)))
            case .replyWithSnapshot(let token, let response, let id, let position, let maxBytes):
                hasSentInStep = true
                owed.removeValue(forKey: token)?(.fetchSnapshot(filled(response, id, position: position, maxBytes: maxBytes)))
            case .writeSnapshotChunk(let id, let position, let bytes):
                try MetadataFiles.write(bytes, at: position, of: partialPath(id))
            case .installSnapshot(let id): snapshotToInstall = id
            case .stopped: isStopped = true
            }
        }
    }

    private mutating func noteFollowing(_ leader: NodeID?, _ epoch: LeaderEpoch) {
        let followed = MetadataLeader(id: leader ?? -1, epoch: epoch)
        guard followed != lastFollowed else { return }
        lastFollowed = followed
        logger.info("following the metadata quorum", metadata: ["leader": "\(leader.map { "\($0)" } ?? "none")", "epoch": "\(epoch)"])
    }

    /// A full disk need not keep the only voter from starting: its epochs are in the log, too, and nobody else could get its vote.
    private mutating func persist(_ state: ElectionState) throws(StorageError) {
        do throws(StorageError) {
            try log.persist(state)
        } catch {
            guard case .outOfSpace = error, quorum.voters.isSoleVoter(configuration.quorum.localID) else { throw error }
            logger.warning("quorum-state was not written", metadata: ["reason": "\(error)"])
        }
    }

    private mutating func truncate(to offset: Offset) throws(StorageError) {
        endTerm()
        guard offset >= appliedOffset else {
            fail("the leader wants the log cut at \(offset), below what was committed and applied up to \(appliedOffset)")
            return
        }
        logger.info(
            "cutting the metadata log back to where it agrees with the leader's",
            metadata: ["offset": "\(offset)", "end": "\(log.log.logEndOffset)"])
        try log.truncate(to: offset, now: SystemClock.now())
    }

    // MARK: answers with contents

    private func filled(_ skeleton: FetchResponse, from: Offset, upTo: Offset, maxBytes: Int) -> FetchResponse {
        var response = skeleton
        guard !response.responses.isEmpty, !response.responses[0].partitions.isEmpty else { return response }
        do throws(MetadataStorageError) {
            var bytes = try log.read(from: from, maxBytes: maxBytes)
            var length = 0
            try MetadataBatches.forEach(bytes, path: log.path, verifying: false) { (batch) throws(MetadataStorageError) in
                if batch.header.baseOffset < upTo { length += batch.header.sizeInBytes }
            }
            response.responses[0].partitions[0].records = bytes.readSlice(length: length) ?? ByteBuffer()
        } catch {
            logger.error("the metadata log cannot be read for another member", metadata: ["offset": "\(from)", "reason": "\(error)"])
            response.responses[0].partitions[0].errorCode = .kafkaStorageError
            response.responses[0].partitions[0].records = ByteBuffer()
        }
        return response
    }

    private func filled(
        _ skeleton: FetchSnapshotResponse, _ id: SnapshotID, position: Int64, maxBytes: Int
    ) -> FetchSnapshotResponse {
        var response = skeleton
        guard !response.topics.isEmpty, !response.topics[0].partitions.isEmpty else { return response }
        let path = "\(log.path)/\(id.fileName)"
        do throws(StorageError) {
            if let size = MetadataFiles.size(of: path) {
                response.topics[0].partitions[0].size = Int64(size)
                if position >= 0, position < Int64(size) {
                    response.topics[0].partitions[0].position = position
                    response.topics[0].partitions[0].unalignedRecords = try MetadataFiles.read(path, from: position, count: maxBytes)
                } else {
                    response.topics[0].partitions[0].errorCode = .positionOutOfRange
                }
            } else {
                response.topics[0].partitions[0].errorCode = .snapshotNotFound
            }
        } catch {
            logger.error("a snapshot cannot be read for another member", metadata: ["snapshot": "\(id)", "reason": "\(error)"])
            response.topics[0].partitions[0].errorCode = .snapshotNotFound
        }
        return response
    }

    // MARK: fetched snapshots

    private func partialPath(_ id: SnapshotID) -> String { "\(log.path)/\(id.fileName).fetched.part" }

    /// Puts a fetched snapshot in the place of the whole log.
    mutating func install(_ id: SnapshotID) {
        snapshotToInstall = nil
        guard failure == nil else { return }
        let contents: MetadataLog.SnapshotContents
        do throws(MetadataStorageError) {
            contents = try log.readSnapshot(id, at: partialPath(id))
        } catch {
            logger.error("a fetched snapshot cannot be used; it is fetched again", metadata: ["snapshot": "\(id)", "reason": "\(error)"])
            let now = moment()
            return step(quorum.snapshotFailed(id, now: now))
        }
        do throws(StorageError) {
            try MetadataFiles.finish(partialPath(id), as: "\(log.path)/\(id.fileName)")
            try log.restart(after: id, now: SystemClock.now())
        } catch {
            return fail("\(error)")
        }
        replay = contents.replay
        appliedOffset = id.endOffset
        committedOffset = max(committedOffset, id.endOffset)
        publish(MetadataPublication(image: replay.image, changes: MetadataChanges(from: committedImage, to: replay.image)))
        logger.info("metadata snapshot loaded", metadata: ["snapshot": "\(id)", "topics": "\(replay.image.topics.count)"])
        let now = moment()
        do throws(QuorumError) {
            step(try quorum.snapshotInstalled(id, controlRecords: contents.controlRecords, now: now))
        } catch {
            fail("\(error)")
        }
    }
}
