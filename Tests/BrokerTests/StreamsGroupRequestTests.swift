// StreamsGroupHeartbeat and StreamsGroupDescribe over a socket of the real server, as a thread of Kafka Streams uses them: the topics that
// the application needs for itself are created, tasks are given out, and all of it is there again after a restart.
import Glibc
import KafkaMessages
import KafkaWire
import NIOCore
import TestKit
import Testing

@testable import Broker

@Suite struct StreamsGroupRequestTests {
    private static let settings = [
        "offsets.topic.replication.factor=1", "offsets.topic.num.partitions=1", "group.streams.initial.rebalance.delay.ms=0",
        "group.streams.assignment.interval.ms=0",
    ]

    /// Asks again until the answer is the one that is waited for, at most ten seconds.
    private func eventually<Value>(_ ask: () throws -> Value, until isRight: (Value) -> Bool) throws -> Value {
        let deadline = time(nil) + 10
        var value = try ask()
        while !isRight(value), time(nil) < deadline {
            usleep(20_000)
            value = try ask()
        }
        return value
    }

    private func createTopic(_ name: String, partitions: Int32, _ connection: BlockingConnection) throws {
        var request = CreateTopicsRequest()
        request.timeoutMs = 10_000
        request.topics = [
            .init {
                $0.name = name
                $0.numPartitions = partitions
                $0.replicationFactor = 1
            }
        ]
        #expect(try connection.ask(request, version: 7).topics.map(\.errorCode) == [.none])
    }

    /// A node that serves streams groups: new clusters begin with a metadata.version of before.
    private func streamsNode() throws -> (RunningNode, BlockingConnection) {
        let node = try RunningNode(overrides: Self.settings)
        let connection = try BlockingConnection(port: node.port)
        var request = UpdateFeaturesRequest()
        request.featureUpdates = [
            .init {
                $0.feature = "streams.version"
                $0.maxVersionLevel = 1
                $0.upgradeType = 1
            }
        ]
        #expect(try connection.ask(request, version: 1).errorCode == .none)
        return (node, connection)
    }

    private func findCoordinator(of group: String, _ connection: BlockingConnection) throws {
        var request = FindCoordinatorRequest()
        request.coordinatorKeys = [group]
        _ = try eventually({ try connection.ask(request, version: 4) }) { $0.coordinators.first?.errorCode == ErrorCode.none }
    }

    private var topology: StreamsGroupHeartbeatRequest.Topology {
        func info(_ name: String, _ change: (inout StreamsGroupHeartbeatRequest.TopicInfo) -> Void = { _ in })
            -> StreamsGroupHeartbeatRequest.TopicInfo
        {
            .init {
                $0.name = name
                change(&$0)
            }
        }
        return .init {
            $0.subtopologies = [
                .init {
                    $0.subtopologyId = "0"
                    $0.sourceTopics = ["words"]
                    $0.repartitionSinkTopics = ["app-repartition"]
                },
                .init {
                    $0.subtopologyId = "1"
                    $0.repartitionSourceTopics = [info("app-repartition")]
                    $0.stateChangelogTopics = [
                        info("app-changelog") {
                            $0.topicConfigs = [
                                .init {
                                    $0.key = "cleanup.policy"
                                    $0.value = "compact"
                                }
                            ]
                        }
                    ]
                },
            ]
        }
    }

    private func heartbeat(_ member: String, epoch: Int32, owned: [StreamsGroupHeartbeatRequest.TaskIds] = [])
        -> StreamsGroupHeartbeatRequest
    {
        .init {
            $0.groupId = "app"
            $0.memberId = member
            $0.memberEpoch = epoch
            $0.endpointInformationEpoch = -1
            $0.activeTasks = owned
            $0.standbyTasks = []
            $0.warmupTasks = []
            guard epoch == 0 else { return }
            $0.rebalanceTimeoutMs = 60_000
            $0.topology = topology
            $0.processId = "process"
        }
    }

    private func describe(_ connection: BlockingConnection) throws -> StreamsGroupDescribeResponse.DescribedGroup {
        var request = StreamsGroupDescribeRequest()
        request.groupIds = ["app"]
        request.includeAuthorizedOperations = true
        return try #require(try connection.ask(request, version: 1).groups.first)
    }

