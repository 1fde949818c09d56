// A partition as one share group reads it: which records are out with whom and until when, which are done, and which come next (KIP-932).
// What the leader of the partition keeps in memory; a share coordinator stores the part of it that has to outlive the leader.
import KafkaWire
import Primitives

/// Settings of a group's share partitions, as they are in force for the group.
public struct SharePartitionSettings: Sendable, Equatable {
    /// `share.record.lock.duration.ms`: how long a record is held for who got it.
    public var lockDurationMilliseconds: Int64 = 30_000
    /// `share.delivery.count.limit`: a record that was released after so many deliveries is archived.
    public var deliveryCountLimit: Int16 = 5
    /// `share.partition.max.record.locks`: most records between the first that is not done and the last that was given out.
    public var maximumInFlight = 2_000
    /// `share.renew.acknowledge.enable`.
    public var isRenewEnabled = true

    public init() {}
}

/// Records given out to a member.
public struct AcquiredRecords: Sendable, Equatable {
    public var firstOffset: Offset
    public var lastOffset: Offset
    public var deliveryCount: Int16

    public init(firstOffset: Offset, lastOffset: Offset, deliveryCount: Int16) {
        self.firstOffset = firstOffset
        self.lastOffset = lastOffset
        self.deliveryCount = deliveryCount
    }

    public var count: Int { Int(lastOffset - firstOffset + 1) }
}

/// Changes that have to be stored before they count.
public struct ShareTransition: Sendable, Equatable {
    /// To be passed to ``SharePartition/complete(_:isStored:now:)``.
    public var id: UInt64
    public var update: SharePartitionUpdate
}

/// One share partition.
///
/// A core: it reads no clock and writes nothing. All offsets from ``startOffset`` to ``endOffset`` are in one of its runs; what lies before
/// is done, what lies behind was never given out.
public struct SharePartition: Sendable {
    /// Neighbouring records that share everything.
    struct Run: Sendable, Equatable {
        var first: Offset
        var last: Offset
        var state: ShareRecordState
        var deliveryCount: Int16
        /// Who holds the records; empty unless they are acquired.
        var member = ""
        /// When the member loses them, on the monotonic clock.
        var deadline: Int64 = .max
        /// The transition that will change the state, and to what; 0 for none.
        var transition: UInt64 = 0
        var next = ShareRecordState.available

        func isLike(_ other: Run) -> Bool {
            state == other.state && deliveryCount == other.deliveryCount && member == other.member && deadline == other.deadline
                && transition == other.transition && (transition == 0 || next == other.next)
        }

        /// Whether somebody may have the records now.
        var isFree: Bool { state == .available && transition == 0 }
        /// Whether the state is that of the end, or is going to be.
        var isDone: Bool { state.isTerminal || transition != 0 && next.isTerminal }
    }

    public let leaderEpoch: LeaderEpoch
    public let stateEpoch: Int32
    public var settings: SharePartitionSettings
    /// The first record that is not done.
    public private(set) var startOffset: Offset
    var runs: [Run] = []
    var lastTransition: UInt64 = 0

    /// - Parameters:
    ///   - state: as the share coordinator has it.
    ///   - startOffset: where to begin, if the state does not say.
    public init(state: SharePartitionState, leaderEpoch: LeaderEpoch, startOffset: Offset, settings: SharePartitionSettings) {
        self.leaderEpoch = leaderEpoch
        stateEpoch = state.stateEpoch
        self.settings = settings
        self.startOffset = state.startOffset >= 0 ? state.startOffset : startOffset
        var next = self.startOffset
        for batch in state.batches.combined(from: self.startOffset) {
            if batch.firstOffset > next {
                // These were out when the former leader wrote last: nothing is known of them but that they are not done.
                runs.append(Run(first: next, last: batch.firstOffset - 1, state: .available, deliveryCount: 0))
            }
            let stored = ShareRecordState(rawValue: batch.deliveryState) ?? .archived
            // A lock does not outlive the leader that gave it.
            let state: ShareRecordState = stored == .acquired ? .available : stored == .archiving ? .archived : stored
            runs.append(Run(first: batch.firstOffset, last: batch.lastOffset, state: state, deliveryCount: batch.deliveryCount))
            next = batch.lastOffset + 1
        }
        tidy()
    }

