// Regular expressions that clients send. They must not cost more than the length of the text times that of the pattern, whatever they say,
// so nothing here backtracks: all alternatives are followed at once, as RE2 does, whose syntax Kafka's brokers take (KIP-848, KIP-1152).

/// Why a pattern is none.
public struct LinearPatternError: Error, Equatable, Sendable, CustomStringConvertible {
    public var description: String
}

/// A compiled regular expression without captures and back references.
///
/// Knows literals, `.`, classes with ranges and POSIX names, `\d \w \s` and their opposites, `^ $ \A \z \b \B`, groups, alternatives,
/// `* + ? {n,m}` (lazy forms match the same texts), `\Q…\E`, and the flags `i` and `s` at the pattern's beginning or for a group.
public struct LinearPattern: Sendable {
    enum Instruction: Sendable {
        case character(CharacterClass)
        case jump(Int)
        /// Both ways.
        case split(Int, Int)
        case assertion(Assertion)
        case match
    }

    enum Assertion: Sendable {
        case start
        case end
        case wordBoundary
        case noWordBoundary
    }

    /// A set of characters.
    struct CharacterClass: Sendable {
        var ranges: [ClosedRange<UInt32>] = []
        var isNegated = false
        var ignoresCase = false

        func contains(_ scalar: Unicode.Scalar) -> Bool {
            if holds(scalar.value) { return !isNegated }
            guard ignoresCase else { return isNegated }
            let others = [scalar.properties.lowercaseMapping, scalar.properties.uppercaseMapping]
            let isFolded = others.contains { text in text.unicodeScalars.count == 1 && holds(text.unicodeScalars.first?.value ?? 0) }
            return isFolded != isNegated
        }

        private func holds(_ value: UInt32) -> Bool { ranges.contains { $0.contains(value) } }
    }

    /// Instructions of a pattern, repetitions written out.
    static let maximumSize = 5_000

    private let program: [Instruction]

    public init(_ pattern: String) throws(LinearPatternError) {
        var parser = LinearPatternParser(pattern)
        let node = try parser.parse()
        var program: [Instruction] = []
        try node.compile(into: &program)
        program.append(.match)
        self.program = program
    }

    /// Whether the pattern describes the text from its beginning to its end.
    public func matchesWhole(_ text: String) -> Bool {
        let scalars = Array(text.unicodeScalars)
        var states = StateSet(program.count)
        var next = StateSet(program.count)
        add(0, to: &states, at: 0, scalars)
        for (position, scalar) in scalars.enumerated() {
            if states.order.isEmpty { return false }
            next.removeAll()
            for state in states.order {
                guard case .character(let characters) = program[state], characters.contains(scalar) else { continue }
                add(state + 1, to: &next, at: position + 1, scalars)
            }
            swap(&states, &next)
        }
        return states.order.contains { if case .match = program[$0] { true } else { false } }
    }

    /// Follows everything that takes no character.
    private func add(_ start: Int, to states: inout StateSet, at position: Int, _ scalars: [Unicode.Scalar]) {
        var pending = [start]
        while let state = pending.popLast() {
            guard states.insert(state) else { continue }
            switch program[state] {
            case .jump(let target): pending.append(target)
            case .split(let first, let second):
                pending.append(second)
                pending.append(first)
            case .assertion(let assertion): if holds(assertion, at: position, scalars) { pending.append(state + 1) }
            case .character, .match: break
            }
        }
    }

    private func holds(_ assertion: Assertion, at position: Int, _ scalars: [Unicode.Scalar]) -> Bool {
        func isWord(_ index: Int) -> Bool {
            guard scalars.indices.contains(index) else { return false }
            return LinearPatternParser.word.contains { $0.contains(scalars[index].value) }
        }
        switch assertion {
        case .start: return position == 0
        case .end: return position == scalars.count
        case .wordBoundary: return isWord(position - 1) != isWord(position)
        case .noWordBoundary: return isWord(position - 1) == isWord(position)
        }
    }

    private struct StateSet {
        var order: [Int] = []
        private var isMember: [Bool]

        init(_ count: Int) { isMember = Array(repeating: false, count: count) }

        mutating func insert(_ state: Int) -> Bool {
            if isMember[state] { return false }
            isMember[state] = true
            order.append(state)
            return true
        }

        mutating func removeAll() {
            for state in order { isMember[state] = false }
            order.removeAll(keepingCapacity: true)
        }
    }
}

/// A pattern as it was read.
indirect enum LinearPatternNode: Sendable {
    case empty
    case character(LinearPattern.CharacterClass)
    case assertion(LinearPattern.Assertion)
    case sequence([LinearPatternNode])
    case alternatives([LinearPatternNode])
    /// Nil for no upper bound.
    case repetition(LinearPatternNode, minimum: Int, maximum: Int?)

    func compile(into program: inout [LinearPattern.Instruction]) throws(LinearPatternError) {
        guard program.count < LinearPattern.maximumSize else { throw LinearPatternError(description: "the expression is too large") }
        switch self {
        case .empty: break
        case .character(let characters): program.append(.character(characters))
        case .assertion(let assertion): program.append(.assertion(assertion))
        case .sequence(let nodes): for node in nodes { try node.compile(into: &program) }
        case .alternatives(let nodes):
            var exits: [Int] = []
            for (index, node) in nodes.enumerated() {
                guard index < nodes.count - 1 else {
                    try node.compile(into: &program)
                    break
                }
                let split = program.count
                program.append(.jump(0))
                try node.compile(into: &program)
                exits.append(program.count)
                program.append(.jump(0))
                program[split] = .split(split + 1, program.count)
            }
            for exit in exits { program[exit] = .jump(program.count) }
        case .repetition(let node, let minimum, let maximum):
            for _ in 0..<minimum {
                let before = program.count
                try node.compile(into: &program)
                // Nothing, however often: repetitions of it within each other would only take time.
                if program.count == before { break }
            }
            guard let maximum else {
                let start = program.count
                program.append(.jump(0))
                try node.compile(into: &program)
                program.append(.jump(start))
                program[start] = .split(start + 1, program.count)
                return
            }
            var splits: [Int] = []
            for _ in minimum..<max(minimum, maximum) {
                splits.append(program.count)
                program.append(.jump(0))
                try node.compile(into: &program)
            }
            for split in splits { program[split] = .split(split + 1, program.count) }
        }
    }
}