    @Test func internalTopicsAreCreatedAndTasksGivenOut() throws {
        let (node, first) = try streamsNode()
        defer { node.stop() }
        var connection = first
        try createTopic("words", partitions: 3, connection)
        try findCoordinator(of: "app", connection)
        let joined = try eventually({ try connection.ask(heartbeat("m", epoch: 0), version: 1) }) {
            $0.errorCode != .coordinatorLoadInProgress && $0.errorCode != .notCoordinator
        }
        #expect(joined.errorCode == .none)
        #expect(joined.heartbeatIntervalMs == 5_000 && joined.taskOffsetIntervalMs == 60_000 && joined.acceptableRecoveryLag == 10_000)
        #expect(joined.status?.map(\.statusCode) == [3])
        var epoch = joined.memberEpoch
        let assigned = try eventually({
            let response = try connection.ask(heartbeat("m", epoch: epoch), version: 0)
            if response.errorCode == .none { epoch = response.memberEpoch }
            return response
        }) { $0.activeTasks?.isEmpty == false }
        #expect(assigned.activeTasks?.map(\.subtopologyId) == ["0", "1"])
        #expect(assigned.activeTasks?.map(\.partitions) == [[0, 1, 2], [0, 1, 2]])

        var configs = DescribeConfigsRequest()
        configs.resources = [
            .init {
                $0.resourceType = 2
                $0.resourceName = "app-changelog"
                $0.configurationKeys = ["cleanup.policy"]
            }
        ]
        #expect(try connection.ask(configs, version: 4).results.first?.configs.first?.value == "compact")

        let described = try describe(connection)
        #expect(described.groupState == "Stable" && described.assignorName == "sticky" && described.authorizedOperations != .min)
        #expect(described.topology?.subtopologies?.last?.stateChangelogTopics.map(\.partitions) == [3])
        #expect(described.members.map(\.memberId) == ["m"])
        let listed = try connection.ask(ListGroupsRequest(), version: 5).groups
        #expect(listed.map(\.groupType) == ["streams"] && listed.map(\.groupState) == ["Stable"])

        try node.restart()
        connection = try BlockingConnection(port: node.port)
        try findCoordinator(of: "app", connection)
        let again = try eventually({ try describe(connection) }) { $0.errorCode == .none }
        #expect(again.groupState == "Stable" && again.groupEpoch == described.groupEpoch && again.members == described.members)
        let goesOn = try connection.ask(heartbeat("m", epoch: epoch, owned: owned), version: 1)
        #expect(goesOn.errorCode == .none && goesOn.memberEpoch == epoch && goesOn.activeTasks == nil)
        #expect(try connection.ask(heartbeat("m", epoch: -1), version: 1).errorCode == .none)
        var deletion = DeleteGroupsRequest()
        deletion.groupsNames = ["app"]
        #expect(try connection.ask(deletion, version: 2).results.map(\.errorCode) == [.none])
        #expect(try describe(connection).errorCode == .groupIdNotFound)
    }

    private var owned: [StreamsGroupHeartbeatRequest.TaskIds] {
        ["0", "1"].map { id in
            .init {
                $0.subtopologyId = id
                $0.partitions = [0, 1, 2]
            }
        }
    }

    @Test func topicsThatCannotBeCreatedAreNamed() throws {
        let (node, connection) = try streamsNode()
        defer { node.stop() }
        try createTopic("words", partitions: 1, connection)
        try findCoordinator(of: "app", connection)
        var request = heartbeat("m", epoch: 0)
        request.topology?.subtopologies[1].stateChangelogTopics[0].topicConfigs[0].value = "nonsense"
        var epoch: Int32 = 0
        let response = try eventually({
            var beat = request
            if epoch > 0 { beat = heartbeat("m", epoch: epoch) }
            let response = try connection.ask(beat, version: 1)
            if response.errorCode == .none { epoch = response.memberEpoch }
            return response
        }) { $0.status?.first?.statusDetail.contains("Creation failed: app-changelog") == true }
        #expect(response.status?.first?.statusDetail.contains("Creation failed: app-changelog") == true)
    }

    @Test func topicsOfTheBrokersOwnAndIllegalNamesAreRefused() throws {
        let (node, connection) = try streamsNode()
        defer { node.stop() }
        for name in ["__consumer_offsets", "a b"] {
            var request = heartbeat("m", epoch: 0)
            request.topology?.subtopologies[0].sourceTopics = [name]
            #expect(try connection.ask(request, version: 1).errorCode == .streamsInvalidTopology)
        }
    }

    @Test func notServedWhereTheProtocolIsOff() throws {
        let node = try RunningNode(overrides: ["group.coordinator.rebalance.protocols=classic,consumer"])
        defer { node.stop() }
        let connection = try BlockingConnection(port: node.port)
        #expect(try connection.ask(heartbeat("m", epoch: 0), version: 1).errorCode == .unsupportedVersion)
        #expect(try describe(connection).errorCode == .unsupportedVersion)
    }
}
