// The words of one line, taken one by one.

/// A cursor over the words of a line.
struct Heading {
    private var words: ArraySlice<Substring>
    let line: SourceLine
    private let file: String

    /// Starts behind the line's first word.
    init(_ line: SourceLine, file: String) throws(DefinitionError) {
        self.init(words: Array(line.words.dropFirst()), line: line, file: file)
    }

    init(words: [Substring], line: SourceLine, file: String) {
        self.words = words[...]
        self.line = line
        self.file = file
    }

    func peek() -> Substring? { words.first }

    mutating func accept(_ word: Substring) -> Bool {
        guard words.first == word else { return false }
        words.removeFirst()
        return true
    }

    mutating func expect(_ word: Substring) throws(DefinitionError) {
        guard accept(word) else { throw failure("expected '\(word)'") }
    }

    mutating func word(_ meaning: String) throws(DefinitionError) -> Substring {
        guard let word = words.popFirst() else { throw failure("expected \(meaning)") }
        return word
    }

    mutating func integer(_ meaning: String) throws(DefinitionError) -> Int16 {
        let word = try word(meaning)
        guard let value = Int16(word) else { throw failure("expected \(meaning), not '\(word)'") }
        return value
    }

    mutating func name() throws(DefinitionError) -> String {
        let word = try word("a name")
        guard let first = word.first, first.isUppercase, word.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber) }) else {
            throw failure("'\(word)' is no name: letters and digits, the first one large")
        }
        return String(word)
    }

    mutating func versions() throws(DefinitionError) -> VersionRange {
        let word = try word("versions")
        guard let range = VersionRange(word) else { throw failure("expected versions such as 3+, 3-5 or 3, not '\(word)'") }
        return range
    }

    func finish() throws(DefinitionError) {
        if let word = words.first { throw failure("'\(word)' is not expected here") }
    }

    func failure(_ reason: String) -> DefinitionError {
        DefinitionError(file: file, line: line.number, reason: reason)
    }
}

extension VersionRange {
    /// Reads `3+`, `3-5` or `3`.
    init?(_ word: Substring) {
        if word.hasSuffix("+") {
            guard let lowest = Int16(word.dropLast()), lowest >= 0 else { return nil }
            self.init(lowest, .max)
            return
        }
        let ends = word.split(separator: "-", omittingEmptySubsequences: false)
        guard (1...2).contains(ends.count), let lowest = Int16(ends[0]), let highest = Int16(ends[ends.count - 1]),
            lowest >= 0, highest >= lowest
        else { return nil }
        self.init(lowest, highest)
    }
}
