// The leader's log: what it appends, and how far the majority has it.
import KafkaRecords
import NIOCore
import Primitives
import RecordBatches

extension Quorum {
    /// Hands records to the log, in one batch if `isAtomic`, else in as few as their size allows. The shell may collect records for
    /// `controller.quorum.append.linger.ms` before it calls this.
    ///
    /// - Parameter values: the records, each as it is stored.
    /// - Throws: `notLeader`; `batchTooLarge` for an atomic batch beyond the limit. Nothing changes then.
    public mutating func append(_ values: [ByteBuffer], isAtomic: Bool, now: Int64) throws(QuorumError) -> [QuorumEffect] {
        guard role == .leader else { throw .notLeader }
        guard !values.isEmpty else { return [] }
        // Records of one epoch keep their order in time even if the clock is set back.
        let timestamp = max(now + clockOffset, lastAppend)
        var batches: [ByteBuffer] = []
        var offset = endOffset
        var builder = makeBuilder(at: offset, timestamp)
        for value in values {
            let size = builder.uncompressedSize + RecordBatchBuilder.sizeUpperBound(key: nil, value: value)
            if !builder.isEmpty, size > configuration.maximumBatchBytes {
                if isAtomic { throw .batchTooLarge(size: size, limit: configuration.maximumBatchBytes) }
                batches.append(try Self.build(builder))
                builder = makeBuilder(at: offset, timestamp)
            }
            builder.append(timestamp: timestamp, key: nil, value: value)
            offset += 1
        }
        batches.append(try Self.build(builder))
        return step(now) { quorum in
            quorum.log.append(endingAt: offset, epoch: quorum.epoch)
            quorum.lastAppend = timestamp
            for batch in batches { quorum.effects.append(.append(batch)) }
            quorum.answerWaitingFetches()
        }
    }

    private func makeBuilder(at offset: Offset, _ timestamp: Timestamp) -> RecordBatchBuilder {
        var builder = RecordBatchBuilder(baseOffset: offset, baseTimestamp: timestamp)
        builder.partitionLeaderEpoch = epoch
        return builder
    }

    private static func build(_ builder: consuming RecordBatchBuilder) throws(QuorumError) -> ByteBuffer {
        do throws(RecordBatchError) {
            return try builder.build()
        } catch {
            throw .corrupt("a batch cannot be built: \(error)")
        }
    }

    /// Appends control records in a batch of their own; voters among them are in force at once.
    mutating func appendControl(_ records: [QuorumControlRecord]) {
        let timestamp = max(now + clockOffset, lastAppend)
        let base = endOffset
        let batch = Self.own { () throws(QuorumError) in
            try QuorumControlRecord.batch(records, baseOffset: base, epoch: epoch, timestamp: timestamp)
        }
        for (index, record) in records.enumerated() {
            Self.own { () throws(QuorumError) in try log.replay(record, at: base + Offset(index)) }
        }
        log.append(endingAt: base + Offset(records.count), epoch: epoch)
        lastAppend = timestamp
        effects.append(.append(batch))
        leading.update(voters)
        answerWaitingFetches()
    }

    /// The control records that open an epoch (KIP-595). Dynamic voters are logged when they never were, or when this node changed.
    func startOfEpoch() -> [QuorumControlRecord] {
        var message = LeaderChangeMessage()
        message.leaderId = configuration.localID
        message.voters = voters.voters.keys.map(Self.changeVoter)
        message.grantingVoters = leading.granting.map(Self.changeVoter)
        var records = [QuorumControlRecord.leaderChange(message)]
        guard kraftVersion > 0, let updated = voters.updating(localVoter) else { return records }
        if log.votersAreOnlyInBootstrapSnapshot || updated != voters {
            var version = KRaftVersionRecord()
            version.kRaftVersion = kraftVersion
            records += [.kraftVersion(version), .voters(updated.record())]
        }
        return records
    }

    private static func changeVoter(_ id: NodeID) -> LeaderChangeMessage.Voter {
        var voter = LeaderChangeMessage.Voter()
        voter.voterId = id
        return voter
    }

    /// This member as a voter.
    var localVoter: Voter {
        var endpoints = configuration.localEndpoints
        // A node that does not say where it listens does not move.
        if endpoints.isEmpty { endpoints = voters.voters[configuration.localID]?.endpoints ?? [] }
        return Voter(
            id: configuration.localID, directoryID: configuration.localDirectoryID, endpoints: endpoints,
            supportedKraftVersions: configuration.supportedKraftVersions)
    }

    /// What the majority has is committed, once it includes a record of this epoch: records of older epochs could be replaced before.
    mutating func updateHighWatermark() {
        leading.reachedLocally(durableOffset)
        guard role == .leader, let offset = leading.majorityOffset, offset > epochStartOffset else { return }
        guard offset > highWatermark || !leading.hasHighWatermark else { return }
        leading.hasHighWatermark = true
        commit(upTo: offset)
        changeCommitted()
        answerWaitingFetches(all: true)
    }

    /// The high watermark never goes back, and never beyond the log.
    mutating func commit(upTo offset: Offset) {
        let bounded = min(offset, endOffset)
        guard bounded > highWatermark else { return }
        highWatermark = bounded
        effects.append(.commit(upTo: bounded))
    }
}
