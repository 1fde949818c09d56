// A transform of records on their way: which are left out, and what becomes of the rest.
import NIOCore
import Primitives
import RecordBatches

/// What happens to a record whose key or value should be JSON and is not.
public enum MalformedPolicy: String, Hashable, Sendable, CaseIterable {
    /// The partition waits, with the reason.
    case fail
    /// The record is left out.
    case drop
    /// The record goes on as it is, whatever is in it.
    case pass
}

/// Why a record cannot be passed on.
public struct TransformRefusal: Error, Hashable, Sendable {
    public var reason: String
}

/// A named transform of a flow, as its file describes it.
public struct RecordTransform: Sendable {
    /// What stands where something was masked.
    public static let mask = "****"

    public enum Outcome: Hashable, Sendable {
        case unchanged
        case changed
        case dropped
    }

    public let name: String
    public let topics: NamePatterns
    let keep: [RecordCondition]
    let discard: [RecordCondition]
    private let value: PartRules
    private let key: PartRules
    private let headers: [(name: String, action: FieldAction)]
    let malformed: MalformedPolicy
    private let secret: FieldSecret?

    init(
        name: String, topics: NamePatterns, rules: [(place: RecordPlace, action: FieldAction)], keep: [RecordCondition],
        discard: [RecordCondition], malformed: MalformedPolicy, secret: FieldSecret?
    ) {
        (self.name, self.topics, self.keep, self.discard) = (name, topics, keep, discard)
        (self.malformed, self.secret) = (malformed, secret)
        value = PartRules(rules) { if case .value(let path) = $0 { .some(path) } else { nil } }
        key = PartRules(rules) { if case .key(let path) = $0 { .some(path) } else { nil } }
        headers = rules.compactMap { rule in
            if case .header(let name) = rule.place { (name, rule.action) } else { nil }
        }
    }

    /// Changes a record.
    ///
    /// - Throws: what is wrong with the record, when the transform says that such records are not passed over.
    public func apply(_ record: inout Record) throws(TransformRefusal) -> Outcome {
        let conditions = keep + discard
        let (keyTree, valueTree): (JSONTree?, JSONTree?)
        do throws(JSONPartError) {
            keyTree = try Self.tree(record.key, "key", !key.fields.isEmpty || conditions.contains(where: \.readsKey))
            valueTree = try Self.tree(record.value, "value", !value.fields.isEmpty || conditions.contains(where: \.readsValue))
        } catch {
            switch malformed {
            case .drop: return .dropped
            case .pass: return .unchanged
            case .fail:
                throw TransformRefusal(
                    reason: "transform '\(name)': the \(error.part) is not JSON: \(error.error.reason) at byte \(error.error.offset); "
                        + "transforms.\(name).malformed = drop or pass decides otherwise")
            }
        }
        if !keep.isEmpty, !keep.contains(where: { $0.holds(record, key: keyTree, value: valueTree) }) { return .dropped }
        if discard.contains(where: { $0.holds(record, key: keyTree, value: valueTree) }) { return .dropped }
        var isChanged = false
        if let bytes = record.key, let changed = key.apply(to: bytes, keyTree, secret) {
            record.key = changed.bytes
            isChanged = true
        }
        if let bytes = record.value, let changed = value.apply(to: bytes, valueTree, secret) {
            record.value = changed.bytes
            isChanged = true
        }
        if changeHeaders(&record) { isChanged = true }
        return isChanged ? .changed : .unchanged
    }

    private func changeHeaders(_ record: inout Record) -> Bool {
        guard !headers.isEmpty, !record.headers.isEmpty else { return false }
        var kept: [RecordHeader] = []
        var isChanged = false
        for header in record.headers {
            guard let action = headers.first(where: { $0.name == header.key })?.action, action == .drop || header.value != nil else {
                kept.append(header)
                continue
            }
            isChanged = true
            if action == .drop { continue }
            kept.append(RecordHeader(header.key, header.value.flatMap { PartRules.replaced($0, action, secret) }))
        }
        if isChanged { record.headers = RecordHeaders(kept) }
        return isChanged
    }

    private static func tree(_ bytes: ByteBuffer?, _ part: String, _ isWanted: Bool) throws(JSONPartError) -> JSONTree? {
        guard isWanted, let bytes else { return nil }
        do throws(JSONTreeError) {
            return try JSONTree(Array(bytes.readableBytesView.dropFirst(PartRules.framing(bytes))))
        } catch {
            throw JSONPartError(part: part, error: error)
        }
    }
}

private struct JSONPartError: Error {
    var part: String
    var error: JSONTreeError
}

/// What is done to a key or a value: to the whole of it, or to fields inside.
private struct PartRules: Sendable {
    let whole: FieldAction?
    let fields: FieldRules

    /// - Parameter path: a place's path when the place is in this part.
    init(_ rules: [(place: RecordPlace, action: FieldAction)], _ path: (RecordPlace) -> FieldPath??) {
        var found: [(path: FieldPath, action: FieldAction)] = []
        var whole: FieldAction?
        for (place, action) in rules {
            switch path(place) {
            case .some(.some(let path)): found.append((path, action))
            case .some(nil): whole = whole ?? action
            case nil: continue
            }
        }
        self.whole = whole
        fields = FieldRules(found)
    }

    /// Nil when nothing changes.
    func apply(to bytes: ByteBuffer, _ tree: JSONTree?, _ secret: FieldSecret?) -> (bytes: ByteBuffer?, isWhole: Bool)? {
        if let whole { return (Self.replaced(bytes, whole, secret), true) }
        guard let tree, let changed = fields.apply(to: tree, secret) else { return nil }
        var result = ByteBuffer(bytes: bytes.readableBytesView.prefix(Self.framing(bytes)))
        result.writeBytes(changed)
        return (result, false)
    }

    /// Serialisers with a schema registry put a zero and four bytes of the schema's id in front of the JSON.
    static func framing(_ bytes: ByteBuffer) -> Int {
        bytes.readableBytes > 5 && bytes.getInteger(at: bytes.readerIndex, as: UInt8.self) == 0 ? 5 : 0
    }

    /// Nil for dropped.
    static func replaced(_ bytes: ByteBuffer, _ action: FieldAction, _ secret: FieldSecret?) -> ByteBuffer? {
        switch action {
        case .drop: return nil
        case .mask: return ByteBuffer(string: RecordTransform.mask)
        case .hash: return ByteBuffer(string: secret?.hash(Array(bytes.readableBytesView)) ?? "")
        case .tokenise:
            let content = Array(bytes.readableBytesView)
            guard let text = String(validating: content, as: UTF8.self) else { return ByteBuffer(string: secret?.hash(content) ?? "") }
            return ByteBuffer(string: secret?.token(text) ?? "")
        }
    }
}
