// Random faults from a seed; a seed that fails is the test to repeat.
import Consensus
import KafkaMessages
import NIOCore
import Primitives
import Testing

@Suite("Quorum under random faults")
struct RandomizedTests {
    @Test(arguments: 0..<30)
    func staticVoters(seed: UInt64) throws {
        var quorum = try TestQuorum(voters: seed % 2 == 0 ? [1, 2, 3] : [1, 2, 3, 4, 5], others: [9], dynamic: false, seed: seed)
        try disturb(&quorum, changesVoters: false)
    }

    @Test(arguments: 1000..<1040)
    func dynamicVoters(seed: UInt64) throws {
        var quorum = try TestQuorum(voters: [1, 2, 3], others: [4, 5], dynamic: true, seed: seed)
        try disturb(&quorum, changesVoters: true)
    }

    private func disturb(_ quorum: inout TestQuorum, changesVoters: Bool) throws {
        quorum.lossPercent = Int.random(in: 0..<10, using: &quorum.random)
        quorum.maximumDelay = Int64.random(in: 5...300, using: &quorum.random)
        for _ in 0..<120 {
            _ = try quorum.run(for: Int64.random(in: 1...400, using: &quorum.random))
            try disturbOnce(&quorum, changesVoters: changesVoters)
        }
        let before = quorum.committed.count
        quorum.broken = []
        quorum.lossPercent = 0
        quorum.maximumDelay = 10
        for id in Array(quorum.down.keys) { try quorum.start(id) }
        #expect(try quorum.run(for: 60_000) { $0.isSettled }, "the quorum comes to rest when faults end: \(quorum.summary)")
        if let leader = quorum.leader {
            let now = quorum.now
            try quorum.step(leader) { try $0.append([ByteBuffer(string: "last")], isAtomic: true, now: now) }
        }
        #expect(try quorum.run(for: 60_000) { $0.isSettled && $0.committed.count > before })
    }

    private func disturbOnce(_ quorum: inout TestQuorum, changesVoters: Bool) throws {
        let ids = Array(quorum.members.keys) + Array(quorum.down.keys)
        guard let id = ids.randomElement(using: &quorum.random), let other = ids.randomElement(using: &quorum.random) else { return }
        let now = quorum.now
        switch Int.random(in: 0..<14, using: &quorum.random) {
        case 0: quorum.crash(id)
        case 1, 2: try quorum.start(id)
        case 3: quorum.broken.insert(.init(from: id, to: other))
        case 4:
            for peer in ids { quorum.broken.formUnion([.init(from: id, to: peer), .init(from: peer, to: id)]) }
        case 5, 6: quorum.broken = []
        case 7: try quorum.snapshot(id)
        case 8: try quorum.step(id) { $0.resign(now: now) }
        case 9 where changesVoters, 10 where changesVoters:
            guard let leader = quorum.leader else { return }
            if quorum.members[leader]?.quorum.voters.contains(other) == true {
                var request = RemoveRaftVoterRequest()
                request.clusterId = "cluster"
                request.voterId = other
                request.voterDirectoryId = TestQuorum.directory(other)
                // A quorum of one would lose what it is to prove when that one is gone.
                if quorum.members[leader]?.quorum.voters.voters.count ?? 0 > 2 { try quorum.ask(.removeRaftVoter(request), of: leader) }
            } else {
                try quorum.ask(.addRaftVoter(VoterChangeTests.add(other)), of: leader)
            }
        default:
            for member in quorum.members.values where member.quorum.role == .leader {
                let value = ByteBuffer(string: "\(member.id) \(now)")
                try quorum.step(member.id) { try $0.append([value, value], isAtomic: true, now: now) }
            }
        }
    }
}
