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
            var counts: [String: Int] = [:]
            let isPaused = link.configuration["cluster.link.paused"] == "true"
            for mirror in image.mirrors(of: link.name) {
                counts[isPaused && mirror.state.fetches ? LinkReport.paused : mirror.state.rawValue, default: 0] += 1
            }
            for state in MirrorState.allCases.map(\.rawValue) + [LinkReport.paused] {
                text.sample("martlet_link_mirror_topics", ["link": link.name, "state": state], counts[state] ?? 0)
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
        writeMirrorMakers(entries, to: &text)
    }

    /// MirrorMaker 2's figures of MirrorSourceConnector. What a mirror fetches it appends at once, so that a record's age when it is fetched and
    /// its latency are one.
    private func writeMirrorMakers(_ entries: [MirrorProgress], to text: inout PrometheusText) {
        let now = SystemClock.monotonicMilliseconds()
        func family(_ name: String, _ type: PrometheusText.MetricType, _ help: String, _ value: (MirrorProgress) -> Double?) {
            let name = "kafka_connect_mirror_mirrorsourceconnector_\(name)"
            text.family(name, type, help: help)
            for entry in entries {
                guard let value = value(entry) else { continue }
                text.sample(name, entry.labels, value)
            }
        }
        func rates(_ entry: MirrorProgress) -> (records: Double, bytes: Double) {
            entry.throughput.perSecond(records: entry.records, bytes: entry.bytes, at: now) ?? (0, 0)
        }
        family("record_count", .counter, "Records mirrored.") { Double($0.records) }
        family("record_rate", .gauge, "Records mirrored in a second, over the last ten.") { rates($0).records }
        family("byte_count", .counter, "Bytes mirrored, compressed as they are.") { Double($0.bytes) }
        family("byte_rate", .gauge, "Bytes mirrored in a second, over the last ten.") { rates($0).bytes }
        for (name, help) in [
            ("record_age_ms", "Age of the newest record mirrored when it was fetched."),
            ("replication_latency_ms", "From the timestamp of the newest record mirrored to its append here."),
        ] {
            family(name, .gauge, help) { $0.latencyMilliseconds.map(Double.init) }
            family("\(name)_min", .gauge, "The least of \(name).") { $0.latencies.count == 0 ? nil : Double($0.latencies.least) }
            family("\(name)_max", .gauge, "The largest of \(name).") { $0.latencies.count == 0 ? nil : Double($0.latencies.largest) }
            family("\(name)_avg", .gauge, "The average of \(name).") { $0.latencies.count == 0 ? nil : $0.latencies.average }
        }
    }
}

extension MirrorProgress {
    fileprivate var labels: KeyValuePairs<String, String> {
        ["link": link, "topic": partition.topic, "partition": "\(partition.partition)"]
    }
}
