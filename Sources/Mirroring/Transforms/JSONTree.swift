// JSON taken apart by the places of its parts in the text, so that what is not touched stays as it was, byte for byte: numbers that no
// floating point holds, blanks, escapes, members that stand twice.

/// A part of a JSON text.
struct JSONNode {
    enum Kind {
        case object
        case array
        case string
        case number
        case boolean
        case null
    }

    var kind: Kind
    /// Where it stands, in bytes.
    var range: Range<Int>
    var children: [JSONChild] = []
}

/// A member of an object, or an element of a list (whose name is empty).
struct JSONChild {
    var name = ""
    /// The name with its quotes as it stands in the text.
    var nameRange = 0..<0
    var node: JSONNode
}

/// Why a text is no JSON, and where.
struct JSONTreeError: Error, Equatable {
    var offset: Int
    var reason: String
}

/// A JSON text and its parts.
struct JSONTree {
    /// Objects and lists one inside another.
    static let maximumDepth = 128

    let bytes: [UInt8]
    let root: JSONNode

    /// Reads strictly what RFC 8259 calls JSON.
    init(_ bytes: [UInt8]) throws(JSONTreeError) {
        guard String(validating: bytes, as: UTF8.self) != nil else { throw JSONTreeError(offset: 0, reason: "is no UTF-8") }
        var parser = JSONTreeParser(bytes: bytes)
        root = try parser.document()
        self.bytes = bytes
    }

    /// What a string means, or the text of anything else.
    func text(_ node: JSONNode) -> String {
        node.kind == .string ? Self.content(bytes[node.range]) : String(decoding: bytes[node.range], as: UTF8.self)
    }

    /// The characters of a string that was found to be well formed, without its quotes and escapes.
    static func content(_ quoted: ArraySlice<UInt8>) -> String {
        let inner = quoted.dropFirst().dropLast()
        guard inner.contains(UInt8(ascii: "\\")) else { return String(decoding: inner, as: UTF8.self) }
        var units: [UInt16] = []
        var rest = Substring(decoding: inner, as: UTF8.self).utf16
        while let unit = rest.popFirst() {
            guard unit == 0x5c, let kind = rest.popFirst() else {
                units.append(unit)
                continue
            }
            switch UInt8(truncatingIfNeeded: kind) {
            case UInt8(ascii: "b"): units.append(8)
            case UInt8(ascii: "f"): units.append(12)
            case UInt8(ascii: "n"): units.append(10)
            case UInt8(ascii: "r"): units.append(13)
            case UInt8(ascii: "t"): units.append(9)
            case UInt8(ascii: "u"):
                units.append(UInt16(String(decoding: Array(rest.prefix(4)), as: UTF16.self), radix: 16) ?? 0xfffd)
                rest = rest.dropFirst(4)
            default: units.append(kind)
            }
        }
        return String(decoding: units, as: UTF16.self)
    }

    /// A string with quotes, with as few escapes as possible.
    static func quoted(_ text: String) -> [UInt8] {
        var bytes = [UInt8(ascii: "\"")]
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case 0..<0x20:
                let digits = Array("0123456789abcdef".utf8)
                bytes += Array("\\u00".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
        return bytes
    }
}

private struct JSONTreeParser {
    let bytes: [UInt8]
    private var index = 0
    private var depth = 0

    init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    private var current: UInt8? { index < bytes.count ? bytes[index] : nil }

    private func failure(_ reason: String) -> JSONTreeError { JSONTreeError(offset: index, reason: reason) }

    mutating func document() throws(JSONTreeError) -> JSONNode {
        let node = try value()
        skipSpace()
        guard index == bytes.count else { throw failure("something follows the value") }
        return node
    }

    private mutating func skipSpace() {
        while let byte = current, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { index += 1 }
    }

    private mutating func accept(_ byte: UInt8) -> Bool {
        skipSpace()
        guard current == byte else { return false }
        index += 1
        return true
    }

    private mutating func value() throws(JSONTreeError) -> JSONNode {
        skipSpace()
        switch current {
        case nil: throw failure("a value is missing")
        case UInt8(ascii: "{"): return try nested(.object, UInt8(ascii: "}"))
        case UInt8(ascii: "["): return try nested(.array, UInt8(ascii: "]"))
        case UInt8(ascii: "\""): return JSONNode(kind: .string, range: try string())
        case UInt8(ascii: "t"): return try word("true", .boolean)
        case UInt8(ascii: "f"): return try word("false", .boolean)
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func nested(_ kind: JSONNode.Kind, _ closing: UInt8) throws(JSONTreeError) -> JSONNode {
        guard depth < JSONTree.maximumDepth else { throw failure("is nested too deeply") }
        depth += 1
        let start = index
        index += 1
        var children: [JSONChild] = []
        if !accept(closing) {
            repeat {
                children.append(kind == .object ? try member() : JSONChild(node: try value()))
            } while accept(UInt8(ascii: ","))
            guard accept(closing) else { throw failure("',' or '\(Unicode.Scalar(closing))' is missing") }
        }
        depth -= 1
        return JSONNode(kind: kind, range: start..<index, children: children)
    }

    private mutating func member() throws(JSONTreeError) -> JSONChild {
        skipSpace()
        guard current == UInt8(ascii: "\"") else { throw failure("a member's name is missing") }
        let name = try string()
        guard accept(UInt8(ascii: ":")) else { throw failure("':' is missing") }
        return JSONChild(name: JSONTree.content(bytes[name]), nameRange: name, node: try value())
    }

    private mutating func word(_ word: String, _ kind: JSONNode.Kind) throws(JSONTreeError) -> JSONNode {
        let end = index + word.utf8.count
        guard end <= bytes.count, bytes[index..<end].elementsEqual(word.utf8) else { throw failure("an unknown word") }
        defer { index = end }
        return JSONNode(kind: kind, range: index..<end)
    }

    private mutating func digits() throws(JSONTreeError) {
        let start = index
        while let byte = current, (0x30...0x39).contains(byte) { index += 1 }
        guard index > start else { throw failure("a digit is missing") }
    }

    private mutating func number() throws(JSONTreeError) -> JSONNode {
        let start = index
        if current == UInt8(ascii: "-") { index += 1 }
        if current == UInt8(ascii: "0") { index += 1 } else { try digits() }
        if current == UInt8(ascii: ".") {
            index += 1
            try digits()
        }
        if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
            index += 1
            if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { index += 1 }
            try digits()
        }
        return JSONNode(kind: .number, range: start..<index)
    }

    private mutating func string() throws(JSONTreeError) -> Range<Int> {
        let start = index
        index += 1
        while let byte = current {
            index += 1
            switch byte {
            case UInt8(ascii: "\""): return start..<index
            case UInt8(ascii: "\\"): try escape()
            case 0..<0x20:
                index -= 1
                throw failure("a control character in a string")
            default: continue
            }
        }
        throw failure("the closing quote is missing")
    }

    private mutating func escape() throws(JSONTreeError) {
        guard let byte = current, "\"\\/bfnrtu".utf8.contains(byte) else { throw failure("an unknown escape") }
        index += 1
        guard byte == UInt8(ascii: "u") else { return }
        guard index + 4 <= bytes.count, bytes[index..<index + 4].allSatisfy({ Character(Unicode.Scalar($0)).hexDigitValue != nil }) else {
            throw failure("four hexadecimal digits are missing")
        }
        index += 4
    }
}
