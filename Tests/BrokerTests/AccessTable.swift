// What every API needs on which resource, written down a second time and independently of the handlers: KafkaApis' and ControllerApis'
// rules as requests to make and rights to grant.
import Authorization
import KafkaMessages
import KafkaWire
import Primitives

/// One request, what must be granted besides, the right that it is about, and how it is refused without.
struct AccessRow {
    var api: ApiKey
    var request: any KafkaRequest
    var version: Int16
    var besides: [(AccessOperation, ResourceType, String)] = []
    var operation: AccessOperation
    var type: ResourceType
    var name: String
    var refusal: ErrorCode

    init<Request: KafkaRequest>(
        _ request: Request, version: Int16? = nil, besides: [(AccessOperation, ResourceType, String)] = [], _ operation: AccessOperation,
        _ type: ResourceType, _ name: String = ClusterResource.name, change: (inout Request) -> Void = { _ in }
    ) {
        var changed = request
        change(&changed)
        api = Request.apiKey
        self.request = changed
        self.version = version ?? Request.apiKey.stableVersions.upperBound
        self.besides = besides
        self.operation = operation
        self.type = type
        self.name = name
        switch type {
        case .topic: refusal = .topicAuthorizationFailed
        case .group: refusal = .groupAuthorizationFailed
        case .transactionalID: refusal = .transactionalIdAuthorizationFailed
        default: refusal = .clusterAuthorizationFailed
        }
    }
}

extension AccessRow {
    /// Served to everybody: what they tell is filtered, or no secret.
    static let free: Set<ApiKey> = [
        .apiVersions, .saslHandshake, .saslAuthenticate, .describeCluster, .listGroups, .listTransactions,
        .getTelemetrySubscriptions, .pushTelemetry,
        // What is within is judged as the Fetch that it is: CompressedFetchTests.
        .compressedFetch,
        // By who the owner is, over secured listeners only: Clients/test_security_tokens.py.
        .createDelegationToken, .renewDelegationToken, .expireDelegationToken, .describeDelegationToken,
    ]

    static let all: [AccessRow] = records + transactions + groups + shareGroups + topics + configurations + cluster + security + links

    private static let records: [AccessRow] = [
        AccessRow(ProduceRequest(), version: 12, .write, .topic, "t") {
            $0.acks = 1
            $0.topicData = [
                .init {
                    $0.name = "t"; $0.partitionData = [.init()]
                }
            ]
        },
        AccessRow(ProduceRequest(), version: 12, besides: [(.write, .topic, "t")], .write, .transactionalID, "x") {
            $0.acks = 1
            $0.transactionalId = "x"
            $0.topicData = [
                .init {
                    $0.name = "t"; $0.partitionData = [.init()]
                }
            ]
        },
        AccessRow(FetchRequest(), version: 12, .read, .topic, "t") {
            $0.topics = [
                .init {
                    $0.topic = "t"; $0.partitions = [.init()]
                }
            ]
        },
        AccessRow(ListOffsetsRequest(), .describe, .topic, "t") {
            $0.topics = [
                .init {
                    $0.name = "t"; $0.partitions = [.init()]
                }
            ]
        },
        AccessRow(OffsetForLeaderEpochRequest(), .describe, .topic, "t") {
            $0.topics = [
                .init {
                    $0.topic = "t"; $0.partitions = [.init()]
                }
            ]
        },
        AccessRow(DeleteRecordsRequest(), .delete, .topic, "t") {
            $0.topics = [
                .init {
                    $0.name = "t"; $0.partitions = [.init()]
                }
            ]
        },
        AccessRow(DescribeProducersRequest(), .read, .topic, "t") {
            $0.topics = [
                .init {
                    $0.name = "t"; $0.partitionIndexes = [0]
                }
            ]
        },
        AccessRow(InitProducerIdRequest(), .idempotentWrite, .cluster) {
            $0.transactionalId = nil
            $0.producerId = -1
            $0.producerEpoch = -1
        },
        AccessRow(InitProducerIdRequest(), .write, .transactionalID, "x") {
            $0.transactionalId = "x"
            $0.transactionTimeoutMs = 1000
        },
    ]

