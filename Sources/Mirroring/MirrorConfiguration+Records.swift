// What a flow does to records beside copying them, and how its work is shared: settings that MirrorMaker 2 does not have.
import OrderedCollections

/// Which flows of a file are enabled, and which of them send records round under the same names.
struct FlowGraph {
    private struct Edge: Hashable {
        var source: String
        var target: String
    }

    private var identity: Set<Edge> = []
    private var enabled: [Edge] = []
    private let workers: [Edge: Int64]

    init(_ file: MirrorFileContent, _ clusters: [String]) {
        var workers: [Edge: Int64] = [:]
        for source in clusters {
            for target in clusters where source != target {
                // Mistakes are told when the flow itself is read.
                var settings = MirrorSettings(file, source: source, target: target)
                guard settings.boolean("enabled", false) else { continue }
                let edge = Edge(source: source, target: target)
                enabled.append(edge)
                workers[edge] = settings.integer("tasks.max", Int64(SharingSettings.defaultShares), 1...1000)
                if settings.entry("replication.policy.class")?.value.hasSuffix("IdentityReplicationPolicy") == true {
                    identity.insert(edge)
                }
            }
        }
        self.workers = workers
    }

    /// Whether records of the flow could come back to its source under the same name.
    func isInCycle(_ source: String, _ target: String) -> Bool {
        guard identity.contains(Edge(source: source, target: target)) else { return false }
        var reached: Set<String> = [target]
        var waiting = [target]
        while let cluster = waiting.popLast() {
            for edge in identity where edge.source == cluster && reached.insert(edge.target).inserted { waiting.append(edge.target) }
        }
        return reached.contains(source)
    }

    /// Sources of enabled flows to a target.
    func sources(of target: String) -> [String] { enabled.filter { $0.target == target }.map(\.source).sorted() }

    /// Every flow to a target has the same number of shares, so that one process has the same partitions of all.
    func shares(of target: String) -> Int {
        Int(enabled.filter { $0.target == target }.compactMap { workers[$0] }.max() ?? Int64(SharingSettings.defaultShares))
    }
}

extension SharingSettings {
    /// Shares where `tasks.max` says nothing.
    static let defaultShares = 8
    /// A topic's name is not longer.
    private static let maximumNameBytes = 249

    fileprivate static func topic(_ sources: [String]) -> String? {
        let name = "mm2-work.\(sources.joined(separator: ".")).internal"
        return name.utf8.count <= maximumNameBytes ? name : nil
    }
}

extension MirrorFlow {
    mutating func readRecords(_ settings: inout MirrorSettings, isInCycle: Bool) {
        addsProvenance = settings.boolean("replication.provenance.headers.enable", isInCycle)
        if isInCycle, !addsProvenance, let entry = settings.entry("replication.provenance.headers.enable") {
            settings.fail(
                entry,
                "is false, but \(name) and other flows with IdentityReplicationPolicy form a cycle: without provenance headers records "
                    + "would go round for ever. Leave the key out, use DefaultReplicationPolicy, or disable one of the flows")
        }
        provenanceLookback = settings.integer("replication.provenance.lookback.records", 2_000, 0...Int64.max)
        transforms = TransformSettings.read(&settings)
        topicSettings = settings.entries(below: "topic.config.").map { TopicSetting(name: $0.key, value: $0.entry.value) }
        // Each side would give the other what it has itself.
        if isInCycle, settings.entry("sync.topic.configs.enabled") == nil { syncTopicConfigsInterval = nil }
    }

    mutating func readSharing(_ settings: inout MirrorSettings, _ graph: FlowGraph) {
        let isShared = settings.boolean("dedicated.mode.enable.internal.rest", false, ofWorker: true)
        let timeout = settings.integer("session.timeout.ms", 10_000, 1_000...3_600_000, ofWorker: true)
        let interval = settings.integer("heartbeat.interval.ms", 3_000, 100...3_600_000, ofWorker: true)
        guard isShared, isEnabled else { return }
        guard interval * 2 <= timeout else {
            let key = "heartbeat.interval.ms"
            settings.fail(
                MirrorEntry(key: key, value: "\(interval)", line: 0),
                "is \(interval); at least two heartbeats fit into session.timeout.ms (\(timeout)), or processes would take each other for dead"
            )
            return
        }
        let sources = graph.sources(of: target)
        guard let topic = SharingSettings.topic(sources) else {
            settings.fail(
                MirrorEntry(key: "clusters", value: "", line: 0),
                "has aliases that are too long for the name of the topic in which processes share their work")
            return
        }
        workers = graph.shares(of: target)
        sharing = SharingSettings(
            topic: topic, shares: workers, sessionTimeout: timeout, heartbeatInterval: interval)
    }
}
