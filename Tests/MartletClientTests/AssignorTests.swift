// Assignors by property: everything assigned once, balanced, and nothing moved without need.
import Primitives
import Testing

@testable import MartletClient

@Suite("Assignors")
struct AssignorTests {
    private func member(_ id: String, _ topics: Set<String>, _ owned: [TopicPartition] = [], generation: Int32 = -1) -> AssignmentMember {
        AssignmentMember(id: id, topics: topics, owned: owned, generation: generation)
    }

    private func partitions(_ topic: String, _ numbers: Range<Int32>) -> [TopicPartition] { numbers.map { TopicPartition(topic, $0) } }

    @Test("Range gives neighbours, the first members one more")
    func range() {
        let result = ConsumerAssignor.range.assign(
            members: [member("b", ["t"]), member("a", ["t"]), member("c", ["t"])], partitionCounts: ["t": 7])
        #expect(result == ["a": partitions("t", 0..<3), "b": partitions("t", 3..<5), "c": partitions("t", 5..<7)])
    }

    @Test("Round robin passes over members that are not subscribed")
    func roundRobin() {
        let result = ConsumerAssignor.roundRobin.assign(
            members: [member("a", ["t"]), member("b", ["t", "u"])], partitionCounts: ["t": 3, "u": 2])
        #expect(result["a"] == [TopicPartition("t", 0), TopicPartition("t", 2)])
        #expect(result["b"] == [TopicPartition("t", 1), TopicPartition("u", 0), TopicPartition("u", 1)])
    }

    @Test("Static members come first, whatever their member ids")
    func staticMembers() {
        var fixed = member("zz", ["t"])
        fixed.groupInstanceID = "instance"
        let result = ConsumerAssignor.range.assign(members: [member("a", ["t"]), fixed], partitionCounts: ["t": 3])
        #expect(result["zz"] == partitions("t", 0..<2))
    }

    @Test("Every assignor gives every readable partition to exactly one subscribed member", arguments: 0..<100)
    func complete(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        let topics = ["a", "b", "c"]
        let counts = topics.reduce(into: [String: Int32]()) { $0[$1] = Int32.random(in: 0...9, using: &random) }
        let members = (0..<Int.random(in: 1...7, using: &random)).map { index in
            member("m\(index)", Set(topics.filter { _ in Bool.random(using: &random) }))
        }
        for assignor in ConsumerAssignor.allCases {
            let result = assignor.assign(members: members, partitionCounts: counts)
            let all = result.values.flatMap { $0 }
            #expect(Set(all).count == all.count)
            let readable = topics.filter { topic in members.contains { $0.topics.contains(topic) } }
            #expect(all.count == readable.reduce(0) { $0 + Int(counts[$1] ?? 0) })
            for member in members { #expect(result[member.id]?.allSatisfy { member.topics.contains($0.topic) } == true) }
        }
    }

    @Test("Sticky rebalances cooperatively into balance and moves no more than it must", arguments: 0..<100)
    func sticky(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        let counts: [String: Int32] = ["a": Int32.random(in: 1...20, using: &random), "b": Int32.random(in: 0...10, using: &random)]
        let total = counts.values.reduce(0, +)
        var names = (0..<Int.random(in: 1...5, using: &random)).map { "m\($0)" }
        var owned: [String: [TopicPartition]] = [:]
        var generation: Int32 = 0
        for _ in 0..<4 {
            // Until nothing is withheld any more: at most two rounds, since what was given up is free in the second.
            var rounds = 0
            let before = owned.filter { names.contains($0.key) }
            while true {
                rounds += 1
                generation += 1
                let members = names.map { member($0, ["a", "b"], owned[$0] ?? [], generation: generation) }
                owned = ConsumerAssignor.cooperativeSticky.assign(members: members, partitionCounts: counts)
                if owned.values.reduce(0, { $0 + $1.count }) == Int(total) { break }
                #expect(rounds < 3)
                if rounds >= 3 { return }
            }
            let loads = names.map { owned[$0]?.count ?? 0 }
            #expect((loads.max() ?? 0) - (loads.min() ?? 0) <= 1)
            // A member keeps all it had up to its fair share.
            let fair = Int(total) / names.count
            for (name, had) in before {
                let kept = Set(had).intersection(owned[name] ?? [])
                #expect(kept.count >= min(had.count, fair))
            }
            if names.count > 1, Bool.random(using: &random) {
                owned[names.removeLast()] = nil
            } else {
                names.append("n\(generation)")
            }
        }
    }

    @Test("Of two members that claim a partition the later generation keeps it")
    func disputed() {
        let claim = partitions("t", 0..<2)
        let members = [member("old", ["t"], claim, generation: 3), member("new", ["t"], [TopicPartition("t", 0)], generation: 4)]
        let result = ConsumerAssignor.cooperativeSticky.assign(members: members, partitionCounts: ["t": 2])
        #expect(result["old"] == [TopicPartition("t", 1)])
        // Both still say that they read it, so it is handed out only when one of them has let go.
        #expect(result["new"] == [])
    }
}
