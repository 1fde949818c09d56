// Voters that come, go and move while the quorum works (KIP-853), and snapshots for those who come late.
import Consensus
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import Testing

@Suite("Quorum voters and snapshots")
struct VoterChangeTests {
    @Test func aVoterIsAddedAndRemoved() throws {
        var quorum = try settled(voters: [1], others: [2])
        #expect(quorum.leader == 1)
        try quorum.ask(.addRaftVoter(Self.add(2)), of: 1)
        #expect(try quorum.run(for: 3000) { !$0.answers.isEmpty })
        #expect(quorum.addError == ErrorCode.none)
        #expect(quorum.members.values.allSatisfy { $0.quorum.voters.voters.keys.elements == [1, 2] })
        #expect(quorum.members[2]?.quorum.isVoter == true)
        // The leader removes itself: it leads until that is committed, then the other takes over.
        try quorum.ask(.removeRaftVoter(Self.remove(1)), of: 1)
        #expect(try quorum.run(for: 10_000) { $0.leader == 2 && $0.isSettled }, "\(quorum.summary)")
        #expect(quorum.members[1]?.quorum.isVoter == false && quorum.members[1]?.quorum.leaderID == 2)
    }

    @Test func refusals() throws {
        var quorum = try settled(voters: [1, 2, 3], others: [4])
        let leader = try #require(quorum.leader)
        let follower = try #require([1, 2, 3].first { $0 != leader })
        #expect(try quorum.error(of: .addRaftVoter(Self.add(4)), by: follower) == .notLeaderOrFollower)
        #expect(try quorum.error(of: .addRaftVoter(Self.add(follower)), by: leader) == .duplicateVoter)
        var without = Self.add(4)
        without.listeners = []
        #expect(try quorum.error(of: .addRaftVoter(without), by: leader) == .invalidRequest)
        var stranger = Self.add(4)
        stranger.clusterId = "another"
        #expect(try quorum.error(of: .addRaftVoter(stranger), by: leader) == .inconsistentClusterId)
        #expect(try quorum.error(of: .removeRaftVoter(Self.remove(4)), by: leader) == .voterNotFound)
        // One change at a time.
        try quorum.ask(.removeRaftVoter(Self.remove(follower)), of: leader)
        #expect(try quorum.error(of: .addRaftVoter(Self.add(4)), by: leader) == .requestTimedOut)
    }

    @Test func staticVotersCannotBeChanged() throws {
        var quorum = try TestQuorum(voters: [1, 2, 3], others: [4], dynamic: false, seed: 5)
        _ = try quorum.run(for: 8000) { $0.isSettled }
        let leader = try #require(quorum.leader)
        #expect(try quorum.error(of: .addRaftVoter(Self.add(4)), by: leader) == .unsupportedVersion)
    }

