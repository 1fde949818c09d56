// The part of YAML that a configuration needs: nested or dotted keys, scalars, lists, comments. Our own, because a settings file
// needs the line of every value and no more than this, and the YAML library at hand brings the whole of Foundation into the server.
// What lies beyond (anchors, tags, mappings in braces, values over several lines without | or >) is named in a mistake, not guessed.

/// Reads settings written as YAML; lists become comma separated values.
public struct YAMLParser {
    private struct Line {
        var number: Int
        var indent: Int
        var text: String
    }

    private let path: String
    private var lines: [Line] = []
    private var position = 0
    private var content = SourceContent()
    /// Every level of nesting is one level of recursion; no configuration is deeper.
    private static let maximumDepth = 32

    /// All settings of `text`. What cannot be read becomes a mistake.
    public static func parse(_ text: String, path: String) -> SourceContent {
        var parser = YAMLParser(text, path: path)
        parser.parseDocument()
        return parser.content
    }

    private init(_ text: String, path: String) {
        self.path = path
        var number = 0
        for raw in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
            number += 1
            let indent = raw.prefix { $0 == " " }.count
            lines.append(Line(number: number, indent: indent, text: String(raw.dropFirst(indent))))
        }
    }

    private mutating func mistake(_ line: Int, key: String = "", _ message: String) {
        content.mistakes.append(ConfigurationMistake(.error, .file(path: path, line: line), key: key, message))
    }

    /// The next line that says something; comments, blank lines and the document's marks do not.
    private mutating func peek() -> Line? {
        while position < lines.count {
            let text = lines[position].text
            let isMark = lines[position].indent == 0 && (text == "---" || text.hasPrefix("--- #") || text.hasPrefix("%"))
            if !text.trimmingBlanks.isEmpty && !text.hasPrefix("#") && !isMark { return lines[position] }
            position += 1
        }
        return nil
    }

    private mutating func parseDocument() {
        guard let first = peek() else { return }
        parseMapping(prefix: "", indent: first.indent, depth: 0)
        if let rest = peek(), rest.text != "..." {
            mistake(rest.number, "this line is indented less than the first one")
        }
    }

    private mutating func parseMapping(prefix: String, indent: Int, depth: Int) {
        while let line = peek(), line.indent >= indent, line.text != "..." {
            position += 1
            if line.indent > indent {
                mistake(line.number, "this line is indented more than the one it belongs with")
                continue
            }
            if line.text.hasPrefix("\t") {
                mistake(line.number, "indentation must be of spaces, not tabs")
                continue
            }
            guard let (key, rest) = splitKey(line.text) else {
                mistake(line.number, "this line is not of the form key: value")
                continue
            }
            let name = prefix.isEmpty ? key : "\(prefix).\(key)"
            parseValue(of: name, rest, line, depth)
        }
    }

    private mutating func parseValue(of name: String, _ rest: String, _ line: Line, _ depth: Int) {
        let origin = ConfigurationOrigin.file(path: path, line: line.number)
        switch rest.first {
        case nil: parseNested(name, line, depth)
        case "&", "*", "!", "{", "@", "`": mistake(line.number, key: name, "anchors, tags and mappings in braces are not understood here")
        case "|", ">":
            let text = parseBlock(folded: rest.first == ">", keepsEnd: !rest.contains("-"), indent: line.indent)
            content.entries.append(SourceEntry(key: name, value: text, origin: origin))
        case "[":
            guard let elements = YAMLScalar.flowSequence(rest) else {
                return mistake(line.number, key: name, "a list in brackets must close on its own line")
            }
            content.entries.append(SourceEntry(key: name, value: elements.joined(separator: ","), origin: origin))
        default:
            guard let scalar = YAMLScalar.parse(rest) else {
                return mistake(line.number, key: name, "the quotes of this value do not close")
            }
            if let next = peek(), next.indent > line.indent {
                position += 1
                mistake(next.number, key: name, "a value over several lines begins with | or >")
            }
            // null is "not set", so that a template can leave a key out.
            if let scalar { content.entries.append(SourceEntry(key: name, value: scalar, origin: origin)) }
        }
    }

    /// What stands under a key without a value: a mapping, a list, or nothing, which is the empty value.
    private mutating func parseNested(_ name: String, _ line: Line, _ depth: Int) {
        guard let next = peek() else {
            return content.entries.append(SourceEntry(key: name, value: "", origin: .file(path: path, line: line.number)))
        }
        let isSequence = next.text == "-" || next.text.hasPrefix("- ")
        if isSequence && next.indent >= line.indent {
            parseSequence(name, line, indent: next.indent)
        } else if next.indent > line.indent {
            if depth >= Self.maximumDepth { return skipDeeper(than: line) }
            parseMapping(prefix: name, indent: next.indent, depth: depth + 1)
        } else {
            content.entries.append(SourceEntry(key: name, value: "", origin: .file(path: path, line: line.number)))
        }
    }

    private mutating func skipDeeper(than line: Line) {
        mistake(line.number, "keys are nested too deeply")
        while let next = peek(), next.indent > line.indent { position += 1 }
    }

    private mutating func parseSequence(_ name: String, _ line: Line, indent: Int) {
        var elements: [String] = []
        while let next = peek(), next.indent == indent, next.text == "-" || next.text.hasPrefix("- ") {
            position += 1
            let text = String(next.text.dropFirst()).trimmingBlanks
            if let first = text.first, "&*!{[|>@`".contains(first) || splitKey(text) != nil {
                mistake(next.number, key: name, "the elements of a list must be plain or quoted values")
            } else if let scalar = YAMLScalar.parse(text) {
                if let scalar { elements.append(scalar) }
            } else {
                mistake(next.number, key: name, "the quotes of this value do not close")
            }
        }
        content.entries.append(
            SourceEntry(key: name, value: elements.joined(separator: ","), origin: .file(path: path, line: line.number)))
    }

    private mutating func parseBlock(folded: Bool, keepsEnd: Bool, indent: Int) -> String {
        var texts: [String] = []
        var blockIndent: Int?
        while position < lines.count {
            let line = lines[position]
            if line.text.trimmingBlanks.isEmpty {
                texts.append("")
            } else {
                if line.indent <= indent { break }
                let base = blockIndent ?? line.indent
                blockIndent = base
                texts.append(String(repeating: " ", count: max(0, line.indent - base)) + line.text)
            }
            position += 1
        }
        while texts.last == "" { texts.removeLast() }
        let text = texts.joined(separator: folded ? " " : "\n")
        return keepsEnd && !text.isEmpty ? text + "\n" : text
    }

    /// Key and the rest of the line; nil when there is no colon that ends a key.
    private func splitKey(_ text: String) -> (key: String, rest: String)? {
        if let quote = text.first, quote == "\"" || quote == "'" {
            guard let (key, rest) = YAMLScalar.quoted(text), rest.hasPrefix(":") else { return nil }
            let after = rest.dropFirst()
            guard after.isEmpty || after.first == " " else { return nil }
            return key.isEmpty ? nil : (key, YAMLScalar.withoutComment(String(after)))
        }
        var index = text.startIndex
        while index < text.endIndex {
            let next = text.index(after: index)
            if text[index] == "#" && index > text.startIndex && text[text.index(before: index)] == " " { return nil }
            if text[index] == ":" && (next == text.endIndex || text[next] == " " || text[next] == "\t") {
                let key = String(text[..<index]).trimmingBlanks
                return key.isEmpty || key == "-" || key.hasPrefix("- ") ? nil : (key, YAMLScalar.withoutComment(String(text[next...])))
            }
            index = next
        }
        return nil
    }
}

