// Regular expressions over topic names: the part of RE2's syntax that makes sense for them, matched in time that grows with the name
// and the expression and with nothing else. What is beyond it is refused rather than understood differently.

/// Why an expression is not taken.
public struct TopicExpressionError: Error, Equatable, Sendable {
    public var reason: String
}

/// An expression that whole topic names are matched against.
///
/// Literals, `.`, classes with ranges, negation and POSIX names, `\d \w \s` and their opposites, groups, `(?i)`, alternatives, `* + ?`
/// and `{n,m}` with or without laziness, `^ $ \A \z`, `\Q…\E`. Refused, because RE2 refuses them: what needs to go back (`\1`, `(?=`).
/// Refused although RE2 knows them: Unicode classes and word boundaries.
public struct TopicExpression: Sendable {
    /// Expressions whose program would be longer are refused, so that one expression cannot occupy a coordinator.
    static let maximumInstructions = 4_096

    enum Instruction: Sendable {
        case set(ByteSet)
        case split(Int, Int)
        case jump(Int)
        case atStart
        case atEnd
        case match
    }

    private let program: [Instruction]

    /// - Throws: when the expression is wrong, not supported or too large.
    public init(_ text: String) throws(TopicExpressionError) {
        var parser = TopicExpressionParser(Array(text.utf8))
        let node = try parser.parse()
        var program: [Instruction] = []
        var budget = 4 * Self.maximumInstructions
        try Self.compile(node, into: &program, &budget)
        program.append(.match)
        self.program = program
    }

    /// - Parameter budget: of nodes, for repetitions of nothing take no instructions and still time.
    private static func compile(
        _ node: TopicExpressionNode, into program: inout [Instruction], _ budget: inout Int
    ) throws(TopicExpressionError) {
        budget -= 1
        guard program.count < maximumInstructions, budget > 0 else { throw TopicExpressionError(reason: "expression too large") }
        switch node {
        case .empty: break
        case .set(let set): program.append(.set(set))
        case .atStart: program.append(.atStart)
        case .atEnd: program.append(.atEnd)
        case .sequence(let nodes):
            for node in nodes { try compile(node, into: &program, &budget) }
        case .alternatives(let nodes):
            var jumps: [Int] = []
            for (index, node) in nodes.enumerated() {
                guard index < nodes.count - 1 else {
                    try compile(node, into: &program, &budget)
                    break
                }
                let split = program.count
                program.append(.split(split + 1, 0))
                try compile(node, into: &program, &budget)
                jumps.append(program.count)
                program.append(.jump(0))
                program[split] = .split(split + 1, program.count)
            }
            for jump in jumps { program[jump] = .jump(program.count) }
        case .repeated(let node, let minimum, let maximum):
            for _ in 0..<minimum { try compile(node, into: &program, &budget) }
            if let maximum {
                var splits: [Int] = []
                for _ in minimum..<maximum {
                    splits.append(program.count)
                    program.append(.split(program.count + 1, 0))
                    try compile(node, into: &program, &budget)
                }
                for split in splits { program[split] = .split(split + 1, program.count) }
            } else {
                let split = program.count
                program.append(.split(split + 1, 0))
                try compile(node, into: &program, &budget)
                program.append(.jump(split))
                program[split] = .split(split + 1, program.count)
            }
        }
    }

    /// Whether the whole name is one that the expression means.
    public func matches(_ name: String) -> Bool {
        var threads = Threads(count: program.count)
        var next = Threads(count: program.count)
        let bytes = Array(name.utf8)
        add(0, at: 0, of: bytes.count, to: &threads)
        for (position, byte) in bytes.enumerated() {
            guard !threads.list.isEmpty else { return false }
            for thread in threads.list {
                if case .set(let set) = program[thread], set.contains(byte) {
                    add(thread + 1, at: position + 1, of: bytes.count, to: &next)
                }
            }
            swap(&threads, &next)
            next.clear()
        }
        return threads.list.contains { if case .match = program[$0] { true } else { false } }
    }

    private struct Threads {
        var list: [Int] = []
        private var generation = 1
        private var marks: [Int]

        init(count: Int) { marks = [Int](repeating: 0, count: count) }

        mutating func insert(_ thread: Int) -> Bool {
            guard marks[thread] != generation else { return false }
            marks[thread] = generation
            return true
        }

        mutating func clear() {
            list.removeAll(keepingCapacity: true)
            generation += 1
        }
    }

    /// Follows everything that takes no byte; every instruction once.
    private func add(_ start: Int, at position: Int, of count: Int, to threads: inout Threads) {
        var pending = [start]
        while let thread = pending.popLast() {
            guard threads.insert(thread) else { continue }
            switch program[thread] {
            case .jump(let target): pending.append(target)
            case .split(let first, let second):
                pending.append(second)
                pending.append(first)
            case .atStart: if position == 0 { pending.append(thread + 1) }
            case .atEnd: if position == count { pending.append(thread + 1) }
            case .set, .match: threads.list.append(thread)
            }
        }
    }
}

/// A set of bytes.
struct ByteSet: Sendable, Equatable {
    private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

    static func == (left: ByteSet, right: ByteSet) -> Bool { left.words == right.words }

    static var all: ByteSet {
        var set = ByteSet()
        set.insert(0...255)
        return set
    }

    func contains(_ byte: UInt8) -> Bool {
        let bit: UInt64 = 1 << UInt64(byte & 63)
        return switch byte >> 6 {
        case 0: words.0 & bit != 0
        case 1: words.1 & bit != 0
        case 2: words.2 & bit != 0
        default: words.3 & bit != 0
        }
    }

    mutating func insert(_ byte: UInt8) {
        let bit: UInt64 = 1 << UInt64(byte & 63)
        switch byte >> 6 {
        case 0: words.0 |= bit
        case 1: words.1 |= bit
        case 2: words.2 |= bit
        default: words.3 |= bit
        }
    }

    mutating func insert(_ range: ClosedRange<UInt8>) { for byte in range { insert(byte) } }

    mutating func insert(_ other: ByteSet) { for byte in UInt8.min...UInt8.max where other.contains(byte) { insert(byte) } }

    var inverted: ByteSet {
        var set = ByteSet()
        set.words = (~words.0, ~words.1, ~words.2, ~words.3)
        return set
    }

    /// With the other case of every letter in it.
    var ignoringCase: ByteSet {
        var set = self
        for letter in UInt8(ascii: "a")...UInt8(ascii: "z") {
            if contains(letter) { set.insert(letter - 32) }
            if contains(letter - 32) { set.insert(letter) }
        }
        return set
    }
}
