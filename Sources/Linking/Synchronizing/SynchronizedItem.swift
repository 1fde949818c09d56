// What a link has put here beside the data, and may therefore take away again: access control entries, users, quotas, groups. Whatever is not
// in this record was made here by somebody else, and no link touches it.
import Collections
import Primitives

/// What a link keeps in step beside the records and settings of topics.
public enum SynchronizedKind: String, Sendable, Hashable, CaseIterable {
    case acls
    case users
    case quotas
    case offsets
    case shareOffsets = "share-offsets"
}

/// One thing that a link has put here.
public struct SynchronizedItem: Sendable, Hashable {
    public struct Key: Sendable, Hashable {
        public var link: String
        public var kind: SynchronizedKind
        /// What it is, in the words of its kind; JSON for all but groups.
        public var name: String

        public init(link: String, kind: SynchronizedKind, name: String) {
            self.link = link
            self.kind = kind
            self.name = name
        }
    }

    public struct Value: Sendable, Hashable {
        /// What the link puts there. Never a secret: records can be read by whoever may read the topic.
        public var current: String
        /// What was there before, since the record is written first and whoever writes it may die in between; nil for nothing.
        public var former: String?

        public init(_ current: String, former: String? = nil) {
            self.current = current
            self.former = former
        }

        /// Whether the link may have put this there.
        public func accounts(for text: String) -> Bool { text == current || text == former }
    }

    public var key: Key
    public var value: Value

    public init(key: Key, value: Value) {
        self.key = key
        self.value = value
    }
}

/// Everything that links have put here.
public struct SynchronizedItems: Sendable, Hashable {
    /// Most items of one kind that one link may have: what it holds in memory, and has to write when it goes.
    public static let maximumCount = 20_000
    /// The longest name of an item in bytes.
    public static let maximumNameLength = 4_096

    private var byLink: [String: [SynchronizedKind: [String: SynchronizedItem.Value]]] = [:]

    public init() {}

    /// What a link has put here of one kind, by name.
    public func of(_ link: String, _ kind: SynchronizedKind) -> [String: SynchronizedItem.Value] { byLink[link]?[kind] ?? [:] }

    public subscript(key: SynchronizedItem.Key) -> SynchronizedItem.Value? { byLink[key.link]?[key.kind]?[key.name] }

    /// All items of a link, in an order that is the same everywhere.
    public func keys(of link: String) -> [SynchronizedItem.Key] {
        SynchronizedKind.allCases.flatMap { kind in of(link, kind).keys.sorted().map { .init(link: link, kind: kind, name: $0) } }
    }

    mutating func put(_ item: SynchronizedItem) {
        byLink[item.key.link, default: [:]][item.key.kind, default: [:]][item.key.name] = item.value
    }

    mutating func remove(_ key: SynchronizedItem.Key) { byLink[key.link]?[key.kind]?[key.name] = nil }

    mutating func removeAll(of link: String) { byLink[link] = nil }
}

// MARK: - Records

extension SynchronizedItem.Key {
    var json: JSONValue {
        ["type": "synchronized", "name": .string(link), "kind": .string(kind.rawValue), "item": .string(name)]
    }

    /// - Parameter link: the record's name.
    init?(link: String, _ json: JSONValue) {
        guard let kind = json["kind"]?.stringValue.flatMap({ SynchronizedKind(rawValue: $0) }), let name = json["item"]?.stringValue else {
            return nil
        }
        self.init(link: link, kind: kind, name: name)
    }
}

extension SynchronizedItem.Value {
    var json: JSONValue { ["version": 1, "current": .string(current), "former": former.map { .string($0) } ?? .null] }

    init?(_ json: JSONValue) {
        guard let current = json["current"]?.stringValue else { return nil }
        self.init(current, former: json["former"]?.stringValue)
    }
}

// MARK: - Decisions

extension LinkCoordinator {
    /// A link is about to put items here. To be recorded before it does, so that whoever coordinates next knows whose they are.
    ///
    /// - Parameter id: of the link that the work was begun for; another one of its name has nothing to do with it.
    public func claim(
        _ items: [SynchronizationPlan.Item], _ kind: SynchronizedKind, link name: String, id: KafkaUUID
    ) throws(LinkRefusal) -> [LinkRecord] {
        try check(name, id)
        let own = image.synchronized.of(name, kind)
        var count = own.count
        var records: [LinkRecord] = []
        for item in items {
            let value = SynchronizedItem.Value(item.value, former: item.former)
            guard own[item.name] != value, item.name.utf8.count <= SynchronizedItems.maximumNameLength else { continue }
            if own[item.name] == nil {
                guard count < SynchronizedItems.maximumCount else { continue }
                count += 1
            }
            records.append(.synchronized(SynchronizedItem(key: .init(link: name, kind: kind, name: item.name), value: value)))
        }
        return records
    }

    /// Items are not the link's, or not here any more.
    public func forget(
        _ names: [String], _ kind: SynchronizedKind, link name: String, id: KafkaUUID
    ) throws(LinkRefusal) -> [LinkRecord] {
        try check(name, id)
        let own = image.synchronized.of(name, kind)
        return names.compactMap { own[$0] == nil ? nil : .synchronizedRemoved(.init(link: name, kind: kind, name: $0)) }
    }

    /// The items of a link that is to go: what it put here stays, and belongs to nobody.
    func forgetAll(link name: String) -> [LinkRecord] {
        let statuses = SynchronizedKind.allCases.map { SynchronizationKey(link: name, kind: $0) }
        return image.synchronized.keys(of: name).map { .synchronizedRemoved($0) }
            + statuses.filter { image.synchronizations[$0] != nil }.map { .synchronizationRemoved($0) }
    }

    private func check(_ name: String, _ id: KafkaUUID) throws(LinkRefusal) {
        guard let link = image.links[name], link.id == id else { throw LinkRefusal(.unknownLink, "link '\(name)' is gone") }
    }
}
