// Kafka's RequestMetrics: how often each request came, in which version, how long it took and how it failed.
import Primitives
import Synchronization

/// The numbers of one kind of request.
public final class RequestMetrics: Sendable {
    /// Kafka's name of the request, e.g. `Produce`.
    public let name: String
    private let versions: [Counter]
    private let unknownVersions = Counter()
    private let totalTimeStorage = AtomicLazyReference<LatencyHistogram>()
    private let localTimeStorage = AtomicLazyReference<LatencyHistogram>()
    private let errors = Mutex<[String: Int]>([:])
    /// Bytes of all requests of this kind.
    public let requestBytes = Counter()

    init(name: String, highestVersion: Int16) {
        self.name = name
        versions = (0...max(0, highestVersion)).map { _ in Counter() }
    }

    /// Counts one request.
    public func count(version: Int16, bytes: Int) {
        if version >= 0, Int(version) < versions.count {
            versions[Int(version)].increment()
        } else {
            unknownVersions.increment()
        }
        requestBytes.increment(by: bytes)
    }

    /// Time from the request's last byte to its answer.
    public func recordTotal(nanoseconds: Int64) {
        histogram(totalTimeStorage).record(nanoseconds: nanoseconds)
    }

    /// Time the broker worked on the request itself, without waiting for other brokers, records or time.
    public func recordLocal(nanoseconds: Int64) {
        histogram(localTimeStorage).record(nanoseconds: nanoseconds)
    }

    /// Counts an error code answered; `error` is Kafka's name of it, `NONE` for success, as in Kafka's own ErrorsPerSec.
    /// Takes a lock: meant for failures, not for every success.
    public func count(error: String, times: Int = 1) {
        errors.withLock { $0[error, default: 0] += times }
    }

    private func histogram(_ storage: borrowing AtomicLazyReference<LatencyHistogram>) -> LatencyHistogram {
        if let histogram = storage.load() { return histogram }
        return storage.storeIfNil(LatencyHistogram(now: SystemClock.monotonicNanoseconds()))
    }

    var totalTime: LatencyHistogram? { totalTimeStorage.load() }
    var localTime: LatencyHistogram? { localTimeStorage.load() }

    var versionCounts: [(version: String, count: Int)] {
        var counts: [(version: String, count: Int)] = []
        for (version, counter) in versions.enumerated() where counter.value > 0 {
            counts.append((String(version), counter.value))
        }
        if unknownVersions.value > 0 {
            counts.append(("unknown", unknownVersions.value))
        }
        return counts
    }

    var errorCounts: [(error: String, count: Int)] {
        errors.withLock { $0.sorted { $0.key < $1.key }.map { ($0.key, $0.value) } }
    }
}

/// A kind of request, as `KafkaMetrics` needs to know it.
public struct RequestKind: Sendable {
    public var apiKey: Int16
    /// Kafka's name, e.g. `Produce`.
    public var name: String
    public var highestVersion: Int16

    public init(apiKey: Int16, name: String, highestVersion: Int16) {
        self.apiKey = apiKey
        self.name = name
        self.highestVersion = highestVersion
    }
}

/// All kinds of requests, found by api key without lock or hashing.
struct RequestMetricsTable: Sendable {
    private let byKey: [RequestMetrics?]
    private let unknown = RequestMetrics(name: "Unknown", highestVersion: 0)

    init(_ kinds: [RequestKind]) {
        let highestKey = kinds.map(\.apiKey).max() ?? -1
        var byKey = [RequestMetrics?](repeating: nil, count: Int(highestKey) + 1)
        for kind in kinds where kind.apiKey >= 0 {
            byKey[Int(kind.apiKey)] = RequestMetrics(name: kind.name, highestVersion: kind.highestVersion)
        }
        self.byKey = byKey
    }

    func request(_ apiKey: Int16) -> RequestMetrics {
        guard apiKey >= 0, Int(apiKey) < byKey.count, let metrics = byKey[Int(apiKey)] else { return unknown }
        return metrics
    }

    private var used: [RequestMetrics] {
        (byKey.compactMap { $0 } + [unknown]).filter { !$0.versionCounts.isEmpty }
    }

    func write(to text: inout PrometheusText, now: Int64) {
        let used = used
        text.family("kafka_network_requestmetrics_requests_total", .counter, help: "Requests by kind and version.")
        for metrics in used {
            for (version, count) in metrics.versionCounts {
                text.sample("kafka_network_requestmetrics_requests_total", ["request": metrics.name, "version": version], count)
            }
        }
        text.family("kafka_network_requestmetrics_errors_total", .counter, help: "Errors answered, by kind of request and error.")
        for metrics in used {
            for (error, count) in metrics.errorCounts {
                text.sample("kafka_network_requestmetrics_errors_total", ["request": metrics.name, "error": error], count)
            }
        }
        text.family("kafka_network_requestmetrics_requestbytes_total", .counter, help: "Bytes of requests by kind.")
        for metrics in used {
            text.sample("kafka_network_requestmetrics_requestbytes_total", ["request": metrics.name], metrics.requestBytes.value)
        }
        writeTimes("kafka_network_requestmetrics_totaltimems", "Milliseconds from request to answer.", used, \.totalTime, now, &text)
        writeTimes("kafka_network_requestmetrics_localtimems", "Milliseconds of the broker's own work.", used, \.localTime, now, &text)
    }

    private func writeTimes(
        _ name: String, _ help: String, _ used: [RequestMetrics], _ histogram: KeyPath<RequestMetrics, LatencyHistogram?>, _ now: Int64,
        _ text: inout PrometheusText
    ) {
        text.family(name, .summary, help: help)
        for metrics in used {
            guard let times = metrics[keyPath: histogram] else { continue }
            // The quantiles that Kafka's own metrics export.
            let labels = ["0.50", "0.75", "0.95", "0.98", "0.99", "0.999"]
            let values = times.quantiles([0.5, 0.75, 0.95, 0.98, 0.99, 0.999], now: now)
            for (label, value) in zip(labels, values) {
                text.sample(name, ["request": metrics.name, "quantile": label], value / 1_000_000)
            }
            text.sample("\(name)_sum", ["request": metrics.name], Double(times.sumNanoseconds) / 1_000_000)
            text.sample("\(name)_count", ["request": metrics.name], times.count)
        }
    }
}
