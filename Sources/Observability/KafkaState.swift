// What the node knows about its partitions, the cluster and its raft log at the moment of a scrape: gauges that nobody keeps up to
// date because they can be read off the state itself.

/// State of a node for its gauges; the broker fills one in at every scrape.
public struct KafkaState: Sendable {
    /// One partition hosted by this node.
    public struct Partition: Sendable {
        public var topic: String
        public var partition: Int32
        /// Bytes of all segments.
        public var size: Int64
        public var logStartOffset: Int64
        public var logEndOffset: Int64
        public var segmentCount: Int
        /// Fewer in-sync replicas than `min.insync.replicas`; false where this node is not the leader.
        public var isUnderMinISR: Bool
        /// Exactly `min.insync.replicas` in sync.
        public var isAtMinISR: Bool
        /// Fewer in-sync replicas than replicas.
        public var isUnderReplicated: Bool
        public var replicaCount: Int
        public var inSyncReplicaCount: Int

        public init(topic: String, partition: Int32) {
            self.topic = topic
            self.partition = partition
            size = 0
            logStartOffset = 0
            logEndOffset = 0
            segmentCount = 0
            isUnderMinISR = false
            isAtMinISR = false
            isUnderReplicated = false
            replicaCount = 1
            inSyncReplicaCount = 1
        }
    }

    /// The node's view of the metadata quorum.
    public struct Raft: Sendable {
        /// Kafka's word: `leader`, `follower`, `observer`, `candidate`, `prospective`, `unattached` and so on.
        public var currentState = "unattached"
        public var currentLeader: Int32 = -1
        public var currentVote: Int32 = -1
        public var currentVoteDirectoryID = ""
        public var currentEpoch: Int32 = 0
        public var highWatermark: Int64 = 0
        public var logEndOffset: Int64 = 0
        public var logEndEpoch: Int32 = 0
        public var voterCount = 0
        /// Of leaders only.
        public var observerCount: Int?
        public var isChangingVoters: Bool?
        /// The part of the time in which the quorum's queue had nothing to do.
        public var idleRatio = Double.nan
        /// Milliseconds; NaN when nothing was measured lately, here and for elections.
        public var commitLatencyAverage = Double.nan
        public var commitLatencyMaximum = Double.nan
        public var electionLatencyAverage = Double.nan
        public var electionLatencyMaximum = Double.nan
        public var appendedRecordsPerSecond = 0.0
        public var fetchedRecordsPerSecond = 0.0
        /// To other members of the quorum, and their answers.
        public var requestsSent: Int64 = 0
        public var responsesReceived: Int64 = 0
        public var outgoingBytes: Int64 = 0
        public var incomingBytes: Int64 = 0

        public init() {}
    }

    public var partitions: [Partition] = []
    /// Partitions of which this node is the leader.
    public var leaderCount = 0
    public var offlineReplicaCount = 0
    /// Kafka's BrokerState: 0 not running, 1 starting, 2 recovery, 3 running, 6 pending controlled shutdown, 7 shutting down.
    public var brokerState = 0
    /// 1 if this node is the active controller.
    public var activeControllerCount = 0
    public var globalTopicCount = 0
    public var globalPartitionCount = 0
    /// Partitions without a leader.
    public var offlinePartitionsCount = 0
    public var preferredReplicaImbalanceCount = 0
    public var activeBrokerCount = 0
    public var fencedBrokerCount = 0
    public var offlineLogDirectoryCount = 0
    /// Of brokers only, as the two after it.
    public var groups: Groups?
    public var transactions: Transactions?
    public var shareGroups: ShareGroups?
    public var raft: Raft?
    /// Nil where nothing is compacted.
    public var cleaner: Cleaner?
    /// The furthest that a replica of this node is behind its leader, in records.
    public var maximumLag: Int64 = 0
    /// Replicas that are being moved between directories, and what the copy furthest behind lacks.
    public var moves = 0
    public var maximumMoveLag: Int64 = 0
    /// Whether the node is a broker, and has replicas.
    public var isBroker = true
    /// Whether the node is a controller, active or not: only they show the cluster.
    public var isController = true

    public init() {}

