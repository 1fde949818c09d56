// What the APIs of share groups need (KIP-932).
import Authorization
import KafkaMessages
import KafkaWire
import Primitives

extension AccessRow {
    static let shareGroups: [AccessRow] = members + offsets + coordinators

    private static let members: [AccessRow] = [
        AccessRow(ShareGroupHeartbeatRequest(), .read, .group, "s") {
            $0.groupId = "s"
            $0.memberId = "m"
            $0.memberEpoch = -1
        },
        AccessRow(ShareGroupHeartbeatRequest(), besides: [(.read, .group, "s")], .describe, .topic, "t") {
            $0.groupId = "s"
            $0.memberId = "m"
            $0.memberEpoch = 5
            $0.subscribedTopicNames = ["t"]
        },
        AccessRow(ShareGroupDescribeRequest(), .describe, .group, "s") { $0.groupIds = ["s"] },
        AccessRow(ShareFetchRequest(), .read, .group, "s") {
            $0.groupId = "s"
            $0.memberId = "m"
            $0.shareSessionEpoch = -1
        },
        AccessRow(ShareAcknowledgeRequest(), .read, .group, "s") {
            $0.groupId = "s"
            $0.memberId = "m"
            $0.shareSessionEpoch = -1
        },
    ]

    private static let offsets: [AccessRow] = [
        AccessRow(DescribeShareGroupOffsetsRequest(), .describe, .group, "s") { $0.groups = [.init { $0.groupId = "s" }] },
        AccessRow(DescribeShareGroupOffsetsRequest(), besides: [(.describe, .group, "s")], .describe, .topic, "t") {
            $0.groups = [
                .init {
                    $0.groupId = "s"
                    $0.topics = [
                        .init {
                            $0.topicName = "t"
                            $0.partitions = [0]
                        }
                    ]
                }
            ]
        },
        AccessRow(AlterShareGroupOffsetsRequest(), .read, .group, "s") { $0.groupId = "s" },
        AccessRow(AlterShareGroupOffsetsRequest(), besides: [(.read, .group, "s")], .read, .topic, "t") {
            $0.groupId = "s"
            $0.topics = [
                .init {
                    $0.topicName = "t"; $0.partitions = [.init()]
                }
            ]
        },
        AccessRow(DeleteShareGroupOffsetsRequest(), .delete, .group, "s") { $0.groupId = "s" },
        AccessRow(DeleteShareGroupOffsetsRequest(), besides: [(.delete, .group, "s")], .read, .topic, "t") {
            $0.groupId = "s"
            $0.topics = [.init { $0.topicName = "t" }]
        },
    ]

    private static let topicID = KafkaUUID(mostSignificantBits: 3, leastSignificantBits: 4)

    private static let coordinators: [AccessRow] = [
        AccessRow(FindCoordinatorRequest(), .clusterAction, .cluster) {
            $0.keyType = 2
            $0.coordinatorKeys = ["s:\(topicID):0"]
        },
        AccessRow(InitializeShareGroupStateRequest(), .clusterAction, .cluster) {
            $0.groupId = "s"
            $0.topics = [
                .init {
                    $0.topicId = topicID; $0.partitions = [.init()]
                }
            ]
        },
        AccessRow(ReadShareGroupStateRequest(), .clusterAction, .cluster) {
            $0.groupId = "s"
            $0.topics = [
                .init {
                    $0.topicId = topicID; $0.partitions = [.init()]
                }
            ]
        },
        AccessRow(WriteShareGroupStateRequest(), .clusterAction, .cluster) {
            $0.groupId = "s"
            $0.topics = [
                .init {
                    $0.topicId = topicID; $0.partitions = [.init()]
                }
            ]
        },
        AccessRow(DeleteShareGroupStateRequest(), .clusterAction, .cluster) {
            $0.groupId = "s"
            $0.topics = [
                .init {
                    $0.topicId = topicID; $0.partitions = [.init()]
                }
            ]
        },
        AccessRow(ReadShareGroupStateSummaryRequest(), .clusterAction, .cluster) {
            $0.groupId = "s"
            $0.topics = [
                .init {
                    $0.topicId = topicID; $0.partitions = [.init()]
                }
            ]
        },
    ]
}
