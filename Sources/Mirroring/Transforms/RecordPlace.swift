// Places in a record, as an operator writes them: `value.customer.email`, `value.cards[*].number`, `key.id`, `key`, `header.user`.

/// Why a place, a condition or a transform cannot be used.
struct TransformMistake: Error, Equatable {
    var message: String
}

/// Where something stands in a JSON text.
public struct FieldPath: Hashable, Sendable {
    public enum Step: Hashable, Sendable {
        case member(String)
        /// `[3]`
        case element(Int)
        /// `[*]`
        case anyElement
        /// `*`
        case anyMember
        /// `**`: any number of members and elements, also none.
        case anyDepth
    }

    public let steps: [Step]

    /// Steps with dots between them; a name with dots or brackets in it stands in double quotes.
    init(_ text: Substring) throws(TransformMistake) {
        var steps: [Step] = []
        var rest = text
        while !rest.isEmpty {
            if rest.first == "[" {
                guard let end = rest.firstIndex(of: "]") else { throw TransformMistake(message: "']' is missing in '\(text)'") }
                let inner = rest[rest.index(after: rest.startIndex)..<end]
                if inner == "*" {
                    steps.append(.anyElement)
                } else if let number = Int(inner), number >= 0 {
                    steps.append(.element(number))
                } else {
                    throw TransformMistake(message: "'[\(inner)]' in '\(text)' is neither [*] nor a number")
                }
                rest = rest[rest.index(after: end)...]
            } else {
                let name = try Self.name(&rest, text)
                steps.append(name)
            }
            guard let next = rest.first else { break }
            if next == "." {
                rest = rest.dropFirst()
                if rest.isEmpty { throw TransformMistake(message: "'\(text)' ends with a dot") }
            } else if next != "[" {
                throw TransformMistake(message: "'.' or '[' is missing before '\(rest)' in '\(text)'")
            }
        }
        if steps.last == .anyDepth {
            throw TransformMistake(message: "'\(text)' ends with '**'; name what is meant below, such as **.email")
        }
        self.steps = steps
    }

    private static func name(_ rest: inout Substring, _ text: Substring) throws(TransformMistake) -> Step {
        if rest.first == "\"" {
            let inner = rest.dropFirst()
            guard let end = inner.firstIndex(of: "\"") else { throw TransformMistake(message: "a quote is missing in '\(text)'") }
            rest = inner[inner.index(after: end)...]
            return .member(String(inner[..<end]))
        }
        let end = rest.firstIndex { $0 == "." || $0 == "[" } ?? rest.endIndex
        let name = rest[..<end]
        guard !name.isEmpty else { throw TransformMistake(message: "a name is missing in '\(text)'") }
        rest = rest[end...]
        return name == "**" ? .anyDepth : name == "*" ? .anyMember : .member(String(name))
    }
}

/// A place in a record.
public enum RecordPlace: Hashable, Sendable {
    /// The whole value, or a part of it, which is JSON then.
    case value(FieldPath?)
    case key(FieldPath?)
    case header(String)

    init(_ text: Substring) throws(TransformMistake) {
        switch text {
        case "value": self = .value(nil)
        case "key": self = .key(nil)
        case _ where text.hasPrefix("value.") || text.hasPrefix("value["): self = .value(try FieldPath(Self.rest(text, "value")))
        case _ where text.hasPrefix("key.") || text.hasPrefix("key["): self = .key(try FieldPath(Self.rest(text, "key")))
        case _ where text.hasPrefix("header."):
            let name = String(text.dropFirst(7))
            guard !name.isEmpty, name != Provenance.header else {
                throw TransformMistake(message: "'\(text)' cannot be changed: loops are found by \(Provenance.header)")
            }
            self = .header(name)
        default:
            throw TransformMistake(
                message: "'\(text)' is no place in a record: write value.NAME, value, key.NAME, key or header.NAME")
        }
    }

    private static func rest(_ text: Substring, _ prefix: String) -> Substring {
        let rest = text.dropFirst(prefix.count)
        return rest.first == "." ? rest.dropFirst() : rest
    }
}

/// Paths that are looked for at the same time on the way down a JSON text.
struct FieldSearch {
    /// How far one path has come.
    struct Cursor: Equatable {
        var path: Int
        var step: Int
    }

    let paths: [FieldPath]

    var start: [Cursor] { paths.indices.map { Cursor(path: $0, step: 0) } }

    /// One level down.
    ///
    /// - Parameter element: the element's number in a list; nil for a member.
    /// - Returns: what goes on below, and the first path that ends here.
    func descend(_ cursors: [Cursor], name: String, element: Int?) -> (below: [Cursor], hit: Int?) {
        var below: [Cursor] = []
        var hit: Int?
        var waiting = cursors
        while let cursor = waiting.popLast() {
            let steps = paths[cursor.path].steps
            let isReached: Bool
            switch (steps[cursor.step], element) {
            case (.anyDepth, _):
                Self.add(cursor, to: &below)
                waiting.append(Cursor(path: cursor.path, step: cursor.step + 1))
                continue
            // Names are looked for in every element of a list on the way.
            case (.member, .some), (.anyMember, .some):
                Self.add(cursor, to: &below)
                continue
            case (.member(let wanted), nil): isReached = wanted == name
            case (.anyMember, nil): isReached = true
            case (.element(let wanted), let element): isReached = wanted == element
            case (.anyElement, let element): isReached = element != nil
            }
            guard isReached else { continue }
            if cursor.step + 1 == steps.count {
                hit = min(hit ?? cursor.path, cursor.path)
            } else {
                Self.add(Cursor(path: cursor.path, step: cursor.step + 1), to: &below)
            }
        }
        return (below, hit)
    }

    private static func add(_ cursor: Cursor, to cursors: inout [Cursor]) {
        if !cursors.contains(cursor) { cursors.append(cursor) }
    }

    /// Everything that the paths lead to.
    func found(in tree: JSONTree) -> [JSONNode] {
        var found: [JSONNode] = []
        var waiting: [(JSONNode, [Cursor])] = [(tree.root, start)]
        while let (node, cursors) = waiting.popLast() {
            for (index, child) in node.children.enumerated() {
                let (below, hit) = descend(cursors, name: child.name, element: node.kind == .array ? index : nil)
                if hit != nil { found.append(child.node) }
                if !below.isEmpty { waiting.append((child.node, below)) }
            }
        }
        return found
    }
}
