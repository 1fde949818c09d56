// server.properties: the syntax of java.util.Properties, with the number of the line that each setting begins on.
// Read as UTF-8; bytes that are not UTF-8 are taken as ISO 8859-1, which is what Java reads such files as.

/// Reads properties files.
public enum PropertiesParser {
    /// All settings of `text`. What cannot be read becomes a mistake; the rest is read on.
    public static func parse(_ text: String, path: String) -> SourceContent {
        var content = SourceContent()
        var lines = NaturalLines(text)
        while let first = lines.next() {
            let start = skipBlanks(first.scalars, 0)
            guard start < first.scalars.count, first.scalars[start] != "#", first.scalars[start] != "!" else { continue }
            var logical = Array(first.scalars[start...])
            while endsInContinuation(logical) {
                logical.removeLast()
                guard let following = lines.next() else { break }
                logical += following.scalars[skipBlanks(following.scalars, 0)...]
            }
            let origin = ConfigurationOrigin.file(path: path, line: first.number)
            guard let (key, value) = split(logical) else {
                content.mistakes.append(
                    ConfigurationMistake(.error, origin, key: "", "a \\u must be followed by four hexadecimal digits"))
                continue
            }
            if key.isEmpty {
                content.mistakes.append(ConfigurationMistake(.error, origin, key: "", "there is no key before the = sign"))
                continue
            }
            content.entries.append(SourceEntry(key: key, value: value, origin: origin))
        }
        return content
    }

    /// Text from a file's bytes; see above for the encoding.
    public static func decode(_ bytes: [UInt8]) -> String {
        if let text = String(validating: bytes, as: UTF8.self) { return text }
        var text = ""
        text.unicodeScalars.append(contentsOf: bytes.map { Unicode.Scalar($0) })
        return text
    }

    /// Lines as they stand in the file, ended by LF, CR or CR LF.
    private struct NaturalLines {
        private let scalars: [Unicode.Scalar]
        private var position = 0
        private var number = 0

        init(_ text: String) {
            // A byte order mark is an editor's, not a key's.
            scalars = Array(text.unicodeScalars.first == "\u{FEFF}" ? text.unicodeScalars.dropFirst() : text.unicodeScalars[...])
        }

        mutating func next() -> (number: Int, scalars: [Unicode.Scalar])? {
            guard position < scalars.count else { return nil }
            number += 1
            let end = scalars[position...].firstIndex { $0 == "\n" || $0 == "\r" } ?? scalars.count
            let line = Array(scalars[position..<end])
            position = end + 1
            if end + 1 < scalars.count, scalars[end] == "\r", scalars[end + 1] == "\n" { position += 1 }
            return (number, line)
        }
    }

    private static func isBlank(_ scalar: Unicode.Scalar) -> Bool {
        scalar == " " || scalar == "\t" || scalar == "\u{0C}"
    }

    private static func skipBlanks(_ scalars: [Unicode.Scalar], _ start: Int) -> Int {
        var position = start
        while position < scalars.count, isBlank(scalars[position]) { position += 1 }
        return position
    }

    /// An odd number of backslashes at the end: the last one is not itself escaped.
    private static func endsInContinuation(_ scalars: [Unicode.Scalar]) -> Bool {
        scalars.reversed().prefix { $0 == "\\" }.count % 2 == 1
    }

    /// Key and value of a logical line; nil when an escape is broken.
    private static func split(_ scalars: [Unicode.Scalar]) -> (key: String, value: String)? {
        var position = 0
        while position < scalars.count {
            if scalars[position] == "\\" {
                position += 2
                continue
            }
            if isBlank(scalars[position]) || scalars[position] == "=" || scalars[position] == ":" { break }
            position += 1
        }
        let keyEnd = min(position, scalars.count)
        position = skipBlanks(scalars, keyEnd)
        if position < scalars.count, scalars[position] == "=" || scalars[position] == ":" {
            position = skipBlanks(scalars, position + 1)
        }
        guard let key = unescape(scalars[..<keyEnd]), let value = unescape(scalars[position...]) else { return nil }
        return (key, value)
    }

    private static func unescape(_ scalars: ArraySlice<Unicode.Scalar>) -> String? {
        guard scalars.contains("\\") else {
            var text = ""
            text.unicodeScalars.append(contentsOf: scalars)
            return text
        }
        // Java's \u escapes are UTF-16: two of them may make one character.
        var units: [UInt16] = []
        var position = scalars.startIndex
        while position < scalars.endIndex {
            let scalar = scalars[position]
            position += 1
            guard scalar == "\\", position < scalars.endIndex else {
                units.append(contentsOf: String(scalar).utf16)
                continue
            }
            let escaped = scalars[position]
            position += 1
            switch escaped {
            case "t": units.append(0x09)
            case "n": units.append(0x0A)
            case "r": units.append(0x0D)
            case "f": units.append(0x0C)
            case "u":
                guard position + 4 <= scalars.endIndex else { return nil }
                var unit: UInt16 = 0
                for digit in scalars[position..<position + 4] {
                    guard let value = hexadecimal(digit) else { return nil }
                    unit = unit << 4 | value
                }
                units.append(unit)
                position += 4
            default: units.append(contentsOf: String(escaped).utf16)
            }
        }
        return String(decoding: units, as: UTF16.self)
    }

    private static func hexadecimal(_ scalar: Unicode.Scalar) -> UInt16? {
        switch scalar {
        case "0"..."9": UInt16(scalar.value - 0x30)
        case "a"..."f": UInt16(scalar.value - 0x61 + 10)
        case "A"..."F": UInt16(scalar.value - 0x41 + 10)
        default: nil
        }
    }
}
