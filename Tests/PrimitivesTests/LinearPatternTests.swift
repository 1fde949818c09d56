// Regular expressions from clients: what they match, what is refused, and that no text makes them slow.
import Primitives
import Testing

@Suite("Linear patterns")
struct LinearPatternTests {
    @Test(
        "What a pattern matches as a whole",
        arguments: [
            ("abc", "abc", true), ("abc", "abcd", false), ("a.c", "axc", true), ("a.c", "a\nc", false), ("(?s)a.c", "a\nc", true),
            ("", "", true), ("", "a", false), ("a*", "", true), ("a*", "aaaa", true), ("a+", "", false), ("ab?c", "ac", true),
            ("ab?c", "abbc", false), ("orders-[0-9]+", "orders-42", true), ("orders-[0-9]+", "orders-", false),
            ("foo|bar", "bar", true), ("foo|bar", "foobar", false), ("(foo|bar)+", "foobarfoo", true), ("(?:a|b){2,3}", "ab", true),
            ("(?:a|b){2,3}", "abab", false), ("a{2}", "aa", true), ("a{2,}", "aaaaa", true), ("a{,2}", "a{,2}", true),
            ("[^a-c]", "d", true), ("[^a-c]", "b", false), ("[]a]", "]", true), ("[a-]", "-", true), ("[[:digit:]]+", "123", true),
            ("[[:^digit:]]+", "12a", false), ("\\d+\\.\\d*", "3.14", true), ("\\w+", "a_1", true), ("\\S+", "a b", false),
            ("[\\d_]+", "1_2", true), ("[\\D]+", "ab", true), ("(?i)Orders", "oRDERS", true), ("(?i:a)B", "AB", true),
            ("(?i:a)B", "Ab", false),
            ("^abc$", "abc", true), ("a$b", "ab", false), ("\\Aabc\\z", "abc", true), ("\\bfoo\\b.*", "foo bar", true),
            ("foo\\b.*", "foobar", false), ("\\Qa.b*\\E", "a.b*", true), ("\\Qa.b*\\E", "axb*", false), ("\\x41\\x{1F600}", "A😀", true),
            ("a+?b", "aab", true), ("(a*)*b", "aaab", true), (".*transfer.*", "app-transfer-7", true), ("(?P<name>x)y", "xy", true),
            ("grün", "grün", true), ("\\.", "a", false), ("a||b", "", true),
        ])
    func matching(pattern: String, text: String, expected: Bool) throws {
        #expect(try LinearPattern(pattern).matchesWhole(text) == expected)
    }

    @Test(
        "What is no pattern",
        arguments: ["(", ")", "a)", "[a", "*a", "a{3,2}", "a{1001}", "\\", "\\q", "[z-a]", "(?x)a", "\\x{110000}", "[[:foo:]]", "\\1"])
    func refusal(pattern: String) {
        #expect(throws: LinearPatternError.self) { try LinearPattern(pattern) }
    }

    @Test("Patterns that make others backtrack for ever take no longer than the text is long")
    func evil() throws {
        let text = String(repeating: "a", count: 5_000)
        let clock = ContinuousClock()
        for pattern in ["(a+)+b", "(a|a)*b", "(a*)*b", "a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?b", "(.*)(.*)(.*)(.*)(.*)b"] {
            let compiled = try LinearPattern(pattern)
            let taken = clock.measure { #expect(!compiled.matchesWhole(text)) }
            #expect(taken < .seconds(5), "\(pattern) took \(taken)")
        }
    }

    @Test("Patterns that would grow beyond all bounds are refused, or cost nothing")
    func size() throws {
        #expect(throws: LinearPatternError.self) { try LinearPattern("((a{1000}){1000}){1000}") }
        #expect(throws: LinearPatternError.self) { try LinearPattern(String(repeating: "(", count: 10_000)) }
        #expect(try LinearPattern("(((((((){1000}){1000}){1000}){1000}){1000}){1000}){1000}").matchesWhole(""))
    }
}
