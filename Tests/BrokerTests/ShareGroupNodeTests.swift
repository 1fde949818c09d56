// The whole way of a share group through a node, over a socket: join, fetch, acknowledge, restart, administer.
import Glibc
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import TestKit
import Testing

@testable import Broker

/// A node with share groups on, a topic of one partition with ten records, and a member.
private final class ShareNode {
    let node: RunningNode
    let topicID: TopicID
    private(set) var connection: BlockingConnection
    private(set) var member = "first"

    init() throws {
        node = try RunningNode(overrides: [
            "share.coordinator.state.topic.num.partitions=3", "share.coordinator.state.topic.replication.factor=1",
            "offsets.topic.num.partitions=3", "group.share.min.record.lock.duration.ms=1000", "group.share.assignment.interval.ms=0",
        ])
        connection = try BlockingConnection(port: node.port)
        var features = UpdateFeaturesRequest()
        features.featureUpdates = [
            .init {
                $0.feature = "share.version"; $0.maxVersionLevel = 1
            }
        ]
        #expect(try connection.ask(features, version: 2).errorCode == .none)
        var topic = CreateTopicsRequest()
        topic.timeoutMs = 10_000
        topic.topics = [
            .init {
                $0.name = "q"; $0.numPartitions = 1; $0.replicationFactor = 1
            }
        ]
        topicID = try #require(try connection.ask(topic, version: 7).topics.first?.topicId)
        var configuration = IncrementalAlterConfigsRequest()
        configuration.resources = [
            .init {
                $0.resourceType = 32; $0.resourceName = "g"
                $0.configs = [
                    .init {
                        $0.name = "share.auto.offset.reset"; $0.value = "earliest"
                    }
                ]
            }
        ]
        #expect(try connection.ask(configuration, version: 1).responses.first?.errorCode == ErrorCode.none)
        // Whoever asks for a group's coordinator makes its topic.
        var coordinator = FindCoordinatorRequest()
        coordinator.coordinatorKeys = ["g"]
        _ = try connection.ask(coordinator, version: 4)
        try produce(count: 10)
    }

    deinit { node.stop() }

    func produce(count: Int) throws {
        var builder = RecordBatchBuilder()
        for number in 0..<count { builder.append(timestamp: SystemClock.now(), key: nil, value: ByteBuffer(string: "\(number)")) }
        var request = ProduceRequest()
        request.acks = -1
        request.timeoutMs = 10_000
        let records = builder.buildUncompressed()
        request.topicData = [
            .init {
                $0.name = "q"
                $0.partitionData = [.init { $0.records = records }]
            }
        ]
        #expect(try connection.ask(request, version: 9).responses.first?.partitionResponses.first?.errorCode == ErrorCode.none)
    }

    func restart(as member: String) throws {
        try node.restart()
        connection = try BlockingConnection(port: node.port)
        self.member = member
    }

    /// Another member on another connection; the first connection ends.
    func reconnect(as member: String) throws {
        connection = try BlockingConnection(port: node.port)
        self.member = member
    }

    func heartbeat(epoch: Int32) throws -> ShareGroupHeartbeatResponse {
        var request = ShareGroupHeartbeatRequest()
        request.groupId = "g"
        request.memberId = member
        request.memberEpoch = epoch
        request.subscribedTopicNames = epoch == 0 ? ["q"] : nil
        return try connection.ask(request, version: 1)
    }

    /// Heartbeats until the partition is assigned.
    func join() throws {
        var epoch: Int32 = 0
        var last = ShareGroupHeartbeatResponse()
        let deadline = SystemClock.monotonicMilliseconds() + 30_000
        while SystemClock.monotonicMilliseconds() < deadline {
            let response = try heartbeat(epoch: epoch)
            last = response
            guard response.errorCode == .none || response.errorCode == .coordinatorLoadInProgress || response.errorCode == .notCoordinator
            else {
                Issue.record("heartbeat: \(response.errorCode) \(response.errorMessage ?? "")")
                return
            }
            if response.errorCode == .none { epoch = response.memberEpoch }
            if response.assignment?.topicPartitions.first?.partitions == [0] { return }
            usleep(50_000)
        }
        Issue.record("nothing was assigned within 30 s: \(last)")
    }

    func fetch(
        epoch: Int32, acknowledging: [(Offset, Offset, [Int8])] = [], wait: Int32 = 2_000
    ) throws -> ShareFetchResponse {
        var request = ShareFetchRequest()
        request.groupId = "g"
        request.memberId = member
        request.shareSessionEpoch = epoch
        request.maxWaitMs = wait
        request.minBytes = 1
        request.maxRecords = 500
        request.batchSize = 500
        if epoch == 0 || !acknowledging.isEmpty {
            request.topics = [
                .init {
                    $0.topicId = topicID
                    $0.partitions = [
                        .init {
                            $0.acknowledgementBatches = acknowledging.map { first, last, types in
                                var batch = ShareFetchRequest.AcknowledgementBatch()
                                (batch.firstOffset, batch.lastOffset, batch.acknowledgeTypes) = (first, last, types)
                                return batch
                            }
                        }
                    ]
                }
            ]
        }
        let response = try connection.ask(request, version: 2)
        #expect(response.errorCode == .none, "fetch \(epoch)")
        return response
    }

    func acknowledge(epoch: Int32, _ batches: [(Offset, Offset, [Int8])]) throws -> ErrorCode? {
        var request = ShareAcknowledgeRequest()
        request.groupId = "g"
        request.memberId = member
        request.shareSessionEpoch = epoch
        request.topics = [
            .init {
                $0.topicId = topicID
                $0.partitions = [
                    .init {
                        $0.acknowledgementBatches = batches.map { first, last, types in
                            var batch = ShareAcknowledgeRequest.AcknowledgementBatch()
                            (batch.firstOffset, batch.lastOffset, batch.acknowledgeTypes) = (first, last, types)
                            return batch
                        }
                    }
                ]
            }
        ]
        let response = try connection.ask(request, version: 2)
        #expect(response.errorCode == .none, "acknowledge \(epoch)")
        return response.responses.first?.partitions.first?.errorCode
    }

