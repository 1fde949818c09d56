// YAML as a configuration needs it, and that what lies beyond is said.
import Testing

@testable import Configuration

@Suite struct YAMLParserTests {
    private func parse(_ text: String) -> [String] {
        let content = YAMLParser.parse(text, path: "f")
        #expect(content.mistakes.isEmpty, "\(content.mistakes)")
        return content.entries.map { entry in
            guard case .file(_, let line) = entry.origin else { return "?" }
            return "\(line) \(entry.key)=\(entry.value)"
        }
    }

    @Test func nestedAndDottedKeysMix() {
        let text = """
            # a comment
            ---
            node.id: 1
            process:
              roles: [broker, controller]
            log:
              dirs:
                - /data/one
                - "/data/two"   # the second disk
              retention.ms: 1000 # a second

            listeners:
            - PLAINTEXT://:9092
            - CONTROLLER://:9093
            controller:
              quorum:
                voters: 1@localhost:9093
              listener.names: 'CONTROLLER'
            """
        #expect(
            parse(text) == [
                "3 node.id=1", "5 process.roles=broker,controller", "7 log.dirs=/data/one,/data/two", "10 log.retention.ms=1000",
                "12 listeners=PLAINTEXT://:9092,CONTROLLER://:9093", "17 controller.quorum.voters=1@localhost:9093",
                "18 controller.listener.names=CONTROLLER",
            ])
    }

    @Test(arguments: [
        ("a: b", ["1 a=b"]), ("a:", ["1 a="]), ("a: ~\nb: null\nc: 1", ["3 c=1"]), ("a: 'it''s'", ["1 a=it's"]),
        ("a: \"x\\ty\"", ["1 a=x\ty"]), ("\"a.b\": c", ["1 a.b=c"]), ("a: x#y", ["1 a=x#y"]), ("a: x #y", ["1 a=x"]),
        ("a: 'x #y'", ["1 a=x #y"]), ("a: []", ["1 a="]), ("a: [ 'x,y' , z ]", ["1 a=x,y,z"]), ("a: http://x:1/y", ["1 a=http://x:1/y"]),
        ("a: |\n  x\n  y\nb: 1", ["1 a=x\ny\n", "4 b=1"]), ("a: >-\n  x\n  y\n", ["1 a=x y"]), ("", []), ("# only\n", []),
        ("a:\n  b: 1\n...\n", ["2 a.b=1"]), ("a:\r\n  b: 1\r\n", ["2 a.b=1"]), ("a: yes", ["1 a=yes"]), ("a: b: c", ["1 a=b: c"]),
        ("a:\nb: 1", ["1 a=", "2 b=1"]), ("  a: 1\n  b: 2", ["1 a=1", "2 b=2"]), ("a:\n- x\n- y\nb: 1", ["1 a=x,y", "4 b=1"]),
    ])
    func values(_ text: String, _ expected: [String]) {
        #expect(parse(text) == expected)
    }

    @Test(arguments: [
        ("a: &x 1", "f:1: a: anchors, tags and mappings in braces are not understood here"),
        ("a: {b: 1}", "f:1: a: anchors, tags and mappings in braces are not understood here"),
        ("a: 1\n  b: 2", "f:2: a: a value over several lines begins with | or >"),
        ("a:\n  b: 1\n    c: 2", "f:3: a.b: a value over several lines begins with | or >"),
        ("a: 'x", "f:1: a: the quotes of this value do not close"), ("a: [x", "f:1: a: a list in brackets must close on its own line"),
        ("nonsense", "f:1: this line is not of the form key: value"),
        ("a:\n  - b: 1", "f:2: a: the elements of a list must be plain or quoted values"),
        ("\ta: 1", "f:1: indentation must be of spaces, not tabs"), ("  a: 1\nb: 2", "f:2: this line is indented less than the first one"),
        ("- a", "f:1: this line is not of the form key: value"),
    ])
    func mistakesAreNamed(_ text: String, _ expected: String) {
        #expect(YAMLParser.parse(text, path: "f").mistakes.map(\.description).first == expected)
    }

    @Test func nestingIsBounded() {
        let text = (0..<100).map { String(repeating: " ", count: $0) + "k\($0):" }.joined(separator: "\n")
        let content = YAMLParser.parse(text, path: "f")
        #expect(content.mistakes.map(\.message) == ["keys are nested too deeply"])
    }
}
