// Transforms of records: what they drop is nowhere, what they do not name is as it was, and JSON stays JSON.
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Mirroring

@Suite("Transforms")
struct TransformTests {
    private static let secret = FieldSecret(Array("a secret of enough bytes".utf8))

    static func transform(_ lines: String) throws -> RecordTransform {
        let text =
            MirrorConfigurationTests.base + "\nA->B.transforms = t\n"
            + lines.split(separator: "\n").map { "A->B.transforms.t.\($0)" }.joined(separator: "\n")
            + "\nA->B.transforms.t.secret.environment = SECRET"
        let flow = try #require(try MirrorConfigurationTests.read(text).flows.first)
        return try #require(flow.transforms.first).transform(secret)
    }

    static func record(_ value: String?, key: String? = nil, headers: RecordHeaders = []) -> Record {
        Record(
            offset: 0, timestamp: 0, key: key.map { ByteBuffer(string: $0) }, value: value.map { ByteBuffer(string: $0) }, headers: headers)
    }

    /// The value that a transform makes of a value; nil when the record is left out.
    static func value(_ value: String, _ transform: RecordTransform) throws -> String? {
        var record = record(value)
        return try transform.apply(&record) == .dropped ? nil : record.value.map { String(buffer: $0) }
    }

    @Test(
        "Fields are dropped wherever the path leads, and nothing else changes by a byte",
        arguments: [
            ("value.b", #"{"a":1.10,"b":2,"c":3}"#, #"{"a":1.10,"c":3}"#),
            ("value.b", #"{"b":2}"#, "{}"),
            ("value.b", #"{"b":1,"a":12345678901234567890123,"b":2}"#, #"{"a":12345678901234567890123}"#),
            ("value.b", #"{"\u0062":1,"a":1e400}"#, #"{"a":1e400}"#),
            ("value.a.b", #"{"a":{"b":1,"c":{"b":2}}}"#, #"{"a":{"c":{"b":2}}}"#),
            ("value.cards.number", #"{"cards":[{"number":1,"x":2},[{"number":3}],"s"]}"#, #"{"cards":[{"x":2},[{}],"s"]}"#),
            ("value.cards[*].number", #"{"cards":[{"number":1},{"x":2}]}"#, #"{"cards":[{},{"x":2}]}"#),
            ("value.cards[1]", #"{"cards":[1,2,3]}"#, #"{"cards":[1,3]}"#),
            ("value.**.b", #"{"b":1,"a":[{"b":[1]},{"c":{"b":{}}}]}"#, #"{"a":[{},{"c":{}}]}"#),
            ("value.*.b", #"{"b":1,"a":{"b":2},"c":{"d":{"b":3}}}"#, #"{"b":1,"a":{},"c":{"d":{"b":3}}}"#),
            (#"value."a.b".c"#, #"{"a.b":{"c":1},"a":{"b":{"c":2}}}"#, #"{"a.b":{},"a":{"b":{"c":2}}}"#),
            ("value.b", #"[{"b":1},{"b":2,"c":"\ud83d\ude00"}]"#, #"[{},{"c":"\ud83d\ude00"}]"#),
            ("value.b", #" { "a" : "x" } "#, #" { "a" : "x" } "#),
        ])
    func drops(path: String, before: String, after: String) throws {
        #expect(try Self.value(before, Self.transform("drop = \(path)")) == after)
    }

    @Test("Hashes, tokens and masks: deterministic, of the same shape, and without the content")
    func replaced() throws {
        let before = #"{"n":"Zoë Smith-7","i":-120.50e3,"z":0,"t":true,"x":null,"l":["ab",{"k":"ab"}]}"#
        let token = try #require(try Self.value(before, Self.transform("tokenise = value.n, value.i, value.z, value.l")))
        let tree = try JSONTree(Array(token.utf8))
        let texts = FieldSearch(paths: [try FieldPath("*")]).found(in: tree).map(tree.text)
        let name = try #require(texts.first { $0.contains("-") && $0.contains(" ") && !$0.hasPrefix("-") })
        #expect(name != "Zoë Smith-7" && name.count == 11 && name.allSatisfy(\.isASCII))
        let number = try #require(texts.first { $0.hasPrefix("-") })
        #expect(number.count == 9 && number.hasSuffix("e3") && !number.hasPrefix("-0"))
        #expect(token.contains(#""t":true,"x":null"#))
        let inner = FieldSearch(paths: [try FieldPath("l[0]"), try FieldPath("l.k")]).found(in: tree).map(tree.text)
        #expect(inner.count == 2 && inner[0] == inner[1] && inner[0] != "ab", "the same content has the same token")
        #expect(try Self.value(before, Self.transform("tokenise = value.n, value.i, value.z, value.l")) == token)

        // printf ab | openssl dgst -sha256 -hmac 'a secret of enough bytes'
        let hash = try #require(try Self.value(#"{"a":"ab"}"#, Self.transform("hash = value.a")))
        #expect(hash == #"{"a":"\#(Self.secret.hash(Array("ab".utf8)))"}"# && hash.utf8.count == 72)
        let mask = try #require(try Self.value(before, Self.transform("mask = value.*")))
        #expect(mask == #"{"n":"****","i":0,"z":0,"t":false,"x":null,"l":["****",{"k":"****"}]}"#)
        // What is said first counts: drop before the others, also inside of what is masked.
        #expect(try Self.value(#"{"a":{"b":1,"c":2}}"#, Self.transform("mask = value.a\ndrop = value.a.b")) == #"{"a":{"c":0}}"#)
    }

    @Test("Keys and headers")
    func keysAndHeaders() throws {
        let headers: RecordHeaders = [RecordHeader("user", "bob"), RecordHeader("trace", "1"), RecordHeader("user", nil)]
        var record = Self.record("v", key: #"{"id":"x","n":1}"#, headers: headers)
        #expect(try Self.transform("mask = key.id, header.user\ndrop = header.trace").apply(&record) == .changed)
        #expect(record.key == ByteBuffer(string: #"{"id":"****","n":1}"#) && record.value == ByteBuffer(string: "v"))
        #expect(record.headers == [RecordHeader("user", "****"), RecordHeader("user", nil)])
        var whole = Self.record("v", key: "bob")
        #expect(try Self.transform("hash = key\ndrop = value").apply(&whole) == .changed)
        #expect(whole.value == nil && whole.key == ByteBuffer(string: Self.secret.hash(Array("bob".utf8))))
        var none = Self.record(nil, key: "bob")
        #expect(try Self.transform("drop = value.a, header.user").apply(&none) == .unchanged, "a tombstone stays one")
        // What serialisers with a schema registry put in front stays there.
        var framed = Self.record(nil)
        framed.value = ByteBuffer(bytes: [0, 0, 0, 1, 2] + Array(#"{"a":1,"b":2}"#.utf8))
        #expect(try Self.transform("drop = value.a").apply(&framed) == .changed)
        #expect(framed.value == ByteBuffer(bytes: [0, 0, 0, 1, 2] + Array(#"{"b":2}"#.utf8)))
    }

    @Test(
        "Records are kept and left out by fields, headers and keys",
        arguments: [
            ("keep = value.country = DE", #"{"country":"DE"}"#, true), ("keep = value.country = DE", #"{"country":"FR"}"#, false),
            ("keep = value.country = DE, value.country = FR", #"{"country":"FR"}"#, true),
            ("discard = value.deleted", #"{"deleted":null}"#, false), ("discard = value.deleted", "{}", true),
            ("discard = value.n = 7", #"{"n":7}"#, false), ("keep = value.tags ~ eu-.*", #"{"tags":["us-1","eu-2"]}"#, false),
            ("keep = value.tags[*] ~ eu-.*", #"{"tags":["us-1","eu-2"]}"#, true),
            ("keep = value.country != DE", "{}", true), ("keep = header.env = test", "{}", true),
            ("discard = header.env = test", "{}", false),
            ("keep = header.none", "{}", false), ("keep = key ~ k[0-9]+", "{}", true), ("discard = key = k1", "{}", false),
        ])
    func conditions(line: String, value: String, isKept: Bool) throws {
        var record = Self.record(value, key: "k1", headers: [RecordHeader("env", "test")])
        #expect(try Self.transform(line).apply(&record) == (isKept ? .unchanged : .dropped))
    }

    @Test(
        "What is no JSON is refused, left out or passed on, as the file says",
        arguments: ["{", "", "{\"a\":01}", "\"\u{1}\"", "[1,]", "nul", "{}x"])
    func malformed(text: String) throws {
        for (policy, outcome) in [("drop", RecordTransform.Outcome.dropped), ("pass", .unchanged)] {
            var record = Self.record(text)
            #expect(try Self.transform("drop = value.a\nmalformed = \(policy)").apply(&record) == outcome)
        }
        do {
            var record = Self.record(text)
            _ = try Self.transform("drop = value.a").apply(&record)
            Issue.record("'\(text)' was taken")
        } catch let refusal as TransformRefusal {
            for word in ["'t'", "value", "not JSON", "transforms.t.malformed"] { #expect(refusal.reason.contains(word)) }
        }
        let deep = String(repeating: "[", count: 200) + String(repeating: "]", count: 200)
        #expect(throws: JSONTreeError.self) { try JSONTree(Array(deep.utf8)) }
        #expect(throws: JSONTreeError.self) { try JSONTree([0x22, 0xff, 0x22]) }
    }

    // MARK: Properties

    /// JSON in which every string that begins with `secret` stands under the name `s`, and none elsewhere.
    private static func json(_ random: inout SeededRandom, depth: Int = 0) -> String {
        let space = ["", " ", "\n\t"][random.below(3)]
        switch random.below(depth > 4 ? 4 : 6) {
        case 0: return "\(space)\"p\(random.below(100))\\n\\u00e9\\\"\"\(space)"
        case 1: return "\(Int64(random.below(1 << 20)) - 500_000).\(random.below(1000))e\(random.below(9))\(space)"
        case 2: return ["true", "false", "null"][random.below(3)] + space
        case 3: return "\(random.below(1000))"
        case 4: return "[" + (0..<random.below(4)).map { _ in json(&random, depth: depth + 1) }.joined(separator: ",") + "\(space)]"
        default:
            let members = (0..<random.below(5)).map { number -> String in
                switch random.below(4) {
                case 0: return #""s":"secret\#(random.below(1000))""#
                case 1: return #"\#(space)"\u0073" : ["secret",{"x":"secret"}]"#
                default: return "\"m\(number)\"\(space):" + json(&random, depth: depth + 1)
                }
            }
            return "{" + members.joined(separator: ",") + "}"
        }
    }

    @Test("Whatever the JSON: it stays JSON, what is named is nowhere, and a second time changes nothing")
    func properties() throws {
        var random = SeededRandom(seed: 20_26)
        let drop = try Self.transform("drop = value.**.s")
        let mask = try Self.transform("mask = value.**.s")
        let token = try Self.transform("tokenise = value.**.s\nhash = value.**.m1")
        var changes = 0
        for _ in 0..<3000 {
            let text = Self.json(&random)
            let before = try JSONValue(parsing: text)
            let dropped = try #require(try Self.value(text, drop))
            #expect(try JSONValue(parsing: dropped) == Self.without(before), "\(text) became \(dropped)")
            #expect(!dropped.contains("secret"))
            #expect(try Self.value(dropped, drop) == dropped)
            let masked = try #require(try Self.value(text, mask))
            #expect(!masked.contains("secret"))
            #expect(try Self.without(JSONValue(parsing: masked)) == Self.without(before))
            let tokenised = try #require(try Self.value(text, token))
            _ = try JSONValue(parsing: tokenised)
            #expect(!tokenised.contains("secret") || !text.contains("secret"))
            if dropped != text { changes += 1 } else { #expect(masked == text) }
        }
        #expect(changes > 300)
    }

    /// An independent way to the same: over values instead of text.
    private static func without(_ value: JSONValue) -> JSONValue {
        switch value {
        case .array(let values): .array(values.map(without))
        case .object(let object): .object(object.members.filter { $0.name != "s" }.map { ($0.name, without($0.value)) })
        default: value
        }
    }

    @Test("Mistakes in a transform are told, for a slip of the pen would let out what must stay in")
    func mistakes() {
        let cases: [(String, words: [String])] = [
            ("A->B.transforms = t\nA->B.transforms.t.msak = value.a", ["not known", "mask"]),
            ("A->B.transforms = t\nA->B.transforms.t.drop = a", ["'a'", "value.NAME"]),
            ("A->B.transforms = t\nA->B.transforms.t.drop = value.a[", ["']'"]),
            ("A->B.transforms = t\nA->B.transforms.t.drop = value.**", ["**"]),
            ("A->B.transforms = t\nA->B.transforms.t.hash = value.a", ["secret.file"]),
            ("A->B.transforms = t\nA->B.transforms.t.type = org.example.Smt", ["Java"]),
            ("A->B.transforms = t", ["does nothing"]),
            ("A->B.transforms = t, u\nA->B.transforms.t.drop = key\nA->B.transforms.x.drop = key", ["transforms", "does nothing"]),
            ("A->B.transforms = t\nA->B.transforms.t.keep = value.a == 1", ["!="]),
            ("A->B.transforms = t\nA->B.transforms.t.drop = header.martlet.provenance", ["loops"]),
            ("A->B.transforms = t\nA->B.transforms.t.drop = key\nA->B.transforms.t.malformed = skip", ["fail, drop, pass"]),
        ]
        for (lines, words) in cases {
            let text = MirrorConfigurationTests.errors(MirrorConfigurationTests.base + "\n" + lines).map(\.description).joined(
                separator: "\n")
            for word in words { #expect(text.contains(word), "\(lines): \(text)") }
        }
    }
}

extension SeededRandom {
    fileprivate mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }
}
