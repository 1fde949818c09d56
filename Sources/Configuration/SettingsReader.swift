// The parts of the typed configuration that are read key by key, without rules of their own.
import ConfigDefinitions

extension ConfigurationReader {
    mutating func readNetwork(_ listeners: [Listener]) -> NetworkSettings {
        var perListener: [String: Int] = [:]
        var ratePerListener: [String: Int] = [:]
        for (key, _) in texts {
            guard let (name, rest) = ListenerPrefix.split(key), ["max.connections", "max.connection.creation.rate"].contains(rest),
                let limit = value(key)?.integer
            else { continue }
            if rest == "max.connections" {
                perListener[name.uppercased()] = Int(limit)
            } else {
                ratePerListener[name.uppercased()] = Int(limit)
            }
            if !listeners.contains(where: { $0.name == name.uppercased() }) {
                warn(key, "has no effect: there is no listener named \(name.uppercased())")
            }
        }
        return NetworkSettings(
            networkThreads: isSet("num.network.threads") ? size("num.network.threads") : ProcessSurroundings.processorCount(),
            socketRequestMaxBytes: size("socket.request.max.bytes"),
            // Kafka's 100 KiB would stop the system from sizing these itself: a quarter more CPU for large batches, and on a long
            // line never more than 100 KiB in flight.
            socketSendBufferBytes: isSet("socket.send.buffer.bytes") ? size("socket.send.buffer.bytes") : -1,
            socketReceiveBufferBytes: isSet("socket.receive.buffer.bytes") ? size("socket.receive.buffer.bytes") : -1,
            // Kafka's 50 makes clients that come in a crowd, as after a restart, wait for whole seconds.
            socketListenBacklogSize: isSet("socket.listen.backlog.size") ? size("socket.listen.backlog.size") : 1024,
            connectionsMaxIdleMilliseconds: integer("connections.max.idle.ms"), maxConnections: size("max.connections"),
            maxConnectionsPerAddress: size("max.connections.per.ip"),
            maxConnectionsPerAddressOverrides: readAddressOverrides(), maxConnectionsPerListener: perListener,
            maxConnectionCreationRate: size("max.connection.creation.rate"), maxConnectionCreationRatePerListener: ratePerListener,
            queuedMaxRequestBytes: integer("queued.max.request.bytes"),
            fetchMaxBytes: size("fetch.max.bytes"),
            maxIncrementalFetchSessionCacheSlots: size("max.incremental.fetch.session.cache.slots"),
            maxRequestPartitionSizeLimit: size("max.request.partition.size.limit"))
    }

    private mutating func readAddressOverrides() -> [String: Int] {
        let key = "max.connections.per.ip.overrides"
        var result: [String: Int] = [:]
        for (text, pair) in PairList.parse(string(key) ?? "") {
            guard let pair, !pair.key.isEmpty, let limit = Int(pair.value), limit >= 0 else {
                error(key, "'\(text)' is not of the form host:count")
                continue
            }
            result[pair.key] = limit
        }
        if areSound("max.connections.per.ip"), integer("max.connections.per.ip") == 0 {
            require(!result.isEmpty, "max.connections.per.ip", "can be 0 only when \(key) is set, or nobody could connect")
        }
        return result
    }

    func readCluster() -> ClusterSettings {
        ClusterSettings(
            heartbeatIntervalMilliseconds: integer("broker.heartbeat.interval.ms"),
            sessionTimeoutMilliseconds: integer("broker.session.timeout.ms"),
            initialRegistrationTimeoutMilliseconds: integer("initial.broker.registration.timeout.ms"),
            controlledShutdownEnable: boolean("controlled.shutdown.enable"),
            directoryFailureTimeoutMilliseconds: integer("log.dir.failure.timeout.ms"),
            requestTimeoutMilliseconds: integer("request.timeout.ms"))
    }

    func readQuorum() -> QuorumSettings {
        QuorumSettings(
            electionTimeoutMilliseconds: integer("controller.quorum.election.timeout.ms"),
            electionBackoffMaxMilliseconds: integer("controller.quorum.election.backoff.max.ms"),
            fetchTimeoutMilliseconds: integer("controller.quorum.fetch.timeout.ms"),
            requestTimeoutMilliseconds: integer("controller.quorum.request.timeout.ms"),
            retryBackoffMilliseconds: integer("controller.quorum.retry.backoff.ms"),
            fetchMaxBytes: size("controller.quorum.fetch.max.bytes"),
            autoJoinEnable: boolean("controller.quorum.auto.join.enable"))
    }

    func readStorage(_ directories: [String]) -> StorageSettings {
        StorageSettings(
            logDirectories: directories, recoveryThreadsPerDirectory: size("num.recovery.threads.per.data.dir"),
            retentionCheckIntervalMilliseconds: integer("log.retention.check.interval.ms"),
            flushSchedulerIntervalMilliseconds: integer("log.flush.scheduler.interval.ms"),
            flushOffsetCheckpointIntervalMilliseconds: integer("log.flush.offset.checkpoint.interval.ms"),
            flushStartOffsetCheckpointIntervalMilliseconds: integer("log.flush.start.offset.checkpoint.interval.ms"),
            highWatermarkCheckpointIntervalMilliseconds: integer("replica.high.watermark.checkpoint.interval.ms"),
            initialTaskDelayMilliseconds: integer("log.initial.task.delay.ms"),
            producerIDExpirationMilliseconds: integer("producer.id.expiration.ms"),
            producerIDExpirationCheckIntervalMilliseconds: integer("producer.id.expiration.check.interval.ms"),
            headroomBytes: size("martlet.disk.headroom.bytes"))
    }