    func write(to text: inout PrometheusText) {
        if isBroker { writeReplicaGauges(to: &text) }
        if isController { writeControllerGauges(to: &text) }
        if isBroker { writePartitionGauges(to: &text) }
        cleaner?.write(to: &text)
        groups?.write(to: &text)
        transactions?.write(to: &text)
        shareGroups?.write(to: &text)
        if let raft { Self.write(raft, to: &text) }
    }

    private func writeReplicaGauges(to text: inout PrometheusText) {
        let prefix = "kafka_server_replicamanager_"
        text.single(prefix + "partitioncount", .gauge, help: "Partitions hosted.", partitions.count)
        text.single(prefix + "leadercount", .gauge, help: "Partitions led.", leaderCount)
        text.single(
            prefix + "underreplicatedpartitions", .gauge, help: "Led partitions with replicas out of sync.",
            partitions.count { $0.isUnderReplicated })
        text.single(
            prefix + "underminisrpartitioncount", .gauge, help: "Led partitions below min.insync.replicas.",
            partitions.count { $0.isUnderMinISR })
        text.single(
            prefix + "atminisrpartitioncount", .gauge, help: "Led partitions exactly at min.insync.replicas.",
            partitions.count { $0.isAtMinISR })
        text.single(prefix + "offlinereplicacount", .gauge, help: "Replicas on failed log directories.", offlineReplicaCount)
        text.family("kafka_server_replicafetchermanager_maxlag", .gauge, help: "Records that the replica furthest behind its leader lacks.")
        text.sample("kafka_server_replicafetchermanager_maxlag", ["clientId": "Replica"], Int(maximumLag))
        text.family(
            "kafka_server_replicaalterlogdirsmanager_maxlag", .gauge, help: "Records that the copy furthest behind its replica lacks.")
        text.sample("kafka_server_replicaalterlogdirsmanager_maxlag", ["clientId": "ReplicaAlterLogDirs"], Int(maximumMoveLag))
        text.single("martlet_replica_moves", .gauge, help: "Replicas that are being moved between directories.", moves)
        text.single("kafka_server_kafkaserver_brokerstate", .gauge, help: "State of the broker, 3 is running.", brokerState)
        text.single(
            "kafka_log_logmanager_offlinelogdirectorycount", .gauge, help: "Failed log directories.", offlineLogDirectoryCount)
    }

    private func writeControllerGauges(to text: inout PrometheusText) {
        let prefix = "kafka_controller_kafkacontroller_"
        text.single(prefix + "activecontrollercount", .gauge, help: "1 on the active controller.", activeControllerCount)
        text.single(prefix + "globaltopiccount", .gauge, help: "Topics of the cluster.", globalTopicCount)
        text.single(prefix + "globalpartitioncount", .gauge, help: "Partitions of the cluster.", globalPartitionCount)
        text.single(prefix + "offlinepartitionscount", .gauge, help: "Partitions without leader.", offlinePartitionsCount)
        text.single(
            prefix + "preferredreplicaimbalancecount", .gauge, help: "Partitions not led by their preferred replica.",
            preferredReplicaImbalanceCount)
        text.single(prefix + "activebrokercount", .gauge, help: "Registered brokers that are not fenced.", activeBrokerCount)
        // A node whose metadata cannot be replayed ends, so that this one never shows anything else.
        text.single(prefix + "metadataerrorcount", .gauge, help: "Errors while metadata were replayed.", 0)
        text.single(prefix + "fencedbrokercount", .gauge, help: "Registered brokers that are fenced.", fencedBrokerCount)
    }

    private func writePartitionGauges(to text: inout PrometheusText) {
        let families: [(String, String, (Partition) -> Int)] = [
            ("kafka_log_log_size", "Bytes on disk.", { Int($0.size) }),
            ("kafka_log_log_logstartoffset", "First offset.", { Int($0.logStartOffset) }),
            ("kafka_log_log_logendoffset", "Next offset.", { Int($0.logEndOffset) }),
            ("kafka_log_log_numlogsegments", "Segments.", { $0.segmentCount }),
            ("kafka_cluster_partition_underminisr", "1 below min.insync.replicas.", { $0.isUnderMinISR ? 1 : 0 }),
            ("kafka_cluster_partition_atminisr", "1 at min.insync.replicas.", { $0.isAtMinISR ? 1 : 0 }),
            ("kafka_cluster_partition_underreplicated", "1 with replicas out of sync.", { $0.isUnderReplicated ? 1 : 0 }),
            ("kafka_cluster_partition_replicascount", "Replicas.", { $0.replicaCount }),
            ("kafka_cluster_partition_insyncreplicascount", "Replicas in sync.", { $0.inSyncReplicaCount }),
        ]
        for (name, help, value) in families {
            text.family(name, .gauge, help: help)
            for partition in partitions {
                text.sample(name, ["topic": partition.topic, "partition": String(partition.partition)], value(partition))
            }
        }
    }

