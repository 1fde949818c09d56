// What an all-knowing observer of a metadata quorum writes down: everything that any member has called committed, every vote and every
// leader. All invariants of the quorum are checked against it.
import Consensus
import Primitives

/// The history of one quorum, across all members and their restarts.
final class QuorumLedger {
    /// What was committed, by the offset at which each batch begins; a gap is a bug that shows as a violation.
    private(set) var committed: [BatchFingerprint] = []
    /// The epoch in which each was committed, in the same order: a leader of an earlier epoch need not have it.
    private var commitEpochs: [LeaderEpoch] = []
    /// The digest of the state after each committed batch, in the same order.
    private var states: [UInt64] = []
    private var indexOfBase: [Offset: Int] = [:]
    private var stateAtEnd: [Offset: UInt64] = [0: 0]
    private var leaders: [LeaderEpoch: NodeID] = [:]
    private var votes: [LeaderEpoch: [NodeID: NodeID]] = [:]
    private(set) var highestEpoch: LeaderEpoch = 0

    /// The offset after everything that was ever committed.
    var endOffset: Offset { committed.last?.nextOffset ?? 0 }

    /// The digest of the state at an offset where a committed batch ends.
    func state(at offset: Offset) -> UInt64? { stateAtEnd[offset] }

    /// The epoch of the last committed batch before `offset`.
    func epoch(before offset: Offset) -> LeaderEpoch? {
        guard let index = committed.lastIndex(where: { $0.nextOffset <= offset }) else { return nil }
        return committed[index].epoch
    }

    /// The newest batch that was committed before that epoch, which its leader must therefore have.
    func lastCommitted(before epoch: LeaderEpoch) -> BatchFingerprint? {
        commitEpochs.lastIndex { $0 < epoch }.map { committed[$0] }
    }

    /// A member that is in that epoch says that a batch of its log is committed.
    func commit(_ batch: BatchFingerprint, by member: NodeID, in epoch: LeaderEpoch) -> String? {
        if let index = indexOfBase[batch.baseOffset] {
            let known = committed[index]
            return known == batch ? nil : "n\(member) holds \(batch) below its high watermark where \(known) was committed"
        }
        guard batch.baseOffset == endOffset else {
            return "n\(member) holds \(batch) below its high watermark, across the borders of what was committed up to \(endOffset)"
        }
        indexOfBase[batch.baseOffset] = committed.count
        committed.append(batch)
        commitEpochs.append(epoch)
        stateAtEnd[batch.nextOffset] = Self.next(states.last ?? 0, batch)
        states.append(Self.next(states.last ?? 0, batch))
        return nil
    }

    /// The state after one more batch.
    static func next(_ state: UInt64, _ batch: BatchFingerprint) -> UInt64 {
        var state = (state ^ UInt64(batch.checksum)) &* 0x100_0000_01b3
        state = (state ^ UInt64(bitPattern: batch.nextOffset)) &* 0x100_0000_01b3
        return (state ^ UInt64(UInt32(bitPattern: batch.epoch))) &* 0x100_0000_01b3
    }

    /// A member leads.
    func lead(_ epoch: LeaderEpoch, _ member: NodeID) -> String? {
        highestEpoch = max(highestEpoch, epoch)
        if let other = leaders[epoch], other != member { return "n\(other) and n\(member) both lead in epoch \(epoch)" }
        leaders[epoch] = member
        return nil
    }

    /// A member grants its vote.
    func vote(_ epoch: LeaderEpoch, by voter: NodeID, for candidate: NodeID) -> String? {
        if let other = votes[epoch]?[voter], other != candidate {
            return "n\(voter) votes for n\(candidate) in epoch \(epoch) after it voted for n\(other)"
        }
        votes[epoch, default: [:]][voter] = candidate
        return nil
    }
}
