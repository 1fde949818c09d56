// The catalogue: every metric of a node under the name that Kafka's JMX exporter rules give it, because dashboards and alerts
// written for Kafka ask for those.
import Primitives
import Synchronization

/// The metrics of a node.
public final class KafkaMetrics: Sendable {
    /// Connections open on one event loop for one listener.
    public struct ConnectionCount: Sendable {
        public var listener: String
        public var networkProcessor: Int
        public var count: Int

        public init(listener: String, networkProcessor: Int, count: Int) {
            self.listener = listener
            self.networkProcessor = networkProcessor
            self.count = count
        }
    }

    /// Where everything is registered; the admin endpoint serves it, others may add to it.
    public let registry: MetricsRegistry
    /// Unclean leader elections decided by this controller.
    public let uncleanLeaderElections = Counter()
    /// ISR changes seen by this broker.
    public let inSyncReplicaShrinks = Counter()
    public let inSyncReplicaExpands = Counter()
    public let failedInSyncReplicaUpdates = Counter()
    /// Bytes taken from and given to other brokers.
    public let replicationBytesIn = Counter()
    public let replicationBytesOut = Counter()
    /// Time of each flush of a log to disk.
    public let logFlushTime: LatencyHistogram

    private let topics = TopicMetricsTable()
    private let requests: RequestMetricsTable

    /// - Parameters:
    ///   - requestKinds: the requests to be counted, with Kafka's names.
    ///   - version: Martlet's version, shown as a label.
    public init(registry: MetricsRegistry = MetricsRegistry(), requestKinds: [RequestKind], version: String) {
        self.registry = registry
        requests = RequestMetricsTable(requestKinds)
        logFlushTime = LatencyHistogram(now: SystemClock.monotonicNanoseconds())
        ProcessMetrics.noteStart()
        registry.register { text in
            text.family("martlet_build_info", .gauge, help: "1, labelled with the version.")
            text.sample("martlet_build_info", ["version": version], 1)
            ProcessMetrics.write(to: &text)
        }
        registry.register { [weak self] text in self?.write(to: &text) }
    }

    /// Counters of a topic, created when first asked for. Keep the reference: this takes a lock.
    public func topic(_ name: String) -> TopicMetrics {
        topics.topic(name)
    }

    /// Forgets a deleted topic; what it had counted stays in the totals.
    public func removeTopic(_ name: String) {
        topics.remove(name)
    }

    /// Numbers of one kind of request; unknown keys share one set. Costs an array access.
    public func request(_ apiKey: Int16) -> RequestMetrics {
        requests.request(apiKey)
    }

    /// Registers where the state gauges come from.
    public func observeState(_ state: @escaping @Sendable () -> KafkaState) {
        registry.register { text in state().write(to: &text) }
    }

    /// Registers where the connection counts come from.
    public func observeConnections(_ connections: @escaping @Sendable () -> [ConnectionCount]) {
        registry.register { text in
            let name = "kafka_server_socket_server_metrics_connection_count"
            text.family(name, .gauge, help: "Open connections by listener and event loop.")
            for entry in connections() {
                text.sample(name, ["listener": entry.listener, "networkProcessor": String(entry.networkProcessor)], entry.count)
            }
        }
    }

    /// Registers where the idle part of the event loops' time comes from, 0 to 1. Network threads and request handlers are the same
    /// threads here, so both of Kafka's gauges show it.
    public func observeIdle(_ fraction: @escaping @Sendable () -> Double) {
        registry.register { text in
            let fraction = fraction()
            text.single(
                "kafka_network_socketserver_networkprocessoravgidle_percent", .gauge, help: "Idle part of the event loops, 0 to 1.",
                fraction)
            text.single(
                "kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent", .gauge, help: "Idle part of the event loops, 0 to 1.",
                fraction)
        }
    }

    private func write(to text: inout PrometheusText) {
        let now = SystemClock.monotonicNanoseconds()
        topics.write(to: &text)
        let replication = "kafka_server_brokertopicmetrics_replicationbytes"
        text.single(replication + "in_total", .counter, help: "Bytes replicated from other brokers.", replicationBytesIn.value)
        text.single(replication + "out_total", .counter, help: "Bytes replicated to other brokers.", replicationBytesOut.value)
        text.single(
            "kafka_server_replicamanager_isrshrinks_total", .counter, help: "Replicas that fell out of sync.", inSyncReplicaShrinks.value)
        text.single(
            "kafka_server_replicamanager_isrexpands_total", .counter, help: "Replicas that came into sync.", inSyncReplicaExpands.value)
        text.single(
            "kafka_server_replicamanager_failedisrupdates_total", .counter,
            help: "Changes of in-sync replicas that the controller refused.",
            failedInSyncReplicaUpdates.value)
        text.single(
            "kafka_controller_controllerstats_uncleanleaderelections_total", .counter, help: "Unclean leader elections.",
            uncleanLeaderElections.value)
        requests.write(to: &text, now: now)
        logFlushTime.write("kafka_log_logflushstats_logflushrateandtimems", help: "Milliseconds of log flushes.", to: &text, now: now)
    }
}

extension LatencyHistogram {
    /// Writes the family of a summary in milliseconds.
    public func write(_ name: String, help: String, to text: inout PrometheusText, now: Int64) {
        text.family(name, .summary, help: help)
        for (label, value) in zip(["0.50", "0.95", "0.99"], quantiles([0.5, 0.95, 0.99], now: now)) {
            text.sample(name, ["quantile": label], value / 1_000_000)
        }
        text.sample(name + "_sum", [:], Double(sumNanoseconds) / 1_000_000)
        text.sample(name + "_count", [:], count)
    }
}
