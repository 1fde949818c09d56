// What a link can be told, as data: every key with its default, its meaning and what it takes. Names and defaults are those that users of
// Cluster Linking know; what has no counterpart there is Martlet's own.
import Collections

/// One setting of a link.
public struct LinkSetting: Sendable {
    public enum Kind: Sendable, Hashable {
        case text
        case boolean
        case integer(ClosedRange<Int64>)
        case choice([String])
        case filters(NameFilter.Subject)
    }

    public var key: String
    public var kind: Kind
    /// Nil where there is none.
    public var defaultValue: String?
    /// Whether it may be changed once the link is there.
    public var isMutable = true
    public var meaning: String
}

/// Why a link's configuration cannot be used; names the key and the remedy.
public struct LinkSettingError: Error, Hashable, Sendable, CustomStringConvertible {
    public var key: String
    public var reason: String

    public init(_ key: String, _ reason: String) {
        self.key = key
        self.reason = reason
    }

    public var description: String { "\(key): \(reason)" }
}

/// A link's settings as they are used.
public struct LinkSettings: Sendable, Hashable {
    /// What becomes of a mirror whose source no longer has what comes next.
    public enum GapPolicy: String, Sendable, Hashable {
        /// The mirror stops and says so.
        case fail
        /// It goes on with what the source still has, and leaves the gap.
        case skip
    }

    public var bootstrapServers = ""
    public var topicPrefix = ""
    public var isPaused = false
    public var autoCreatesMirrors = false
    public var autoCreateFilter = NameFilter(subject: .topics)
    public var syncsOffsets = false
    public var offsetSyncMilliseconds: Int64 = 30_000
    public var groupFilter = NameFilter(subject: .groups)
    public var topicConfigSyncMilliseconds: Int64 = 5_000
    var topicConfigExclude: [NameMatch] = defaultConfigExcluded
    public var availabilityCheckMilliseconds: Int64 = 60_000
    public var availabilityFailureThreshold: Int64 = 5
    public var fetchers = 1
    public var fetchMaxBytes: Int32 = 1_048_576
    public var fetchResponseMaxBytes: Int32 = 10_485_760
    public var fetchWaitMaxMilliseconds: Int32 = 500
    public var bytesPerSecond: Int64 = .max
    /// Whether the source compresses its answers to fetches; the batches within stay as they are.
    public var compresses = false
    public var gapPolicy = GapPolicy.fail
    public var keepsTransactionsWhole = true
    public var transactionHoldMilliseconds: Int64 = 10_000
    public var synchronization = SynchronizationSettings()
    public var mode = LinkMode.destination
    public var connectionMode = LinkConnectionMode.outbound
    /// Empty until the link is made.
    public var localPrincipal = ""
    public var isSynchronous = false
    /// Which mirrors are synchronous, by the topics' names at the source.
    public var synchronousFilter = NameFilter(subject: .topics)
    public var synchronousTimeoutMilliseconds: Int64 = 10_000
    /// What goes to the client unchanged: security.protocol, sasl.*, ssl.*.
    public var clientProperties: OrderedDictionary<String, String> = [:]

