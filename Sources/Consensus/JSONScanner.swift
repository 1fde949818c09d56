// Just enough JSON for one line of quorum-state: a whole JSON library would cost start-up time that every node pays.
import OrderedCollections

/// A JSON value as quorum-state uses them: no fractions.
enum JSONScannerValue: Equatable {
    case object(OrderedDictionary<String, JSONScannerValue>)
    case array([JSONScannerValue])
    case string(String)
    case number(Int64)
    case boolean(Bool)
    case null
}

struct JSONScanner {
    private let bytes: [UInt8]
    private var position = 0
    /// Input nested deeper than this is refused before it can exhaust the stack.
    private static let depthLimit = 8

    private init(_ text: String) {
        bytes = Array(text.utf8)
    }

    /// Nil for anything but one JSON value with white space around it.
    static func parse(_ text: String) -> JSONScannerValue? {
        var scanner = JSONScanner(text)
        guard let value = scanner.value(depth: 0) else { return nil }
        scanner.skipSpace()
        return scanner.position == scanner.bytes.count ? value : nil
    }

    private mutating func skipSpace() {
        while position < bytes.count, bytes[position] == 0x20 || (0x09...0x0d).contains(bytes[position]) { position += 1 }
    }

    private mutating func accept(_ character: Character) -> Bool {
        skipSpace()
        guard position < bytes.count, bytes[position] == character.asciiValue else { return false }
        position += 1
        return true
    }

    private mutating func accept(word: String) -> Bool {
        guard bytes[position...].starts(with: word.utf8) else { return false }
        position += word.utf8.count
        return true
    }

    private mutating func value(depth: Int) -> JSONScannerValue? {
        guard depth < Self.depthLimit else { return nil }
        skipSpace()
        guard position < bytes.count else { return nil }
        switch bytes[position] {
        case UInt8(ascii: "{"): return object(depth: depth)
        case UInt8(ascii: "["): return array(depth: depth)
        case UInt8(ascii: "\""): return string().map { .string($0) }
        case UInt8(ascii: "t"): return accept(word: "true") ? .boolean(true) : nil
        case UInt8(ascii: "f"): return accept(word: "false") ? .boolean(false) : nil
        case UInt8(ascii: "n"): return accept(word: "null") ? .null : nil
        default: return number()
        }
    }

    private mutating func object(depth: Int) -> JSONScannerValue? {
        var fields: OrderedDictionary<String, JSONScannerValue> = [:]
        guard accept("{") else { return nil }
        if accept("}") { return .object(fields) }
        repeat {
            skipSpace()
            guard let name = string(), accept(":"), let value = value(depth: depth + 1) else { return nil }
            fields[name] = value
        } while accept(",")
        return accept("}") ? .object(fields) : nil
    }

    private mutating func array(depth: Int) -> JSONScannerValue? {
        var elements: [JSONScannerValue] = []
        guard accept("[") else { return nil }
        if accept("]") { return .array(elements) }
        repeat {
            guard let value = value(depth: depth + 1) else { return nil }
            elements.append(value)
        } while accept(",")
        return accept("]") ? .array(elements) : nil
    }

    /// A string without escapes: nothing in quorum-state needs them.
    private mutating func string() -> String? {
        guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else { return nil }
        guard let end = bytes[(position + 1)...].firstIndex(of: UInt8(ascii: "\"")) else { return nil }
        let contents = bytes[(position + 1)..<end]
        guard !contents.contains(UInt8(ascii: "\\")) else { return nil }
        position = end + 1
        return String(decoding: contents, as: UTF8.self)
    }

    private mutating func number() -> JSONScannerValue? {
        let start = position
        if position < bytes.count, bytes[position] == UInt8(ascii: "-") { position += 1 }
        while position < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[position]) { position += 1 }
        return Int64(String(decoding: bytes[start..<position], as: UTF8.self)).map { .number($0) }
    }
}
