// What a benchmark measured, while it runs and in the end.
import MartletClient
import Primitives
import Synchronization

/// Counts that event loops fill and the command reads.
final class BenchCounter: Sendable {
    struct Counts {
        var records = 0
        /// Of keys and values, before compression.
        var bytes = 0
        /// As sent or stored.
        var wireBytes = 0
        var latencies = LatencyHistogram()
        var error: KafkaError?
    }

    private let state = Mutex(Counts())

    func update(_ body: (inout Counts) -> Void) { state.withLock { body(&$0) } }
    var counts: Counts { state.withLock { $0 } }
    /// Cheaper than all of it.
    var totals: (records: Int, bytes: Int, error: KafkaError?) { state.withLock { ($0.records, $0.bytes, $0.error) } }
}

/// A finished run.
struct BenchReport {
    var name: String
    var topic: String
    var counts: BenchCounter.Counts
    var seconds: Double

    private var recordsPerSecond: Double { Double(counts.records) / seconds }
    private var megabytesPerSecond: Double { Double(counts.bytes) / seconds / 1e6 }

    private static let percentiles: [(name: String, share: Double)] = [
        ("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999),
    ]

    var text: String {
        var text = "\(name) \(topic): \(counts.records) records, \(SizeText.of(counts.bytes)) in \(NumberText.fixed(seconds, 2)) s\n"
        text += "throughput  \(NumberText.fixed(recordsPerSecond, 0)) records/s  \(NumberText.fixed(megabytesPerSecond, 1)) MB/s"
        if counts.wireBytes > 0 { text += "  (\(SizeText.of(counts.wireBytes)) in batches)" }
        guard counts.latencies.count > 0 else { return text }
        text += "\nlatency ms "
        for (name, share) in Self.percentiles { text += " \(name) \(Self.milliseconds(counts.latencies.percentile(share))) " }
        return text + " max \(Self.milliseconds(counts.latencies.maximum))"
    }

    var json: JSONValue {
        var members: [(String, JSONValue)] = [
            ("bench", .string(name)), ("topic", .string(topic)), ("records", .whole(counts.records)), ("bytes", .whole(counts.bytes)),
            ("batchBytes", .whole(counts.wireBytes)), ("seconds", .number(seconds)), ("recordsPerSecond", .number(recordsPerSecond)),
            ("megabytesPerSecond", .number(megabytesPerSecond)),
        ]
        if counts.latencies.count > 0 {
            var latencies = Self.percentiles.map { ($0.name, JSONValue.number(Double(counts.latencies.percentile($0.share)) / 1e6)) }
            latencies.append(("max", .number(Double(counts.latencies.maximum) / 1e6)))
            latencies.append(("mean", .number(counts.latencies.mean / 1e6)))
            members.append(("latencyMilliseconds", .object(latencies)))
        }
        return .object(members)
    }

    private static func milliseconds(_ nanoseconds: Int64) -> String { NumberText.fixed(Double(nanoseconds) / 1e6, 2) }
}

/// Watches a run: draws progress, and knows when it is over.
struct BenchClock {
    let started = SystemClock.monotonicNanoseconds()
    let limitSeconds: Double?
    private var progress = Progress()

    init(limitSeconds: Double?) {
        self.limitSeconds = limitSeconds
    }

    var seconds: Double { Double(max(1, SystemClock.monotonicNanoseconds() - started)) / 1e9 }
    var isOver: Bool { Interruption.isWanted || seconds >= limitSeconds ?? .infinity }

    mutating func show(_ counter: BenchCounter, of total: Int?) {
        let limit = limitSeconds
        progress.update { seconds in
            let (records, bytes, _) = counter.totals
            let bar =
                total.map { Progress.bar(records, of: $0) } ?? limit.map { Progress.bar(Int(seconds * 1000), of: Int($0 * 1000)) } ?? ""
            let rate = NumberText.fixed(Double(bytes) / seconds / 1e6, 1)
            return "\(bar)  \(records) records  \(Int(Double(records) / seconds)) records/s  \(rate) MB/s"
        }
    }

    func finish() { progress.finish() }
}
