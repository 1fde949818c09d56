// MirrorMaker 2's file for its dedicated mode (`connect-mirror-maker.sh mm2.properties`), read as MirrorMaker reads it.
import OrderedCollections

/// The file's settings by key, the last of equal keys counting, as in Java's properties.
struct MirrorFileContent {
    var entries: OrderedDictionary<String, MirrorEntry> = [:]

    init(_ entries: [MirrorEntry]) {
        for entry in entries { self.entries[entry.key] = entry }
    }

    func entries(below prefix: String) -> [(key: String, entry: MirrorEntry)] {
        entries.values.compactMap { entry in entry.key.dropping(prefix).map { ($0, entry) } }
    }

    /// A cluster's settings, with those that all of its kinds of clients share spread over them (`MirrorMakerConfig.clusterProps`).
    func clusterProperties(_ alias: String) -> OrderedDictionary<String, MirrorEntry> {
        var properties: OrderedDictionary<String, MirrorEntry> = [:]
        for (key, entry) in entries(below: "\(alias).") { properties[key] = entry }
        let own = properties.filter { MirrorKeys.isClientKey($0.key) }
        let common = entries.values.filter { MirrorKeys.isClientKey($0.key) }
        for (key, entry) in own.map({ ($0.key, $0.value) }) + common.map({ ($0.key, $0) }) {
            for role in ["producer.", "consumer.", "admin."] where properties[role + key] == nil { properties[role + key] = entry }
            if properties[key] == nil { properties[key] = entry }
        }
        return properties
    }
}

/// All flows of a file.
public struct MirrorConfiguration: Sendable {
    public var clusters: [String]
    /// Flows that are enabled, and those that only emit heartbeats.
    public var flows: [MirrorFlow]
    public var warnings: [MirrorMistake]

    /// Reads a file.
    ///
    /// - Parameter targets: only flows to these clusters (`--clusters`); all for nil.
    /// - Throws: everything that is wrong with it.
    public init(_ entries: [MirrorEntry], targets: [String]? = nil) throws(MirrorMistakes) {
        let file = MirrorFileContent(entries)
        var mistakes: [MirrorMistake] = []
        func fail(_ key: String, _ message: String) {
            mistakes.append(MirrorMistake(severity: .error, line: file.entries[key]?.line ?? 0, key: key, message: message))
        }
        clusters = NamePatterns.items(file.entries["clusters"]?.value ?? "")
        if clusters.count < 2 { fail("clusters", "names the aliases of at least two clusters, such as clusters = A, B") }
        if Set(clusters).count < clusters.count { fail("clusters", "names a cluster twice") }
        for alias in clusters where !Self.isAlias(alias) {
            fail("clusters", "'\(alias)' is no alias: topics are named after it, so letters, digits, '-', '_' and '.' are possible")
        }
        for target in targets ?? [] where !clusters.contains(target) {
            fail("clusters", "does not name '\(target)', which --clusters asks for")
        }
        flows = []
        let graph = FlowGraph(file, clusters)
        for source in clusters {
            for target in clusters where source != target && targets?.contains(target) != false {
                var settings = MirrorSettings(file, source: source, target: target)
                if let flow = MirrorFlow(&settings, graph) { flows.append(flow) }
                mistakes += settings.mistakes
            }
        }
        mistakes += Self.objections(file, clusters)
        let used = Set(flows.flatMap { [$0.source, $0.target] })
        for alias in clusters where used.contains(alias) && file.clusterProperties(alias)["bootstrap.servers"] == nil {
            fail("\(alias).bootstrap.servers", "is missing; it says where the cluster is, as host:port")
        }
        if mistakes.allSatisfy({ $0.severity == .warning }), !flows.contains(where: \.isEnabled) {
            fail("clusters", "no flow is enabled; write \(clusters[0])->\(clusters[1]).enabled = true")
        }
        // A setting for all flows is looked at once for each of them.
        let unique = OrderedSet(mistakes)
        let errors = unique.filter { $0.severity == .error }
        if !errors.isEmpty { throw MirrorMistakes(errors: errors.sorted { $0.line < $1.line }) }
        warnings = unique.filter { $0.severity == .warning }.sorted { $0.line < $1.line }
        flows.removeAll { !$0.isEnabled && $0.emitHeartbeatsInterval == nil }
    }

    /// Whether a key means something in such a file, and so speaks of MirrorMaker: `topics`, `A->B.groups`, `clusters`.
    public static func knows(_ key: String) -> Bool { key.contains("->") || MirrorKeys.isMirrorMakers(key) }

