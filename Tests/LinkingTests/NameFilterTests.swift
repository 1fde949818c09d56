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

    @Test(arguments: [
        ("[]", "an object"), (#"{"groupFilters":[]}"#, "topicFilters"), (#"{"topicFilters":[{"name":""}]}"#, "without a name"),
        (#"{"topicFilters":[{"name":"a","patternType":"REGEX"}]}"#, "LITERAL or PREFIXED"),
        (#"{"topicFilters":[{"name":"a","filterType":"MAYBE"}]}"#, "INCLUDE or EXCLUDE"), ("{", "not JSON"),
        (#"{"topicFilters":[{"name":"a","nmae":"b"}]}"#, "nmae"),
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
