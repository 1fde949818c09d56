// Reads the text of a `LinearPattern`.

struct LinearPatternParser {
    private struct Flags {
        var ignoresCase = false
        var dotMatchesNewline = false
    }

    static let digits: [ClosedRange<UInt32>] = [0x30...0x39]
    static let word: [ClosedRange<UInt32>] = [0x30...0x39, 0x41...0x5a, 0x5f...0x5f, 0x61...0x7a]
    static let space: [ClosedRange<UInt32>] = [0x09...0x0a, 0x0c...0x0d, 0x20...0x20]
    private static let posix: [String: [ClosedRange<UInt32>]] = [
        "alnum": [0x30...0x39, 0x41...0x5a, 0x61...0x7a], "alpha": [0x41...0x5a, 0x61...0x7a], "ascii": [0...0x7f],
        "blank": [0x09...0x09, 0x20...0x20], "cntrl": [0...0x1f, 0x7f...0x7f], "digit": digits, "graph": [0x21...0x7e],
        "lower": [0x61...0x7a], "print": [0x20...0x7e], "punct": [0x21...0x2f, 0x3a...0x40, 0x5b...0x60, 0x7b...0x7e],
        "space": [0x09...0x0d, 0x20...0x20], "upper": [0x41...0x5a], "word": word, "xdigit": [0x30...0x39, 0x41...0x46, 0x61...0x66],
    ]
    /// As RE2 bounds it.
    private static let maximumRepetition = 1000
    private static let maximumDepth = 200

    private let text: [Unicode.Scalar]
    private var position = 0
    private var depth = 0
    private var flags = Flags()

    init(_ pattern: String) {
        text = Array(pattern.unicodeScalars)
    }

    mutating func parse() throws(LinearPatternError) -> LinearPatternNode {
        let node = try alternatives()
        guard position == text.count else { throw problem("unexpected )") }
        return node
    }

    private func problem(_ reason: String) -> LinearPatternError { LinearPatternError(description: "\(reason) at position \(position)") }

    private var next: Unicode.Scalar? { position < text.count ? text[position] : nil }

    private mutating func take() -> Unicode.Scalar? {
        guard let scalar = next else { return nil }
        position += 1
        return scalar
    }

    private mutating func skip(_ scalar: Unicode.Scalar) -> Bool {
        guard next == scalar else { return false }
        position += 1
        return true
    }

    private mutating func skip(_ literal: String) -> Bool {
        let scalars = Array(literal.unicodeScalars)
        guard text[position...].starts(with: scalars) else { return false }
        position += scalars.count
        return true
    }

    // MARK: Structure

    private mutating func alternatives() throws(LinearPatternError) -> LinearPatternNode {
        depth += 1
        defer { depth -= 1 }
        guard depth < Self.maximumDepth else { throw problem("groups are nested too deeply") }
        var nodes = [try sequence()]
        while skip("|" as Unicode.Scalar) { nodes.append(try sequence()) }
        return nodes.count == 1 ? nodes[0] : .alternatives(nodes)
    }

    private mutating func sequence() throws(LinearPatternError) -> LinearPatternNode {
        var nodes: [LinearPatternNode] = []
        while let scalar = next, scalar != "|", scalar != ")" {
            if skip("\\Q" as String) {
                while position < text.count, !skip("\\E" as String) { if let scalar = take() { nodes.append(literal(scalar)) } }
                continue
            }
            guard let atom = try atom() else { continue }
            nodes.append(try repeated(atom))
        }
        return nodes.isEmpty ? .empty : .sequence(nodes)
    }

