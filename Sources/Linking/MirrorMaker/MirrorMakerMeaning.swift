// What the settings of one flow of MirrorMaker's mean for a link.
import Collections
import Mirroring
import Primitives

/// A flow, while it is being translated.
struct MirrorMakerMeaning {
    /// The line of entries that nobody wrote.
    static let synthetic = -1

    private let flow: MirrorFlow
    /// Whether what is not said means MirrorMaker's default.
    private let isFile: Bool
    private var found: OrderedDictionary<String, TranslatedSetting> = [:]
    private(set) var mistakes: [MirrorMistake] = []

    init(_ flow: MirrorFlow, isFile: Bool) {
        self.flow = flow
        self.isFile = isFile
    }

    /// As they stand in the file, then what MirrorMaker has by default.
    var translated: [TranslatedSetting] {
        found.values.filter { !$0.isDefault }.sorted { $0.entry.line < $1.entry.line } + found.values.filter(\.isDefault)
    }

    mutating func translate() {
        translateTopics()
        translateNames()
        translateTopicSettings()
        translateGroups()
        translateAccessRules()
        translateClients()
        refuse()
        for (name, entry) in flow.entries where entry.line != Self.synthetic && found[entry.key] == nil {
            let remark = MirrorMakerRemarks.needless(name) ?? "a link has no such setting"
            found[entry.key] = TranslatedSetting(entry: entry, remark: remark)
        }
    }

    // MARK: Noting

    private func isGiven(_ name: String) -> Bool { flow.entries[name].map { $0.line != Self.synthetic } ?? false }

    /// Notes what a setting became; one that is not given is MirrorMaker's default.
    private mutating func note(
        _ name: String, byDefault value: String = "", _ settings: OrderedDictionary<String, String> = [:], _ remark: String = "",
        isWarning: Bool = false
    ) {
        let given = isGiven(name) ? flow.entries[name] : nil
        let entry = given ?? MirrorEntry(key: name, value: value, line: 0)
        found[entry.key] = TranslatedSetting(
            entry: entry, isDefault: given == nil, settings: settings, remark: remark, isWarning: isWarning)
    }

    private mutating func fail(_ name: String, _ message: String) {
        guard let entry = flow.entries[name] else { return }
        mistakes.append(MirrorMistake(severity: .error, line: max(0, entry.line), key: entry.key, message: message))
    }

    private func value(_ name: String, _ standard: String) -> String { flow.entries[name]?.value ?? standard }

    /// Seconds as milliseconds that a link takes.
    private func milliseconds(_ seconds: Int64?) -> String { "\(max(1, seconds ?? 600) * 1_000)" }

    // MARK: Topics

    private static let topicsKey = "auto.create.mirror.topics.filters"

    private mutating func translateTopics() {
        guard isFile || isGiven("topics") else {
            if isGiven("topics.exclude") {
                fail("topics.exclude", "leaves topics out of 'topics', which is missing; write topics = .* for all others")
            }
            return
        }
        var rules = Self.rules(includedTopics, "INCLUDE") + Self.rules(excludedTopics, "EXCLUDE")
        // What MirrorMaker never replicates, whatever is asked for.
        rules.append(Self.rule("mm2.*internal|.*checkpoints[^a-z]internal", "REGEX", "EXCLUDE"))
        if flow.policy.kind == .prefixed, isFile || isGiven("source.cluster.alias") {
            let separator = "\\Q\(flow.policy.separator)\\E"
            rules.append(Self.rule("(.*\(separator))?(\\Q\(flow.source)\\E|\\Q\(flow.target)\\E)\(separator).+", "REGEX", "EXCLUDE"))
        }
        note(
            "topics", byDefault: NameFilterDefaults.topics,
            [
                "auto.create.mirror.topics.enable": "true",
                Self.topicsKey: JSONValue.object([("topicFilters", .array(rules))]).description,
            ], isGiven("topics") ? "" : "all")
        note("topics.exclude", byDefault: NameFilterDefaults.topicsExclude, [:], "EXCLUDE in \(Self.topicsKey)")
    }

    private var includedTopics: [String] { NamePatterns.items(value("topics", NameFilterDefaults.topics)) }
    private var excludedTopics: [String] { NamePatterns.items(value("topics.exclude", NameFilterDefaults.topicsExclude)) }

    private static func rule(_ name: String, _ type: String, _ filter: String) -> JSONValue {
        ["name": .string(name), "patternType": .string(type), "filterType": .string(filter)]
    }

    /// Items of a list of names and expressions as a filter has them.
    private static func rules(_ items: [String], _ filter: String) -> [JSONValue] {
        items.map { item in
            if item == ".*" { return rule("*", "LITERAL", filter) }
            return rule(item, isName(item) ? "LITERAL" : "REGEX", filter)
        }
    }

