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

    private static let interval = LinkSetting.Kind.integer(1_000...Int64(Int32.max))

    static let table: [LinkSetting] = [
        LinkSetting(key: "acl.sync.enable", kind: .boolean, defaultValue: "false", meaning: "Copies the source's access control entries."),
        LinkSetting(key: "acl.sync.ms", kind: interval, defaultValue: "5000", meaning: "How often."),
        LinkSetting(
            key: "acl.filters", kind: .text, defaultValue: "",
            meaning: "Which of them: JSON, {\"aclFilters\":[{\"resourceFilter\":{…},\"accessFilter\":{…}}]}; all when it is empty."),
        LinkSetting(
            key: "user.sync.enable", kind: .boolean, defaultValue: "false",
            meaning: "Copies SCRAM users with what is stored of their passwords; from a Martlet cluster only."),
        LinkSetting(key: "user.sync.ms", kind: interval, defaultValue: "30000", meaning: "How often."),
        LinkSetting(
            key: "user.filters", kind: .filters(.users), defaultValue: "",
            meaning: "Which users: JSON, {\"userFilters\":[…]}; all when it is empty."),
        LinkSetting(
            key: "user.sync.plaintext.enable", kind: .boolean, defaultValue: "false",
            meaning: "Copies them also over a connection that is not encrypted, where anybody on the way can read them."),
        LinkSetting(key: "quota.sync.enable", kind: .boolean, defaultValue: "false", meaning: "Copies the source's client quotas."),
        LinkSetting(key: "quota.sync.ms", kind: interval, defaultValue: "30000", meaning: "How often."),
        LinkSetting(
            key: "quota.filters", kind: .filters(.quotas), defaultValue: "",
            meaning: "Which of them, by names like user:alice, client-id:<default>: JSON, {\"quotaFilters\":[…]}; all when it is empty."),
        LinkSetting(
            key: "share.offset.sync.enable", kind: .boolean, defaultValue: "false",
            meaning: "Copies where share groups stand, of those that have no members here."),
        LinkSetting(key: "share.offset.sync.ms", kind: interval, defaultValue: "30000", meaning: "How often."),
        LinkSetting(
            key: "share.offset.group.filters", kind: .filters(.groups), defaultValue: "",
            meaning: "Which share groups: JSON, {\"groupFilters\":[…]}; all when it is empty."),
        LinkSetting(
            key: "group.delete.sync.enable", kind: .boolean, defaultValue: "false",
            meaning: "Deletes groups that the link made here when they are deleted at the source."),
        LinkSetting(
            key: "mirror.replication.factor", kind: .integer(-1...Int64(Int16.max)), defaultValue: "-1",
            meaning: "Replicas of new mirror topics; -1 for default.replication.factor of this cluster."),
    ]

    /// Takes over a value that has been checked by the table.
    ///
    /// - Returns: false for a key that is not about this.
    mutating func set(_ key: String, _ value: String) throws(LinkSettingError) -> Bool {
        let isTrue = value == "true"
        let number = Int64(value) ?? 0
        switch key {
        case "acl.sync.enable": accessRules.isEnabled = isTrue
        case "acl.sync.ms": accessRules.milliseconds = number
        case "acl.filters": accessRuleFilter = try AccessRuleFilter(parsing: value, key: key)
        case "user.sync.enable": users.isEnabled = isTrue
        case "user.sync.ms": users.milliseconds = number
        case "user.filters": userFilter = try NameFilter(parsing: value, subject: .users, key: key)
        case "user.sync.plaintext.enable": allowsPlaintextCredentials = isTrue
        case "quota.sync.enable": quotas.isEnabled = isTrue
        case "quota.sync.ms": quotas.milliseconds = number
        case "quota.filters": quotaFilter = try NameFilter(parsing: value, subject: .quotas, key: key)
        case "share.offset.sync.enable": shareOffsets.isEnabled = isTrue
        case "share.offset.sync.ms": shareOffsets.milliseconds = number
        case "share.offset.group.filters": shareGroupFilter = try NameFilter(parsing: value, subject: .groups, key: key)
        case "group.delete.sync.enable": deletesGroups = isTrue
        case "mirror.replication.factor":
            guard number != 0 else { throw LinkSettingError(key, "is 0; it is -1 or at least 1") }
            replicationFactor = Int16(clamping: number)
        default: return false
        }
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
