// What coordinators of groups, transactions and share groups show, under the names that Kafka's metrics have through the JMX exporter:
// those of Kafka's own registry keep their dashes as underscores, as kafka_server_group_coordinator_metrics_group_count.

extension KafkaState {
    /// A count and its rate over the last 30 to 60 seconds.
    public struct Meter: Sendable {
        public var count: Int
        public var perSecond: Double

        public init(count: Int = 0, perSecond: Double = 0) {
            self.count = count
            self.perSecond = perSecond
        }
    }

    /// What coordinators of all kinds have in common.
    public struct Coordinator: Sendable {
        /// Partitions of the coordinator's topic by their state: `loading`, `active`, `failed`.
        public var partitions: [(state: String, count: Int)] = []
        /// Milliseconds that loading partitions took lately; NaN when none was.
        public var loadTimeAverage = Double.nan
        public var loadTimeMaximum = Double.nan

        public init() {}

        func write(_ prefix: String, to text: inout PrometheusText) {
            text.family(prefix + "num_partitions", .gauge, help: "Partitions of the coordinator's topic that are coordinated here.")
            for (state, count) in partitions { text.sample(prefix + "num_partitions", ["state": state], count) }
            text.single(
                prefix + "partition_load_time_avg", .gauge, help: "Milliseconds that loading partitions took lately.", loadTimeAverage)
            text.single(
                prefix + "partition_load_time_max", .gauge, help: "Most milliseconds that loading a partition took lately.",
                loadTimeMaximum)
        }
    }

    /// The groups that a broker coordinates.
    public struct Groups: Sendable {
        public var coordinator = Coordinator()
        /// Groups of each kind, by state.
        public var counts: [(type: String, states: [(state: String, count: Int)])] = []
        public var offsetCount = 0
        /// By Kafka's name, such as `offset-commit` for `offset-commit-rate` and `offset-commit-count`.
        public var events: [(name: String, help: String, meter: Meter)] = []

        public init() {}

        func write(to text: inout PrometheusText) {
            let prefix = "kafka_server_group_coordinator_metrics_"
            text.family(prefix + "group_count", .gauge, help: "Groups coordinated by this broker, by protocol.")
            for (type, states) in counts {
                text.sample(prefix + "group_count", ["protocol": type], states.reduce(0) { $0 + $1.count })
            }
            for (type, states) in counts {
                let name = "\(prefix)\(type)_group_count"
                text.family(name, .gauge, help: "Groups of the kind by state.")
                for (state, count) in states { text.sample(name, ["state": state], count) }
            }
            text.single(prefix + "offset_count", .gauge, help: "Offsets that groups have committed.", offsetCount)
            for (name, help, meter) in events { meter.write(prefix + name, help: help, to: &text) }
            coordinator.write(prefix, to: &text)
            writeFormerNames(to: &text)
        }

        /// Kafka's older gauges, of classic groups alone.
        private func writeFormerNames(to text: inout PrometheusText) {
            let prefix = "kafka_coordinator_group_groupmetadatamanager_num"
            let classic = counts.first { $0.type == "classic" }?.states ?? []
            text.single(
                prefix + "groups", .gauge, help: "Classic groups coordinated by this broker.", classic.reduce(0) { $0 + $1.count })
            for (state, count) in classic {
                text.single("\(prefix)groups\(state.lowercased())", .gauge, help: "Classic groups in state \(state).", count)
            }
            text.single(prefix + "offsets", .gauge, help: "Offsets that groups have committed.", offsetCount)
        }
    }

    /// The transactions that a broker coordinates.
    public struct Transactions: Sendable {
        public var coordinator = Coordinator()
        /// Transactional ids by state.
        public var states: [(state: String, count: Int)] = []
        public var committed = Meter()
        public var aborted = Meter()
        /// Markers whose partition has no leader at the moment, or whose request failed.
        public var unknownDestinationQueueSize = 0
        /// Transactions whose end has to be written again.
        public var logAppendRetryQueueSize = 0

        public init() {}

        func write(to text: inout PrometheusText) {
            coordinator.write("kafka_server_transaction_coordinator_metrics_", to: &text)
            let markers = "kafka_coordinator_transaction_transactionmarkerchannelmanager_"
            text.single(
                markers + "unknowndestinationqueuesize", .gauge, help: "Markers that wait for a leader.", unknownDestinationQueueSize)
            text.single(
                markers + "logappendretryqueuesize", .gauge, help: "Transactions whose end is written again.", logAppendRetryQueueSize)
            text.family("martlet_transactional_ids", .gauge, help: "Transactional ids coordinated by this broker, by state.")
            for (state, count) in states { text.sample("martlet_transactional_ids", ["state": state], count) }
            text.family("martlet_transactions_total", .counter, help: "Transactions that have ended, by outcome.")
            for (outcome, meter) in [("commit", committed), ("abort", aborted)] {
                text.sample("martlet_transactions_total", ["outcome": outcome], meter.count)
            }
        }
    }
}

extension KafkaState.Meter {
    /// Writes Kafka's two metrics of a meter.
    ///
    /// - Parameters:
    ///   - name: without the ending.
    ///   - total: the ending of the count.
    func write(_ name: String, total: String = "count", help: String, to text: inout PrometheusText) {
        text.single("\(name)_rate", .gauge, help: "\(help), per second.", perSecond)
        text.single("\(name)_\(total)", .counter, help: "\(help), since the start.", count)
    }
}
