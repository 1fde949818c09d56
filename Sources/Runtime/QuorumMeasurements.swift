// How fast the metadata quorum commits, elects, appends and fetches, as Kafka's raft-metrics tell it.
import DequeModule
import Primitives

/// What was measured lately: the last 30 to 60 seconds, in two windows, as Kafka's samples do. NaN where nothing was.
public struct QuorumRates: Sendable, Hashable {
    /// Milliseconds from the append of a batch by the leader until it was committed, per record of the batch.
    public var commitLatencyAverage = Double.nan
    public var commitLatencyMaximum = Double.nan
    /// Milliseconds from when this node stood for election until it knew a leader.
    public var electionLatencyAverage = Double.nan
    public var electionLatencyMaximum = Double.nan
    /// Records per second that this node appended as the leader.
    public var appendedRecordsPerSecond = 0.0
    /// Records per second that this node got from the leader.
    public var fetchedRecordsPerSecond = 0.0
    /// The part of the time in which the quorum's queue had nothing to do.
    public var idleRatio = 1.0
}

/// Collects what `QuorumRates` says. All times are monotonic nanoseconds.
struct QuorumMeasurements {
    /// Batches that wait for the quorum; of more the newest are not measured.
    private static let maximumWaiting = 1000

    private var commitLatency = WindowedSamples()
    private var electionLatency = WindowedSamples()
    private var appendedRecords = WindowedSamples()
    private var fetchedRecords = WindowedSamples()
    private var busySeconds = WindowedSamples()
    private var waiting = Deque<(endOffset: Offset, count: Int, since: Int64)>()
    private var electionSince: Int64?

    mutating func appended(count: Int, endOffset: Offset, now: Int64) {
        appendedRecords.record(Double(count), now: now)
        if waiting.count < Self.maximumWaiting { waiting.append((endOffset, count, now)) }
    }

    mutating func fetched(count: Int, now: Int64) { fetchedRecords.record(Double(count), now: now) }

    /// The queue was busy from `since` to `now`.
    mutating func worked(since: Int64, now: Int64) { busySeconds.record(Double(now - since) / 1_000_000_000, now: now) }

    mutating func committed(upTo offset: Offset, now: Int64) {
        while let first = waiting.first, first.endOffset <= offset {
            waiting.removeFirst()
            commitLatency.record(Double(now - first.since) / 1_000_000 / Double(max(1, first.count)), now: now)
        }
    }

    /// This node leads no longer: what it appended may never be committed.
    mutating func resigned() { waiting.removeAll() }

    mutating func standsForElection(now: Int64) { if electionSince == nil { electionSince = now } }

    mutating func leaderKnown(now: Int64) {
        guard let since = electionSince else { return }
        electionSince = nil
        electionLatency.record(Double(now - since) / 1_000_000, now: now)
    }

    func rates(now: Int64) -> QuorumRates {
        QuorumRates(
            commitLatencyAverage: commitLatency.average(now: now), commitLatencyMaximum: commitLatency.maximum(now: now),
            electionLatencyAverage: electionLatency.average(now: now), electionLatencyMaximum: electionLatency.maximum(now: now),
            appendedRecordsPerSecond: appendedRecords.perSecond(now: now), fetchedRecordsPerSecond: fetchedRecords.perSecond(now: now),
            idleRatio: min(1, max(0, 1 - busySeconds.perSecond(now: now))))
    }
}

/// Values of the running window of 30 seconds and of the one before.
struct WindowedSamples {
    static let windowNanoseconds: Int64 = 30_000_000_000

    private struct Window {
        var start: Int64
        var sum = 0.0
        var count = 0
        var maximum = -Double.infinity
    }

    private var current: Window?
    private var previous: Window?

    mutating func record(_ value: Double, now: Int64) {
        if let window = current, now - window.start >= Self.windowNanoseconds {
            previous = window
            current = nil
        }
        var window = current ?? Window(start: now)
        window.sum += value
        window.count += 1
        window.maximum = max(window.maximum, value)
        current = window
    }

    /// Those that are not too old to count.
    private func windows(now: Int64) -> [Window] {
        [previous, current].compactMap { $0 }.filter { now - $0.start < 2 * Self.windowNanoseconds }
    }

    func average(now: Int64) -> Double {
        let windows = windows(now: now)
        let count = windows.reduce(0) { $0 + $1.count }
        return count == 0 ? .nan : windows.reduce(0) { $0 + $1.sum } / Double(count)
    }

    func maximum(now: Int64) -> Double { windows(now: now).map(\.maximum).max() ?? .nan }

    /// As if there had been at least one whole window, so that the first events make no peak.
    func perSecond(now: Int64) -> Double {
        let windows = windows(now: now)
        guard let oldest = windows.first else { return 0 }
        var elapsed = now - oldest.start
        if elapsed < Self.windowNanoseconds { elapsed += Self.windowNanoseconds }
        return windows.reduce(0) { $0 + $1.sum } / (Double(elapsed) / 1_000_000_000)
    }
}