    private static let mirrorSettings: [LinkSetting] = [
        LinkSetting(
            key: "bootstrap.servers", kind: .text, defaultValue: nil, meaning: "Brokers of the source cluster to begin with."),
        LinkSetting(
            key: "cluster.link.prefix", kind: .text, defaultValue: "", isMutable: false,
            meaning: "Put in front of the source topic's name to make the mirror topic's."),
        LinkSetting(
            key: "cluster.link.paused", kind: .boolean, defaultValue: "false", meaning: "Nothing is fetched or synchronised while true."),
        LinkSetting(
            key: "auto.create.mirror.topics.enable", kind: .boolean, defaultValue: "false",
            meaning: "Mirrors every topic of the source that the filters let through, also those that are created later."),
        LinkSetting(
            key: "auto.create.mirror.topics.filters", kind: .filters(.topics), defaultValue: "", meaning: "JSON, {\"topicFilters\":[…]}."),
        LinkSetting(
            key: "consumer.offset.sync.enable", kind: .boolean, defaultValue: "false",
            meaning: "Copies committed offsets of groups that have no members here."),
        LinkSetting(
            key: "consumer.offset.sync.ms", kind: .integer(1_000...Int64(Int32.max)), defaultValue: "30000", meaning: "How often."),
        LinkSetting(
            key: "consumer.offset.group.filters", kind: .filters(.groups), defaultValue: "", meaning: "JSON, {\"groupFilters\":[…]}."),
        LinkSetting(
            key: "topic.config.sync.ms", kind: .integer(500...Int64(Int32.max)), defaultValue: "5000",
            meaning: "How often settings, partition counts and the list of topics are compared with the source's."),
        LinkSetting(
            key: "topic.config.sync.exclude", kind: .text, defaultValue: defaultConfigExclude,
            meaning: "Topic settings that mirrors keep to themselves, names and regular expressions separated by commas."),
        LinkSetting(
            key: "availability.check.ms", kind: .integer(100...Int64(Int32.max)), defaultValue: "60000",
            meaning: "How often the source is tried."),
        LinkSetting(
            key: "availability.check.consecutive.failure.threshold", kind: .integer(1...1_000), defaultValue: "5",
            meaning: "Failures in a row after which mirrors are SOURCE_UNAVAILABLE."),
        LinkSetting(
            key: "num.cluster.link.fetchers", kind: .integer(1...64), defaultValue: "1",
            meaning: "Connections from each broker to each broker of the source."),
        LinkSetting(
            key: "replica.fetch.max.bytes", kind: .integer(1_024...Int64(Int32.max)), defaultValue: "1048576",
            meaning: "Of one partition in one answer."),
        LinkSetting(
            key: "replica.fetch.response.max.bytes", kind: .integer(1_024...Int64(Int32.max)), defaultValue: "10485760",
            meaning: "Of one answer; what a fetcher takes of memory."),
        LinkSetting(
            key: "replica.fetch.wait.max.ms", kind: .integer(1...60_000), defaultValue: "500",
            meaning: "How long the source waits for new records."),
        LinkSetting(
            key: "cluster.link.bytes.per.second", kind: .integer(-1...Int64.max), defaultValue: "-1",
            meaning: "What one broker fetches at most over the link; -1 for no limit."),
        LinkSetting(
            key: "link.compression.type", kind: .choice(["none", "zstd"]), defaultValue: "none",
            meaning: "zstd has the source compress what it sends, where it is Martlet's; what is stored stays as it was produced."),
        LinkSetting(
            key: "mirror.gap.policy", kind: .choice(["fail", "skip"]), defaultValue: "fail",
            meaning: "When the source has deleted what the mirror has not fetched yet: fail says so and stops, skip leaves the gap."),
        LinkSetting(
            key: "mirror.transactions.atomic.enable", kind: .boolean, defaultValue: "true",
            meaning: "Shows a transaction once it has arrived at all mirrors that it touched; a fail-over cuts others off, on all."),
        LinkSetting(
            key: "mirror.transactions.hold.max.ms", kind: .integer(100...3_600_000), defaultValue: "10000",
            meaning: "How long the mirrors of a transaction wait for one of them that does not get on."),
    ]

    public static let table = mirrorSettings + modeSettings + synchronousSettings + SynchronizationSettings.table

    /// Settings that say where replicas are and how safe they have to be belong to each cluster.
    public static let defaultConfigExclude =
        "follower.replication.throttled.replicas,leader.replication.throttled.replicas,min.insync.replicas,"
        + "unclean.leader.election.enable,message.timestamp.type"

    private static let clientPrefixes = ["security.", "sasl.", "ssl."]

    /// Reads a configuration as it was given.
    ///
    /// - Throws: for keys that do not exist and values that cannot be used.
    public init(_ configuration: OrderedDictionary<String, String>) throws(LinkSettingError) {
        for (key, value) in configuration {
            if Self.clientPrefixes.contains(where: { key.hasPrefix($0) }) {
                clientProperties[key] = value
                continue
            }
            guard let setting = Self.table.first(where: { $0.key == key }) else {
                throw LinkSettingError(key, "is no setting of a link; `martlet link config --help` lists them")
            }
            try setting.check(value)
            try set(key, value)
        }
        try checkModes()
        guard !bootstrapServers.isEmpty || connectionMode == .inbound else {
            throw LinkSettingError("bootstrap.servers", "is missing: it names the other cluster's brokers")
        }
        if isSynchronous, synchronousFilter.isEmpty { synchronousFilter = .everything(.topics) }
        if autoCreatesMirrors, autoCreateFilter.isEmpty {
            throw LinkSettingError(
                "auto.create.mirror.topics.filters",
                "is missing: say which topics, such as {\"topicFilters\":[{\"name\":\"*\",\"patternType\":\"LITERAL\",\"filterType\":\"INCLUDE\"}]}"
            )
        }
        if syncsOffsets, groupFilter.isEmpty { groupFilter = .everything(.groups) }
        synchronization.complete()
    }