    private mutating func repeated(_ atom: LinearPatternNode) throws(LinearPatternError) -> LinearPatternNode {
        var node = atom
        while let scalar = next {
            let bounds: (Int, Int?)?
            switch scalar {
            case "*": bounds = (0, nil)
            case "+": bounds = (1, nil)
            case "?": bounds = (0, 1)
            case "{": bounds = nil
            default: return node
            }
            if let bounds {
                position += 1
                node = .repetition(node, minimum: bounds.0, maximum: bounds.1)
            } else if let counted = try counts() {
                node = .repetition(node, minimum: counted.0, maximum: counted.1)
            } else {
                return node
            }
            // What is tried first does not matter when only the whole counts.
            _ = skip("?" as Unicode.Scalar)
        }
        return node
    }

    /// `{n}`, `{n,}` or `{n,m}`; nil for a brace that is none of these, which stands for itself.
    private mutating func counts() throws(LinearPatternError) -> (Int, Int?)? {
        let start = position
        position += 1
        guard let minimum = number() else {
            position = start
            return nil
        }
        var maximum: Int? = minimum
        if skip("," as Unicode.Scalar) { maximum = number() }
        guard skip("}" as Unicode.Scalar) else {
            position = start
            return nil
        }
        guard minimum <= Self.maximumRepetition, maximum ?? 0 <= Self.maximumRepetition, maximum.map({ $0 >= minimum }) ?? true else {
            throw problem("invalid repeat count")
        }
        return (minimum, maximum)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let scalar = next, ("0"..."9").contains(scalar) {
            value = min((value ?? 0) * 10 + Int(scalar.value - 0x30), 1_000_000)
            position += 1
        }
        return value
    }

    private mutating func atom() throws(LinearPatternError) -> LinearPatternNode? {
        guard let scalar = take() else { return nil }
        switch scalar {
        case "(": return try group()
        case "[": return .character(try bracket())
        case ".":
            return .character(
                .init(ranges: flags.dotMatchesNewline ? [0...0x10ffff] : [0...0x09, 0x0b...0x10ffff]))
        case "^": return .assertion(.start)
        case "$": return .assertion(.end)
        case "*", "+", "?": throw problem("missing argument to repetition operator")
        case "\\": return try escape()
        default: return literal(scalar)
        }
    }

    private func literal(_ scalar: Unicode.Scalar) -> LinearPatternNode {
        .character(.init(ranges: [scalar.value...scalar.value], ignoresCase: flags.ignoresCase))
    }

    private mutating func group() throws(LinearPatternError) -> LinearPatternNode? {
        let outer = flags
        if skip("?" as Unicode.Scalar) {
            if skip("P<" as String) || (skip("<" as Unicode.Scalar)) {
                while let scalar = take(), scalar != ">" { guard position < text.count else { throw problem("invalid group name") } }
            } else if try readFlags() {
                // `(?i)`: for the rest of the group around.
                return nil
            }
        }
        let node = try alternatives()
        guard skip(")" as Unicode.Scalar) else { throw problem("missing )") }
        flags = outer
        return node
    }

    /// Flags behind `(?`; true when they stand alone.
    private mutating func readFlags() throws(LinearPatternError) -> Bool {
        var isOn = true
        while let scalar = take() {
            switch scalar {
            case "i": flags.ignoresCase = isOn
            case "s": flags.dotMatchesNewline = isOn
            case "-": isOn = false
            case ":": return false
            case ")": return true
            default: throw problem("invalid or unsupported group flag")
            }
        }
        throw problem("missing )")
    }

    // MARK: Characters

    private mutating func escape() throws(LinearPatternError) -> LinearPatternNode {
        guard let scalar = take() else { throw problem("trailing backslash") }
        if let ranges = Self.named(scalar) { return .character(.init(ranges: ranges.0, isNegated: ranges.1)) }
        switch scalar {
        case "b": return .assertion(.wordBoundary)
        case "B": return .assertion(.noWordBoundary)
        case "A": return .assertion(.start)
        case "z": return .assertion(.end)
        default: return literal(try escaped(scalar))
        }
    }

