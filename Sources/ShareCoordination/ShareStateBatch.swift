// Runs of offsets in one state, as they are stored, and how newer runs are laid over older ones.
import Primitives

/// The state of a record in a share partition. The values are those of the records (KIP-932).
public enum ShareRecordState: Int8, Sendable {
    case available = 0
    case acquired = 1
    case acknowledged = 2
    /// On its way into a dead letter queue (KIP-1191), which is not served: read as archived.
    case archiving = 3
    case archived = 4

    /// Whether nothing more becomes of the record.
    public var isTerminal: Bool { self == .acknowledged || self == .archived || self == .archiving }
}

/// Offsets from `firstOffset` to `lastOffset`, both included, that share a state and a delivery count.
public struct ShareStateBatch: Hashable, Sendable {
    public var firstOffset: Offset
    public var lastOffset: Offset
    /// As on the wire: a newer broker may have written one that is not known here.
    public var deliveryState: Int8
    public var deliveryCount: Int16

    public init(firstOffset: Offset, lastOffset: Offset, deliveryState: Int8, deliveryCount: Int16) {
        self.firstOffset = firstOffset
        self.lastOffset = lastOffset
        self.deliveryState = deliveryState
        self.deliveryCount = deliveryCount
    }

    /// Which of two batches says the last word about an offset: the one that was delivered more often, then the later state.
    fileprivate func overrules(_ other: ShareStateBatch) -> Bool {
        (deliveryCount, deliveryState) > (other.deliveryCount, other.deliveryState)
    }
}

extension [ShareStateBatch] {
    /// The batches without overlap, sorted, from `startOffset` on, neighbours of one kind in one; -1 leaves nothing out.
    ///
    /// Order of the input does not matter. Batches that end before they begin are dropped.
    public func combined(from startOffset: Offset) -> [ShareStateBatch] {
        var batches: [ShareStateBatch] = []
        for var batch in self where batch.lastOffset >= batch.firstOffset && batch.lastOffset >= startOffset {
            batch.firstOffset = Swift.max(batch.firstOffset, startOffset)
            batches.append(batch)
        }
        guard batches.count > 1 else { return batches }
        batches.sort { $0.firstOffset < $1.firstOffset }
        // Every offset at which something begins or ends; between two of them the same batches are in force.
        var edges: [Offset] = []
        for batch in batches { edges += [batch.firstOffset, batch.lastOffset + 1] }
        edges.sort()
        var result: [ShareStateBatch] = []
        var active: [ShareStateBatch] = []
        var next = 0
        for index in edges.indices.dropLast() where edges[index] < edges[index + 1] {
            let first = edges[index]
            active.removeAll { $0.lastOffset < first }
            while next < batches.count, batches[next].firstOffset <= first {
                active.append(batches[next])
                next += 1
            }
            guard var winner = active.first else { continue }
            for candidate in active where candidate.overrules(winner) { winner = candidate }
            winner.firstOffset = first
            winner.lastOffset = edges[index + 1] - 1
            result.appendCoalescing(winner)
        }
        return result
    }

    /// Appends a batch that begins behind the last one, or makes the last one longer.
    public mutating func appendCoalescing(_ batch: ShareStateBatch) {
        if let last, last.lastOffset + 1 == batch.firstOffset, last.deliveryState == batch.deliveryState,
            last.deliveryCount == batch.deliveryCount
        {
            self[count - 1].lastOffset = batch.lastOffset
        } else {
            append(batch)
        }
    }
}
