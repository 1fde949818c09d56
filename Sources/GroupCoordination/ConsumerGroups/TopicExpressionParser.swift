// Reads a regular expression in RE2's syntax. Bytes, because topic names have no others than ASCII letters, digits, '.', '_' and '-'.

indirect enum TopicExpressionNode {
    case empty
    case set(ByteSet)
    case atStart
    case atEnd
    case sequence([TopicExpressionNode])
    case alternatives([TopicExpressionNode])
    case repeated(TopicExpressionNode, Int, Int?)
}

struct TopicExpressionParser {
    private static let maximumDepth = 100
    private static let maximumRepetition = 1_000

    private let text: [UInt8]
    private var position = 0
    private var depth = 0
    private var ignoresCase = false

    init(_ text: [UInt8]) { self.text = text }

    mutating func parse() throws(TopicExpressionError) -> TopicExpressionNode {
        let node = try parseAlternatives()
        guard position == text.count else { throw TopicExpressionError(reason: "unexpected ')'") }
        return node
    }

    private var current: UInt8? { position < text.count ? text[position] : nil }

    private mutating func take(_ expected: String) -> Bool {
        let bytes = Array(expected.utf8)
        guard position + bytes.count <= text.count, text[position..<position + bytes.count].elementsEqual(bytes) else { return false }
        position += bytes.count
        return true
    }

    private mutating func parseAlternatives() throws(TopicExpressionError) -> TopicExpressionNode {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else { throw TopicExpressionError(reason: "expression nests too deeply") }
        var alternatives = [try parseSequence()]
        while take("|") { alternatives.append(try parseSequence()) }
        return alternatives.count == 1 ? alternatives[0] : .alternatives(alternatives)
    }

    private mutating func parseSequence() throws(TopicExpressionError) -> TopicExpressionNode {
        var nodes: [TopicExpressionNode] = []
        while let byte = current, byte != UInt8(ascii: "|"), byte != UInt8(ascii: ")") {
            if take("\\Q") {
                let start = nodes.count
                while position < text.count, !take("\\E") {
                    nodes.append(literal(text[position]))
                    position += 1
                }
                // A repetition after it is of the last byte only.
                if nodes.count > start, let last = nodes.popLast() { nodes.append(try parseRepetition(of: last)) }
                continue
            }
            let atom = try parseAtom()
            nodes.append(try parseRepetition(of: atom))
        }
        return nodes.count == 1 ? nodes[0] : nodes.isEmpty ? .empty : .sequence(nodes)
    }

    private mutating func parseRepetition(of atom: TopicExpressionNode) throws(TopicExpressionError) -> TopicExpressionNode {
        guard let (minimum, maximum) = try parseQuantifier() else { return atom }
        // Laziness makes no difference to what matches as a whole.
        _ = take("?")
        let start = position
        guard try parseQuantifier() == nil else {
            position = start
            throw TopicExpressionError(reason: "invalid nested repetition operator")
        }
        return .repeated(atom, minimum, maximum)
    }

    private mutating func parseQuantifier() throws(TopicExpressionError) -> (Int, Int?)? {
        if take("*") { return (0, nil) }
        if take("+") { return (1, nil) }
        if take("?") { return (0, 1) }
        let start = position
        guard take("{") else { return nil }
        guard let minimum = parseNumber() else {
            // RE2 takes a brace that is no repetition as itself.
            position = start
            return nil
        }
        var maximum: Int? = minimum
        if take(",") { maximum = parseNumber() }
        guard take("}") else {
            position = start
            return nil
        }
        guard minimum <= Self.maximumRepetition, maximum ?? 0 <= Self.maximumRepetition, maximum.map({ $0 >= minimum }) ?? true else {
            throw TopicExpressionError(reason: "invalid repeat count")
        }
        return (minimum, maximum)
    }

