// Where the logs of two clusters part after a change: by reading both, batch by batch, from an offset that both had.
import MartletClient
import Primitives
import RecordBatches

struct DrillParting: Sendable {
    /// Both have the same before it.
    var common: Offset
    /// Offsets that the left side has and the right one has not.
    var lost: Int64 = 0
    /// Milliseconds between the timestamps of the first and the last record that is lost.
    var lostMilliseconds: Int64 = 0
    /// The first offset that a client, and no marker, wrote to the right side; nil without any.
    var firstNew: Offset?

    private static let answerBytes = 1 << 20

    /// - Parameters:
    ///   - left: the cluster that was left.
    ///   - start: an offset before which both have the same, and at which a batch begins.
    static func find(
        _ partition: TopicPartition, left: ClusterClient, right: ClusterClient, from start: Offset
    ) async throws -> DrillParting {
        let (leftEnd, rightEnd) = (try await end(of: partition, left), try await end(of: partition, right))
        var old = StoredCursor(StoredPartition(left, partition, maximumBytes: answerBytes), at: start)
        var new = StoredCursor(StoredPartition(right, partition, maximumBytes: answerBytes), at: start)
        var parting = DrillParting(common: start)
        var (first, second) = (try await next(&old, before: leftEnd), try await next(&new, before: rightEnd))
        while let ours = first, let theirs = second, ours.header.isSame(as: theirs.header) {
            parting.common = ours.header.nextOffset
            (first, second) = (try await next(&old, before: leftEnd), try await next(&new, before: rightEnd))
        }
        if let lost = first {
            parting.lost = leftEnd - lost.header.baseOffset
            let begin = lost.header.baseTimestamp
            var last = lost.header.maxTimestamp
            while let batch = try await next(&old, before: leftEnd) { last = max(last, batch.header.maxTimestamp) }
            parting.lostMilliseconds = max(0, last - begin)
        }
        while let batch = second {
            if !batch.header.isControl {
                parting.firstNew = batch.header.baseOffset
                break
            }
            second = try await next(&new, before: rightEnd)
        }
        return parting
    }

    private static func end(of partition: TopicPartition, _ cluster: ClusterClient) async throws -> Offset {
        try await cluster.offsets([(partition, .latest)])[partition]?.offset ?? 0
    }

    private static func next(_ cursor: inout StoredCursor, before end: Offset) async throws -> RecordBatch? {
        while true {
            if try cursor.needsAnswer(before: end) {
                try cursor.take(try await cursor.source.read(from: cursor.position))
                continue
            }
            if let batch = try cursor.nextBatch(before: end) { return batch }
            // An answer may hold nothing but what lies before the offset that was asked for.
            guard try cursor.needsAnswer(before: end) else { return nil }
        }
    }
}
