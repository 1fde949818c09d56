// What differs between a link's source and this cluster beside the records: settings, partitions, who may do what, where groups are.
import ClusterMetadata
import Linking
import MartletClient
import Primitives

/// What drift is looked for in.
enum DriftKind: String, CaseIterable, Sendable {
    case topics
    case configs
    case acls
    case users
    case quotas
    case groups
}

/// One thing that is not the same.
struct Drift: Sendable {
    var kind: DriftKind
    /// Topic, group, user or whatever it is about.
    var name: String
    /// What of it.
    var what: String
    /// Nil where that side has nothing of it.
    var source: String?
    var here: String?

    var text: String { "\(kind.rawValue) \(name): \(what): \(source ?? "nothing") at the source, \(here ?? "nothing") here" }

    var json: JSONValue {
        [
            "kind": .string(kind.rawValue), "name": .string(name), "what": .string(what), "source": .optional(source),
            "here": .optional(here),
        ]
    }
}

/// Looks for drift over one link.
struct DriftCheck {
    let sides: LinkSides
    /// Mirrors that still follow their sources.
    private let mirrors: [LinkView.Mirror]
    private(set) var found: [Drift] = []
    /// What could not be compared, and why.
    private(set) var notCompared: [(kind: DriftKind, reason: String)] = []
    /// Topics described in one request.
    private static let batch = 200

    init(_ sides: LinkSides) {
        self.sides = sides
        let idle = [MirrorState.stopped, .stopping, .pendingMirror].map(\.rawValue)
        mirrors = sides.mirrors.filter { !idle.contains($0.state) }
    }

    mutating func run(_ kinds: [DriftKind]) async throws {
        for kind in kinds {
            do throws(KafkaError) {
                switch kind {
                case .topics: try await topics()
                case .configs: try await configs()
                case .acls: try await accessEntries()
                case .users: try await users()
                case .quotas: try await quotas()
                case .groups: try await groups()
                }
            } catch {
                // A cluster that cannot be asked about one thing may be asked about the others; one that is away may not.
                guard error.kind == .broker || error.kind == .unsupportedVersion else { throw error }
                notCompared.append((kind, error.explanation))
            }
        }
    }

    // MARK: Topics

    private mutating func topics() async throws(KafkaError) {
        var sources: [String: TopicDescription] = [:]
        for topic in try await sides.source.listTopics() { sources[topic.name] = topic }
        var own: [String: TopicDescription] = [:]
        for topic in try await sides.here.listTopics() { own[topic.name] = topic }
        for mirror in mirrors {
            guard let source = sources[mirror.sourceTopic], let here = own[mirror.topic] else {
                found.append(
                    Drift(
                        kind: .topics, name: mirror.topic, what: "topic", source: sources[mirror.sourceTopic] == nil ? nil : "there",
                        here: own[mirror.topic] == nil ? nil : "there"))
                continue
            }
            if source.partitions.count != here.partitions.count {
                found.append(
                    Drift(
                        kind: .topics, name: mirror.topic, what: "partitions", source: "\(source.partitions.count)",
                        here: "\(here.partitions.count)"))
            }
            if let known = mirror.json["sourceTopicId"]?.stringValue, source.topicID != .zero, known != "\(source.topicID)" {
                found.append(Drift(kind: .topics, name: mirror.topic, what: "topic id", source: "\(source.topicID)", here: known))
            }
        }
        guard sides.settings.autoCreatesMirrors else { return }
        for name in sources.keys.sorted() where !name.hasPrefix("__") && sides.settings.autoCreateFilter.admits(name) {
            guard !sides.mirrors.contains(where: { $0.sourceTopic == name }) else { continue }
            let target = sides.settings.topicPrefix + name
            found.append(
                Drift(
                    kind: .topics, name: name, what: "mirror", source: "there",
                    here: own[target] == nil ? nil : "a topic '\(target)' that is no mirror"))
        }
    }

    // MARK: Settings

    private mutating func configs() async throws(KafkaError) {
        var rest = mirrors[...]
        while !rest.isEmpty {
            let some = Array(rest.prefix(Self.batch))
            rest = rest.dropFirst(Self.batch)
            let sources = try await settings(sides.source, some.map(\.sourceTopic))
            let own = try await settings(sides.here, some.map(\.topic))
            for mirror in some {
                // A topic that is missing is told of with the topics.
                guard let source = sources[mirror.sourceTopic], let here = own[mirror.topic] else { continue }
                compare(source, here, mirror)
            }
        }
    }

