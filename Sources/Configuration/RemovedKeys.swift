// Keys that older Kafka versions had. Files that have grown over the years still hold them; what to do about each is worth a word.

/// What to say about a key that Kafka 4 no longer has.
enum RemovedKeys {
    enum Verdict: Equatable {
        /// The broker would run on in another way than the file means.
        case refused(String)
        /// Nothing is lost by leaving it out.
        case ignored(String)
    }

    static func verdict(_ key: String) -> Verdict? {
        if let verdict = verdicts[key] { return verdict }
        if key.hasPrefix("zookeeper.") { return .ignored("Kafka 4 has no ZooKeeper") }
        if key.hasPrefix("password.encoder.") {
            return .ignored("passwords are no longer stored encrypted in ZooKeeper; removed in Kafka 4")
        }
        return nil
    }

    private static let addresses = "removed in Kafka 3; say it with listeners and advertised.listeners"
    private static let version = "removed in Kafka 4; the cluster's metadata.version decides"

    private static let verdicts: [String: Verdict] = [
        "zookeeper.connect": .refused(
            "Kafka 4 has no ZooKeeper; the cluster's metadata live in the quorum of controller.quorum.voters. "
                + "Migrate the cluster to KRaft with Kafka 3.9 first"),
        "zookeeper.metadata.migration.enable": .refused("the migration from ZooKeeper is done with Kafka 3.9, before this node is started"),
        "host.name": .refused(addresses),
        "port": .refused(addresses),
        "advertised.host.name": .refused(addresses),
        "advertised.port": .refused(addresses),
        "broker.id.generation.enable": .ignored("node ids are never made up; removed in Kafka 4"),
        "reserved.broker.max.id": .ignored("node ids are never made up; removed in Kafka 4"),
        "inter.broker.protocol.version": .ignored(version),
        "log.message.format.version": .ignored(version),
        "message.format.version": .ignored(version),
        "log.message.downconversion.enable": .ignored("removed in Kafka 4 together with the clients that needed it"),
        "log.message.timestamp.difference.max.ms": .ignored(
            "removed in Kafka 4; use log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms"),
        "metadata.log.segment.min.bytes": .ignored("removed in Kafka 4; metadata.log.segment.bytes alone counts"),
        "offsets.commit.required.acks": .ignored("removed in Kafka 4; offsets are always committed with all in-sync replicas"),
        "control.plane.listener.name": .ignored("removed in Kafka 4; use controller.listener.names"),
        "group.coordinator.new.enable": .ignored("removed in Kafka 4; there is one group coordinator"),
        "auto.include.jmx.reporter": .ignored("removed in Kafka 4; there is no JMX"),
        "eligible.leader.replicas.enable": .ignored("removed in Kafka 4; it is a feature of the cluster"),
        "delegation.token.master.key": .ignored("removed in Kafka 4; use delegation.token.secret.key"),
        "quota.producer.default": .ignored("removed in Kafka 3; quotas are dynamic configuration"),
        "quota.consumer.default": .ignored("removed in Kafka 3; quotas are dynamic configuration"),
        "kafka.metrics.recording.level": .ignored("it is no key; metrics.recording.level is"),
        "confluent.support.metrics.enable": .ignored("it belongs to Confluent's distribution"),
    ]
}
