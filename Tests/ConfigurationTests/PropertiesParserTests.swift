// The syntax of server.properties: what Java reads, and the line each setting is on.
import Primitives
import Testing

@testable import Configuration

@Suite struct PropertiesParserTests {
    private func parse(_ text: String) -> [String] {
        PropertiesParser.parse(text, path: "f").entries.map { entry in
            guard case .file(_, let line) = entry.origin else { return "?" }
            return "\(line) \(entry.key)=\(entry.value)"
        }
    }

    @Test(arguments: [
        ("a=b", ["1 a=b"]), ("a = b", ["1 a=b"]), ("a:b", ["1 a=b"]), ("a b", ["1 a=b"]), ("a", ["1 a="]), ("a=", ["1 a="]),
        ("  a\t=\tb  ", ["1 a=b  "]), ("a==b", ["1 a==b"]), ("a:=b", ["1 a==b"]), ("a = = b", ["1 a== b"]),
        ("# c\n! c\n\n  # c\na=1", ["5 a=1"]), ("a=1\r\nb=2\rc=3\n", ["1 a=1", "2 b=2", "3 c=3"]),
        ("a=x\\\n   y\\\n\tz\nb=2", ["1 a=xyz", "4 b=2"]), ("a=x\\\\\nb=2", ["1 a=x\\", "2 b=2"]), ("a=x\\\\\\\ny", ["1 a=x\\y"]),
        ("a=x\\\n# no comment", ["1 a=x# no comment"]), ("# c \\\na=1", ["2 a=1"]), ("a=x\\", ["1 a=x"]),
        ("a\\=b=c", ["1 a=b=c"]), ("a\\ b=c", ["1 a b=c"]), ("a\\:b:c", ["1 a:b=c"]), ("a=\\t\\n\\r\\f\\q", ["1 a=\t\n\r\u{0C}q"]),
        ("a=\\u00e4\\uD83D\\uDE00", ["1 a=ä😀"]), ("\u{FEFF}a=1", ["1 a=1"]), ("a=1\n\\\nb=2", ["1 a=1", "2 b=2"]),
        ("listeners=PLAINTEXT://:9092", ["1 listeners=PLAINTEXT://:9092"]), ("", []), ("\n\n", []), ("a=ü", ["1 a=ü"]),
    ])
    func readsAsJavaDoes(_ text: String, _ expected: [String]) {
        #expect(parse(text) == expected)
    }

    @Test func brokenLinesAreNamed() {
        let content = PropertiesParser.parse("a=1\nb=\\u12g4\n=x\nc=\\u12", path: "f.properties")
        #expect(content.entries.map(\.key) == ["a"])
        #expect(
            content.mistakes.map(\.description) == [
                "f.properties:2: a \\u must be followed by four hexadecimal digits",
                "f.properties:3: there is no key before the = sign",
                "f.properties:4: a \\u must be followed by four hexadecimal digits",
            ])
    }

    @Test func otherEncodingsAreReadAsLatin1() {
        #expect(PropertiesParser.decode([0x61, 0x3D, 0xE4]) == "a=ä")
        #expect(PropertiesParser.decode(Array("a=ä".utf8)) == "a=ä")
    }

    /// Writes a key or value so that it has to come back.
    private func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case "\u{0C}": result += "\\f"
            case " ", "=", ":", "#", "!", "\\": result += "\\" + String(scalar)
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    @Test func whatIsWrittenIsReadBack() {
        var random = SeededRandom(seed: 20_26)
        let alphabet: [Character] = [
            "a", "Z", "0", ".", "-", "_", " ", "=", ":", "#", "!", "\\", "\t", "\n", "\r", "\u{0C}", "ä", "€", "😀", "u",
        ]
        for _ in 0..<3000 {
            func text(_ least: Int) -> String {
                String((0..<Int.random(in: least...12, using: &random)).map { _ in alphabet.randomElement(using: &random) ?? "a" })
            }
            let key = text(1)
            let value = text(0)
            let separator = ["=", " = ", ":", "\t:\t", " "].randomElement(using: &random) ?? "="
            let content = PropertiesParser.parse("\(escaped(key))\(separator)\(escaped(value))\n", path: "f")
            #expect(content.mistakes.isEmpty)
            #expect(content.entries.map(\.key).map { Array($0.unicodeScalars) } == [Array(key.unicodeScalars)])
            #expect(content.entries.map(\.value).map { Array($0.unicodeScalars) } == [Array(value.unicodeScalars)])
        }
    }

    @Test func noTextBreaksTheParsers() {
        var random = SeededRandom(seed: 4711)
        let pieces = [
            "a", "log.dirs", "=", ":", " ", "\\", "\n", "\r\n", "\r", "#", "!", "\\u", "\\u00e4", "\\uD83D", "\t", "- ", "[", "]", "{",
            "\"",
            "'", "|", ">", "&", "*", ",", "---", "  ", "    ", "null", "ü", "\u{0}", "😀",
        ]
        for _ in 0..<4000 {
            let text = (0..<Int.random(in: 0...40, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
            let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).count
            for content in [PropertiesParser.parse(text, path: "f"), YAMLParser.parse(text, path: "f")] {
                #expect(content.entries.count + content.mistakes.count <= 3 * lines)
                for entry in content.entries {
                    guard case .file("f", let line) = entry.origin else { continue }
                    #expect((1...lines).contains(line))
                }
            }
        }
    }
}