    private func settings(_ admin: AdminClient, _ topics: [String]) async throws(KafkaError) -> [String: [String: ConfigSetting]] {
        var found: [String: [String: ConfigSetting]] = [:]
        for outcome in try await admin.describeConfigs(topics.map { .topic($0) }) {
            guard case .success(let entries) = outcome.result else { continue }
            found[outcome.item.name] = Dictionary(entries.map { ($0.name, $0) }, uniquingKeysWith: { $1 })
        }
        return found
    }

    /// By the values in force, wherever they come from. Settings that one side does not know are told of when they were set there.
    private mutating func compare(_ source: [String: ConfigSetting], _ here: [String: ConfigSetting], _ mirror: LinkView.Mirror) {
        func text(_ setting: ConfigSetting?) -> String? {
            guard let setting, let value = setting.value else { return nil }
            return setting.source == .topic ? value : "\(value) (default)"
        }
        for name in Set(source.keys).union(here.keys).sorted() where !sides.settings.excludesTopicConfig(name) {
            let (one, other) = (source[name], here[name])
            guard one?.value != other?.value else { continue }
            if one == nil || other == nil, one?.source != .topic, other?.source != .topic { continue }
            found.append(Drift(kind: .configs, name: mirror.topic, what: name, source: text(one), here: text(other)))
        }
    }

    // MARK: Who may do what

    private mutating func accessEntries() async throws(KafkaError) {
        let settings = sides.settings.synchronization
        let (prefix, filter) = (sides.settings.topicPrefix, settings.accessRules.isEnabled ? settings.accessRuleFilter : .everything)
        let source = try await Self.entries(sides.source) { filter.admits($0) ? $0.mirrored(prefix: prefix) : nil }
        let here = try await Self.entries(sides.here) { rule in
            // What the link leaves out, and what cannot be of its making, says nothing about it.
            settings.accessRules.isEnabled && rule.source(prefix: prefix).map({ filter.admits($0) }) != true ? nil : rule
        }
        guard source != nil || here != nil else { return }
        guard let source, let here else {
            return notCompared.append((.acls, "the \(source == nil ? "source" : "cluster here") has no access control"))
        }
        for entry in source.subtracting(here).sorted(by: { "\($0)" < "\($1)" }) {
            found.append(Drift(kind: .acls, name: entry.subject, what: entry.text, source: "there", here: nil))
        }
        for entry in here.subtracting(source).sorted(by: { "\($0)" < "\($1)" }) {
            found.append(Drift(kind: .acls, name: entry.subject, what: entry.text, source: nil, here: "there"))
        }
    }

    /// Nil of a cluster without access control.
    private static func entries(
        _ admin: AdminClient, _ name: (AccessRule) -> AccessRule?
    ) async throws(KafkaError) -> Set<AccessEntry>? {
        do throws(KafkaError) {
            return Set(try await admin.listAccessEntries().compactMap { name($0.rule) }.map { AccessEntry($0) })
        } catch {
            if error.codeName == "SECURITY_DISABLED" { return nil }
            throw error
        }
    }

    private mutating func users() async throws(KafkaError) {
        func credentials(_ admin: AdminClient) async throws(KafkaError) -> [String: [String: Int32]] {
            var users: [String: [String: Int32]] = [:]
            let filter = sides.settings.synchronization.users.isEnabled ? sides.settings.synchronization.userFilter : .everything(.users)
            for user in try await admin.describeScramUsers().values() where filter.admits(user.user) {
                for credential in user.credentials { users[user.user, default: [:]][credential.mechanism] = credential.iterations }
            }
            return users
        }
        let source = try await credentials(sides.source)
        let here = try await credentials(sides.here)
        for user in Set(source.keys).union(here.keys).sorted() {
            let (one, other) = (source[user] ?? [:], here[user] ?? [:])
            for mechanism in Set(one.keys).union(other.keys).sorted() where one[mechanism] != other[mechanism] {
                found.append(
                    Drift(
                        kind: .users, name: user, what: mechanism, source: one[mechanism].map { "\($0) iterations" },
                        here: other[mechanism].map { "\($0) iterations" }))
            }
        }
    }