    /// The last record that was ever given out; one less than ``startOffset`` when there is none that is not done.
    public var endOffset: Offset { runs.last?.last ?? startOffset - 1 }

    /// How many offsets are between the first that is not done and the last that was given out.
    public var inFlightCount: Int { Int(endOffset - startOffset + 1) }

    /// How many runs of records that share everything these are.
    public var runCount: Int { runs.count }

    /// The first record that somebody may have.
    public var nextFetchOffset: Offset { runs.first { $0.isFree }?.first ?? endOffset + 1 }

    /// Whether a fetch can be given anything, if the log has it.
    public var canAcquire: Bool { runs.contains { $0.isFree } || inFlightCount < settings.maximumInFlight }

    /// When the first lock ends, on the monotonic clock; nil when nothing is locked.
    public var nextDeadline: Int64? {
        var earliest = Int64.max
        for run in runs where run.state == .acquired && run.transition == 0 { earliest = min(earliest, run.deadline) }
        return earliest == .max ? nil : earliest
    }

    /// Records from the start offset on that are done, for the lag of the group.
    var deliveryCompleteCount: Int32 {
        Int32(clamping: runs.reduce(0) { $0 + ($1.isDone ? Int($1.last - $1.first + 1) : 0) })
    }

    /// The log begins later now: what lies before is out of reach.
    public mutating func logStartMoved(to offset: Offset) {
        guard offset > startOffset else { return }
        runs.removeAll { $0.last < offset }
        if let first = runs.first, first.first < offset { runs[0].first = offset }
        startOffset = offset
        tidy()
    }

    // MARK: Runs

    /// Moves the start over what is done, and makes one of neighbours that are alike.
    mutating func tidy() {
        if let undone = runs.firstIndex(where: { !$0.state.isTerminal }) {
            runs.removeFirst(undone)
            startOffset = runs[0].first
        } else if let last = runs.last {
            startOffset = last.last + 1
            runs = []
        }
        guard runs.count > 1 else { return }
        var kept = 0
        for index in 1..<runs.count {
            if runs[kept].isLike(runs[index]) {
                runs[kept].last = runs[index].last
            } else {
                kept += 1
                runs[kept] = runs[index]
            }
        }
        runs.removeLast(runs.count - kept - 1)
    }

    /// Index of the run that holds the offset; nil when none does.
    func index(of offset: Offset) -> Int? {
        var low = 0
        var high = runs.count
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].last < offset { low = middle + 1 } else { high = middle }
        }
        return low < runs.count && runs[low].first <= offset ? low : nil
    }

    /// Splits runs so that one begins at `first` and one ends at `last`; both must be within what is in flight.
    ///
    /// - Returns: the runs between them.
    mutating func isolate(_ first: Offset, _ last: Offset) -> Range<Int> {
        guard var begin = index(of: first) else { preconditionFailure("offset \(first) is not in flight") }
        if runs[begin].first < first {
            var rest = runs[begin]
            rest.first = first
            runs[begin].last = first - 1
            begin += 1
            runs.insert(rest, at: begin)
        }
        guard let end = index(of: last) else { preconditionFailure("offset \(last) is not in flight") }
        if runs[end].last > last {
            var rest = runs[end]
            rest.first = last + 1
            runs[end].last = last
            runs.insert(rest, at: end + 1)
        }
        return begin..<(end + 1)
    }

    /// Nothing is in flight, and the log has nothing before `offset`.
    mutating func moveStart(to offset: Offset) {
        precondition(runs.isEmpty && offset >= startOffset, "the start moves over nothing")
        startOffset = offset
    }

    /// Appends records behind the last that was given out.
    mutating func append(_ run: Run) {
        precondition(run.first == endOffset + 1, "runs have no gaps")
        runs.append(run)
    }
}
