// Conditions by which records are kept or left out: `value.country = DE`, `header.env != test`, `key ~ eu-.*`, `value.deleted`.
import NIOCore
import Primitives
import RecordBatches

/// A condition on a record.
struct RecordCondition: Sendable {
    enum Test: Sendable {
        case exists
        case equals(String)
        /// Also where there is nothing at the place.
        case differs(String)
        case matches(LinearPattern)
    }

    let place: RecordPlace
    let test: Test

    init(_ text: String) throws(TransformMistake) {
        let parts = text.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: true)
        guard let first = parts.first else { throw TransformMistake(message: "a condition is missing") }
        place = try RecordPlace(first)
        guard parts.count > 1 else {
            test = .exists
            return
        }
        let wanted = parts.count > 2 ? String(parts[2]) : ""
        switch parts[1] {
        case "=": test = .equals(wanted)
        case "!=": test = .differs(wanted)
        case "~":
            do throws(LinearPatternError) {
                test = .matches(try LinearPattern(wanted))
            } catch {
                throw TransformMistake(message: "'\(wanted)' is no pattern that can be used here: \(error)")
            }
        default:
            throw TransformMistake(
                message:
                    "'\(text)' is no condition: write PLACE, PLACE = TEXT, PLACE != TEXT or PLACE ~ PATTERN, with blanks around the sign")
        }
    }

    /// Whether the condition looks into JSON.
    var readsValue: Bool { if case .value(.some) = place { true } else { false } }
    var readsKey: Bool { if case .key(.some) = place { true } else { false } }

    /// - Parameters:
    ///   - key: the key's JSON; nil where there is none, or nobody asked.
    ///   - value: likewise.
    func holds(_ record: Record, key: JSONTree?, value: JSONTree?) -> Bool {
        let found: [String]
        switch place {
        case .value(nil): found = Self.text(record.value)
        case .key(nil): found = Self.text(record.key)
        case .header(let name): found = record.headers.filter { $0.key == name }.map { $0.value.map { String(buffer: $0) } ?? "" }
        case .value(let path?): found = Self.texts(path, value)
        case .key(let path?): found = Self.texts(path, key)
        }
        switch test {
        case .exists: return !found.isEmpty
        case .equals(let wanted): return found.contains(wanted)
        case .differs(let wanted): return !found.contains(wanted)
        case .matches(let pattern): return found.contains { pattern.matchesWhole($0) }
        }
    }

    private static func text(_ buffer: ByteBuffer?) -> [String] { buffer.map { [String(buffer: $0)] } ?? [] }

    private static func texts(_ path: FieldPath, _ tree: JSONTree?) -> [String] {
        guard let tree else { return [] }
        return FieldSearch(paths: [path]).found(in: tree).map(tree.text)
    }
}