    private static let transactions: [AccessRow] = [
        AccessRow(AddPartitionsToTxnRequest(), version: 3, besides: [(.write, .topic, "t")], .write, .transactionalID, "x") {
            $0.v3AndBelowTransactionalId = "x"
            $0.v3AndBelowTopics = [
                .init {
                    $0.name = "t"
                    $0.partitions = [0]
                }
            ]
        },
        AccessRow(AddPartitionsToTxnRequest(), version: 3, besides: [(.write, .transactionalID, "x")], .write, .topic, "t") {
            $0.v3AndBelowTransactionalId = "x"
            $0.v3AndBelowTopics = [
                .init {
                    $0.name = "t"
                    $0.partitions = [0]
                }
            ]
        },
        AccessRow(AddPartitionsToTxnRequest(), .clusterAction, .cluster) { $0.transactions = [.init { $0.transactionalId = "x" }] },
        AccessRow(AddOffsetsToTxnRequest(), besides: [(.read, .group, "g")], .write, .transactionalID, "x") {
            $0.transactionalId = "x"
            $0.groupId = "g"
        },
        AccessRow(AddOffsetsToTxnRequest(), besides: [(.write, .transactionalID, "x")], .read, .group, "g") {
            $0.transactionalId = "x"
            $0.groupId = "g"
        },
        AccessRow(EndTxnRequest(), .write, .transactionalID, "x") { $0.transactionalId = "x" },
        AccessRow(DescribeTransactionsRequest(), .describe, .transactionalID, "x") { $0.transactionalIds = ["x"] },
        AccessRow(WriteTxnMarkersRequest(), .clusterAction, .cluster) {
            $0.markers = [
                .init {
                    $0.topics = [
                        .init {
                            $0.name = "t"
                            $0.partitionIndexes = [9]
                        }
                    ]
                }
            ]
        },
        AccessRow(
            TxnOffsetCommitRequest(), version: 3, besides: [(.read, .group, "g"), (.read, .topic, "t")], .write, .transactionalID, "x"
        ) {
            $0.transactionalId = "x"
            $0.groupId = "g"
            $0.topics = [
                .init {
                    $0.name = "t"
                    $0.partitions = [.init()]
                }
            ]
        },
        AccessRow(
            TxnOffsetCommitRequest(), version: 3, besides: [(.write, .transactionalID, "x"), (.read, .topic, "t")], .read, .group, "g"
        ) {
            $0.transactionalId = "x"
            $0.groupId = "g"
            $0.topics = [
                .init {
                    $0.name = "t"
                    $0.partitions = [.init()]
                }
            ]
        },
        AccessRow(
            TxnOffsetCommitRequest(), version: 3, besides: [(.write, .transactionalID, "x"), (.read, .group, "g")], .read, .topic, "t"
        ) {
            $0.transactionalId = "x"
            $0.groupId = "g"
            $0.topics = [
                .init {
                    $0.name = "t"
                    $0.partitions = [.init()]
                }
            ]
        },
    ]

