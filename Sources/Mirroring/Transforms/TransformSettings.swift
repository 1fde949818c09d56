// Transforms as they stand in the file: `A->B.transforms = pii` and `A->B.transforms.pii.*`. A slip of the pen here would let out what must
// stay in, so nothing unknown is passed over.

/// Where a transform's secret is.
public enum SecretLocation: Hashable, Sendable {
    case file(String)
    case environment(String)
}

/// A transform of a flow before its secret was read.
public struct TransformSettings: Sendable {
    public let name: String
    public let secret: SecretLocation?
    private let topics: NamePatterns
    private let rules: [(place: RecordPlace, action: FieldAction)]
    private let keep: [RecordCondition]
    private let discard: [RecordCondition]
    private let malformed: MalformedPolicy

    /// - Parameter secret: what `secret` names.
    public func transform(_ secret: FieldSecret?) -> RecordTransform {
        RecordTransform(
            name: name, topics: topics, rules: rules, keep: keep, discard: discard, malformed: malformed, secret: secret)
    }

    private static let known =
        ["topics", "keep", "discard", "malformed", "secret.file", "secret.environment"] + FieldAction.allCases.map(\.rawValue)

    /// All transforms of a flow, in the order of `transforms`.
    static func read(_ settings: inout MirrorSettings) -> [TransformSettings] {
        let names = NamePatterns.items(settings.string("transforms", ""))
        for entry in settings.entries(below: "transforms.") where !names.contains(where: { entry.key.hasPrefix("\($0).") }) {
            settings.fail(entry.entry, "belongs to no transform that 'transforms' names (\(names.joined(separator: ", ")))")
        }
        if Set(names).count < names.count, let entry = settings.entry("transforms") { settings.fail(entry, "names a transform twice") }
        return names.compactMap { name in TransformSettings(name, &settings) }
    }

    /// Nil when something is wrong with it; the mistakes are among the settings'.
    private init?(_ name: String, _ settings: inout MirrorSettings) {
        self.name = name
        let prefix = "transforms.\(name)."
        let before = settings.mistakes.count
        for (key, entry) in settings.entries(below: prefix) where !Self.known.contains(key) {
            settings.fail(
                entry,
                key == "type"
                    ? "names a Java class, which is not run here; write what becomes of which fields with drop, hash, tokenise and mask"
                    : "is not known; there are \(Self.known.joined(separator: ", "))")
        }
        var rules: [(place: RecordPlace, action: FieldAction)] = []
        for action in FieldAction.allCases {
            for place in settings.list(prefix + action.rawValue, { (text) throws(TransformMistake) in try RecordPlace(text[...]) }) {
                rules.append((place, action))
            }
        }
        keep = settings.list(prefix + "keep") { (text) throws(TransformMistake) in try RecordCondition(text) }
        discard = settings.list(prefix + "discard") { (text) throws(TransformMistake) in try RecordCondition(text) }
        if rules.isEmpty, keep.isEmpty, discard.isEmpty, let entry = settings.entry("transforms"), settings.mistakes.count == before {
            settings.fail(
                entry, "'\(name)' does nothing; write \(prefix)drop = value.NAME or another of \(Self.known.joined(separator: ", "))")
        }
        self.rules = rules
        let policy = settings.choice(prefix + "malformed", "fail", MalformedPolicy.allCases.map(\.rawValue))
        malformed = MalformedPolicy(rawValue: policy) ?? .fail
        if let file = settings.entry(prefix + "secret.file") {
            secret = .file(file.value)
        } else {
            secret = settings.entry(prefix + "secret.environment").map { .environment($0.value) }
        }
        if let rule = rules.first(where: \.action.isKeyed), secret == nil, let entry = settings.entry(prefix + rule.action.rawValue) {
            settings.fail(
                entry,
                "needs a secret of at least \(FieldSecret.minimumBytes) bytes; say where it is: \(prefix)secret.file = PATH or "
                    + "\(prefix)secret.environment = NAME")
        }
        guard let topics = settings.patterns(prefix + "topics", ".*"), settings.mistakes.count == before else { return nil }
        self.topics = topics
    }
}

extension MirrorSettings {
    /// The settings of the flow, or for all flows, that begin so.
    func entries(below prefix: String) -> [(key: String, entry: MirrorEntry)] {
        connectorEntries.compactMap { key, entry in key.dropping(prefix).map { ($0, entry) } }
    }

    /// A list of things that can be written wrong.
    fileprivate mutating func list<Item>(_ key: String, _ read: (String) throws(TransformMistake) -> Item) -> [Item] {
        guard let entry = entry(key) else { return [] }
        var items: [Item] = []
        for text in NamePatterns.items(entry.value) {
            do throws(TransformMistake) {
                items.append(try read(text))
            } catch {
                fail(entry, error.message)
            }
        }
        if items.isEmpty, NamePatterns.items(entry.value).isEmpty { fail(entry, "is empty") }
        return items
    }
}
