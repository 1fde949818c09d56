// What brokers show of share groups (KIP-932, KIP-1103), under the names that Kafka's metrics have through the JMX exporter.

extension KafkaState {
    /// Share groups: what the broker leads of their partitions, and what it coordinates of their state.
    public struct ShareGroups: Sendable {
        /// A partition as one share group reads it.
        public struct Partition: Sendable {
            public var group: String
            public var topic: String
            public var partition: Int32
            /// Records between the first that is not done and the last that was given out.
            public var inFlightMessages = 0
            /// Runs of them that share their state.
            public var inFlightBatches = 0
            /// Records that were taken back because nobody acknowledged them in time.
            public var lockTimeouts = 0

            public init(group: String, topic: String, partition: Int32) {
                self.group = group
                self.topic = topic
                self.partition = partition
            }
        }

        public var coordinator = Coordinator()
        /// Writes of share partitions' state.
        public var writes = Meter()
        /// Milliseconds until they were committed, lately; NaN when there was none.
        public var writeLatencyAverage = Double.nan
        public var writeLatencyMaximum = Double.nan
        public var partitions: [Partition] = []
        public var sessionCount = 0
        public var sessionPartitionCount = 0

        public init() {}

        func write(to text: inout PrometheusText) {
            let prefix = "kafka_server_share_coordinator_metrics_"
            coordinator.write(prefix, to: &text)
            writes.write(prefix + "write", total: "total", help: "Writes of share groups' state", to: &text)
            text.single(
                prefix + "write_latency_avg", .gauge, help: "Milliseconds that such writes took lately, with their commit.",
                writeLatencyAverage)
            text.single(
                prefix + "write_latency_max", .gauge, help: "Most milliseconds that such a write took lately.", writeLatencyMaximum)
            text.single(
                "kafka_server_sharesessioncache_sharesessionscount", .gauge, help: "Members that fetch from this broker.", sessionCount)
            text.single(
                "kafka_server_sharesessioncache_sharepartitionscount", .gauge, help: "Partitions that they fetch, each of them counted.",
                sessionPartitionCount)
            let families: [(String, PrometheusText.MetricType, String, KeyPath<Partition, Int>)] = [
                ("inflightmessagecount", .gauge, "Records from the first that is not done to the last given out.", \.inFlightMessages),
                ("inflightbatchcount", .gauge, "Runs of such records that share their state.", \.inFlightBatches),
                ("acquisitionlocktimeout_total", .counter, "Records that nobody acknowledged in time.", \.lockTimeouts),
            ]
            for (name, type, help, value) in families {
                let name = "kafka_server_sharepartitionmetrics_\(name)"
                text.family(name, type, help: help)
                for entry in partitions {
                    text.sample(
                        name, ["group": entry.group, "topic": entry.topic, "partition": String(entry.partition)], entry[keyPath: value])
                }
            }
        }
    }
}

/// What brokers count while they serve share groups.
public final class ShareGroupMetrics: Sendable {
    public let accepted = Counter()
    public let released = Counter()
    public let rejected = Counter()
    public let renewed = Counter()
    /// Fetches that found nothing as long as they wait.
    public let expiredFetches = Counter()
    /// From the first fetch of a share partition until its state was here.
    public let loadTime: LatencyHistogram

    /// - Parameter now: monotonic nanoseconds.
    public init(now: Int64) { loadTime = LatencyHistogram(now: now) }

    /// Writes whole families.
    public func write(to text: inout PrometheusText, now: Int64) {
        let acknowledgements = "kafka_server_sharegroupmetrics_recordacknowledgements_total"
        text.family(acknowledgements, .counter, help: "Records acknowledged, by what was said of them.")
        for (type, counter) in [("Accept", accepted), ("Release", released), ("Reject", rejected), ("Renew", renewed)] {
            text.sample(acknowledgements, ["ackType": type], counter.value)
        }
        text.single(
            "kafka_server_delayedsharefetchmetrics_expires_total", .counter, help: "Share fetches that found nothing in their time.",
            expiredFetches.value)
        loadTime.write(
            "kafka_server_sharegroupmetrics_partitionloadtimems", help: "Milliseconds until a share partition's state was read.",
            to: &text, now: now)
    }
}
