// Records of the internal topic that keeps links and mirrors. Key and value are JSON: few, small, and readable with any consumer. The newest
// record of a key stands for it; a record without a value takes it away.
import Collections
import NIOCore
import Primitives

/// A change of what is known about links.
public enum LinkRecord: Sendable, Hashable {
    case link(LinkDefinition)
    case linkRemoved(String)
    case mirror(MirrorTopic)
    case mirrorRemoved(String)
    /// A topic of this cluster that another cluster has taken over: nobody may write to it.
    case fence(TopicFence)
    case fenceRemoved(String)
    /// Something beside the data that a link puts here.
    case synchronized(SynchronizedItem)
    case synchronizedRemoved(SynchronizedItem.Key)
    /// How what the coordinator keeps in step beside the data goes.
    case synchronization(SynchronizationKey, SynchronizationStatus)
    case synchronizationRemoved(SynchronizationKey)
    /// How far a mirror topic of a link is settled, by partition.
    case settledMirror(String, String, [SettledMirror?])
    case settledMirrorRemoved(String, String)
    /// Which decisions of a link's source that stands for.
    case settledDecisions(String, SettledDecisions)
    case settledDecisionsRemoved(String)
    /// What settled transactions of a link's source have committed for a group that does not have it here yet.
    case settledOffsets(String, String, [TopicPartition: GroupOffset])
    case settledOffsetsRemoved(String, String)
    /// A topic of this cluster that another one mirrors synchronously.
    case synchronous(SynchronousTopic)
    case synchronousRemoved(String)

    static let version: Int64 = 1

    /// Key and value as they stand in the log; the value is nil for a removal.
    public var encoded: (key: JSONValue, value: JSONValue?) {
        switch self {
        case .link(let link): (["type": "link", "name": .string(link.name)], Self.json(link))
        case .linkRemoved(let name): (["type": "link", "name": .string(name)], nil)
        case .mirror(let mirror): (["type": "mirror", "name": .string(mirror.name)], Self.json(mirror))
        case .mirrorRemoved(let name): (["type": "mirror", "name": .string(name)], nil)
        case .fence(let fence):
            (
                ["type": "fence", "name": .string(fence.topic)],
                ["version": .integer(Self.version), "by": .string(fence.by), "since": .integer(fence.since)]
            )
        case .fenceRemoved(let name): (["type": "fence", "name": .string(name)], nil)
        case .synchronized(let item): (item.key.json, item.value.json)
        case .synchronizedRemoved(let key): (key.json, nil)
        case .synchronization(let key, let status): (key.json, .object([("version", .integer(Self.version))] + status.members))
        case .synchronizationRemoved(let key): (key.json, nil)
        case .settledMirror(let link, let topic, let offsets): (Self.settledMirrorKey(link, topic), Self.json(offsets))
        case .settledMirrorRemoved(let link, let topic): (Self.settledMirrorKey(link, topic), nil)
        case .settledDecisions(let link, let decisions): (Self.settledDecisionsKey(link), Self.json(decisions))
        case .settledDecisionsRemoved(let link): (Self.settledDecisionsKey(link), nil)
        case .settledOffsets(let link, let group, let offsets): (Self.settledOffsetsKey(link, group), Self.json(settled: offsets))
        case .settledOffsetsRemoved(let link, let group): (Self.settledOffsetsKey(link, group), nil)
        case .synchronous(let topic): (["type": "synchronous", "name": .string(topic.key)], topic.json)
        case .synchronousRemoved(let key): (["type": "synchronous", "name": .string(key)], nil)
        }
    }