    private static func isAlias(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 100
            && text.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 45 || byte == 46 || byte == 95
            }
    }

    /// Keys that nothing looks at, or that name what does not exist.
    private static func objections(_ file: MirrorFileContent, _ clusters: [String]) -> [MirrorMistake] {
        file.entries.values.compactMap { entry in
            func mistake(_ severity: MirrorMistake.Severity, _ message: String) -> MirrorMistake {
                MirrorMistake(severity: severity, line: entry.line, key: entry.key, message: message)
            }
            if entry.value.contains("${") || entry.key.hasPrefix("config.providers") {
                return mistake(.error, "configuration providers are not run here; write the value itself, and protect the file")
            }
            var name = entry.key
            if let arrow = firstRange(of: "->", in: name) {
                guard let flow = flow(of: name, arrow, clusters) else {
                    return mistake(
                        .error,
                        "is no flow between clusters that 'clusters' names (\(clusters.joined(separator: ", "))): write SOURCE->TARGET.name"
                    )
                }
                name = flow
                for side in ["source.", "target."] {
                    if let rest = name.dropping(side), MirrorKeys.isRoleKey(rest) || rest.hasPrefix("cluster.") {
                        name = rest.dropping("cluster.") ?? rest
                    }
                }
            } else if let alias = clusters.sorted(by: { $0.utf8.count > $1.utf8.count }).first(where: { name.hasPrefix($0 + ".") }) {
                name = String(name.dropFirst(alias.count + 1))
            }
            if let replacement = MirrorKeys.removed[name] {
                return mistake(.error, "was removed in Kafka 4.0 and would exclude nothing; write \(replacement)")
            }
            return MirrorKeys.objection(to: name).map { mistake(.warning, $0) }
        }
    }

    private static func firstRange(of text: String, in whole: String) -> String.Index? {
        whole.indices.first { whole[$0...].hasPrefix(text) }
    }

    /// The key behind `A->B.`; nil when A or B is no cluster.
    private static func flow(of key: String, _ arrow: String.Index, _ clusters: [String]) -> String? {
        guard clusters.contains(String(key[..<arrow])) else { return nil }
        let rest = String(key[key.index(arrow, offsetBy: 2)...])
        return clusters.sorted { $0.utf8.count > $1.utf8.count }.lazy.compactMap { rest.dropping($0 + ".") }.first
    }
}

extension MirrorFlow {
    /// Nil when filters cannot be read; the mistakes are among the settings'.
    init?(_ settings: inout MirrorSettings, _ graph: FlowGraph) {
        let isEnabled = settings.boolean("enabled", false)
        let heartbeats = settings.interval("emit.heartbeats", seconds: 1)
        guard let topics = settings.patterns("topics", NameFilterDefaults.topics),
            let excludedTopics = settings.patterns("topics.exclude", NameFilterDefaults.topicsExclude),
            let groups = settings.patterns("groups", NameFilterDefaults.groups),
            let excludedGroups = settings.patterns("groups.exclude", NameFilterDefaults.groupsExclude),
            let excludedProperties = settings.patterns("config.properties.exclude", NameFilterDefaults.configPropertiesExclude)
        else { return nil }
        self.init(
            source: settings.source, target: settings.target, policy: Self.policy(&settings),
            topics: NameFilter(included: topics, excluded: excludedTopics), excludedConfigProperties: excludedProperties,
            groups: NameFilter(included: groups, excluded: excludedGroups),
            positionsTopic: settings.string("offset.storage.topic", "mm2-offsets.\(settings.source).internal", ofWorker: true),
            workerGroup: settings.string("group.id", "\(settings.source)-mm2", ofWorker: true))
        self.isEnabled = isEnabled
        emitHeartbeatsInterval = heartbeats
        readTopics(&settings)
        readGroups(&settings)
        readOffsets(&settings)
        sourceConsumer = settings.client("source", "consumer")
        sourceProducer = settings.client("source", "producer")
        sourceAdmin = settings.client("source", "admin")
        targetConsumer = settings.client("target", "consumer")
        targetProducer = settings.client("target", "producer")
        targetAdmin = settings.client("target", "admin")
        readExactlyOnce(&settings)
        readRecords(&settings, isInCycle: graph.isInCycle(source, target))
        readSharing(&settings, graph)
        entries = settings.connectorEntries.merging(settings.workerEntries) { connector, _ in connector }
    }

