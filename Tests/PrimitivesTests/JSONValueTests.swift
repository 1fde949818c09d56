// JSON out and in: what views, `--json` and small files rest on.
import Primitives
import Testing

@Suite struct JSONValueTests {
    @Test func roundTrips() throws {
        let text =
            #"{"b":[1,-9223372036854775808,9223372036854775807,2.5,true,false,null],"a":{"text":"x\"\\\n\u0001é😀"},"empty":[],"none":{}}"#
        let value = try JSONValue(parsing: text)
        #expect(value.description == text)
        #expect(value["b"]?.arrayValue?[1] == .integer(.min))
        #expect(value["a"]?["text"]?.stringValue == "x\"\\\n\u{1}é😀")
        #expect(value["missing"] == nil)
    }

    @Test func numbers() throws {
        #expect(try JSONValue(parsing: "9223372036854775808") == .number(9223372036854775808))
        #expect(try JSONValue(parsing: "1.0E-7") == .number(1e-7))
        #expect(try JSONValue(parsing: " -0.5 ") == .number(-0.5))
        #expect(try JSONValue(parsing: "7").numberValue == 7)
        #expect(JSONValue.number(.infinity).description == "\"inf\"")
        for text in ["01", "+1", ".5", "1.", "1e", "--1", "0x1", "1e999", "nan", "-"] {
            #expect(throws: JSONError.self, "\(text)") { try JSONValue(parsing: text) }
        }
    }

    @Test func escapes() throws {
        #expect(try JSONValue(parsing: #""\u00e9\ud83d\ude00\/\b\f""#) == "é😀/\u{8}\u{c}")
        #expect(try JSONValue(parsing: #""\ud83dx""#) == "\u{fffd}x")
        #expect(try JSONValue(parsing: #""\ud83d\u0041""#) == "\u{fffd}A")
        #expect(try JSONValue(parsing: #""\ude00""#) == "\u{fffd}")
    }

    @Test func refusesWhatIsNotJSON() {
        for text in ["", "{", "[1", "[1,]", "{\"a\"}", "{\"a\":1,}", "{a:1}", "\"open", "\"\u{1}\"", "\"\\x\"", "\"\\u12\"", "tru", "1 2"] {
            #expect(throws: JSONError.self, "\(text)") { try JSONValue(parsing: text) }
        }
        #expect(throws: JSONError.self) { try JSONValue(parsing: String(repeating: "[", count: 100_000)) }
        #expect(throws: JSONError.self) { try JSONValue(parsing: String(repeating: "{\"a\":", count: 1000)) }
    }

    @Test func indented() {
        let value: JSONValue = ["a": [1, 2], "b": [:]]
        #expect(value.text(indentation: 2) == "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {}\n}")
    }

    @Test func objectsKeepTheirOrder() {
        var object = JSONObject([("z", 1), ("a", 2)])
        object["z"] = 3
        object["new"] = nil
        object["m"] = 4
        #expect(JSONValue.object(object).description == #"{"z":3,"a":2,"m":4}"#)
        object["a"] = nil
        #expect(JSONValue.object(object).sortedByName.description == #"{"m":4,"z":3}"#)
    }

    @Test func base64() {
        for (bytes, text) in [([], ""), ([0], "AA=="), ([0xfb, 0xff], "+/8="), ([1, 2, 3], "AQID"), ([255, 255, 255, 254], "/////g==")]
            as [([UInt8], String)]
        {
            #expect(Base64.encode(bytes) == text)
            #expect(Base64.decode(text) == bytes)
        }
        for text in ["A", "AA", "A===", "AA=A", "A-==", "====", "AAA*"] { #expect(Base64.decode(text) == nil, "\(text)") }
    }
}