    private mutating func quotas() async throws(KafkaError) {
        func values(_ admin: AdminClient) async throws(KafkaError) -> [String: Double] {
            var values: [String: Double] = [:]
            let filter = sides.settings.synchronization.quotas.isEnabled ? sides.settings.synchronization.quotaFilter : .everything(.quotas)
            for quota in try await admin.describeClientQuotas() {
                let parts = quota.entity.parts.map { QuotaName.Part(type: $0.type, name: $0.name) }
                guard filter.admits(oneOf: QuotaName(parts, key: "").filterNames) else { continue }
                let name = quota.entity.parts.map { "\($0.type) \($0.name ?? "<default>")" }.joined(separator: ", ")
                for (key, value) in quota.values { values["\(name)\n\(key)"] = value }
            }
            return values
        }
        func text(_ value: Double?) -> String? { value.map { QuotaName.text($0) } }
        let source = try await values(sides.source)
        let here = try await values(sides.here)
        for name in Set(source.keys).union(here.keys).sorted() where source[name] != here[name] {
            let parts = name.split(separator: "\n").map { String($0) }
            found.append(Drift(kind: .quotas, name: parts[0], what: parts[1], source: text(source[name]), here: text(here[name])))
        }
    }

    // MARK: Groups

    private mutating func groups() async throws(KafkaError) {
        var names: [String: String] = [:]
        for mirror in mirrors { names[mirror.sourceTopic] = mirror.topic }
        guard !names.isEmpty else { return }
        // A link that copies share groups alone says nothing about the others.
        let others = sides.settings.synchronization.shareOffsets.isEnabled ? NameFilter(subject: .groups) : .everything(.groups)
        let filter = sides.settings.syncsOffsets ? sides.settings.groupFilter : others
        let own = Set(try await sides.here.listGroups().map(\.group))
        let listings = try await sides.source.listGroups().sorted { $0.group < $1.group }
        let shareGroups = listings.filter { $0.type.lowercased() == "share" }.map(\.group)
        try await compare(shareGroups: shareGroups, own, names)
        for listing in listings where filter.admits(listing.group) && listing.type.lowercased() != "share" {
            let source = try await sides.source.listGroupOffsets(listing.group)
            let here = own.contains(listing.group) ? try await sides.here.listGroupOffsets(listing.group) : [:]
            for (partition, committed) in source.sorted(by: { $0.key < $1.key }) {
                guard let topic = names[partition.topic] else { continue }
                let mine = here[TopicPartition(topic, partition.partition)]
                guard mine?.offset != committed.offset else { continue }
                found.append(
                    Drift(
                        kind: .groups, name: listing.group, what: "offset of \(topic)-\(partition.partition)",
                        source: "\(committed.offset)", here: mine.map { "\($0.offset)" }))
            }
        }
    }
}

extension DriftCheck {
    /// Where share groups stand, of those that the link copies.
    private mutating func compare(shareGroups: [String], _ own: Set<String>, _ names: [String: String]) async throws(KafkaError) {
        let settings = sides.settings.synchronization
        guard settings.shareOffsets.isEnabled else { return }
        for group in shareGroups where settings.shareGroupFilter.admits(group) {
            var here: [TopicPartition: Offset] = [:]
            for offset in own.contains(group) ? try await sides.here.listShareGroupOffsets(group) : [] {
                here[offset.partition] = offset.startOffset
            }
            for offset in try await sides.source.listShareGroupOffsets(group) {
                guard let start = offset.startOffset, let topic = names[offset.partition.topic] else { continue }
                let partition = TopicPartition(topic, offset.partition.partition)
                guard here[partition] != start else { continue }
                found.append(
                    Drift(
                        kind: .groups, name: group, what: "start of \(partition.topic)-\(partition.partition)", source: "\(start)",
                        here: here[partition].map { "\($0)" }))
            }
        }
    }
}

extension AccessEntry {
    fileprivate var subject: String { "\(principal) from \(host)" }

    fileprivate var text: String { "\(permission) \(operation) on \(patternType) \(resourceType) \(resourceName)" }
}