/// Scalars of YAML on one line.
enum YAMLScalar {
    /// Drops a comment (` #`) that is outside of quotes, and the blanks at both ends.
    static func withoutComment(_ text: String) -> String {
        let trimmed = text.trimmingBlanks
        var quote: Character?
        var previous: Character = " "
        for index in trimmed.indices {
            let character = trimmed[index]
            if let open = quote {
                if character == open && !(open == "\"" && previous == "\\") { quote = nil }
            } else if (character == "\"" || character == "'") && (previous == " " || previous == "[" || previous == ",") {
                quote = character
            } else if character == "#" && previous == " " {
                return String(trimmed[..<index]).trimmingBlanks
            }
            previous = character
        }
        return trimmed
    }

    /// The value of a scalar without its comment: `.some(nil)` for null, nil when its quotes do not close.
    static func parse(_ text: String) -> String?? {
        let text = withoutComment(text)
        if text.hasPrefix("\"") || text.hasPrefix("'") {
            guard let (value, rest) = quoted(text), rest.trimmingBlanks.isEmpty else { return nil }
            return .some(value)
        }
        if text == "~" || text == "null" || text == "Null" || text == "NULL" { return .some(nil) }
        return .some(text)
    }

    /// A quoted text at the beginning of `text`, and what follows it.
    static func quoted(_ text: String) -> (value: String, rest: String)? {
        guard let quote = text.first else { return nil }
        var value = ""
        var index = text.index(after: text.startIndex)
        while index < text.endIndex {
            let character = text[index]
            let next = text.index(after: index)
            if character == quote {
                if quote == "'" && next < text.endIndex && text[next] == "'" {
                    value.append("'")
                    index = text.index(after: next)
                    continue
                }
                return (value, String(text[next...]))
            }
            if character == "\\" && quote == "\"" {
                guard next < text.endIndex, let escaped = escapes[text[next]] else { return nil }
                value.append(escaped)
                index = text.index(after: next)
                continue
            }
            value.append(character)
            index = next
        }
        return nil
    }

    private static let escapes: [Character: Character] = [
        "n": "\n", "t": "\t", "r": "\r", "\"": "\"", "\\": "\\", "/": "/", "0": "\0", " ": " ",
    ]

    /// The elements of `[a, "b", c]`; nil when it is not closed or holds more than scalars.
    static func flowSequence(_ text: String) -> [String]? {
        var rest = String(text.dropFirst()).trimmingBlanks
        var elements: [String] = []
        while true {
            if rest.hasPrefix("]") { return String(rest.dropFirst()).trimmingBlanks.isEmpty ? elements : nil }
            if rest.hasPrefix("\"") || rest.hasPrefix("'") {
                guard let (value, after) = quoted(rest) else { return nil }
                elements.append(value)
                rest = after.trimmingBlanks
            } else {
                guard let end = rest.firstIndex(where: { $0 == "," || $0 == "]" || $0 == "[" || $0 == "{" }), rest[end] != "[",
                    rest[end] != "{"
                else { return nil }
                elements.append(String(rest[..<end]).trimmingBlanks)
                rest = String(rest[end...])
            }
            if rest.hasPrefix(",") {
                rest = String(rest.dropFirst()).trimmingBlanks
            } else if !rest.hasPrefix("]") {
                return nil
            }
        }
    }
}
