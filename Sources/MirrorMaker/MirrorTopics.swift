// Topics added and blocked at run time: what was said is kept in a compacted topic of the target, which every process follows.
import Logging
import MartletClient
import Mirroring
import NIOCore
import Primitives

/// How it stands with a topic of a flow.
public struct TopicStanding: Hashable, Sendable {
    public var flow: String
    public var topic: String
    /// What was said at run time; nil for nothing.
    public var rule: TopicRule?
    public var isReplicated: Bool
    /// Whether the source has it.
    public var exists: Bool

    public var json: JSONValue {
        [
            "flow": .string(flow), "topic": .string(topic), "rule": rule.map { .string($0.rawValue) } ?? .null,
            "replicated": .bool(isReplicated && exists), "exists": .bool(exists),
        ]
    }
}

/// Why something cannot be said of a topic.
public enum MirrorTopicError: Error, Sendable, CustomStringConvertible {
    /// There is no such flow, or several and none was named.
    case flow(String)
    /// The topic's name, or what is asked for, is not possible.
    case refused(String)
    case failed(KafkaError)

    public var description: String {
        switch self {
        case .flow(let text), .refused(let text): text
        case .failed(let error): error.explanation
        }
    }
}

/// Lists topics of the flows of a file, and changes which are replicated. Needs no running mirror.
public final class MirrorTopics: Sendable {
    private struct Place: Sendable {
        let flow: MirrorFlow
        let clients: FlowClients
        let source: AdminClient
        let target: AdminClient
        let producer: KafkaProducer
    }

    private let places: [Place]

    /// - Throws: `invalidArgument` with the client setting that cannot be used.
    public init(_ configuration: MirrorConfiguration) throws(KafkaError) {
        var places: [Place] = []
        for flow in configuration.flows where flow.isEnabled {
            let clients = try FlowClients(flow)
            var producer = ProducerConfiguration(clients.targetProducer)
            producer.allowTopicCreation = false
            places.append(
                Place(
                    flow: flow, clients: clients, source: AdminClient(clients.sourceAdmin), target: AdminClient(clients.targetAdmin),
                    producer: try KafkaProducer(producer)))
        }
        self.places = places
    }

    public func close() async {
        for place in places {
            try? await place.producer.close()
            place.source.close()
            place.target.close()
        }
    }

    private func places(_ name: String?) throws(MirrorTopicError) -> [Place] {
        guard let name else { return places }
        let found = places.filter { $0.flow.name == name }
        guard !found.isEmpty else {
            throw .flow("no flow '\(name.prefix(300))' is enabled; there are \(places.map(\.flow.name).joined(separator: ", "))")
        }
        return found
    }

    /// Topics that are replicated, and those that something was said of.
    ///
    /// - Parameter flow: `A->B`; nil for all flows.
    public func list(_ flow: String? = nil) async throws(MirrorTopicError) -> [TopicStanding] {
        var standings: [TopicStanding] = []
        for place in try places(flow) {
            do throws(KafkaError) {
                let rules = try await rules(place)
                let present = Set(try await place.source.listTopics().map(\.name))
                for topic in present.union(rules.rules.keys).sorted() {
                    let isReplicated = place.flow.replicates(topic, rules)
                    guard isReplicated || rules[topic] != nil else { continue }
                    standings.append(
                        TopicStanding(
                            flow: place.flow.name, topic: topic, rule: rules[topic], isReplicated: isReplicated,
                            exists: present.contains(topic)))
                }
            } catch {
                throw .failed(error)
            }
        }
        return standings
    }

    /// Says something of topics; mirrors that run take it over within a second.
    ///
    /// - Parameter flow: `A->B`; may be nil when the file has only one flow.
    public func change(_ change: TopicChange, _ topics: [String], flow: String?) async throws(MirrorTopicError) {
        let found = try places(flow)
        guard found.count == 1, let place = found.first else {
            throw .flow("say which flow is meant: \(found.map(\.flow.name).joined(separator: ", "))")
        }
        let rules: TopicRules
        do throws(KafkaError) {
            rules = try await self.rules(place)
        } catch {
            throw .failed(error)
        }
        for topic in topics {
            if let objection = place.flow.objection(to: change, topic, rules) { throw .refused(objection) }
        }
        let now = SystemClock.now()
        do throws(KafkaError) {
            for topic in topics {
                let value: ByteBuffer? =
                    switch change {
                    case .add: TopicRules.value(.added, time: now)
                    case .block: TopicRules.value(.blocked, time: now)
                    case .remove, .unblock: nil
                    }
                _ = try await place.producer.send(
                    ProducerRecord(
                        topic: place.flow.topicRulesTopic, partition: 0, keyBytes: ByteBuffer(string: topic), valueBytes: value,
                        timestamp: now))
            }
        } catch {
            throw .failed(error)
        }
    }

    private func rules(_ place: Place) async throws(KafkaError) -> TopicRules {
        try await place.target.ensure(
            InternalTopic(
                name: place.flow.topicRulesTopic, replicationFactor: place.flow.positionsReplicationFactor,
                replicationKey: "offset.storage.replication.factor"))
        var rules = TopicRules()
        try await TopicReading.readAll(place.flow.topicRulesTopic, place.clients.targetConsumer) { record in
            rules.apply(key: record.key, value: record.value)
        }
        return rules
    }
}
