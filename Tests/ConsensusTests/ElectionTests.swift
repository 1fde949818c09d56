// Elections message by message, as Kafka's members hold them.
import Consensus
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import Testing

@Suite("Quorum elections")
struct ElectionTests {
    @Test func firstElection() throws {
        var quorum = try TestQuorum(voters: [1, 2, 3], dynamic: false, seed: 1)
        #expect(quorum.members.values.allSatisfy { $0.quorum.role == .unattached && $0.quorum.epoch == 0 })
        #expect(try quorum.run(for: 5000) { $0.isSettled })
        let leader = try #require(quorum.leader)
        // Pre-votes were granted before, so that one election was enough.
        #expect(quorum.members[leader]?.quorum.epoch == 1)
        for member in quorum.members.values {
            #expect(member.quorum.leaderID == leader && member.committed == 1)
            #expect(member.disk.election?.leaderID == leader && member.disk.election?.staticVoters == [1, 2, 3])
        }
    }

    @Test func recordsAreCommittedByTheMajority() throws {
        var quorum = try TestQuorum(voters: [1, 2, 3], dynamic: false, seed: 2)
        _ = try quorum.run(for: 5000) { $0.isSettled }
        let leader = try #require(quorum.leader)
        let followers = quorum.members.keys.filter { $0 != leader }
        quorum.crash(followers[0])
        let now = quorum.now
        try quorum.step(leader) { try $0.append([ByteBuffer(string: "a"), ByteBuffer(string: "b")], isAtomic: true, now: now) }
        #expect(try quorum.run(for: 1000) { $0.members[leader]?.committed == 3 })
        quorum.crash(followers[1])
        let later = quorum.now
        try quorum.step(leader) { try $0.append([ByteBuffer(string: "c")], isAtomic: true, now: later) }
        // Nobody else has it, and a leader without a majority resigns after one and a half fetch timeouts.
        #expect(try quorum.run(for: 3100) { $0.leader == nil })
        #expect(quorum.members[leader]?.committed == 3)
        for id in followers { try quorum.start(id) }
        #expect(try quorum.run(for: 10_000) { $0.isSettled })
    }

    @Test func aFollowerThatComesBackDisturbsNobody() throws {
        var quorum = try TestQuorum(voters: [1, 2, 3], dynamic: false, seed: 3)
        _ = try quorum.run(for: 5000) { $0.isSettled }
        let leader = try #require(quorum.leader)
        let cut = try #require(quorum.members.keys.first { $0 != leader })
        for id in quorum.members.keys { quorum.broken.formUnion([.init(from: cut, to: id), .init(from: id, to: cut)]) }
        _ = try quorum.run(for: 20_000)
        #expect(quorum.members[cut]?.quorum.epoch == 1, "without votes on a vote it would have raised the epoch again and again")
        quorum.broken = []
        _ = try quorum.run(for: 10_000)
        #expect(quorum.leader == leader && quorum.isSettled && quorum.leaders.count == 1)
    }

    @Test func aLeaderThatLeavesIsSucceededAtOnce() throws {
        var quorum = try TestQuorum(voters: [1, 2, 3], dynamic: false, seed: 4)
        _ = try quorum.run(for: 5000) { $0.isSettled }
        let leader = try #require(quorum.leader)
        let now = quorum.now
        try quorum.step(leader) { $0.shutDown(now: now) }
        #expect(try quorum.run(for: 300) { $0.leader != nil && $0.leader != leader })
        #expect(try quorum.run(for: 2100) { $0.stopped.contains(leader) })
    }

    @Test(arguments: 20..<40) func aLeaderThatDiesIsReplacedAtOnce(seed: UInt64) throws {
        var quorum = try TestQuorum(voters: [1, 2, 3], dynamic: seed % 2 == 0, seed: seed)
        _ = try quorum.run(for: 8000) { $0.isSettled }
        let leader = try #require(quorum.leader)
        let before = quorum.now
        quorum.crash(leader)
        #expect(try quorum.run(for: 1000) { $0.isSettled }, "connections that are refused tell of it: \(quorum.summary)")
        #expect(quorum.now - before < 600)
    }

