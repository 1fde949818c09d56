// The quorum of one: epochs, control records, batches, what it refuses.
import KafkaMessages
import KafkaRecords
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Consensus

@Suite("Quorum of one voter")
struct QuorumTests {
    private static let endpoint = Voter.Endpoint(name: "CONTROLLER", host: "localhost", port: 9093)
    private static let directory = KafkaUUID(mostSignificantBits: 3, leastSignificantBits: 333)

    private static func configuration(isStatic: Bool) -> QuorumConfiguration {
        QuorumConfiguration(
            localID: 1, localDirectoryID: directory, localEndpoints: [endpoint],
            staticVoters: isStatic ? VoterSet([Voter(id: 1, endpoints: [endpoint])]) : nil)
    }

    private static func controlRecords(_ effects: [QuorumEffect]) throws -> [QuorumControlRecord] {
        var found: [QuorumControlRecord] = []
        for case .append(let bytes) in effects {
            let batch = try RecordBatch(bytes)
            try batch.verifyChecksum()
            #expect(batch.header.isControl)
            for record in try batch.allRecords() { found.append(try #require(try QuorumControlRecord.decode(record))) }
        }
        return found
    }

    /// Found by simulation (cluster seed 5300): compared with the older snapshot, a follower was sent the same one for ever.
    @Test func aSnapshotOlderThanTheLogDoesNotCount() throws {
        var log = QuorumLog(endOffset: 129, lastEpoch: 12)
        log.startOffset = 121
        log.epochs = [EpochStart(epoch: 12, startOffset: 121)]
        log.snapshots = [SnapshotID(endOffset: 97, epoch: 9), SnapshotID(endOffset: 121, epoch: 12)]
        let quorum = try Quorum(Self.configuration(isStatic: true), persisted: nil, log: log)
        guard case .valid = quorum.log.locate(offset: 121, epoch: 12) else {
            Issue.record("a follower that holds the snapshot at the log's start can go on from there")
            return
        }
        guard case .snapshot(SnapshotID(endOffset: 121, epoch: 12)) = quorum.log.locate(offset: 97, epoch: 9) else {
            Issue.record("a follower that ends before the log needs the snapshot")
            return
        }
    }

    @Test func everyStartIsANewEpoch() throws {
        var quorum = try Quorum(Self.configuration(isStatic: true), persisted: nil, log: QuorumLog(endOffset: 0, lastEpoch: 0))
        let effects = try quorum.start(now: 10)
        guard case .persist(let state) = effects.first else {
            Issue.record("the vote must be durable first")
            return
        }
        #expect(state == ElectionState(leaderID: 1, leaderEpoch: 1, staticVoters: [1]))
        guard case .leaderChange(let change) = try #require(try Self.controlRecords(effects).first) else {
            Issue.record("an epoch begins with a leader change")
            return
        }
        #expect(change.leaderId == 1 && change.voters.map(\.voterId) == [1] && change.grantingVoters.map(\.voterId) == [1])
        #expect(quorum.endOffset == 1 && quorum.highWatermark == 0)
        guard case .commit(1)? = quorum.appended(upTo: 1, now: 11).first else {
            Issue.record("the only voter commits what it has on disk")
            return
        }
        let log = QuorumLog(endOffset: 1, lastEpoch: 1)
        var next = try Quorum(Self.configuration(isStatic: true), persisted: state, log: log)
        _ = try next.start(now: 20)
        #expect(next.epoch == 2)
        // A lost quorum-state does not bring an epoch back: the log knows it too.
        var without = try Quorum(Self.configuration(isStatic: true), persisted: nil, log: log)
        _ = try without.start(now: 20)
        #expect(without.epoch == 2)
    }

    @Test func dynamicVotersAreLoggedOnce() throws {
        var log = QuorumLog(endOffset: 0, lastEpoch: 0)
        var version = KRaftVersionRecord()
        version.kRaftVersion = 1
        try log.replay(.kraftVersion(version), inBootstrapSnapshot: true)
        let voters = VoterSet([Voter(id: 1, directoryID: Self.directory, endpoints: [Self.endpoint])])
        try log.replay(.voters(voters.record()), inBootstrapSnapshot: true)
        var quorum = try Quorum(Self.configuration(isStatic: false), persisted: nil, log: log)
        let effects = try quorum.start(now: 1)
        let records = try Self.controlRecords(effects)
        #expect(records.count == 3)
        guard case .voters(let logged) = records[2] else {
            Issue.record("the voters come last")
            return
        }
        #expect(try VoterSet(logged) == voters)
        guard case .persist(let state) = effects[0] else { return }
        #expect(state.staticVoters == nil)
        // From now on they stand in the log.
        log.votersAreOnlyInBootstrapSnapshot = false
        var next = try Quorum(Self.configuration(isStatic: false), persisted: state, log: log)
        #expect(try Self.controlRecords(try next.start(now: 2)).count == 1)
        #expect(next.snapshotHeader(lastContainedTimestamp: 5).count == 3)
        let description = next.describe(Self.describeRequest)
        #expect(description.topics[0].partitions[0].leaderId == 1 && description.nodes[0].listeners[0].port == 9093)
        #expect(description.topics[0].partitions[0].currentVoters[0].replicaDirectoryId == Self.directory)
    }

    private static var describeRequest: DescribeQuorumRequest {
        var partition = DescribeQuorumRequest.PartitionData()
        partition.partitionIndex = 0
        var topic = DescribeQuorumRequest.TopicData()
        topic.topicName = Quorum.topicName
        topic.partitions = [partition]
        var request = DescribeQuorumRequest()
        request.topics = [topic]
        return request
    }

    @Test func needsVotersOrServersToAsk() {
        var configuration = Self.configuration(isStatic: false)
        #expect(throws: QuorumError.self) { try Quorum(configuration, persisted: nil, log: QuorumLog(endOffset: 0, lastEpoch: 0)) }
        configuration.bootstrapServers = [.init(host: "localhost", port: 9093)]
        #expect(throws: Never.self) { try Quorum(configuration, persisted: nil, log: QuorumLog(endOffset: 0, lastEpoch: 0)) }
    }

    @Test func splitsWhatNeedNotBeAtomic() throws {
        var configuration = Self.configuration(isStatic: true)
        configuration.maximumBatchBytes = 1000
        var quorum = try Quorum(configuration, persisted: nil, log: QuorumLog(endOffset: 0, lastEpoch: 0))
        #expect(throws: QuorumError.notLeader) { try quorum.append([ByteBuffer(string: "x")], isAtomic: false, now: 0) }
        _ = try quorum.start(now: 0)
        let values = (0..<20).map { ByteBuffer(string: String(repeating: "v", count: 90) + "\($0)") }
        #expect(throws: QuorumError.self) { try quorum.append(values, isAtomic: true, now: 0) }
        #expect(quorum.endOffset == 1, "a refused batch leaves nothing behind")
        let effects = try quorum.append(values, isAtomic: false, now: 0)
        var next: Offset = 1
        for case .append(let bytes) in effects {
            let header = try RecordBatchHeader(from: bytes)
            #expect(header.baseOffset == next && header.partitionLeaderEpoch == 1 && bytes.readableBytes <= 1000)
            next = header.nextOffset
        }
        #expect(effects.count > 1 && next == 21 && quorum.endOffset == 21)
    }

    @Test func snapshotNames() {
        let id = SnapshotID(endOffset: 353, epoch: 2)
        #expect(id.fileName == "00000000000000000353-0000000002.checkpoint")
        #expect(SnapshotID(fileName: id.fileName) == id)
        #expect(SnapshotID(fileName: "00000000000000000353-0000000002.checkpoint.deleted") == nil)
        #expect(SnapshotID(fileName: "bootstrap.checkpoint") == nil)
        var schedule = SnapshotSchedule(maximumBytes: 100, maximumIntervalMilliseconds: 1000, now: 0)
        #expect(!schedule.isDue(now: 5000), "nothing new, nothing to write")
        schedule.appended(99)
        #expect(!schedule.isDue(now: 999) && schedule.isDue(now: 1000))
        schedule.appended(1)
        #expect(schedule.isDue(now: 1))
    }
}
