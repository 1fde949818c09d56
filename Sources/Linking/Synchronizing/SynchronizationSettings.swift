// What a link is told of synchronising beside the data. Everything is off until it is asked for. Names are those of Cluster Linking where it
// has such a setting, and formed like them where it has none.

/// Whether and how often something is synchronised.
public struct SynchronizationSchedule: Sendable, Hashable {
    public var isEnabled = false
    public var milliseconds: Int64
}

/// A link's settings about access control, users, quotas, share groups and new mirrors.
public struct SynchronizationSettings: Sendable, Hashable {
    public var accessRules = SynchronizationSchedule(milliseconds: 5_000)
    public var accessRuleFilter = AccessRuleFilter()
    public var users = SynchronizationSchedule(milliseconds: 30_000)
    public var userFilter = NameFilter(subject: .users)
    /// Whether what is stored of passwords may come over a connection that is not encrypted.
    public var allowsPlaintextCredentials = false
    public var quotas = SynchronizationSchedule(milliseconds: 30_000)
    public var quotaFilter = NameFilter(subject: .quotas)
    public var shareOffsets = SynchronizationSchedule(milliseconds: 30_000)
    public var shareGroupFilter = NameFilter(subject: .groups)
    /// Whether groups that the link made here go when they go at the source.
    public var deletesGroups = false
    /// Of mirror topics that are made; -1 for this cluster's default.
    public var replicationFactor: Int16 = -1

    public init() {}

    /// A setting, and where it goes.
    private struct Row: Sendable {
        var setting: LinkSetting
        var take: @Sendable (inout SynchronizationSettings, String) throws(LinkSettingError) -> Void
    }

    private typealias Path<Value> = WritableKeyPath<SynchronizationSettings, Value> & Sendable

    private static func flag(_ key: String, _ path: Path<Bool>, _ meaning: String) -> Row {
        Row(setting: LinkSetting(key: key, kind: .boolean, defaultValue: "false", meaning: meaning)) { $0[keyPath: path] = $1 == "true" }
    }

    private static func interval(_ key: String, _ path: Path<Int64>) -> Row {
        let standard = SynchronizationSettings()[keyPath: path]
        let setting = LinkSetting(
            key: key, kind: .integer(1_000...Int64(Int32.max)), defaultValue: "\(standard)", meaning: "How often.")
        return Row(setting: setting) { $0[keyPath: path] = Int64($1) ?? standard }
    }

    private static func filter(
        _ key: String, _ subject: NameFilter.Subject, _ path: Path<NameFilter>, _ meaning: String
    ) -> Row {
        let setting = LinkSetting(
            key: key, kind: .filters(subject), defaultValue: "",
            meaning: "\(meaning): JSON, {\"\(subject.rawValue)\":[…]}; all when it is empty.")
        return Row(setting: setting) { (settings, value) throws(LinkSettingError) in
            settings[keyPath: path] = try NameFilter(parsing: value, subject: subject, key: key)
        }
    }

    private static let rows: [Row] = [
        flag("acl.sync.enable", \.accessRules.isEnabled, "Copies the source's access control entries."),
        interval("acl.sync.ms", \.accessRules.milliseconds),
        Row(
            setting: LinkSetting(
                key: "acl.filters", kind: .text, defaultValue: "",
                meaning: "Which of them: JSON, {\"aclFilters\":[{\"resourceFilter\":{…},\"accessFilter\":{…}}]}; all when it is empty.")
        ) { (settings, value) throws(LinkSettingError) in
            settings.accessRuleFilter = try AccessRuleFilter(parsing: value, key: "acl.filters")
        },
        flag(
            "user.sync.enable", \.users.isEnabled, "Copies SCRAM users with what is stored of their passwords; from a Martlet cluster only."
        ),
        interval("user.sync.ms", \.users.milliseconds),
        filter("user.filters", .users, \.userFilter, "Which users"),
        flag(
            "user.sync.plaintext.enable", \.allowsPlaintextCredentials,
            "Copies them also over a connection that is not encrypted, where anybody on the way can read them."),
        flag("quota.sync.enable", \.quotas.isEnabled, "Copies the source's client quotas."),
        interval("quota.sync.ms", \.quotas.milliseconds),
        filter("quota.filters", .quotas, \.quotaFilter, "Which of them, by names like user:alice, client-id:<default>"),
        flag(
            "share.offset.sync.enable", \.shareOffsets.isEnabled, "Copies where share groups stand, of those that have no members here."),
        interval("share.offset.sync.ms", \.shareOffsets.milliseconds),
        filter("share.offset.group.filters", .groups, \.shareGroupFilter, "Which share groups"),
        flag("group.delete.sync.enable", \.deletesGroups, "Deletes groups that the link made here when they are deleted at the source."),
        Row(
            setting: LinkSetting(
                key: "mirror.replication.factor", kind: .integer(-1...Int64(Int16.max)), defaultValue: "-1",
                meaning: "Replicas of new mirror topics; -1 for default.replication.factor of this cluster.")
        ) { (settings, value) throws(LinkSettingError) in
            guard let number = Int16(value), number != 0 else {
                throw LinkSettingError("mirror.replication.factor", "is 0; it is -1 or at least 1")
            }
            settings.replicationFactor = number
        },
    ]

    static let table = rows.map(\.setting)

    /// Takes over a value that has been checked by the table.
    ///
    /// - Returns: false for a key that is not about this.
    mutating func set(_ key: String, _ value: String) throws(LinkSettingError) -> Bool {
        guard let row = Self.rows.first(where: { $0.setting.key == key }) else { return false }
        try row.take(&self, value)
        return true
    }

    /// Filters that say nothing let everything through.
    mutating func complete() {
        if accessRuleFilter.isEmpty { accessRuleFilter = .everything }
        if userFilter.isEmpty { userFilter = .everything(.users) }
        if quotaFilter.isEmpty { quotaFilter = .everything(.quotas) }
        if shareGroupFilter.isEmpty { shareGroupFilter = .everything(.groups) }
    }

    /// Of what the coordinator of links keeps in step.
    public func schedule(of kind: SynchronizedKind) -> SynchronizationSchedule? {
        switch kind {
        case .acls: accessRules
        case .users: users
        case .quotas: quotas
        case .shareOffsets: shareOffsets
        case .offsets: nil
        }
    }
}