    private mutating func parseNumber() -> Int? {
        var number: Int?
        while let byte = current, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") {
            number = min((number ?? 0) * 10 + Int(byte - UInt8(ascii: "0")), 1_000_000)
            position += 1
        }
        return number
    }

    private mutating func parseAtom() throws(TopicExpressionError) -> TopicExpressionNode {
        let byte = text[position]
        switch byte {
        case UInt8(ascii: "("):
            position += 1
            return try parseGroup()
        case UInt8(ascii: "["):
            position += 1
            return .set(try parseClass())
        case UInt8(ascii: "."):
            position += 1
            var set = ByteSet()
            set.insert(UInt8(ascii: "\n"))
            return .set(set.inverted)
        case UInt8(ascii: "^"):
            position += 1
            return .atStart
        case UInt8(ascii: "$"):
            position += 1
            return .atEnd
        case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"):
            throw TopicExpressionError(reason: "missing argument to repetition operator")
        case UInt8(ascii: "\\"):
            position += 1
            if take("A") { return .atStart }
            if take("z") { return .atEnd }
            let set = try parseEscape()
            return .set(ignoresCase ? set.ignoringCase : set)
        default:
            position += 1
            return literal(byte)
        }
    }

    private func literal(_ byte: UInt8) -> TopicExpressionNode {
        var set = ByteSet()
        set.insert(byte)
        return .set(ignoresCase ? set.ignoringCase : set)
    }

    private mutating func parseGroup() throws(TopicExpressionError) -> TopicExpressionNode {
        let outerIgnoresCase = ignoresCase
        if take("?P<") || take("?<") {
            if current == UInt8(ascii: "=") || current == UInt8(ascii: "!") {
                throw TopicExpressionError(reason: "invalid or unsupported Perl syntax")
            }
            while let byte = current, byte != UInt8(ascii: ">") {
                guard byte != UInt8(ascii: "("), byte != UInt8(ascii: ")") else { break }
                position += 1
            }
            guard take(">") else { throw TopicExpressionError(reason: "invalid named capture") }
        } else if take("?") {
            var isNegated = false
            while let byte = current, byte != UInt8(ascii: ":"), byte != UInt8(ascii: ")") {
                switch byte {
                case UInt8(ascii: "i"): ignoresCase = !isNegated
                // They change nothing for names without line ends.
                case UInt8(ascii: "s"), UInt8(ascii: "m"), UInt8(ascii: "U"): break
                case UInt8(ascii: "-") where !isNegated: isNegated = true
                default: throw TopicExpressionError(reason: "invalid or unsupported Perl syntax")
                }
                position += 1
            }
            if take(")") { return .empty }
            guard take(":") else { throw TopicExpressionError(reason: "missing closing )") }
        }
        let node = try parseAlternatives()
        guard take(")") else { throw TopicExpressionError(reason: "missing closing )") }
        ignoresCase = outerIgnoresCase
        return node
    }

    /// What follows a backslash.
    private mutating func parseEscape() throws(TopicExpressionError) -> ByteSet {
        guard let byte = current else { throw TopicExpressionError(reason: "trailing backslash at end of expression") }
        position += 1
        switch byte {
        case UInt8(ascii: "d"): return .digits
        case UInt8(ascii: "D"): return ByteSet.digits.inverted
        case UInt8(ascii: "w"): return .wordCharacters
        case UInt8(ascii: "W"): return ByteSet.wordCharacters.inverted
        case UInt8(ascii: "s"): return .whiteSpace
        case UInt8(ascii: "S"): return ByteSet.whiteSpace.inverted
        case UInt8(ascii: "t"): return ByteSet(9)
        case UInt8(ascii: "n"): return ByteSet(10)
        case UInt8(ascii: "r"): return ByteSet(13)
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"):
            throw TopicExpressionError(reason: "unsupported escape sequence \\\(Character(Unicode.Scalar(byte)))")
        default: return ByteSet(byte)
        }
    }

    /// The rest of a class after its bracket.
    private mutating func parseClass() throws(TopicExpressionError) -> ByteSet {
        var set = ByteSet()
        let isNegated = take("^")
        var isFirst = true
        while true {
            guard let byte = current else { throw TopicExpressionError(reason: "missing closing ]") }
            if byte == UInt8(ascii: "]"), !isFirst {
                position += 1
                break
            }
            isFirst = false
            if let named = try parseNamedClass() {
                set.insert(named)
                continue
            }
            position += 1
            var lower: UInt8? = byte
            if byte == UInt8(ascii: "\\") {
                let escaped = try parseEscape()
                set.insert(escaped)
                lower = escaped.only
            }
            guard let lower else { continue }
            set.insert(lower)
            guard position + 1 < text.count, text[position] == UInt8(ascii: "-"), text[position + 1] != UInt8(ascii: "]") else { continue }
            position += 1
            var upper: UInt8? = text[position]
            position += 1
            if upper == UInt8(ascii: "\\") { upper = try parseEscape().only }
            guard let upper, upper >= lower else { throw TopicExpressionError(reason: "invalid character class range") }
            set.insert(lower...upper)
        }
        if ignoresCase { set = set.ignoringCase }
        return isNegated ? set.inverted : set
    }

    private mutating func parseNamedClass() throws(TopicExpressionError) -> ByteSet? {
        guard take("[:") else { return nil }
        let isNegated = take("^")
        for (name, set) in ByteSet.posix where take("\(name):]") { return isNegated ? set.inverted : set }
        throw TopicExpressionError(reason: "invalid character class range")
    }
}

extension ByteSet {
    init(_ byte: UInt8) {
        self.init()
        insert(byte)
    }

    fileprivate init(_ text: String, _ ranges: ClosedRange<UInt8>...) {
        self.init()
        for byte in text.utf8 { insert(byte) }
        for range in ranges { insert(range) }
    }

    /// The byte of a set that has only one.
    fileprivate var only: UInt8? {
        var found: UInt8?
        for byte in UInt8.min...UInt8.max where contains(byte) {
            guard found == nil else { return nil }
            found = byte
        }
        return found
    }

    fileprivate static let digits = ByteSet("", 48...57)
    fileprivate static let wordCharacters = ByteSet("_", 48...57, 65...90, 97...122)
    fileprivate static let whiteSpace = ByteSet(" \t\n\r\u{0C}")

    fileprivate static let posix: [(name: String, set: ByteSet)] = [
        ("alnum", ByteSet("", 48...57, 65...90, 97...122)), ("alpha", ByteSet("", 65...90, 97...122)), ("ascii", ByteSet("", 0...127)),
        ("blank", ByteSet("\t ")), ("cntrl", ByteSet("\u{7F}", 0...31)), ("digit", digits), ("graph", ByteSet("", 33...126)),
        ("lower", ByteSet("", 97...122)), ("print", ByteSet("", 32...126)), ("punct", ByteSet("", 33...47, 58...64, 91...96, 123...126)),
        ("space", ByteSet(" \t\n\r\u{0B}\u{0C}")), ("upper", ByteSet("", 65...90)), ("word", wordCharacters),
        ("xdigit", ByteSet("", 48...57, 65...70, 97...102)),
    ]
}