    private static let groups: [AccessRow] = [
        AccessRow(FindCoordinatorRequest(), .describe, .group, "g") { $0.coordinatorKeys = ["g"] },
        AccessRow(FindCoordinatorRequest(), .describe, .transactionalID, "x") {
            $0.keyType = 1
            $0.coordinatorKeys = ["x"]
        },
        AccessRow(JoinGroupRequest(), .read, .group, "g") {
            $0.groupId = "g"
            $0.sessionTimeoutMs = 10_000
            $0.protocolType = "consumer"
        },
        AccessRow(HeartbeatRequest(), .read, .group, "g") { $0.groupId = "g" },
        AccessRow(LeaveGroupRequest(), .read, .group, "g") { $0.groupId = "g" },
        AccessRow(SyncGroupRequest(), .read, .group, "g") { $0.groupId = "g" },
        AccessRow(DescribeGroupsRequest(), .describe, .group, "g") { $0.groups = ["g"] },
        AccessRow(ConsumerGroupHeartbeatRequest(), .read, .group, "g") {
            $0.groupId = "g"
            $0.memberId = "m"
            $0.memberEpoch = -1
        },
        AccessRow(ConsumerGroupHeartbeatRequest(), besides: [(.read, .group, "g")], .describe, .topic, "t") {
            $0.groupId = "g"
            $0.memberId = "m"
            $0.rebalanceTimeoutMs = 10_000
            $0.topicPartitions = []
            $0.subscribedTopicNames = ["t"]
        },
        AccessRow(ConsumerGroupDescribeRequest(), .describe, .group, "g") { $0.groupIds = ["g"] },
        AccessRow(StreamsGroupHeartbeatRequest(), .read, .group, "g") {
            $0.groupId = "g"
            $0.memberId = "m"
            $0.memberEpoch = -1
        },
        AccessRow(StreamsGroupHeartbeatRequest(), besides: [(.read, .group, "g")], .describe, .topic, "t") {
            $0.groupId = "g"
            $0.memberId = "m"
            $0.rebalanceTimeoutMs = 10_000
            $0.topology = .init { $0.subtopologies = [.init { $0.sourceTopics = ["t"] }] }
        },
        AccessRow(StreamsGroupDescribeRequest(), .describe, .group, "g") { $0.groupIds = ["g"] },
        AccessRow(StreamsGroupTopologyDescriptionUpdateRequest(), .read, .group, "g") { $0.groupId = "g" },
        AccessRow(DeleteGroupsRequest(), .delete, .group, "g") { $0.groupsNames = ["g"] },
        AccessRow(OffsetCommitRequest(), version: 9, besides: [(.read, .topic, "t")], .read, .group, "g") {
            $0.groupId = "g"
            $0.topics = [
                .init {
                    $0.name = "t"; $0.partitions = [.init()]
                }
            ]
        },
        AccessRow(OffsetCommitRequest(), version: 9, besides: [(.read, .group, "g")], .read, .topic, "t") {
            $0.groupId = "g"
            $0.topics = [
                .init {
                    $0.name = "t"; $0.partitions = [.init()]
                }
            ]
        },
        AccessRow(OffsetFetchRequest(), version: 9, .describe, .group, "g") { $0.groups = [.init { $0.groupId = "g" }] },
        AccessRow(OffsetFetchRequest(), version: 9, besides: [(.describe, .group, "g")], .describe, .topic, "t") {
            $0.groups = [
                .init {
                    $0.groupId = "g";
                    $0.topics = [
                        .init {
                            $0.name = "t"; $0.partitionIndexes = [0]
                        }
                    ]
                }
            ]
        },
        AccessRow(OffsetFetchRequest(), version: 5, .describe, .group, "g") {
            $0.groupId = "g"
            $0.topics = nil
        },
        AccessRow(OffsetDeleteRequest(), .delete, .group, "g") { $0.groupId = "g" },
    ]

    private static let topics: [AccessRow] = [
        AccessRow(MetadataRequest(), .describe, .topic, "t") {
            $0.topics = [.init { $0.name = "t" }]
            $0.allowAutoTopicCreation = false
        },
        AccessRow(DescribeTopicPartitionsRequest(), .describe, .topic, "t") { $0.topics = [.init { $0.name = "t" }] },
        AccessRow(CreateTopicsRequest(), .create, .topic, "new") {
            $0.validateOnly = true
            $0.topics = [
                .init {
                    $0.name = "new"; $0.numPartitions = 1; $0.replicationFactor = 1
                }
            ]
        },
        AccessRow(CreateTopicsRequest(), besides: [(.describeConfigs, .topic, "new")], .create, .topic, "new") {
            $0.validateOnly = true
            $0.topics = [
                .init {
                    $0.name = "new"; $0.numPartitions = 1; $0.replicationFactor = 1
                }
            ]
        },
        AccessRow(DeleteTopicsRequest(), .delete, .topic, "gone") { $0.topics = [.init { $0.name = "gone" }] },
        AccessRow(DeleteTopicsRequest(), version: 5, .delete, .topic, "gone") { $0.topicNames = ["gone"] },
        AccessRow(CreatePartitionsRequest(), .alter, .topic, "t") {
            $0.validateOnly = true
            $0.topics = [
                .init {
                    $0.name = "t"; $0.count = 5
                }
            ]
        },
    ]

