// Taking records back: accepted, released, rejected, renewed, let go of with a session, or lost to time. What has to survive the leader is
// stored before it counts; until then the records belong to nobody else.
import KafkaWire
import Primitives

/// What a member says of records that it has. The values are those of the wire.
public enum AcknowledgeType: Int8, Sendable {
    /// There is no such record: compacted away, a marker, or aborted.
    case gap = 0
    case accept = 1
    case release = 2
    case reject = 3
    /// KIP-1222: keeps the records for another lock's duration.
    case renew = 4
}

/// What a member says of records from `firstOffset` to `lastOffset`: one type for all, or one for each.
public struct ShareAcknowledgement: Sendable, Equatable {
    public var firstOffset: Offset
    public var lastOffset: Offset
    public var types: [AcknowledgeType]

    public init(firstOffset: Offset, lastOffset: Offset, types: [AcknowledgeType]) {
        self.firstOffset = firstOffset
        self.lastOffset = lastOffset
        self.types = types
    }

    fileprivate func type(of offset: Offset) -> AcknowledgeType { types.count == 1 ? types[0] : types[Int(offset - firstOffset)] }

    /// Runs of one type from `offset` on.
    fileprivate func forEachRun(from offset: Offset, _ body: (Offset, Offset, AcknowledgeType) throws(ShareStateRefusal) -> Void)
        throws(ShareStateRefusal)
    {
        var first = offset
        while first <= lastOffset {
            let type = type(of: first)
            var last = types.count == 1 ? lastOffset : first
            while last < lastOffset, self.type(of: last + 1) == type { last += 1 }
            try body(first, last, type)
            first = last + 1
        }
    }
}

extension SharePartition {
    /// Takes in what a member says of its records. All of it counts or none.
    ///
    /// - Returns: what to store; nil when nothing has to be.
    public mutating func acknowledge(
        _ member: String, _ acknowledgements: [ShareAcknowledgement], now: Int64
    ) throws(ShareStateRefusal) -> ShareTransition? {
        for acknowledgement in acknowledgements { try refuseIfInvalid(acknowledgement, of: member) }
        let id = lastTransition + 1
        var batches: [ShareStateBatch] = []
        for acknowledgement in acknowledgements where acknowledgement.lastOffset >= startOffset {
            try acknowledgement.forEachRun(from: max(acknowledgement.firstOffset, startOffset)) {
                first, last, type throws(ShareStateRefusal) in
                for index in isolate(first, last) {
                    guard runs[index].transition == 0 else {
                        // The request named records twice. Nothing of it was stored yet.
                        undo(id)
                        throw ShareStateRefusal(
                            .invalidRecordState,
                            "The record state is invalid. The acknowledgement of delivery could not be completed.")
                    }
                    if type == .renew {
                        runs[index].deadline = now + settings.lockDurationMilliseconds
                    } else {
                        begin(id, index, type, &batches)
                    }
                }
            }
        }
        return transition(id, batches)
    }

    /// Releases everything that a member has: its session ended.
    public mutating func release(_ member: String) -> ShareTransition? {
        let id = lastTransition + 1
        var batches: [ShareStateBatch] = []
        for index in runs.indices where runs[index].state == .acquired && runs[index].transition == 0 && runs[index].member == member {
            begin(id, index, .release, &batches)
        }
        return transition(id, batches)
    }

    /// Takes records back whose time is over. They may be given out again at once, whatever becomes of storing it.
    public mutating func expire(now: Int64) -> ShareTransition? {
        var batches: [ShareStateBatch] = []
        for index in runs.indices where runs[index].state == .acquired && runs[index].transition == 0 && runs[index].deadline <= now {
            returnToLog(index)
            batches.appendCoalescing(stored(runs[index], as: runs[index].state))
        }
        guard !batches.isEmpty else { return nil }
        lastTransition += 1
        let update = update(batches)
        tidy()
        return ShareTransition(id: lastTransition, update: update)
    }

    /// Storing a transition has ended.
    ///
    /// - Returns: whether somebody who waits may get something now.
    public mutating func complete(_ id: UInt64, isStored: Bool, now: Int64) -> Bool {
        var isChanged = false
        for index in runs.indices where runs[index].transition == id {
            isChanged = true
            runs[index].transition = 0
            if isStored {
                runs[index].state = runs[index].next
                runs[index].member = ""
                runs[index].deadline = .max
            } else if runs[index].deadline <= now {
                returnToLog(index)
            }
        }
        tidy()
        return isChanged
    }

    // MARK: Steps

    private func refuseIfInvalid(_ acknowledgement: ShareAcknowledgement, of member: String) throws(ShareStateRefusal) {
        // What was done before the start moved may be said a second time.
        guard acknowledgement.lastOffset >= startOffset else { return }
        guard acknowledgement.lastOffset <= endOffset else {
            throw ShareStateRefusal(.invalidRequest, "Batch record not found. The last offset in request is past acquired records.")
        }
        var offset = max(acknowledgement.firstOffset, startOffset)
        while offset <= acknowledgement.lastOffset, let index = index(of: offset) {
            let run = runs[index]
            guard run.state == .acquired else {
                throw ShareStateRefusal(
                    .invalidRecordState, "The batch cannot be acknowledged. The batch is not in the acquired state.")
            }
            guard run.member == member else { throw ShareStateRefusal(.invalidRecordState, "Member is not the owner of batch record") }
            guard run.transition == 0 else {
                throw ShareStateRefusal(
                    .invalidRecordState, "The record state is invalid. The acknowledgement of delivery could not be completed.")
            }
            offset = run.last + 1
        }
        if acknowledgement.types.contains(.renew), !settings.isRenewEnabled {
            throw ShareStateRefusal(.invalidRecordState, "Renewing acquisition locks is not enabled for the group.")
        }
    }

    private mutating func begin(_ id: UInt64, _ index: Int, _ type: AcknowledgeType, _ batches: inout [ShareStateBatch]) {
        let state: ShareRecordState
        switch type {
        case .accept: state = .acknowledged
        case .gap, .reject: state = .archived
        case .release: state = runs[index].deliveryCount >= settings.deliveryCountLimit ? .archived : .available
        case .renew: return
        }
        runs[index].transition = id
        runs[index].next = state
        batches.appendCoalescing(stored(runs[index], as: state))
    }

    private mutating func undo(_ id: UInt64) {
        for index in runs.indices where runs[index].transition == id { runs[index].transition = 0 }
        tidy()
    }

    /// The records are nobody's: free, or done with after too many deliveries.
    private mutating func returnToLog(_ index: Int) {
        runs[index].state = runs[index].deliveryCount >= settings.deliveryCountLimit ? .archived : .available
        runs[index].member = ""
        runs[index].deadline = .max
    }

    private func stored(_ run: Run, as state: ShareRecordState) -> ShareStateBatch {
        ShareStateBatch(
            firstOffset: run.first, lastOffset: run.last, deliveryState: state.rawValue, deliveryCount: run.deliveryCount)
    }

    private func update(_ batches: [ShareStateBatch]) -> SharePartitionUpdate {
        SharePartitionUpdate(
            stateEpoch: stateEpoch, leaderEpoch: leaderEpoch, startOffset: startOffset, deliveryCompleteCount: deliveryCompleteCount,
            batches: batches)
    }

    private mutating func transition(_ id: UInt64, _ batches: [ShareStateBatch]) -> ShareTransition? {
        guard !batches.isEmpty else {
            tidy()
            return nil
        }
        lastTransition = id
        return ShareTransition(id: id, update: update(batches))
    }
}