    private static func write(_ raft: Raft, to text: inout PrometheusText) {
        let prefix = "kafka_server_raftmetrics_"
        text.family(prefix + "current_state", .untyped, help: "1, labelled with the node's part in the metadata quorum.")
        text.sample(prefix + "current_state", ["current_state": raft.currentState], 1)
        text.single(prefix + "current_leader", .gauge, help: "Leader of the metadata quorum.", Int(raft.currentLeader))
        text.single(prefix + "current_vote", .gauge, help: "Node voted for in this epoch.", Int(raft.currentVote))
        text.family(prefix + "current_vote_directory_id", .untyped, help: "1, labelled with the directory voted for in this epoch.")
        text.sample(prefix + "current_vote_directory_id", ["current_vote_directory_id": raft.currentVoteDirectoryID], 1)
        text.single(prefix + "current_epoch", .gauge, help: "Epoch of the metadata quorum.", Int(raft.currentEpoch))
        text.single(prefix + "high_watermark", .gauge, help: "Committed end of the metadata log.", Int(raft.highWatermark))
        text.single(prefix + "log_end_offset", .gauge, help: "End of the metadata log.", Int(raft.logEndOffset))
        text.single(prefix + "log_end_epoch", .gauge, help: "Epoch of the metadata log's last record.", Int(raft.logEndEpoch))
        text.single(prefix + "number_of_voters", .gauge, help: "Voters of the metadata quorum.", raft.voterCount)
        if let count = raft.observerCount {
            text.single(prefix + "number_of_observers", .gauge, help: "Observers that follow this leader.", count)
        }
        if let isChanging = raft.isChangingVoters {
            text.single(
                prefix + "uncommitted_voter_change", .gauge, help: "1 while this leader changes the voters.", isChanging ? 1 : 0)
        }
        // The endpoints of all voters come with the voters, so that none is unknown, as in Kafka 4.
        text.single(prefix + "number_unknown_voter_connections", .gauge, help: "Voters whose address is not known.", 0)
        let measured: [(String, String, Double)] = [
            ("commit_latency_avg", "Milliseconds to commit a metadata record, on the leader.", raft.commitLatencyAverage),
            ("commit_latency_max", "Most milliseconds to commit a metadata record, on the leader.", raft.commitLatencyMaximum),
            ("election_latency_avg", "Milliseconds that elections took which this node stood for.", raft.electionLatencyAverage),
            ("election_latency_max", "Most milliseconds that an election took which this node stood for.", raft.electionLatencyMaximum),
            ("append_records_rate", "Metadata records per second appended as the leader.", raft.appendedRecordsPerSecond),
            ("poll_idle_ratio_avg", "Part of the time in which the quorum had nothing to do.", raft.idleRatio),
            ("fetch_records_rate", "Metadata records per second fetched from the leader.", raft.fetchedRecordsPerSecond),
        ]
        for (name, help, value) in measured { text.single(prefix + name, .gauge, help: help, value) }
        let counted: [(String, String, Int64)] = [
            ("request_total", "Requests sent to other members of the quorum.", raft.requestsSent),
            ("response_total", "Responses received from other members of the quorum.", raft.responsesReceived),
            ("outgoing_byte_total", "Bytes sent to other members of the quorum.", raft.outgoingBytes),
            ("incoming_byte_total", "Bytes received from other members of the quorum.", raft.incomingBytes),
        ]
        for (name, help, value) in counted { text.single("kafka_server_raftchannelmetrics_" + name, .counter, help: help, Int(value)) }
    }
}
