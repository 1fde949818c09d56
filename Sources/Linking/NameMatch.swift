// How a filter names things: by one name, by what names begin with, or by a regular expression. Filters are looked at for every topic and
// group of a source again and again, so an expression never costs more than its size times the name's: see `LinearPattern`.
import Primitives

/// What names a rule of a filter is for.
struct NameMatch: Sendable, Hashable {
    private enum Kind: Sendable {
        case all
        case literal
        case prefixed
        case pattern(LinearPattern)
    }

    /// Of a regular expression, in bytes.
    private static let maximumPatternBytes = 1_000
    static let types = "LITERAL, PREFIXED or REGEX"

    private let type: String
    private let text: String
    private let kind: Kind

    static let all = NameMatch()

    private init() {
        (type, text, kind) = ("LITERAL", "*", .all)
    }

    /// - Parameters:
    ///   - type: LITERAL, PREFIXED, or REGEX, which has to describe the whole name.
    ///   - asteriskIsAll: whether a literal '*' stands for all names, and not for the thing of that name.
    /// - Throws: with `key`, for another type, and an expression that is none.
    init(_ text: String, type: String, asteriskIsAll: Bool = true, key: String) throws(LinkSettingError) {
        self.type = type.uppercased()
        self.text = text
        switch self.type {
        case "LITERAL": kind = text == "*" && asteriskIsAll ? .all : .literal
        case "PREFIXED": kind = .prefixed
        case "REGEX":
            guard text.utf8.count <= Self.maximumPatternBytes else {
                throw LinkSettingError(key, "has a pattern of \(text.utf8.count) bytes; \(Self.maximumPatternBytes) are allowed")
            }
            do throws(LinearPatternError) {
                kind = .pattern(try LinearPattern(text))
            } catch {
                throw LinkSettingError(
                    key,
                    "has a pattern that cannot be used, '\(text)': \(error). Patterns are RE2's, matched in linear time, without look-ahead and "
                        + "back references")
            }
        default: throw LinkSettingError(key, "has patternType '\(self.type)'; it is \(Self.types)")
        }
    }

    /// Items of a list separated by commas, each a name or a regular expression.
    static func list(_ text: String, key: String) throws(LinkSettingError) -> [NameMatch] {
        var found: [NameMatch] = []
        for item in text.split(separator: ",") {
            let trimmed = item.drop { $0 == " " }
            guard let last = trimmed.lastIndex(where: { $0 != " " }) else { continue }
            let name = String(trimmed[...last])
            found.append(try NameMatch(name, type: isPlain(name) ? "LITERAL" : "REGEX", key: key))
        }
        return found
    }

    /// Whether a text can be nothing but a name. Dots are taken for dots.
    private static func isPlain(_ text: String) -> Bool {
        text.utf8.allSatisfy { byte in
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 45 || byte == 46 || byte == 95
        }
    }

    func matches(_ name: String) -> Bool {
        switch kind {
        case .all: true
        case .literal: name == text
        case .prefixed: name.hasPrefix(text)
        case .pattern(let pattern): pattern.matchesWhole(name)
        }
    }

    static func == (left: NameMatch, right: NameMatch) -> Bool { left.type == right.type && left.text == right.text }

    func hash(into hasher: inout Hasher) {
        hasher.combine(type)
        hasher.combine(text)
    }
}
