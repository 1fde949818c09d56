// The metadata quorum and its log.

extension ConfigTable {
    static let quorumKeys: [ConfigDefinition] = [
        .int(
            "broker.heartbeat.interval.ms", 2000, .any, .medium,
            doc: "Time between two heartbeats of a broker to the controller."),
        .int(
            "broker.session.timeout.ms", 9000, .any, .medium,
            doc: "A broker silent for this long is fenced by the controller."),
        .long("controller.performance.always.log.threshold.ms", 2000, .atLeast(0), .medium, internal: true, support: .notBetweenNodes),
        .long("controller.performance.sample.period.ms", 60_000, .atLeast(100), .medium, internal: true, support: .notBetweenNodes),
        .int(
            "controller.quorum.append.linger.ms", 25, .atLeast(0), .medium,
            support: .acceptedWithoutEffect("records that wait together share one write and one flush, and none waits for more"),
            doc: "How long the leader collects metadata records before it writes them."),
        .boolean(
            "controller.quorum.auto.join.enable", false, .low,
            doc: "Whether a controller adds itself to the voters when it starts."),
        .list(
            "controller.quorum.bootstrap.servers", [], .quorumBootstrapServers, .high,
            doc: "Controllers to find the quorum through, as host:port."),
        .int(
            "controller.quorum.election.backoff.max.ms", 1000, .atLeast(0), .high,
            doc: "Longest pause before a voter stands for election again."),
        .int(
            "controller.quorum.election.timeout.ms", 1000, .atLeast(0), .high,
            doc: "Time without a leader's word before a voter stands for election."),
        .int(
            "controller.quorum.fetch.max.bytes", 1_048_576, .atLeast(1), .low,
            doc: "Bytes that a member of the quorum asks for in one fetch."),
        .int(
            "controller.quorum.fetch.snapshot.max.bytes", 1_048_576, .atLeast(1), .low,
            support: .acceptedWithoutEffect("snapshots are fetched in pieces of controller.quorum.fetch.max.bytes")),
        .int(
            "controller.quorum.fetch.timeout.ms", 2000, .atLeast(0), .high,
            doc: "Time without a successful fetch before a voter stands for election."),
        .int(
            "controller.quorum.request.timeout.ms", 2000, .atLeast(0), .medium,
            doc: "Time to wait for the answer to a request of the quorum."),
        .int(
            "controller.quorum.retry.backoff.ms", 20, .atLeast(0), .low,
            doc: "Pause before a request of the quorum is sent again."),
        .list("controller.quorum.voters", [], .quorumVoters, .high, doc: "All voters of a static quorum, as id@host:port."),
        .int(
            "initial.broker.registration.timeout.ms", 60_000, .any, .medium,
            doc: "How long a starting broker tries to register with the controller before it gives up."),
        .long(
            "internal.metadata.delete.delay.millis", 60_000, .any, .low, internal: true,
            support: .acceptedWithoutEffect("it serves tests of Apache Kafka")),
        .int(
            "internal.metadata.log.segment.bytes", nil, .any, .low, internal: true,
            support: .acceptedWithoutEffect("it serves tests of Apache Kafka")),
        .int(
            "internal.metadata.max.batch.size.in.bytes", 8_388_608, .any, .low, internal: true,
            support: .acceptedWithoutEffect("it serves tests of Apache Kafka")),
        .string("metadata.log.dir", nil, .any, .high, doc: "Directory of the metadata log; the first of log.dirs when not given."),
        .long(
            "metadata.log.max.record.bytes.between.snapshots", 20_971_520, .atLeast(1), .high,
            doc: "Bytes of metadata records after which a snapshot is written."),
        .long(
            "metadata.log.max.snapshot.interval.ms", 3_600_000, .atLeast(0), .high,
            doc: "Time after which a snapshot is written when anything has changed; 0 for never."),
        .int(
            "metadata.log.segment.bytes", 1_073_741_824, .atLeast(8_388_608), .high,
            doc: "Size at which a segment of the metadata log is rolled."),
        .long("metadata.log.segment.ms", 604_800_000, .any, .high, doc: "Time after which a segment of the metadata log is rolled."),
        .int(
            "metadata.max.idle.interval.ms", 500, .atLeast(0), .low,
            support: .acceptedWithoutEffect("followers take the answers to their fetches for a sign of life"),
            doc: "How often an idle controller writes a record that does nothing, so that followers see life."),
        .long("metadata.max.retention.bytes", 104_857_600, .any, .high, doc: "Bytes of metadata log and snapshots to keep."),
        .long("metadata.max.retention.ms", 604_800_000, .any, .high, doc: "Time to keep metadata log and snapshots."),
        .string("sasl.mechanism.controller.protocol", "GSSAPI", .any, .high, doc: "SASL mechanism towards controllers."),
        .long(
            "server.max.startup.time.ms", .max, .atLeast(0), .medium, internal: true,
            support: .acceptedWithoutEffect("the start is not bounded in time")),
    ]
}
