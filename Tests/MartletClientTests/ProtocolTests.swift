// Version negotiation and a group member's side of the protocol, without a network.
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import MartletClient

@Suite("Client protocol")
struct ProtocolTests {
    @Test("The highest version in common is chosen")
    func negotiation() throws {
        let versions = NegotiatedVersions([.fetch: 4...13, .metadata: 0...99, .createTopics: 0...1])
        #expect(try versions.version(of: .fetch) == 13)
        #expect(try versions.version(of: .fetch, allowed: 4...12) == 12)
        #expect(try versions.version(of: .metadata) == ApiKey.metadata.validVersions.upperBound)
        let tooOld = #expect(throws: KafkaError.self) { try versions.version(of: .createTopics) }
        #expect(tooOld?.kind == .unsupportedVersion)
        #expect(throws: KafkaError.self) { try versions.version(of: .produce) }
    }

    @Test("A server that speaks TLS is told from one that speaks nothing known")
    func foreignAnswers() throws {
        var decoder = ResponseFrameDecoder(maximumSize: 1000)
        for (bytes, words) in [
            ([0x15, 3, 3, 0, 2, 2, 10], "speaks TLS"), ([0x16, 3, 1, 0], "speaks TLS"), (Array("HTTP".utf8), "Is this a Kafka listener?"),
            ([0, 0, 0, 3], "Is this a Kafka listener?"), ([0, 0, 3, 0xE9], "response of 1001 bytes"),
        ] as [([UInt8], String)] {
            var buffer = ByteBuffer(bytes: bytes)
            let failure = #expect(throws: KafkaError.self) { try decoder.decode(buffer: &buffer) }
            #expect(failure?.kind == .protocolViolation)
            #expect(failure?.explanation.contains(words) == true)
        }
        var whole = ByteBuffer(bytes: [0, 0, 0, 4, 1, 2, 3, 4, 0])
        #expect(try decoder.decode(buffer: &whole) == ByteBuffer(bytes: [1, 2, 3, 4]))
    }

    private func membership(_ assignors: [ConsumerAssignor] = [.cooperativeSticky]) -> GroupMembership {
        GroupMembership(group: "g", groupInstanceID: nil, assignors: assignors)
    }

    @Test("A member takes the id it is given, leads, and learns its assignment")
    func joining() throws {
        var member = membership()
        var response = JoinGroupResponse()
        response.errorCode = .memberIdRequired
        response.memberId = "m1"
        #expect(member.joined(response) == .rejoin(losesPartitions: false))
        let request = try member.joinRequest(
            topics: ["t"], owned: [TopicPartition("t", 1)], sessionTimeoutMilliseconds: 1, rebalanceTimeoutMilliseconds: 2)
        #expect(request.memberId == "m1")
        response.errorCode = .none
        response.generationId = 4
        response.leader = "m1"
        response.protocolName = "cooperative-sticky"
        var listed = JoinGroupResponse.JoinGroupResponseMember()
        listed.memberId = "m1"
        listed.metadata = request.protocols[0].metadata
        response.members = [listed]
        #expect(member.joined(response) == .synchronize(isLeader: true))
        #expect(member.members.map(\.owned) == [[TopicPartition("t", 1)]])
        let sync = try member.syncRequest(["m1": [TopicPartition("t", 0), TopicPartition("t", 1)]])
        var answer = SyncGroupResponse()
        answer.assignment = sync.assignments[0].assignment
        #expect(member.synchronized(answer) == .assigned([TopicPartition("t", 0), TopicPartition("t", 1)]))
        #expect(member.isMember)
    }

    @Test("Heartbeats tell when to join again, and whether partitions are lost")
    func heartbeats() {
        var member = membership()
        member.memberID = "m"
        member.generation = 3
        #expect(member.heartbeat(.none) == .stay)
        #expect(member.heartbeat(.rebalanceInProgress) == .rejoin(losesPartitions: false))
        #expect(member.heartbeat(.notCoordinator) == .retry(findCoordinator: true))
        #expect(member.heartbeat(.illegalGeneration) == .rejoin(losesPartitions: true))
        #expect(member.memberID == "m")
        #expect(member.heartbeat(.unknownMemberId) == .rejoin(losesPartitions: true))
        #expect(member.memberID.isEmpty)
        if case .fail = member.heartbeat(.groupAuthorizationFailed) {} else { Issue.record("not being allowed is final") }
    }

    @Test("Aborted transactions and markers are passed over for read_committed, and only there")
    func transactions() throws {
        func records(_ offset: Offset, producer: ProducerID, _ value: String) -> ByteBuffer {
            var builder = RecordBatchBuilder(baseOffset: offset)
            builder.producerId = producer
            builder.producerEpoch = 0
            builder.baseSequence = 0
            builder.isTransactional = true
            builder.append(timestamp: 0, key: nil, value: ByteBuffer(string: value))
            return builder.buildUncompressed()
        }
        func marker(_ offset: Offset, producer: ProducerID, _ outcome: EndTransactionMarker.Outcome) -> ByteBuffer {
            EndTransactionMarker(outcome, coordinatorEpoch: 0).batch(
                producerId: producer, producerEpoch: 0, timestamp: 0, baseOffset: offset)
        }
        var bytes = ByteBuffer()
        for piece in [
            records(0, producer: 1, "aborted"), records(1, producer: 2, "kept"), marker(2, producer: 1, .abort),
            records(3, producer: 1, "later"), marker(4, producer: 2, .commit), marker(5, producer: 1, .commit),
        ] { bytes.writeImmutableBuffer(piece) }
        for (isolation, expected) in [
            (IsolationLevel.readCommitted, ["kept", "later"]), (.readUncommitted, ["aborted", "kept", "later"]),
        ] {
            let reader = FetchedRecords(
                partition: TopicPartition("t", 0), isolation: isolation, verifiesChecksums: true, maximumDecompressedSize: 1 << 20)
            let batches = try reader.batches(in: bytes, position: 0, aborted: [(producerID: 1, firstOffset: 0)])
            let values = try batches.flatMap { try $0.records() }.map { try $0.value(as: String.self) }
            #expect(values == expected)
            #expect(batches.last?.nextOffset == 6)
        }
    }
}