    private mutating func set(_ key: String, _ value: String) throws(LinkSettingError) {
        let number = Int64(value) ?? 0
        switch key {
        case "bootstrap.servers": bootstrapServers = value
        case "cluster.link.prefix": topicPrefix = value
        case "cluster.link.paused": isPaused = value == "true"
        case "auto.create.mirror.topics.enable": autoCreatesMirrors = value == "true"
        case "auto.create.mirror.topics.filters": autoCreateFilter = try NameFilter(parsing: value, subject: .topics, key: key)
        case "consumer.offset.sync.enable": syncsOffsets = value == "true"
        case "consumer.offset.sync.ms": offsetSyncMilliseconds = number
        case "consumer.offset.group.filters": groupFilter = try NameFilter(parsing: value, subject: .groups, key: key)
        case "topic.config.sync.ms": topicConfigSyncMilliseconds = number
        case "topic.config.sync.exclude":
            let chosen = try NameMatch.list(value, key: key)
            topicConfigExclude = chosen.isEmpty ? Self.defaultConfigExcluded : chosen
        case "availability.check.ms": availabilityCheckMilliseconds = number
        case "availability.check.consecutive.failure.threshold": availabilityFailureThreshold = number
        case "num.cluster.link.fetchers": fetchers = Int(number)
        case "replica.fetch.max.bytes": fetchMaxBytes = Int32(clamping: number)
        case "replica.fetch.response.max.bytes": fetchResponseMaxBytes = Int32(clamping: number)
        case "replica.fetch.wait.max.ms": fetchWaitMaxMilliseconds = Int32(clamping: number)
        case "cluster.link.bytes.per.second": bytesPerSecond = number < 0 ? .max : number
        case "link.compression.type": compresses = value == "zstd"
        case "mirror.gap.policy": gapPolicy = GapPolicy(rawValue: value) ?? .fail
        case "mirror.transactions.atomic.enable": keepsTransactionsWhole = value == "true"
        case "mirror.transactions.hold.max.ms": transactionHoldMilliseconds = number
        case "link.mode": mode = LinkMode(rawValue: value) ?? .destination
        case "connection.mode": connectionMode = LinkConnectionMode(rawValue: value) ?? .outbound
        case "link.local.principal": localPrincipal = value
        case "mirror.acks": isSynchronous = value == "all"
        case "mirror.sync.filters": synchronousFilter = try NameFilter(parsing: value, subject: .topics, key: key)
        case "mirror.sync.timeout.ms": synchronousTimeoutMilliseconds = number
        default:
            let isKnown = try synchronization.set(key, value)
            precondition(isKnown, "a setting of the table that nobody reads: \(key)")
        }
    }

    private static let defaultConfigExcluded: [NameMatch] = {
        guard let found = try? NameMatch.list(defaultConfigExclude, key: "") else { preconditionFailure("the default is a list of names") }
        return found
    }()

    /// Whether mirrors keep a topic setting to themselves.
    public func excludesTopicConfig(_ name: String) -> Bool { topicConfigExclude.contains { $0.matches(name) } }
}

extension LinkSetting {
    fileprivate func check(_ value: String) throws(LinkSettingError) {
        switch kind {
        case .text, .filters: break
        case .boolean:
            guard value == "true" || value == "false" else { throw LinkSettingError(key, "is '\(value)'; it is true or false") }
        case .integer(let range):
            guard let number = Int64(value) else { throw LinkSettingError(key, "is '\(value)', which is no whole number") }
            guard range.contains(number) else {
                throw LinkSettingError(key, "is \(number); it goes from \(range.lowerBound) to \(range.upperBound)")
            }
        case .choice(let words):
            guard words.contains(value) else { throw LinkSettingError(key, "is '\(value)'; it is \(words.joined(separator: " or "))") }
        }
    }
}