    /// `\d` and the like.
    private static func named(_ scalar: Unicode.Scalar) -> ([ClosedRange<UInt32>], Bool)? {
        switch scalar {
        case "d": (digits, false)
        case "D": (digits, true)
        case "w": (word, false)
        case "W": (word, true)
        case "s": (space, false)
        case "S": (space, true)
        default: nil
        }
    }

    private mutating func escaped(_ scalar: Unicode.Scalar) throws(LinearPatternError) -> Unicode.Scalar {
        switch scalar {
        case "t": return "\t"
        case "n": return "\n"
        case "r": return "\r"
        case "f": return "\u{0c}"
        case "v": return "\u{0b}"
        case "a": return "\u{07}"
        case "x": return try hexadecimal()
        default:
            let isPlain = scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)
            guard !isPlain else { throw problem("invalid escape sequence \\\(scalar)") }
            return scalar
        }
    }

    private mutating func hexadecimal() throws(LinearPatternError) -> Unicode.Scalar {
        var digits = ""
        if skip("{" as Unicode.Scalar) {
            while let scalar = take(), scalar != "}" { digits.unicodeScalars.append(scalar) }
        } else {
            for _ in 0..<2 { if let scalar = take() { digits.unicodeScalars.append(scalar) } }
        }
        guard digits.utf8.count <= 6, let value = UInt32(digits, radix: 16), let scalar = Unicode.Scalar(value) else {
            throw problem("invalid escape sequence \\x")
        }
        return scalar
    }

    private mutating func bracket() throws(LinearPatternError) -> LinearPattern.CharacterClass {
        var characters = LinearPattern.CharacterClass(ignoresCase: flags.ignoresCase)
        characters.isNegated = skip("^" as Unicode.Scalar)
        var isFirst = true
        while let scalar = take() {
            if scalar == "]", !isFirst { return characters }
            isFirst = false
            if scalar == "[", next == ":", let ranges = try posixClass() {
                characters.ranges += ranges
                continue
            }
            if scalar == "\\", let escape = next, let (ranges, isNegated) = Self.named(escape) {
                position += 1
                characters.ranges += isNegated ? Self.complement(ranges) : ranges
                continue
            }
            let low = try member(scalar)
            guard next == "-", position + 1 < text.count, text[position + 1] != "]" else {
                characters.ranges.append(low.value...low.value)
                continue
            }
            position += 1
            guard let bound = take() else { break }
            let high = try member(bound)
            guard low.value <= high.value else { throw problem("invalid character class range") }
            characters.ranges.append(low.value...high.value)
        }
        throw problem("missing closing ]")
    }

    private mutating func member(_ scalar: Unicode.Scalar) throws(LinearPatternError) -> Unicode.Scalar {
        guard scalar == "\\" else { return scalar }
        guard let escape = take() else { throw problem("missing closing ]") }
        return try escaped(escape)
    }

    /// `[:alpha:]` and `[:^alpha:]`, behind the first bracket.
    private mutating func posixClass() throws(LinearPatternError) -> [ClosedRange<UInt32>]? {
        let start = position
        position += 1
        let isNegated = skip("^" as Unicode.Scalar)
        var name = ""
        while let scalar = next, scalar.properties.isAlphabetic {
            name.unicodeScalars.append(scalar)
            position += 1
        }
        guard skip(":]" as String) else {
            position = start
            return nil
        }
        guard let ranges = Self.posix[name] else { throw problem("invalid character class range") }
        return isNegated ? Self.complement(ranges) : ranges
    }

    /// Everything else; the ranges ascend.
    private static func complement(_ ranges: [ClosedRange<UInt32>]) -> [ClosedRange<UInt32>] {
        var rest: [ClosedRange<UInt32>] = []
        var from: UInt32 = 0
        for range in ranges {
            if range.lowerBound > from { rest.append(from...(range.lowerBound - 1)) }
            from = range.upperBound + 1
        }
        rest.append(from...0x10ffff)
        return rest
    }
}
