// What a mirror measures, in Prometheus' text: MirrorMaker 2's figures under the names that its JMX beans get from the usual exporter rules.
import Mirroring
import Observability

enum MirrorMetrics {
    private typealias Sample = (labels: [(name: String, value: String)], value: Double)
    private typealias Figure = @Sendable (CopiedPartition) -> Double?

    private static let figures: [(name: String, type: PrometheusText.MetricType, help: String, figure: Figure)] = [
        ("record_count", .counter, "Records that were replicated.", { Double($0.figures.records) }),
        (
            "record_rate", .gauge, "Records replicated in a second, between the last two times that positions were stored.",
            { $0.figures.recordsPerSecond }
        ),
        ("byte_count", .counter, "Bytes that were replicated, as stored on the source.", { Double($0.figures.bytes) }),
        (
            "byte_rate", .gauge, "Bytes replicated in a second, between the last two times that positions were stored.",
            { $0.figures.bytesPerSecond }
        ),
        ("record_age_ms", .gauge, "Age of the newest record of the last batch when it was fetched.", { Double($0.figures.age.last) }),
        ("record_age_ms_min", .gauge, "The least of record_age_ms.", { $0.figures.age.least.map(Double.init) }),
        ("record_age_ms_max", .gauge, "The largest of record_age_ms.", { $0.figures.age.largest.map(Double.init) }),
        ("record_age_ms_avg", .gauge, "The average of record_age_ms.", { $0.figures.age.average }),
        ("replication_latency_ms", .gauge, "From a record's timestamp to its being on the target.", { Double($0.figures.latency.last) }),
        ("replication_latency_ms_min", .gauge, "The least of replication_latency_ms.", { $0.figures.latency.least.map(Double.init) }),
        ("replication_latency_ms_max", .gauge, "The largest of replication_latency_ms.", { $0.figures.latency.largest.map(Double.init) }),
        ("replication_latency_ms_avg", .gauge, "The average of replication_latency_ms.", { $0.figures.latency.average }),
    ]

    private static let ownFigures: [(name: String, type: PrometheusText.MetricType, help: String, figure: Figure)] = [
        ("lag_records", .gauge, "Records of the source that are not on the target yet.", { $0.lag.map(Double.init) }),
        (
            "lost_records_total", .counter, "Records that the source deleted before they were replicated.",
            { Double($0.figures.lostRecords) }
        ),
        ("transformed_records_total", .counter, "Records that transforms changed.", { Double($0.figures.rewrites.changed) }),
        ("filtered_records_total", .counter, "Records that transforms left out.", { Double($0.figures.rewrites.dropped) }),
        (
            "refused_records_total", .counter, "Records that a transform could make nothing of, and that hold up their partition.",
            { Double($0.figures.refused) }
        ),
        (
            "returned_records_total", .counter, "Records that were left out since they had been to the target.",
            { Double($0.figures.rewrites.returned) }
        ),
        (
            "known_records_total", .counter, "Records that were left out since the target had them already.",
            { Double($0.figures.rewrites.known) }
        ),
        ("failed", .gauge, "1 while the partition is not replicated because something failed.", { $0.problem == nil ? 0 : 1 }),
    ]

    static func write(_ states: [FlowState], into text: inout PrometheusText) {
        let flows = states.map { state in
            (
                state.flow,
                state.contents.withLock { state in
                    // Partitions of other processes are shown by those.
                    let own = state.partitions.values.filter {
                        state.owned?.contains(state.distribution.worker(of: $0.source) ?? -1) ?? true
                    }
                    return (own, state.checkpointFigures, state.heartbeats)
                }
            )
        }
        for (prefix, figures) in [("kafka_connect_mirror_mirrorsourceconnector_", figures), ("martlet_mirror_", ownFigures)] {
            for (name, type, help, figure) in figures {
                var samples: [Sample] = []
                for (flow, (partitions, _, _)) in flows {
                    for partition in partitions {
                        guard let value = figure(partition) else { continue }
                        samples.append(
                            (
                                [
                                    ("source", flow.source), ("target", flow.target), ("topic", partition.target.topic),
                                    ("partition", "\(partition.target.partition)"),
                                ], value
                            ))
                    }
                }
                write(prefix + name, type, help, samples, into: &text)
            }
        }
        var latencies: [Sample] = []
        var heartbeats: [Sample] = []
        for (flow, (_, groups, count)) in flows {
            let labels = [("source", flow.source), ("target", flow.target)].map { (name: $0.0, value: $0.1) }
            for (group, spread) in groups.sorted(by: { $0.key < $1.key }) {
                latencies.append((labels + [("group", group)], Double(spread.last)))
            }
            heartbeats.append((labels, Double(count)))
        }
        write(
            "kafka_connect_mirror_mirrorcheckpointconnector_checkpoint_latency_ms", .gauge, "How long writing the last checkpoints took.",
            latencies, into: &text)
        write("martlet_mirror_heartbeats_total", .counter, "Heartbeats that were written.", heartbeats, into: &text)
    }

    private static func write(
        _ name: String, _ type: PrometheusText.MetricType, _ help: String, _ samples: [Sample], into text: inout PrometheusText
    ) {
        guard !samples.isEmpty else { return }
        text.family(name, type, help: help)
        for (labels, value) in samples { text.sample(name, labels: labels, value) }
    }
}