    /// KIP-853: raised once every voter has told its directory; from then on they are in the log, and can be changed.
    @Test func staticVotersGetIntoTheLog() throws {
        var quorum = try TestQuorum(voters: [1, 2, 3], others: [4], dynamic: false, seed: 5)
        #expect(try quorum.run(for: 8000) { $0.isSettled })
        let leader = try #require(quorum.leader)
        let silent = try #require(quorum.members[leader]?.quorum.reasonAgainstKraftVersion(1))
        #expect(silent.contains("are not known yet"))
        let early = quorum.now
        try quorum.step(leader) { $0.raiseKraftVersion(to: 1, now: early) }
        #expect(quorum.members[leader]?.quorum.kraftVersion == 0)
        #expect(
            try quorum.run(for: 20_000) { $0.members[leader]?.quorum.reasonAgainstKraftVersion(1) == nil }, "\(quorum.summary)")
        let now = quorum.now
        try quorum.step(leader) { $0.raiseKraftVersion(to: 1, now: now) }
        #expect(
            try quorum.run(for: 8000) { quorum in
                quorum.members.values.allSatisfy { $0.quorum.kraftVersion == 1 } && quorum.isSettled
            }, "\(quorum.summary)")
        for id in [1, 2, 3] as [NodeID] {
            let member = try #require(quorum.members[id]).quorum
            #expect(member.voters.voters.values.map(\.directoryID) == [1, 2, 3].map { TestQuorum.directory($0) })
            #expect(member.isVoter)
        }
        #expect(quorum.leader == leader, "nobody has to be elected for it")
        // Again is no change.
        #expect(quorum.members[leader]?.quorum.reasonAgainstKraftVersion(1) == nil)
        try quorum.ask(.addRaftVoter(Self.add(4)), of: leader)
        #expect(try quorum.run(for: 5000) { !$0.answers.isEmpty })
        #expect(quorum.addError == ErrorCode.none)
        #expect(try quorum.run(for: 5000) { $0.members[4]?.quorum.isVoter == true })
        // And over a restart, with the old configuration still there.
        for id in [1, 2, 3, 4] as [NodeID] { quorum.crash(id) }
        for id in [1, 2, 3, 4] as [NodeID] { try quorum.start(id) }
        #expect(try quorum.run(for: 20_000) { $0.isSettled }, "\(quorum.summary)")
        #expect(quorum.members.values.allSatisfy { $0.quorum.voters.voters.keys.elements == [1, 2, 3, 4] })
    }

    @Test func aControllerJoinsByItself() throws {
        var quorum = try TestQuorum(voters: [1, 2, 3], others: [4], dynamic: true, seed: 6, joins: true)
        #expect(try quorum.run(for: 20_000) { $0.members.values.allSatisfy { $0.quorum.voters.contains(4) } }, "\(quorum.summary)")
        #expect(quorum.members[4]?.quorum.isVoter == true)
    }

    @Test func votersThatTheMajorityNeverHadAreForgotten() throws {
        var quorum = try settled(voters: [1, 2, 3], others: [])
        let leader = try #require(quorum.leader)
        let others = quorum.members.keys.filter { $0 != leader }
        for id in others { quorum.broken.formUnion([.init(from: id, to: leader), .init(from: leader, to: id)]) }
        try quorum.ask(.removeRaftVoter(Self.remove(others[0])), of: leader)
        #expect(quorum.members[leader]?.quorum.voters.contains(others[0]) == false, "voters are in force when appended")
        #expect(try quorum.run(for: 20_000) { $0.leaders.count == 2 && $0.leader != leader })
        quorum.broken = []
        #expect(try quorum.run(for: 20_000) { $0.isSettled }, "\(quorum.summary)")
        #expect(quorum.members[leader]?.quorum.voters.voters.keys.elements == [1, 2, 3], "truncation undoes them")
    }

    @Test func aLateObserverGetsTheSnapshot() throws {
        var quorum = try settled(voters: [1, 2, 3], others: [4])
        quorum.crash(4)
        quorum.down[4] = Disk()
        let leader = try #require(quorum.leader)
        for value in 0..<10 {
            let now = quorum.now
            try quorum.step(leader) { try $0.append([ByteBuffer(string: "\(value)")], isAtomic: true, now: now) }
            _ = try quorum.run(for: 200)
        }
        for id in [1, 2, 3] as [NodeID] { try quorum.snapshot(id) }
        #expect(try #require(quorum.members[leader]).disk.start > 10)
        try quorum.start(4)
        #expect(try quorum.run(for: 10_000) { $0.isSettled }, "\(quorum.summary)")
        let late = try #require(quorum.members[4])
        #expect(late.disk.start > 10 && late.quorum.voters.voters.keys.elements == [1, 2, 3] && late.quorum.kraftVersion == 1)
    }

    @Test func aDescriptionTellsVotersAndObservers() throws {
        var quorum = try settled(voters: [1, 2, 3], others: [4])
        _ = try quorum.run(for: 2000)
        let leader = try #require(quorum.leader)
        var partition = DescribeQuorumRequest.PartitionData()
        partition.partitionIndex = 0
        var topic = DescribeQuorumRequest.TopicData()
        topic.topicName = Quorum.topicName
        topic.partitions = [partition]
        var request = DescribeQuorumRequest()
        request.topics = [topic]
        let member = try #require(quorum.members[leader])
        let described = member.quorum.describe(request).topics[0].partitions[0]
        #expect(described.leaderId == leader && described.highWatermark == member.committed)
        #expect(described.currentVoters.map(\.replicaId) == [1, 2, 3] && described.observers.map(\.replicaId) == [4])
        #expect(described.currentVoters.allSatisfy { $0.logEndOffset == member.committed && $0.lastCaughtUpTimestamp > 0 })
        let follower = try #require(quorum.members.values.first { $0.id != leader })
        #expect(follower.quorum.describe(request).topics[0].partitions[0].errorCode == .notLeaderOrFollower)
    }

    private func settled(voters: [NodeID], others: [NodeID]) throws -> TestQuorum {
        var quorum = try TestQuorum(voters: voters, others: others, dynamic: true, seed: 11)
        #expect(try quorum.run(for: 10_000) { $0.isSettled }, "\(quorum.summary)")
        return quorum
    }

    private static func remove(_ id: NodeID) -> RemoveRaftVoterRequest {
        var request = RemoveRaftVoterRequest()
        request.clusterId = "cluster"
        request.voterId = id
        request.voterDirectoryId = TestQuorum.directory(id)
        return request
    }

    static func add(_ id: NodeID) -> AddRaftVoterRequest {
        var listener = AddRaftVoterRequest.Listener()
        listener.name = TestQuorum.endpointName
        listener.host = "node"
        listener.port = UInt16(1000 + id)
        var request = AddRaftVoterRequest()
        request.clusterId = "cluster"
        request.voterId = id
        request.voterDirectoryId = TestQuorum.directory(id)
        request.listeners = [listener]
        return request
    }
}

extension TestQuorum {
    fileprivate var addError: ErrorCode? {
        for case .addRaftVoter(let response) in answers { return response.errorCode }
        return nil
    }

    /// The error of the immediate answer.
    fileprivate mutating func error(of request: QuorumRequest, by id: NodeID) throws -> ErrorCode? {
        let before = answers.count
        try ask(request, of: id)
        guard answers.count > before else { return nil }
        switch answers[answers.count - 1] {
        case .addRaftVoter(let response): return response.errorCode
        case .removeRaftVoter(let response): return response.errorCode
        default: return nil
        }
    }
}