    @Test func theVoteIsForOneCandidate() throws {
        var quorum = try Quorum(Self.configuration, persisted: nil, log: QuorumLog(endOffset: 0, lastEpoch: 0), seed: 1)
        _ = try quorum.start(now: 0)
        #expect(try Self.answer(&quorum, Self.vote(from: 2, epoch: 1)).isGranted)
        #expect(try Self.answer(&quorum, Self.vote(from: 2, epoch: 1)).isGranted, "the same candidate may ask again")
        #expect(try !Self.answer(&quorum, Self.vote(from: 3, epoch: 1)).isGranted)
        #expect(try Self.answer(&quorum, Self.vote(from: 3, epoch: 2)).isGranted)
        #expect(try Self.answer(&quorum, Self.vote(from: 3, epoch: 1)).error == .fencedLeaderEpoch)
        #expect(try Self.answer(&quorum, Self.vote(from: 3, epoch: 3, to: 2)).error == .invalidVoterKey)
        var stranger = Self.vote(from: 3, epoch: 4)
        stranger.clusterId = "another"
        guard case .reply(_, .vote(let response)) = quorum.received(.vote(stranger), Self.context, now: 1).last else {
            Issue.record("no answer")
            return
        }
        #expect(response.errorCode == .inconsistentClusterId && quorum.epoch == 3)
    }

    @Test func theVoteIsDurableBeforeItIsGiven() throws {
        var quorum = try Quorum(Self.configuration, persisted: nil, log: QuorumLog(endOffset: 0, lastEpoch: 0), seed: 1)
        _ = try quorum.start(now: 0)
        let effects = quorum.received(.vote(Self.vote(from: 2, epoch: 7)), Self.context, now: 1)
        let persisted = effects.lastIndex {
            if case .persist(let state) = $0 { state.votedID == 2 && state.leaderEpoch == 7 } else { false }
        }
        let replied = effects.firstIndex { if case .reply = $0 { true } else { false } }
        #expect(try #require(persisted) < #require(replied))
    }

    @Test func aShorterLogGetsNoVote() throws {
        var quorum = try Quorum(Self.configuration, persisted: nil, log: QuorumLog(endOffset: 10, lastEpoch: 3), seed: 1)
        _ = try quorum.start(now: 0)
        #expect(try !Self.answer(&quorum, Self.vote(from: 2, epoch: 4, end: 9, lastEpoch: 3)).isGranted)
        #expect(try Self.answer(&quorum, Self.vote(from: 3, epoch: 4, end: 10, lastEpoch: 3)).isGranted)
        #expect(try !Self.answer(&quorum, Self.vote(from: 2, epoch: 5, end: 100, lastEpoch: 2)).isGranted)
        #expect(try Self.answer(&quorum, Self.vote(from: 2, epoch: 6, end: 1, lastEpoch: 4)).isGranted)
        #expect(try Self.answer(&quorum, Self.vote(from: 2, epoch: 7, end: 1, lastEpoch: 7)).error == .invalidRequest)
    }

    private static let configuration: QuorumConfiguration = {
        let voters = VoterSet([1, 2, 3].map { Voter(id: $0, endpoints: [TestQuorum.endpoint($0)]) })
        var configuration = QuorumConfiguration(
            localID: 1, localDirectoryID: TestQuorum.directory(1), localEndpoints: [TestQuorum.endpoint(1)], staticVoters: voters)
        configuration.clusterID = "cluster"
        return configuration
    }()

    private static let context = QuorumRequestContext(token: 1, version: 2, listenerName: TestQuorum.endpointName)

    private static func vote(
        from id: NodeID, epoch: LeaderEpoch, to voter: NodeID = 1, end: Offset = 0, lastEpoch: LeaderEpoch = 0
    ) -> VoteRequest {
        var partition = VoteRequest.PartitionData()
        partition.replicaEpoch = epoch
        partition.replicaId = id
        partition.replicaDirectoryId = TestQuorum.directory(id)
        partition.lastOffset = end
        partition.lastOffsetEpoch = lastEpoch
        var topic = VoteRequest.TopicData()
        topic.topicName = Quorum.topicName
        topic.partitions = [partition]
        var request = VoteRequest()
        request.clusterId = "cluster"
        request.voterId = voter
        request.topics = [topic]
        return request
    }

    private static func answer(_ quorum: inout Quorum, _ request: VoteRequest) throws -> (isGranted: Bool, error: ErrorCode) {
        for case .reply(_, .vote(let response)) in quorum.received(.vote(request), context, now: 1) {
            let partition = try #require(response.topics.first?.partitions.first)
            return (partition.voteGranted, partition.errorCode)
        }
        throw Broken("no answer")
    }
}