    func readMetadataLog(_ directories: [String]) -> MetadataLogSettings {
        MetadataLogSettings(
            directory: string("metadata.log.dir") ?? directories.first ?? "",
            maxRecordBytesBetweenSnapshots: integer("metadata.log.max.record.bytes.between.snapshots"),
            maxSnapshotIntervalMilliseconds: integer("metadata.log.max.snapshot.interval.ms"),
            segmentBytes: size("metadata.log.segment.bytes"), segmentMilliseconds: integer("metadata.log.segment.ms"),
            maxRetentionBytes: integer("metadata.max.retention.bytes"),
            maxRetentionMilliseconds: integer("metadata.max.retention.ms"))
    }

    func readTopics(_ layers: BrokerConfigLayers) -> TopicSettings {
        TopicSettings(
            autoCreateTopicsEnable: boolean("auto.create.topics.enable"), deleteTopicEnable: boolean("delete.topic.enable"),
            numPartitions: Int32(clamping: integer("num.partitions")),
            defaultReplicationFactor: Int16(clamping: integer("default.replication.factor")),
            defaults: TopicConfiguration(layers: layers))
    }

    func readGroups() -> GroupSettings {
        GroupSettings(
            initialRebalanceDelayMilliseconds: integer("group.initial.rebalance.delay.ms"),
            minSessionTimeoutMilliseconds: integer("group.min.session.timeout.ms"),
            maxSessionTimeoutMilliseconds: integer("group.max.session.timeout.ms"), maxSize: size("group.max.size"),
            offsetMetadataMaxBytes: size("offset.metadata.max.bytes"),
            servesConsumerProtocol: list("group.coordinator.rebalance.protocols").contains { $0.lowercased() == "consumer" },
            consumer: ConsumerGroupSettings(
                sessionTimeoutMilliseconds: integer("group.consumer.session.timeout.ms"),
                heartbeatIntervalMilliseconds: integer("group.consumer.heartbeat.interval.ms"),
                assignmentIntervalMilliseconds: integer("group.consumer.assignment.interval.ms"), maxSize: size("group.consumer.max.size"),
                assignors: list("group.consumer.assignors"),
                migrationPolicy: (string("group.consumer.migration.policy") ?? "bidirectional").lowercased(),
                expressionRefreshIntervalMilliseconds: integer("group.consumer.regex.refresh.interval.ms")),
            servesStreamsProtocol: list("group.coordinator.rebalance.protocols").contains { $0.lowercased() == "streams" },
            streams: readStreamsGroups())
    }

    private func readStreamsGroups() -> StreamsGroupSettings {
        StreamsGroupSettings(
            sessionTimeoutMilliseconds: integer("group.streams.session.timeout.ms"),
            heartbeatIntervalMilliseconds: integer("group.streams.heartbeat.interval.ms"),
            assignmentIntervalMilliseconds: integer("group.streams.assignment.interval.ms"),
            initialRebalanceDelayMilliseconds: integer("group.streams.initial.rebalance.delay.ms"),
            maxSize: size("group.streams.max.size"), numStandbyReplicas: integer("group.streams.num.standby.replicas"),
            taskOffsetIntervalMilliseconds: integer("group.streams.task.offset.interval.ms"),
            acceptableRecoveryLag: integer("group.streams.acceptable.recovery.lag"),
            rackAwareAssignmentTags: list("group.streams.rack.aware.assignment.tags"))
    }

    mutating func readOffsets() -> OffsetsSettings {
        let smallest = ConfigurationReader.smallestTopicSegmentBytes
        let key = "offsets.topic.segment.bytes"
        if size(key) < smallest { warn(key, "is below what topics may have, so the offsets topic is created with \(smallest)") }
        return readOffsets(segmentBytes: max(size(key), smallest))
    }

    /// The lower bound of a topic's `segment.bytes`.
    static let smallestTopicSegmentBytes = 1_048_576

    private func readOffsets(segmentBytes: Int) -> OffsetsSettings {
        OffsetsSettings(
            topicPartitions: Int32(clamping: integer("offsets.topic.num.partitions")),
            topicReplicationFactor: Int16(clamping: integer("offsets.topic.replication.factor")),
            topicSegmentBytes: segmentBytes,
            topicCompressionCodec: UInt8(clamping: integer("offsets.topic.compression.codec")),
            retentionMilliseconds: integer("offsets.retention.minutes") * 60_000,
            retentionCheckIntervalMilliseconds: integer("offsets.retention.check.interval.ms"),
            commitTimeoutMilliseconds: integer("offsets.commit.timeout.ms"))
    }
}