    /// Reads a record; nil for kinds and versions that this software does not know.
    public init?(key: JSONValue, value: JSONValue?) {
        guard let type = key["type"]?.stringValue, let name = key["name"]?.stringValue else { return nil }
        switch type {
        case "link":
            guard let value else {
                self = .linkRemoved(name)
                return
            }
            guard let link = LinkDefinition(name: name, value) else { return nil }
            self = .link(link)
        case "mirror":
            guard let value else {
                self = .mirrorRemoved(name)
                return
            }
            guard let mirror = MirrorTopic(name: name, value) else { return nil }
            self = .mirror(mirror)
        case "fence":
            guard let value else {
                self = .fenceRemoved(name)
                return
            }
            self = .fence(
                TopicFence(topic: name, by: value["by"]?.stringValue ?? "", since: value["since"]?.integerValue ?? 0))
        case "synchronized":
            guard let key = SynchronizedItem.Key(link: name, key) else { return nil }
            guard let value else {
                self = .synchronizedRemoved(key)
                return
            }
            guard let value = SynchronizedItem.Value(value) else { return nil }
            self = .synchronized(SynchronizedItem(key: key, value: value))
        case "synchronization":
            guard let kind = key["kind"]?.stringValue.flatMap({ SynchronizedKind(rawValue: $0) }) else { return nil }
            let key = SynchronizationKey(link: name, kind: kind)
            self = value.map { .synchronization(key, SynchronizationStatus($0)) } ?? .synchronizationRemoved(key)
        case "synchronous":
            guard let value else {
                self = .synchronousRemoved(name)
                return
            }
            guard let topic = SynchronousTopic(value) else { return nil }
            self = .synchronous(topic)
        default:
            guard let record = LinkRecord(ofTransactions: type, link: name, key: key, value: value) else { return nil }
            self = record
        }
    }

    /// Whether other brokers have to know, too.
    public var concernsAllBrokers: Bool {
        switch self {
        case .link, .linkRemoved, .mirror, .mirrorRemoved, .fence, .fenceRemoved, .synchronous, .synchronousRemoved: true
        case .synchronized, .synchronizedRemoved, .synchronization, .synchronizationRemoved,
            .settledMirror, .settledMirrorRemoved, .settledDecisions, .settledDecisionsRemoved, .settledOffsets, .settledOffsetsRemoved:
            false
        }
    }

    private static func json(_ link: LinkDefinition) -> JSONValue {
        [
            "version": .integer(version), "id": .string("\(link.id)"), "sourceClusterId": .string(link.sourceClusterID),
            "createdAt": .integer(link.createdAt), "configuration": .object(link.configuration.map { ($0.key, .string($0.value)) }),
        ]
    }

    private static func json(_ mirror: MirrorTopic) -> JSONValue {
        [
            "version": .integer(version), "topicId": .string("\(mirror.topicID)"), "link": .string(mirror.link),
            "sourceTopic": .string(mirror.sourceName), "sourceTopicId": .string("\(mirror.sourceID)"),
            "state": .string(mirror.state.rawValue), "reason": .string(mirror.reason), "since": .integer(mirror.since),
            "replicationFactor": .integer(Int64(mirror.replicationFactor)),
            "reversal": .string(mirror.reversal.rawValue), "restoring": .bool(mirror.isRestoring),
            "origins": .array(mirror.origins.map { .string($0) }),
        ]
    }
}

extension LinkDefinition {
    fileprivate init?(name: String, _ value: JSONValue) {
        guard let id = value["id"]?.stringValue.flatMap({ KafkaUUID($0) }), let members = value["configuration"]?.objectValue?.members
        else { return nil }
        var configuration: OrderedDictionary<String, String> = [:]
        for member in members { configuration[member.name] = member.value.stringValue ?? "" }
        self.init(
            name: name, id: id, configuration: configuration, sourceClusterID: value["sourceClusterId"]?.stringValue ?? "",
            createdAt: value["createdAt"]?.integerValue ?? 0)
    }
}

extension MirrorTopic {
    fileprivate init?(name: String, _ value: JSONValue) {
        guard let state = value["state"]?.stringValue.flatMap({ MirrorState(rawValue: $0) }), let link = value["link"]?.stringValue,
            let source = value["sourceTopic"]?.stringValue
        else { return nil }
        func id(_ member: String) -> TopicID { value[member]?.stringValue.flatMap { KafkaUUID($0) } ?? .zero }
        self.init(
            name: name, topicID: id("topicId"), link: link, sourceName: source, sourceID: id("sourceTopicId"), state: state,
            reason: value["reason"]?.stringValue ?? "", since: value["since"]?.integerValue ?? 0)
        replicationFactor = Int16(clamping: value["replicationFactor"]?.integerValue ?? -1)
        reversal = value["reversal"]?.stringValue.flatMap { MirrorReversal(rawValue: $0) } ?? .none
        isRestoring = value["restoring"]?.boolValue ?? false
        origins = (value["origins"]?.arrayValue ?? []).compactMap(\.stringValue)
    }
}
