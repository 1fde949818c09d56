// The parts that consumer groups are made of: expressions, the hash of topics, assignors.
import Primitives
import Testing

@testable import GroupCoordination

@Suite("Parts of consumer groups")
struct ConsumerGroupPartsTests {
    @Test(
        "Expressions match whole names",
        arguments: [
            ("t", ["t"], ["tt", "T", ""]), ("a.*", ["a", "abc"], ["ba"]), ("^a|b$", ["a", "b"], ["ab"]), ("[a-c]+", ["abc"], ["abd", ""]),
            ("[^a-c]", ["d", "-"], ["a", "dd"]), ("(ab){2,3}", ["abab", "ababab"], ["ab", "abababab"]), ("a{0}b", ["b"], ["ab"]),
            ("(?i)orders", ["orders", "ORDERS"], ["order"]), ("\\d\\w\\S", ["1ab", "9_-"], ["a1b"]), ("\\Qa.b\\E+", ["a.bb"], ["axbb"]),
            ("orders\\.(eu|us)(-dlq)?", ["orders.eu", "orders.us-dlq"], ["orders-eu", "orders.eu-"]), ("[[:alpha:]_]+", ["a_B"], ["a1"]),
            ("x*?y+?", ["y", "xxyy"], ["x"]), ("", [""], ["a"]), ("[]-]+", ["]-"], ["a"]), ("a{,2}", ["a{,2}"], ["a", "aa"]),
            ("(?:a|(?P<n>b))c", ["ac", "bc"], ["c"]), ("\\Aa\\z", ["a"], ["aa"]), ("(a*)*", ["", "aaa"], ["b"]),
        ])
    func expressions(_ expression: String, _ matching: [String], _ others: [String]) throws {
        let compiled = try TopicExpression(expression)
        for name in matching { #expect(compiled.matches(name), "\(expression) means \(name)") }
        for name in others { #expect(!compiled.matches(name), "\(expression) does not mean \(name)") }
    }

    @Test(
        "What RE2 refuses, and what is not supported, is refused",
        arguments: [
            "(", ")", "a)", "[a", "*a", "a**", "a{2,1}", "a{1001}", "\\1", "(?=a)", "(?<!a)", "\\", "[b-a]", "\\pL", "\\b", "(?x)",
            "((a{1000}){1000}){1000}", "((){1000}){1000}", String(repeating: "(", count: 200),
        ])
    func refused(_ expression: String) {
        #expect(throws: TopicExpressionError.self) { try TopicExpression(expression) }
    }

    @Test("An expression that others take for ever over takes none here")
    func linear() throws {
        let compiled = try TopicExpression("(a+)+b")
        #expect(!compiled.matches(String(repeating: "a", count: 249)))
    }

    /// Values of the reference library for the bytes (7 i + 3) mod 256.
    @Test(
        "XXH3 is that of the specification",
        arguments: [
            (0, 0x2d06_8005_38d3_94c2), (1, 0x13e6_08bc_156d_efed), (3, 0xa908_8dda_485b_481c), (4, 0x6d92_53b1_6c8b_1ed3),
            (8, 0x6053_9db6_3047_1163), (9, 0xfeff_6683_61d7_23a8), (16, 0xb8c8_59b0_f030_b585), (17, 0x714a_0440_8e79_b80f),
            (32, 0x19ff_4ee1_d6ba_1a55), (33, 0x3e44_983a_d216_79c8), (128, 0x6742_5a03_6502_61bf), (129, 0xc664_bf33_11c6_abc4),
            (240, 0x6455_6dc6_b462_a6cf), (241, 0x8bea_dd3a_8874_fe17), (1024, 0x9b81_661c_641c_72b1), (1025, 0x806c_2072_ed71_3576),
            (5000, 0x799a_addd_7339_581d),
        ] as [(Int, UInt64)])
    func hash(_ count: Int, _ expected: UInt64) {
        #expect(XXH3.hash((0..<count).map { UInt8(($0 * 7 + 3) % 256) }) == expected)
    }

    private func problem(
        _ random: inout SeededRandom, members: Int, topics: Int, isHomogeneous: Bool, previous: [PartitionSet]?
    ) -> AssignmentProblem {
        let ids = (1...topics).map { TestTopics.id(UInt64($0)) }
        var problem = AssignmentProblem(members: [], partitionCounts: [:], isHomogeneous: isHomogeneous)
        for id in ids { problem.partitionCounts[id] = Int32(random.next() % 12) }
        for number in 0..<members {
            let chosen = isHomogeneous ? ids : ids.filter { _ in random.next() % 3 > 0 }
            problem.members.append(
                AssignmentMember(
                    memberID: "m\(number)", instanceID: nil, topics: chosen,
                    target: previous.map { number < $0.count ? $0[number] : PartitionSet() } ?? PartitionSet()))
        }
        return problem
    }

    @Test("Assignors give every partition to one subscriber; uniform ones evenly, and what stays even stays where it is", arguments: 0..<60)
    func assignors(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for assignor in PartitionAssignor.allCases {
            for isHomogeneous in [true, false] {
                var previous: [PartitionSet]?
                for _ in 0..<3 {
                    let count = 1 + Int(random.next() % 9)
                    let problem = problem(&random, members: count, topics: 4, isHomogeneous: isHomogeneous, previous: previous)
                    let result = assignor.assign(problem)
                    #expect(isComplete(result, problem))
                    if assignor == .uniform, isHomogeneous {
                        let sizes = result.map(\.count)
                        #expect((sizes.max() ?? 0) - (sizes.min() ?? 0) <= 1)
                    }
                    var again = problem
                    for index in again.members.indices { again.members[index].target = result[index] }
                    if assignor == .uniform { #expect(assignor.assign(again) == result) }
                    previous = result
                }
            }
        }
    }

    private func isComplete(_ result: [PartitionSet], _ problem: AssignmentProblem) -> Bool {
        var owners: [TopicIDPartition: Int] = [:]
        for (index, partitions) in result.enumerated() {
            for partition in partitions.elements {
                guard owners.updateValue(index, forKey: partition) == nil, problem.members[index].topics.contains(partition.topicID),
                    partition.partition < problem.partitionCounts[partition.topicID] ?? 0
                else { return false }
            }
        }
        let expected = problem.partitionCounts.reduce(0) { sum, entry in
            sum + (problem.members.contains { $0.topics.contains(entry.key) } ? Int(entry.value) : 0)
        }
        return owners.count == expected
    }
}