    /// Whether an expression can describe but itself.
    private static func isName(_ text: String) -> Bool {
        text.utf8.allSatisfy { byte in
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 45 || byte == 95
        }
    }

    private mutating func translateNames() {
        let key = "replication.policy.class"
        if flow.policy.kind == .identity {
            let isInCycle = flow.addsProvenance && !isGiven("replication.provenance.headers.enable")
            note(
                key, [:],
                isInCycle
                    ? "topics have the same names, and each is mirrored one way: what exists on both sides already is not mirrored by itself. "
                        + "`martlet mirror run` merges both sides' records"
                    : "topics have the same names on both sides", isWarning: isInCycle)
            return
        }
        let names = [key, "replication.policy.separator", "source.cluster.alias"]
        guard isFile || names.contains(where: isGiven) else { return }
        guard isFile || isGiven("source.cluster.alias") else {
            let given = names.first(where: isGiven) ?? key
            return fail(given, "puts the source's alias in front of topics' names: say it with source.cluster.alias")
        }
        note(
            key, byDefault: "DefaultReplicationPolicy", ["cluster.link.prefix": flow.source + flow.policy.separator],
            isGiven(key) ? "" : "IdentityReplicationPolicy keeps names")
        if isGiven("replication.policy.separator") { note("replication.policy.separator", [:], "the end of cluster.link.prefix") }
        if isGiven("source.cluster.alias") { note("source.cluster.alias", [:], "the beginning of cluster.link.prefix") }
    }

    private mutating func translateTopicSettings() {
        let (refresh, configs) = ("refresh.topics.interval.seconds", "sync.topic.configs.interval.seconds")
        let intervals = [(refresh, flow.refreshTopicsInterval), (configs, flow.syncTopicConfigsInterval)].filter { isGiven($0.0) }
        let shortest = intervals.compactMap(\.1).min()
        for (name, _) in intervals {
            note(name, ["topic.config.sync.ms": milliseconds(shortest)], "topics, partitions and settings are looked at together")
        }
        if isGiven("refresh.topics.enabled") {
            note(
                "refresh.topics.enabled", [:],
                flow.refreshTopicsInterval == nil
                    ? "a link goes on looking for new topics that its filters let through; `martlet link mirror` names topics one by one instead"
                    : "every topic.config.sync.ms", isWarning: flow.refreshTopicsInterval == nil)
        }
        if isGiven("sync.topic.configs.enabled") {
            note(
                "sync.topic.configs.enabled", flow.syncTopicConfigsInterval == nil ? ["topic.config.sync.exclude": ".*"] : [:],
                flow.syncTopicConfigsInterval == nil ? "mirrors have this cluster's defaults from the start" : "as links do")
        }
        if isGiven("config.properties.exclude"), flow.syncTopicConfigsInterval != nil || !isGiven("sync.topic.configs.enabled") {
            note("config.properties.exclude", ["topic.config.sync.exclude": value("config.properties.exclude", "")])
        }
        if isGiven("replication.factor") { note("replication.factor", ["mirror.replication.factor": "\(flow.replicationFactor)"]) }
        if flow.usesSourceDefaults {
            note(
                "use.defaults.from", [:],
                "a link copies what is set on topics, not the source's defaults; `martlet mirror run` copies them too",
                isWarning: true)
        }
    }

    // MARK: Groups and access rules

    private mutating func translateGroups() {
        let (enable, groups, excluded) = ("sync.group.offsets.enabled", "groups", "groups.exclude")
        let isOn = flow.syncGroupOffsetsInterval != nil
        if isFile || isGiven(enable) {
            note(
                enable, byDefault: "false", ["consumer.offset.sync.enable": "\(isOn)"],
                isOn ? "" : "offsets are the same on both sides, but those of groups are not copied")
        }
        if isGiven("sync.group.offsets.interval.seconds") {
            let seconds = Int64(value("sync.group.offsets.interval.seconds", "60"))
            note("sync.group.offsets.interval.seconds", ["consumer.offset.sync.ms": milliseconds(seconds)])
        }
        guard isFile && isOn || isGiven(groups) || isGiven(excluded) else { return }
        guard isFile || isGiven(groups) else {
            return fail(excluded, "leaves groups out of 'groups', which is missing; write groups = .* for all others")
        }
        let rules =
            Self.rules(NamePatterns.items(value(groups, NameFilterDefaults.groups)), "INCLUDE")
            + Self.rules(NamePatterns.items(value(excluded, NameFilterDefaults.groupsExclude)), "EXCLUDE")
        let key = "consumer.offset.group.filters"
        note(
            groups, byDefault: NameFilterDefaults.groups, [key: JSONValue.object([("groupFilters", .array(rules))]).description],
            isOn || !isFile ? "" : "for when consumer.offset.sync.enable is true")
        note(excluded, byDefault: NameFilterDefaults.groupsExclude, [:], "EXCLUDE in \(key)")
    }

