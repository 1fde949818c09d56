// A partition of __consumer_offsets in memory, and a runtime over it with a clock that stands still.
import GroupCoordination
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import Runtime
import Storage
import Synchronization

final class MemoryCoordinatorLog: CoordinatorLog {
    struct State {
        var batches: [ByteBuffer] = []
        var endOffset: Offset = 0
        var error: ErrorCode?
        /// Whether appends are committed at once.
        var isReplicated = true
    }

    let state = Mutex(State())
    let logStartOffset: Offset = 0

    init(batches: [ByteBuffer] = []) {
        state.withLock { $0.batches = batches }
    }

    /// Takes a segment file's content apart, as far as it holds whole batches.
    convenience init(segments: [ByteBuffer]) {
        var batches: [ByteBuffer] = []
        for segment in segments {
            var iterator = RecordBatchIterator(segment)
            while let batch = try? iterator.next() { batches.append(batch.bytes) }
        }
        self.init(batches: batches)
    }

    var endOffset: Offset { state.withLock { $0.endOffset } }
    var highWatermark: Offset { state.withLock { $0.isReplicated ? $0.endOffset : 0 } }
    var batchCount: Int { state.withLock { $0.batches.count } }

    func append(_ batch: ByteBuffer, transaction: TransactionTerms, now: Timestamp) throws(CoordinatorLogError) -> CoordinatorAppend {
        try state.withLock { state throws(CoordinatorLogError) in
            if let error = state.error { throw CoordinatorLogError(error) }
            var stored = batch
            let baseOffset = state.endOffset
            stored.setInteger(baseOffset, at: stored.readerIndex)
            guard let header = try? RecordBatchHeader(from: stored) else { throw CoordinatorLogError(.corruptMessage) }
            state.batches.append(stored)
            state.endOffset = header.nextOffset
            return CoordinatorAppend(baseOffset: baseOffset, highWatermark: state.isReplicated ? state.endOffset : 0)
        }
    }

    func readCommitted(from offset: Offset, maximumBytes: Int) throws(CoordinatorLogError) -> ByteBuffer {
        state.withLock { state in
            var chunk = ByteBuffer()
            for batch in state.batches {
                guard let header = try? RecordBatchHeader(from: batch), header.nextOffset > offset else { continue }
                chunk.writeImmutableBuffer(batch)
                if chunk.readableBytes >= maximumBytes { break }
            }
            return chunk
        }
    }
}

/// Holds what a completion brought.
final class Answer<Value: Sendable>: Sendable {
    private let state = Mutex<[Value]>([])

    var values: [Value] { state.withLock { $0 } }
    var value: Value? { values.last }

    var completion: @Sendable (Value) -> Void {
        { value in self.state.withLock { $0.append(value) } }
    }
}

/// A clock that tests move.
final class ManualClock: Sendable {
    private let milliseconds = Atomic<Int64>(0)

    func advance(_ amount: Int64) { milliseconds.add(amount, ordering: .relaxed) }

    var now: CoordinatorInstant {
        let elapsed = milliseconds.load(ordering: .relaxed)
        return CoordinatorInstant(timestamp: 1_700_000_000_000 + elapsed, monotonicMilliseconds: elapsed)
    }
}

/// Topics that exist: `t` and `u` with two partitions each.
struct FixedTopics: GroupTopicLookup {
    static let id = KafkaUUID(mostSignificantBits: 0, leastSignificantBits: 20)
    static let ids = [
        "t": KafkaUUID(mostSignificantBits: 0, leastSignificantBits: 20), "u": KafkaUUID(mostSignificantBits: 0, leastSignificantBits: 21),
    ]

    func topicName(for id: TopicID) -> String? { ["t", "u"].first { Self.ids[$0] == id } }
    func topicID(for name: String) -> TopicID? { Self.ids[name] }
    func hasPartition(topic: String, partition: Int32) -> Bool { Self.ids[topic] != nil && (0..<2).contains(partition) }
}
