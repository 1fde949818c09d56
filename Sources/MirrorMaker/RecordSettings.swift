// What a flow does to records, once its secrets were read and both clusters are known.
import Glibc
import MartletClient
import Mirroring
import Primitives
import Synchronization

/// Transforms and provenance of a flow.
final class RecordSettings: Sendable {
    /// Ids of source and target.
    struct Clusters: Hashable, Sendable {
        var source: String
        var target: String
    }

    private let flow: MirrorFlow
    private let origins: TargetOrigins
    private let transforms: [RecordTransform]
    private let clusters = Mutex<Clusters?>(nil)

    /// - Throws: `invalidArgument` with the secret that cannot be used.
    init(_ flow: MirrorFlow, _ origins: TargetOrigins) throws(KafkaError) {
        self.flow = flow
        self.origins = origins
        var transforms: [RecordTransform] = []
        for settings in flow.transforms { transforms.append(settings.transform(try settings.secret.map(Self.secret))) }
        self.transforms = transforms
    }

    private static func secret(_ location: SecretLocation) throws(KafkaError) -> FieldSecret {
        var bytes: [UInt8]
        let place: String
        switch location {
        case .environment(let name):
            place = "the environment variable \(name) (secret.environment)"
            guard let text = getenv(name) else { throw KafkaError(.invalidArgument, "\(place) is not set") }
            bytes = Array(String(cString: text).utf8)
        case .file(let path):
            place = "the file \(path) (secret.file)"
            guard let content = SecretFile.read(path) else { throw KafkaError(.invalidArgument, "\(place) cannot be read") }
            bytes = content
        }
        // An editor's last line break is no part of it.
        while let last = bytes.last, last == 0x0a || last == 0x0d { bytes.removeLast() }
        guard bytes.count >= FieldSecret.minimumBytes else {
            throw KafkaError(
                .invalidArgument,
                "\(place) has \(bytes.count) bytes; a secret that cannot be guessed has at least \(FieldSecret.minimumBytes)")
        }
        return FieldSecret(bytes)
    }

    /// Asks both clusters who they are.
    func identify(_ source: AdminClient, _ target: AdminClient) async throws(KafkaError) {
        guard flow.addsProvenance else { return }
        guard let sourceID = try await source.describeCluster().clusterID, let targetID = try await target.describeCluster().clusterID,
            !sourceID.isEmpty, !targetID.isEmpty
        else { throw KafkaError.invalidContent("a cluster without a cluster id cannot be told apart from others by provenance headers") }
        guard sourceID != targetID else {
            throw KafkaError.invalidContent(
                "\(flow.source) and \(flow.target) both have the cluster id \(sourceID): they are the same cluster, or one was copied from "
                    + "the other's files; provenance headers cannot tell them apart")
        }
        clusters.withLock { $0 = Clusters(source: sourceID, target: targetID) }
    }

    /// Nil for a partition whose records are not stamped.
    func rule(_ partition: TopicPartition, _ topicID: TopicID) -> ProvenanceRule? {
        guard flow.addsProvenance(to: partition.topic), let clusters = clusters.withLock({ $0 }) else {
            return nil
        }
        return ProvenanceRule(
            policy: flow.policy, sourceID: clusters.source, targetID: clusters.target, topic: partition.topic, topicID: topicID,
            partition: partition.partition)
    }

    func rewriting(_ item: WantedPartition, _ rule: ProvenanceRule?) -> RecordRewriting? {
        if ReplicationPolicy.isHeartbeats(item.source.topic) { return nil }
        let own = transforms.filter { $0.topics.matches(item.source.topic) }
        return RecordRewriting(own, rule, known: rule == nil ? KnownOrigins() : origins.known(item.target))
    }
}