    private static let configurations: [AccessRow] = [
        AccessRow(DescribeConfigsRequest(), .describeConfigs, .topic, "t") {
            $0.resources = [
                .init {
                    $0.resourceType = 2; $0.resourceName = "t"
                }
            ]
        },
        AccessRow(DescribeConfigsRequest(), .describeConfigs, .cluster) {
            $0.resources = [
                .init {
                    $0.resourceType = 4; $0.resourceName = "1"
                }
            ]
        },
        AccessRow(DescribeConfigsRequest(), .describeConfigs, .group, "g") {
            $0.resources = [
                .init {
                    $0.resourceType = 32; $0.resourceName = "g"
                }
            ]
        },
        AccessRow(ListConfigResourcesRequest(), .describeConfigs, .cluster),
        AccessRow(AlterConfigsRequest(), .alterConfigs, .topic, "t") {
            $0.validateOnly = true
            $0.resources = [
                .init {
                    $0.resourceType = 2; $0.resourceName = "t"
                }
            ]
        },
        AccessRow(AlterConfigsRequest(), .alterConfigs, .cluster) {
            $0.validateOnly = true
            $0.resources = [
                .init {
                    $0.resourceType = 4; $0.resourceName = ""
                }
            ]
        },
        AccessRow(IncrementalAlterConfigsRequest(), .alterConfigs, .topic, "t") {
            $0.validateOnly = true
            $0.resources = [
                .init {
                    $0.resourceType = 2; $0.resourceName = "t"
                }
            ]
        },
        AccessRow(IncrementalAlterConfigsRequest(), .alterConfigs, .group, "g") {
            $0.validateOnly = true
            $0.resources = [
                .init {
                    $0.resourceType = 32; $0.resourceName = "g"
                }
            ]
        },
        AccessRow(IncrementalAlterConfigsRequest(), .alterConfigs, .cluster) {
            $0.validateOnly = true
            $0.resources = [
                .init {
                    $0.resourceType = 8; $0.resourceName = "1"
                }
            ]
        },
    ]

    private static let cluster: [AccessRow] = [
        AccessRow(DescribeLogDirsRequest(), .describe, .cluster) { $0.topics = nil },
        AccessRow(DescribeQuorumRequest(), .describe, .cluster),
        AccessRow(ListPartitionReassignmentsRequest(), .describe, .cluster) { $0.topics = nil },
        AccessRow(ElectLeadersRequest(), .alter, .cluster) { $0.topicPartitions = [] },
        AccessRow(AlterPartitionReassignmentsRequest(), .alter, .cluster),
        AccessRow(UpdateFeaturesRequest(), .alter, .cluster) { $0.validateOnly = true },
        AccessRow(UnregisterBrokerRequest(), .alter, .cluster) { $0.brokerId = 99 },
        AccessRow(UnregisterControllerRequest(), .alter, .cluster) { $0.controllerId = 99 },
        AccessRow(AddRaftVoterRequest(), .alter, .cluster) { $0.voterId = 99 },
        AccessRow(RemoveRaftVoterRequest(), .alter, .cluster) { $0.voterId = 99 },
    ]

    private static let security: [AccessRow] = [
        AccessRow(DescribeAclsRequest(), .describe, .cluster) {
            $0.resourceTypeFilter = 1
            $0.patternTypeFilter = 1
            $0.operation = 1
            $0.permissionType = 1
        },
        AccessRow(CreateAclsRequest(), .alter, .cluster) { $0.creations = [.init()] },
        AccessRow(DeleteAclsRequest(), .alter, .cluster) {
            $0.filters = [
                .init {
                    $0.resourceTypeFilter = 2
                    $0.resourceNameFilter = "nothing"
                    $0.operation = 1
                    $0.permissionType = 1
                }
            ]
        },
        AccessRow(DescribeUserScramCredentialsRequest(), .describe, .cluster) { $0.users = nil },
        AccessRow(DescribeClientQuotasRequest(), .describeConfigs, .cluster),
        AccessRow(AlterReplicaLogDirsRequest(), .alter, .cluster) {
            $0.dirs = [
                .init {
                    $0.path = "/nowhere"
                    $0.topics = [
                        .init {
                            $0.name = "t"; $0.partitions = [0]
                        }
                    ]
                }
            ]
        },
        AccessRow(AlterClientQuotasRequest(), .alterConfigs, .cluster) {
            $0.entries = [
                .init {
                    $0.entity = [
                        .init {
                            $0.entityType = "user"; $0.entityName = "nobody"
                        }
                    ]
                }
            ]
        },
        AccessRow(AlterUserScramCredentialsRequest(), .alter, .cluster) {
            $0.deletions = [
                .init {
                    $0.name = "nobody"; $0.mechanism = 1
                }
            ]
        },
    ]
}

extension WireStructure {
    /// A structure with some fields filled in.
    init(_ change: (inout Self) -> Void) {
        self.init()
        change(&self)
    }
}