    private static func policy(_ settings: inout MirrorSettings) -> ReplicationPolicy {
        let name = settings.knownClass(
            "replication.policy.class", ["DefaultReplicationPolicy", "IdentityReplicationPolicy"],
            remedy: "replication.policy.separator changes what stands between alias and topic")
        let separator = settings.string("replication.policy.separator", ".")
        let isLegal = separator.utf8.allSatisfy {
            (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || [45, 46, 95].contains($0)
        }
        if let entry = settings.entry("replication.policy.separator"), separator.isEmpty || !isLegal {
            settings.fail(entry, "'\(separator)' cannot stand in a topic's name; letters, digits, '.', '_' and '-' can")
        }
        // Only looked at beside a separator, as in DefaultReplicationPolicy.configure; without one both are a dot.
        let internalSeparator = settings.boolean("replication.policy.internal.topic.separator.enabled", true)
        return ReplicationPolicy(
            kind: name == "IdentityReplicationPolicy" ? .identity : .prefixed, separator: separator,
            separatesInternalTopics: internalSeparator, sourceAlias: settings.source)
    }

    private mutating func readTopics(_ settings: inout MirrorSettings) {
        _ = settings.knownClass("topic.filter.class", ["DefaultTopicFilter"], remedy: "topics and topics.exclude choose topics")
        _ = settings.knownClass(
            "config.property.filter.class", ["DefaultConfigPropertyFilter"], remedy: "config.properties.exclude chooses settings")
        _ = settings.knownClass("forwarding.admin.class", ["ForwardingAdmin"], remedy: "Leave the key out")
        usesSourceDefaults = settings.choice("use.defaults.from", "target", ["source", "target"]) == "source"
        refreshTopicsInterval = settings.interval("refresh.topics", seconds: 600)
        syncTopicConfigsInterval = settings.interval("sync.topic.configs", seconds: 600)
        syncTopicACLsInterval = settings.interval("sync.topic.acls", seconds: 600)
        replicationFactor = settings.replicationFactor("replication.factor", 2)
        workers = Int(settings.integer("tasks.max", 1, 1...1000))
    }

    private mutating func readGroups(_ settings: inout MirrorSettings) {
        _ = settings.knownClass("group.filter.class", ["DefaultGroupFilter"], remedy: "groups and groups.exclude choose groups")
        refreshGroupsInterval = settings.interval("refresh.groups", seconds: 600)
        emitCheckpointsInterval = settings.interval("emit.checkpoints", seconds: 60)
        syncGroupOffsetsInterval = settings.interval("sync.group.offsets", enabled: false, seconds: 60)
        checkpointsReplicationFactor = settings.replicationFactor("checkpoints.topic.replication.factor", 3)
        heartbeatsReplicationFactor = settings.replicationFactor("heartbeats.topic.replication.factor", 3)
        replicatesHeartbeats = settings.boolean("heartbeats.replication.enabled", true)
        if syncGroupOffsetsInterval != nil, emitCheckpointsInterval == nil, let entry = settings.entry("emit.checkpoints.enabled") {
            settings.warn(entry, "is false, so that sync.group.offsets.enabled has no effect: group offsets come from checkpoints")
        }
    }

    private mutating func readOffsets(_ settings: inout MirrorSettings) {
        emitsOffsetSyncs = settings.boolean("emit.offset-syncs.enabled", true)
        let location = settings.choice("offset-syncs.topic.location", "source", OffsetSyncsLocation.allCases.map(\.rawValue))
        offsetSyncsLocation = OffsetSyncsLocation(rawValue: location) ?? .source
        offsetSyncsReplicationFactor = settings.replicationFactor("offset-syncs.topic.replication.factor", 3)
        maximumOffsetLag = settings.integer("offset.lag.max", 100, 0...Int64.max)
        positionsPartitions = Int32(settings.integer("offset.storage.partitions", 25, 1...100_000, ofWorker: true))
        positionsReplicationFactor = settings.replicationFactor("offset.storage.replication.factor", 3, ofWorker: true)
        positionsInterval = settings.integer("offset.flush.interval.ms", 5_000, 1...86_400_000, ofWorker: true)
        if !emitsOffsetSyncs, emitCheckpointsInterval != nil, let entry = settings.entry("emit.offset-syncs.enabled") {
            if settings.entry("emit.checkpoints.enabled")?.value.lowercased() == "true" {
                settings.fail(entry, "is false, and checkpoints are made from offset syncs; set emit.checkpoints.enabled = false too")
            }
            emitCheckpointsInterval = nil
        }
    }

    private mutating func readExactlyOnce(_ settings: inout MirrorSettings) {
        let support = settings.choice(
            "exactly.once.source.support", "disabled", ["disabled", "preparing", "enabled"], ofWorker: true)
        isExactlyOnce = support == "enabled"
        let isolation = sourceConsumer["isolation.level"]
        guard isExactlyOnce else { return }
        if isolation == nil { sourceConsumer["isolation.level"] = "read_committed" }
        if let isolation, isolation != "read_committed" {
            let key = "\(source).consumer.isolation.level"
            settings.fail(
                MirrorEntry(key: key, value: isolation, line: 0),
                "is \(isolation), with which records of aborted transactions would be replicated; exactly-once needs read_committed")
        }
    }
}