    private mutating func translateAccessRules() {
        let (enable, interval) = ("sync.topic.acls.enabled", "sync.topic.acls.interval.seconds")
        let isOn = flow.syncTopicACLsInterval != nil
        if isGiven(interval) { note(interval, ["acl.sync.ms": milliseconds(flow.syncTopicACLsInterval)]) }
        guard isFile || isGiven(enable) else { return }
        guard isOn else { return note(enable, ["acl.sync.enable": "false"]) }
        func entries(_ items: [String], _ filter: String) -> [JSONValue] {
            items.map { item in
                var resource = JSONObject([("resourceType", "topic"), ("patternType", "literal")])
                if item != ".*" {
                    resource.append("name", .string(item))
                    resource.append("nameMatch", .string(Self.isName(item) ? "LITERAL" : "REGEX"))
                }
                return ["resourceFilter": .object(resource), "filterType": .string(filter)]
            }
        }
        let filters = entries(includedTopics, "INCLUDE") + entries(excludedTopics, "EXCLUDE")
        note(
            enable, byDefault: "true",
            ["acl.sync.enable": "true", "acl.filters": JSONValue.object([("aclFilters", .array(filters))]).description],
            "with WRITE and ALL, which MirrorMaker takes away: a mirror takes no writes until it takes over")
    }

    // MARK: Clients

    private static let consumerSettings = [
        "fetch.max.bytes": "replica.fetch.response.max.bytes", "max.partition.fetch.bytes": "replica.fetch.max.bytes",
        "fetch.max.wait.ms": "replica.fetch.wait.max.ms",
    ]

    private mutating func translateClients() {
        for (name, value) in flow.sourceConsumer {
            let entries = ["source.consumer.\(name)", "consumer.\(name)", "source.cluster.\(name)"]
            guard let entry = entries.first(where: { isGiven($0) && flow.entries[$0]?.value == value }) else { continue }
            if Self.isConnection(name) {
                note(entry, [name: value])
            } else if let own = Self.consumerSettings[name] {
                note(entry, [own: value])
            } else if name == "auto.offset.reset", value == "latest" {
                note(entry, [:], "a mirror begins where its source does; `martlet mirror run` can begin at the end", isWarning: true)
            } else if name == "isolation.level" {
                note(entry, [:], "a mirror has transactions as they are, and its readers choose")
            }
        }
        // Beside a source that stands on its own.
        for (name, entry) in flow.entries where isGiven(name) && found[entry.key] == nil {
            guard name.hasPrefix("source.cluster.") else { continue }
            let key = String(name.dropFirst("source.cluster.".count))
            if Self.isConnection(key) { note(name, [key: entry.value]) }
        }
        for key in Set(flow.sourceConsumer.keys).union(flow.sourceAdmin.keys).sorted() where Self.isConnection(key) {
            guard flow.sourceConsumer[key] != flow.sourceAdmin[key] else { continue }
            let names = ["source.admin.\(key)", "admin.\(key)", "source.consumer.\(key)", "consumer.\(key)"]
            guard let name = names.first(where: isGiven) else { continue }
            fail(name, "is not the same for consumers and admin clients of the source; a link has one client: make them the same")
        }
        for name in ["target.producer.compression.type", "producer.compression.type"] where isGiven(name) {
            note(name, [:], "batches stay compressed as they are; `martlet mirror run` compresses anew", isWarning: true)
        }
    }

    private static func isConnection(_ key: String) -> Bool {
        key == "bootstrap.servers" || key == "security.protocol" || key.hasPrefix("ssl.") || key.hasPrefix("sasl.")
    }

    // MARK: What links cannot do

    private mutating func refuse() {
        for name in flow.entries.keys where isGiven(name) {
            if name == "transforms" || name.hasPrefix("transforms.") {
                fail(name, "changes records, and a link mirrors batches as they are; `martlet mirror run` runs transforms")
            } else if name.hasPrefix("topic.config.") {
                fail(
                    name,
                    "gives remote topics settings of their own; leave the setting out by topic.config.sync.exclude and set it on the mirror "
                        + "topic, or use `martlet mirror run`")
            } else if name == "replication.provenance.headers.enable", flow.addsProvenance {
                fail(
                    name,
                    "adds headers, and a link mirrors batches as they are; it knows without them where topics come from: leave the key out, or "
                        + "use `martlet mirror run`")
            }
        }
    }
}