    func offsets() throws -> DescribeShareGroupOffsetsResponse.DescribeShareGroupOffsetsResponsePartition? {
        var request = DescribeShareGroupOffsetsRequest()
        request.groups = [
            .init {
                $0.groupId = "g"; $0.topics = nil
            }
        ]
        return try connection.ask(request, version: 1).groups.first?.topics.first?.partitions.first
    }
}

extension ShareNode {
    /// Ends the member's session, done with these records, and takes it out of the group.
    fileprivate func leave(accepting first: Offset, _ last: Offset) throws {
        #expect(try fetch(epoch: -1, acknowledging: [(first, last, [1])]).acknowledgeError == ErrorCode.none)
        #expect(try heartbeat(epoch: -1).errorCode == .none)
    }

    fileprivate func alterOffset(to offset: Offset) throws -> ErrorCode {
        var request = AlterShareGroupOffsetsRequest()
        request.groupId = "g"
        request.topics = [
            .init {
                $0.topicName = "q"
                $0.partitions = [.init { $0.startOffset = offset }]
            }
        ]
        return try connection.ask(request, version: 0).errorCode
    }

    fileprivate func deleteOffsets() throws -> ErrorCode? {
        var request = DeleteShareGroupOffsetsRequest()
        request.groupId = "g"
        request.topics = [.init { $0.topicName = "q" }]
        let response = try connection.ask(request, version: 0)
        return response.errorCode == .none ? response.responses.first?.errorCode : response.errorCode
    }
}

extension ShareFetchResponse {
    fileprivate var acquired: [String] {
        (responses.first?.partitions.first?.acquiredRecords ?? []).map { "\($0.firstOffset)-\($0.lastOffset) #\($0.deliveryCount)" }
    }

    fileprivate var acknowledgeError: ErrorCode? { responses.first?.partitions.first?.acknowledgeErrorCode }
}

@Suite struct ShareGroupNodeTests {
    @Test("Records are acquired, accepted, released and come again; what is accepted is done, also after a restart")
    func life() throws {
        let share = try ShareNode()
        try share.join()
        let first = try share.fetch(epoch: 0)
        #expect(first.acquired == ["0-9 #1"])
        #expect(first.acquisitionLockTimeoutMs == 30_000)
        let records = try #require(first.responses.first?.partitions.first?.records)
        #expect(try RecordBatch(records).header.recordCount == 10)
        #expect(try share.acknowledge(epoch: 1, [(0, 4, [1]), (5, 5, [2]), (6, 9, [1, 1, 3, 1])]) == ErrorCode.none)
        #expect(try share.fetch(epoch: 2).acquired == ["5-5 #2"])
        #expect(try share.acknowledge(epoch: 3, [(6, 6, [1])]) == .invalidRecordState, "it is not held any more")
        #expect(try share.fetch(epoch: 4, acknowledging: [(5, 5, [1])], wait: 0).acknowledgeError == ErrorCode.none)
        #expect(try share.offsets()?.lag == 0)
        try share.produce(count: 2)
        #expect(try share.fetch(epoch: 5).acquired == ["10-11 #1"])
        try share.restart(as: "second")
        try share.join()
        #expect(try share.fetch(epoch: 0).acquired == ["10-11 #1"], "a lock does not outlive the leader")
        #expect(try share.fetch(epoch: -1, acknowledging: [(10, 11, [1])]).acknowledgeError == ErrorCode.none)
        #expect(try share.fetch(epoch: 0, wait: 100).acquired.isEmpty)
    }

    @Test("What a connection leaves behind goes to the next member at once; a fetch that waits is woken by it")
    func abandoned() throws {
        let share = try ShareNode()
        try share.join()
        #expect(try share.fetch(epoch: 0).acquired == ["0-9 #1"])
        try share.reconnect(as: "second")
        try share.join()
        #expect(try share.fetch(epoch: 0, wait: 9_000).acquired == ["0-9 #2"])
    }

    @Test("The offsets of an empty group are altered, and the next members read from there; then they are deleted")
    func administration() throws {
        let share = try ShareNode()
        try share.join()
        #expect(try share.fetch(epoch: 0).acquired == ["0-9 #1"])
        #expect(try share.alterOffset(to: 3) == .nonEmptyGroup)
        #expect(try share.deleteOffsets() == .nonEmptyGroup)
        try share.leave(accepting: 0, 9)
        #expect(try share.alterOffset(to: 3) == .none)
        #expect(try share.offsets()?.startOffset == 3)
        try share.reconnect(as: "second")
        try share.join()
        #expect(try share.fetch(epoch: 0).acquired == ["3-9 #1"])
        try share.leave(accepting: 3, 9)
        #expect(try share.deleteOffsets() == ErrorCode.none)
        #expect(try share.offsets() == nil)
    }

    @Test("Without share.version nothing of it is served")
    func turnedOff() throws {
        let node = try RunningNode()
        defer { node.stop() }
        let connection = try BlockingConnection(port: node.port)
        var heartbeat = ShareGroupHeartbeatRequest()
        heartbeat.groupId = "g"
        heartbeat.memberId = "m"
        #expect(try connection.ask(heartbeat, version: 1).errorCode == .unsupportedVersion)
        var fetch = ShareFetchRequest()
        fetch.groupId = "g"
        fetch.memberId = "m"
        #expect(try connection.ask(fetch, version: 2).errorCode == .unsupportedVersion)
    }
}
