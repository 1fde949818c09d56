// A JSON text with some of its fields dropped, hashed, tokenised or masked. Whatever no rule names is passed on byte for byte.

/// Fields of a JSON text and what is done to each.
struct FieldRules: Sendable {
    private let paths: [FieldPath]
    private let actions: [FieldAction]

    /// Rules in the order of their precedence.
    init(_ rules: [(path: FieldPath, action: FieldAction)]) {
        paths = rules.map(\.path)
        actions = rules.map(\.action)
    }

    var isEmpty: Bool { paths.isEmpty }

    /// - Returns: the new text; nil when no rule found anything.
    func apply(to tree: JSONTree, _ secret: FieldSecret?) -> [UInt8]? {
        let search = FieldSearch(paths: paths)
        var writer = FieldWriter(tree: tree, search: search, actions: actions, secret: secret)
        writer.write(tree.root, search.start)
        return writer.isChanged ? writer.output : nil
    }
}

private struct FieldWriter {
    let tree: JSONTree
    let search: FieldSearch
    let actions: [FieldAction]
    let secret: FieldSecret?
    var output: [UInt8] = []
    var isChanged = false

    mutating func write(_ node: JSONNode, _ cursors: [FieldSearch.Cursor]) {
        guard !cursors.isEmpty, !node.children.isEmpty else {
            output += tree.bytes[node.range]
            return
        }
        output.append(UInt8(ascii: node.kind == .object ? "{" : "["))
        var isFirst = true
        for (index, child) in node.children.enumerated() {
            let (below, hit) = search.descend(cursors, name: child.name, element: node.kind == .array ? index : nil)
            let action = hit.map { actions[$0] }
            if action == .drop {
                isChanged = true
                continue
            }
            if !isFirst { output.append(UInt8(ascii: ",")) }
            isFirst = false
            writeName(child)
            if let action { replace(child.node, action, below) } else { write(child.node, below) }
        }
        output.append(UInt8(ascii: node.kind == .object ? "}" : "]"))
    }

    private mutating func writeName(_ child: JSONChild) {
        guard !child.nameRange.isEmpty else { return }
        output += tree.bytes[child.nameRange]
        output.append(UInt8(ascii: ":"))
    }

    /// Everything inside of an object or a list, with its shape kept. What is to be dropped inside of it is dropped nevertheless.
    private mutating func replace(_ node: JSONNode, _ action: FieldAction, _ cursors: [FieldSearch.Cursor]) {
        switch node.kind {
        case .null: output += tree.bytes[node.range]
        case .object, .array:
            output.append(UInt8(ascii: node.kind == .object ? "{" : "["))
            var isFirst = true
            for (index, child) in node.children.enumerated() {
                let (below, hit) = search.descend(cursors, name: child.name, element: node.kind == .array ? index : nil)
                let inner = hit.map { actions[$0] }
                if inner == .drop {
                    isChanged = true
                    continue
                }
                if !isFirst { output.append(UInt8(ascii: ",")) }
                isFirst = false
                writeName(child)
                replace(child.node, inner ?? action, below)
            }
            output.append(UInt8(ascii: node.kind == .object ? "}" : "]"))
        case .string, .number, .boolean:
            isChanged = true
            output += replaced(node, action)
        }
    }

    private func replaced(_ node: JSONNode, _ action: FieldAction) -> [UInt8] {
        let text = tree.text(node)
        switch (action, node.kind) {
        case (.hash, _): return JSONTree.quoted(secret?.hash(Array(text.utf8)) ?? "")
        case (.tokenise, .string): return JSONTree.quoted(secret?.token(text) ?? "")
        case (.tokenise, .number): return secret?.token(number: Array(text.utf8)) ?? [UInt8(ascii: "0")]
        case (_, .number): return [UInt8(ascii: "0")]
        case (_, .boolean): return Array("false".utf8)
        default: return JSONTree.quoted(RecordTransform.mask)
        }
    }
}
