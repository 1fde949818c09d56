// The mirrors that this broker leads, as metrics: under the names that MirrorMaker 2's have in JMX exporters where it has them, and our own.
import KafkaWire
import Linking
import Observability
import Primitives

extension LinkServices {
    /// Writes nothing where there are no links.
    func write(to text: inout PrometheusText) {
        guard let image = publication?.image, !image.links.isEmpty else { return }
        let entries = sources.flatMap(\.board.all)
        writeStates(image, to: &text)
        writeTransactions(to: &text)
        writeLags(entries, to: &text)
        writeTraffic(entries, image, to: &text)
        writeCompression(to: &text)
        writeSynchronizations(to: &text)
    }

    private func writeStates(_ image: LinkImage, to text: inout PrometheusText) {
        text.family("martlet_link_mirror_topics", .gauge, help: "Mirror topics of each link by state, the same on every broker.")
        for link in image.links.values {
            var counts: [MirrorState: Int] = [:]
            for mirror in image.mirrors(of: link.name) { counts[mirror.state, default: 0] += 1 }
            for state in MirrorState.allCases {
                text.sample("martlet_link_mirror_topics", ["link": link.name, "state": state.rawValue], counts[state] ?? 0)
            }
        }
        text.single(
            "martlet_link_coordinator", .gauge, help: "Whether this broker coordinates links.", runtime.isActive ? 1 : 0)
    }

    private func writeTransactions(to text: inout PrometheusText) {
        let counts = watches.withLock { $0.mapValues(\.counts) }.sorted { $0.key < $1.key }
        func family(_ name: String, _ type: PrometheusText.MetricType, _ help: String, _ value: (TransactionWatch.Counts) -> Int) {
            text.family(name, type, help: help)
            for (link, count) in counts { text.sample(name, ["link": link], value(count)) }
        }
        family("martlet_link_transactions_held", .gauge, "Transactions that have arrived at some of their mirrors.") { $0.held }
        family("martlet_link_transactions_released_total", .counter, "Transactions shown by all of their mirrors.") { $0.released }
        family("martlet_link_transactions_incomplete_total", .counter, "Transactions shown though a mirror was left behind.") {
            $0.incomplete
        }
    }

    private func writeLags(_ entries: [MirrorProgress], to text: inout PrometheusText) {
        let now = SystemClock.monotonicMilliseconds()
        func family(_ name: String, _ help: String, _ value: (MirrorProgress) -> Double?) {
            text.family(name, .gauge, help: help)
            for entry in entries {
                guard let value = value(entry) else { continue }
                text.sample(name, entry.labels, value)
            }
        }
        family("martlet_link_lag_records", "Committed records of the source that the mirror lacks.") { $0.lag.map(Double.init) }
        family("martlet_link_lag_seconds", "How long ago the mirror last had everything.") { entry in
            entry.upToDateAt.map { Double(max(0, now - $0)) / 1000 }
        }
        family("martlet_link_error", "1 while nothing can be fetched for the mirror; the node's log and `martlet link mirrors` say why.") {
            $0.problem.isEmpty && $0.failure == nil ? 0 : 1
        }
    }

    private func writeTraffic(_ entries: [MirrorProgress], _ image: LinkImage, to text: inout PrometheusText) {
        func family(_ name: String, _ type: PrometheusText.MetricType, _ help: String, _ value: (MirrorProgress) -> Int?) {
            text.family(name, type, help: help)
            for entry in entries {
                guard let value = value(entry) else { continue }
                text.sample(name, entry.labels, value)
            }
        }
        family("martlet_link_cut_records_total", .counter, "Records cut off because the source does not have them.") { Int($0.cutRecords) }
        let prefix = "kafka_connect_mirror_mirrorsourceconnector_"
        family(prefix + "record_count", .counter, "Records mirrored.") { Int($0.records) }
        family(prefix + "byte_count", .counter, "Bytes mirrored, compressed as they are.") { Int($0.bytes) }
        family(prefix + "replication_latency_ms", .gauge, "From the timestamp of the newest record mirrored to its append here.") {
            $0.latencyMilliseconds.map { Int($0) }
        }
    }
}

extension MirrorProgress {
    fileprivate var labels: KeyValuePairs<String, String> {
        ["link": link, "topic": partition.topic, "partition": "\(partition.partition)"]
    }
}
