import Testing

@testable import Linking

struct NameFilterTests {
    private func filter(_ text: String) throws -> NameFilter { try NameFilter(parsing: text, subject: .topics, key: "k") }

    @Test func whatIsLeftOutWins() throws {
        let filter = try filter(
            """
            {"topicFilters":[{"name":"orders","patternType":"PREFIXED","filterType":"INCLUDE"},
             {"name":"orders.internal","patternType":"LITERAL","filterType":"EXCLUDE"}]}
            """)
        #expect(filter.admits("orders"))
        #expect(filter.admits("orders.eu"))
        #expect(!filter.admits("orders.internal"))
        #expect(!filter.admits("payments"))
    }

    @Test func anAsteriskStandsForAll() throws {
        let filter = try filter(#"{"topicFilters":[{"name":"*"}]}"#)
        #expect(filter.admits("anything"))
        #expect(try !self.filter("").admits("anything"))
    }

    @Test func patternsDescribeWholeNames() throws {
        let filter = try filter(
            #"{"topicFilters":[{"name":"orders\\.(eu|us)\\..+","patternType":"REGEX"},{"name":".*-test","patternType":"regex","filterType":"EXCLUDE"}]}"#
        )
        #expect(filter.admits("orders.eu.new"))
        #expect(!filter.admits("my.orders.eu.new") && !filter.admits("orders.as.new") && !filter.admits("ordersXeuXnew"))
        #expect(!filter.admits("orders.eu.new-test"))
        #expect(
            try filter
                == self.filter(
                    #"{"topicFilters":[{"name":"orders\\.(eu|us)\\..+","patternType":"REGEX"},{"name":".*-test","patternType":"REGEX","filterType":"EXCLUDE"}]}"#
                ))
    }

    /// What engines that backtrack take longer than the age of the universe for.
    @Test(.timeLimit(.minutes(1))) func patternsTakeLinearTime() throws {
        let filter = try filter(#"{"topicFilters":[{"name":"(a|aa|a*)*(a+)+(a*)*b","patternType":"REGEX"}]}"#)
        #expect(!filter.admits(String(repeating: "a", count: 249)))
        #expect(filter.admits(String(repeating: "a", count: 248) + "b"))
    }

    @Test func filtersAreBounded() throws {
        let many = Array(repeating: #"{"name":"a"}"#, count: 1001).joined(separator: ",")
        #expect(throws: LinkSettingError("k", "has 1001 entries; 1000 are allowed")) { try self.filter(#"{"topicFilters":[\#(many)]}"#) }
        let long = String(repeating: "a", count: 1001)
        #expect(throws: LinkSettingError.self) { try self.filter(#"{"topicFilters":[{"name":"\#(long)","patternType":"REGEX"}]}"#) }
    }

    @Test(arguments: [
        ("[]", "an object"), (#"{"groupFilters":[]}"#, "topicFilters"), (#"{"topicFilters":[{"name":""}]}"#, "without a name"),
        (#"{"topicFilters":[{"name":"a","patternType":"GLOB"}]}"#, "LITERAL, PREFIXED or REGEX"),
        (#"{"topicFilters":[{"name":"a","filterType":"MAYBE"}]}"#, "INCLUDE or EXCLUDE"), ("{", "not JSON"),
        (#"{"topicFilters":[{"name":"a","nmae":"b"}]}"#, "nmae"),
        (#"{"topicFilters":[{"name":"(a)\\1","patternType":"REGEX"}]}"#, "back references"),
        (#"{"topicFilters":[{"name":"a(?=b)","patternType":"REGEX"}]}"#, "look-ahead"),
    ])
    func mistakesAreNamed(_ text: String, _ word: String) throws {
        do {
            _ = try filter(text)
            Issue.record("'\(text)' was taken")
        } catch let error as LinkSettingError {
            #expect(error.key == "k")
            #expect(error.description.contains(word), "\(error)")
        }
    }
}
