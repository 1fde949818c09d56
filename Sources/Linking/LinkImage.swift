// Links and mirror topics as the records so far have them. Every broker has one, a little behind the coordinator's.
import Collections
import Primitives

/// What is known about links at a point of their log.
public struct LinkImage: Sendable, Hashable {
    public private(set) var links: OrderedDictionary<String, LinkDefinition> = [:]
    public private(set) var mirrors: OrderedDictionary<String, MirrorTopic> = [:]

    public private(set) var fences: OrderedDictionary<String, TopicFence> = [:]
    /// What links have put here beside the data. The coordinator alone needs it, so it is not told to other brokers.
    public private(set) var synchronized = SynchronizedItems()
    /// How that went. For the coordinator alone, too.
    public private(set) var synchronizations: [SynchronizationKey: SynchronizationStatus] = [:]
    /// Topics here that other clusters mirror synchronously, by their keys.
    public private(set) var synchronous: OrderedDictionary<String, SynchronousTopic> = [:]

    public init() {}

    public var isEmpty: Bool { links.isEmpty && mirrors.isEmpty && fences.isEmpty && synchronous.isEmpty }

    /// Takes over a record.
    public mutating func replay(_ record: LinkRecord) {
        switch record {
        case .link(let link): links[link.name] = link
        case .linkRemoved(let name):
            links[name] = nil
            synchronized.removeAll(of: name)
            synchronizations = synchronizations.filter { $0.key.link != name }
        case .mirror(let mirror): mirrors[mirror.name] = mirror
        case .mirrorRemoved(let name): mirrors[name] = nil
        case .fence(let fence): fences[fence.topic] = fence
        case .fenceRemoved(let name): fences[name] = nil
        case .synchronized(let item): synchronized.put(item)
        case .synchronizedRemoved(let key): synchronized.remove(key)
        case .synchronization(let key, let status): synchronizations[key] = status
        case .synchronizationRemoved(let key): synchronizations[key] = nil
        case .settledMirror, .settledMirrorRemoved, .settledDecisions, .settledDecisionsRemoved: break
        case .settledOffsets, .settledOffsetsRemoved: break
        case .synchronous(let topic): synchronous[topic.key] = topic
        case .synchronousRemoved(let key): synchronous[key] = nil
        }
    }

    /// The mirrors of one link.
    public func mirrors(of link: String) -> [MirrorTopic] { mirrors.values.filter { $0.link == link } }

    /// The records that make up the image, as far as other brokers need it.
    public var records: [LinkRecord] {
        links.values.map { .link($0) } + mirrors.values.map { .mirror($0) } + fences.values.map { .fence($0) }
            + synchronous.values.map { .synchronous($0) }
    }

    /// The image as records in JSON, for other brokers.
    public var json: JSONValue {
        .array(
            records.map { record in
                let (key, value) = record.encoded
                return ["key": key, "value": value ?? .null]
            })
    }

    /// - Throws: nothing; entries that are not understood are left out, as a newer coordinator may have written them.
    public init(_ json: JSONValue) {
        for entry in json.arrayValue ?? [] {
            guard let key = entry["key"], let record = LinkRecord(key: key, value: entry["value"]) else { continue }
            replay(record)
        }
    }
}
