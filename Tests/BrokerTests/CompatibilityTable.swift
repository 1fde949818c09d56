// Which tests prove an API, and why an API is not served. docs/compatibility.md is written from this and from what nodes serve.
import KafkaWire

@testable import Broker

enum CompatibilityTable {
    /// Files below Tests/ whose tests fail when the API does not do what it should, beside those that ask every API.
    static func tests(of api: ApiKey) -> [String] {
        switch api {
        case .produce: ["Clients/test_confluent_records.py", "Clients/test_kafka_python.py", "Clients/test_aiokafka.py"]
        case .fetch: ["Clients/test_confluent_records.py", "Clients/test_kafka_python.py", "Cluster/test_replication.py"]
        case .listOffsets: ["Clients/test_confluent_admin.py", "MartletClientTests/ClusterTests.swift"]
        case .metadata: ["Clients/test_confluent_admin.py", "Clients/test_listeners.py"]
        case .offsetCommit, .offsetFetch: ["GroupCoordinationTests/OffsetTests.swift", "Clients/test_confluent_groups.py"]
        case .findCoordinator: ["BrokerTests/OffsetsCodecTests.swift", "Cluster/test_group_failover.py"]
        case .joinGroup, .heartbeat, .leaveGroup, .syncGroup:
            ["GroupCoordinationTests/MembershipRulesTests.swift", "Clients/test_confluent_groups.py"]
        case .describeGroups, .listGroups, .deleteGroups:
            ["GroupCoordinationTests/CoordinatorRuntimeTests.swift", "Clients/test_kafka_tools.py"]
        case .saslHandshake, .saslAuthenticate: ["Clients/test_security_sasl.py"]
        case .apiVersions: ["Clients/test_protocol.py"]
        case .createTopics, .deleteTopics, .createPartitions:
            ["ControllingTests/RequestErrorTests.swift", "Clients/test_confluent_admin.py"]
        case .deleteRecords: ["Clients/test_confluent_admin.py", "StorageTests/RetentionTests.swift"]
        case .initProducerId: ["TransactionCoordinationTests/InitProducerIDTests.swift", "Clients/test_transactions.py"]
        case .offsetForLeaderEpoch: ["Cluster/test_replication.py"]
        case .addPartitionsToTxn, .addOffsetsToTxn, .endTxn, .txnOffsetCommit:
            ["TransactionCoordinationTests/TransactionTests.swift", "Clients/test_transactions.py"]
        case .writeTxnMarkers: ["Mixed/test_transactions.py", "Cluster/test_transactions.py"]
        case .describeAcls, .createAcls, .deleteAcls: ["Clients/test_security_acl.py"]
        case .describeConfigs: ["ConfigurationTests/ConfigDescriptionTests.swift", "Clients/test_confluent_admin.py"]
        case .alterConfigs, .incrementalAlterConfigs: ["BrokerTests/AlterConfigsTests.swift", "Clients/test_confluent_admin.py"]
        case .describeLogDirs: ["Clients/test_kafka_tools.py", "Cluster/test_log_directories.py"]
        case .electLeaders: ["Cluster/test_elections.py", "ControllingTests/PropertyTests.swift"]
        case .alterPartitionReassignments, .listPartitionReassignments:
            ["ControllingTests/ReassignmentTests.swift", "Cluster/test_reassignment.py"]
        case .streamsGroupHeartbeat, .streamsGroupDescribe:
            [
                "GroupCoordinationTests/StreamsGroupTests.swift", "BrokerTests/StreamsGroupRequestTests.swift",
                "Cluster/test_streams_groups.py", "Mixed/test_streams_groups.py",
            ]
        case .offsetDelete: ["GroupCoordinationTests/OffsetTests.swift", "Clients/test_kafka_tools.py"]
        case .describeUserScramCredentials, .alterUserScramCredentials: ["Clients/test_security_sasl.py"]
        case .createDelegationToken, .renewDelegationToken, .expireDelegationToken, .describeDelegationToken:
            ["ControllingTests/DelegationTokenTests.swift", "Clients/test_security_tokens.py"]
        case .alterReplicaLogDirs: ["Cluster/test_replica_moves.py", "StorageTests/FutureLogTests.swift"]
        case .getTelemetrySubscriptions, .pushTelemetry: ["Clients/test_telemetry.py", "BrokerTests/ClientTelemetryTests.swift"]
        case .vote: ["ConsensusTests/ElectionTests.swift", "Cluster/test_three_nodes.py"]
        case .beginQuorumEpoch, .endQuorumEpoch: ["ClusterMetadataTests/QuorumRuntimeTests.swift", "Mixed/test_quorum.py"]
        case .describeQuorum: ["Clients/test_kafka_tools.py", "Cluster/test_three_nodes.py"]
        case .alterPartition: ["ControllingTests/AlterPartitionTests.swift", "Mixed/test_brokers.py"]
        case .updateFeatures: ["ControllingTests/VersionTests.swift", "Mixed/test_features.py"]
        case .envelope: ["BrokerTests/AuthorizationTableTests.swift", "Cluster/test_secured_cluster.py"]
        case .fetchSnapshot: ["Cluster/test_metadata_snapshots.py"]
        case .describeCluster: ["Clients/test_kafka_tools.py", "MartletClientTests/ClusterTests.swift"]
        case .describeProducers, .describeTransactions, .listTransactions:
            ["Clients/test_transactions.py", "TransactionCoordinationTests/RuntimeTests.swift"]
        case .brokerRegistration: ["ClusterMetadataTests/ControllerBrokerTests.swift", "Mixed/test_brokers.py"]
        case .brokerHeartbeat: ["ControllingTests/HeartbeatTests.swift", "Mixed/test_brokers.py"]
        case .unregisterBroker: ["Cluster/test_unregistered.py"]
        case .allocateProducerIds: ["ClusterMetadataTests/ControllerTests.swift", "Mixed/test_brokers.py"]
        case .controllerRegistration: ["ControllingTests/VersionTests.swift", "Mixed/test_quorum.py"]
        case .assignReplicasToDirs: ["ControllingTests/HeartbeatTests.swift", "Mixed/test_log_directories.py"]
        case .listConfigResources: ["Clients/test_kafka_tools.py"]
        case .describeTopicPartitions: ["Clients/test_kafka_tools.py"]
        case .addRaftVoter, .removeRaftVoter: ["ConsensusTests/VoterChangeTests.swift", "Mixed/test_voters.py"]
        case .updateRaftVoter: ["Mixed/test_voters.py"]
        case .unregisterController: ["Cluster/test_unregistered_controller.py"]
        case .manageLinks: ["Cluster/test_links.py", "Cluster/test_link_recovery.py"]
        case .compressedFetch: ["Cluster/test_link_compression.py"]
        case .describeClientQuotas, .alterClientQuotas: ["ControllingTests/ClientQuotaTests.swift", "Clients/test_quotas.py"]
        case .consumerGroupHeartbeat, .consumerGroupDescribe: ["Clients/test_consumer_groups.py", "Cluster/test_consumer_groups.py"]
        case .shareGroupHeartbeat, .shareGroupDescribe:
            ["GroupCoordinationTests/ShareGroupTests.swift", "Clients/test_share_groups.py", "Mixed/test_share_groups.py"]
        case .shareFetch, .shareAcknowledge:
            [
                "ShareCoordinationTests/SharePartitionTests.swift", "ShareCoordinationTests/SharePartitionModelTests.swift",
                "Clients/test_share_groups.py", "Mixed/test_share_groups.py",
            ]
        case .initializeShareGroupState, .readShareGroupState, .writeShareGroupState, .deleteShareGroupState,
            .readShareGroupStateSummary:
            ["ShareCoordinationTests/ShareCoordinatorTests.swift", "Cluster/test_share_groups.py"]
        case .describeShareGroupOffsets, .alterShareGroupOffsets, .deleteShareGroupOffsets:
            ["GroupCoordinationTests/ShareGroupTests.swift", "Mixed/test_share_groups.py"]
        default: []
        }
    }

    /// Why neither brokers nor controllers answer an API.
    static func reason(_ api: ApiKey) -> String {
        switch api {
        default: "not built"
        }
    }
}
