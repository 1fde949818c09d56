// What is wrong with a cluster's partitions, and why, worked out from what brokers and controllers say.
import Primitives

/// A partition that is not as it should be.
public struct PartitionTrouble: Hashable, Sendable {
    /// From bad to worse.
    public enum State: String, CaseIterable, Comparable, Sendable {
        /// Some replicas are not in sync.
        case underReplicated = "under-replicated"
        /// So few are in sync that writes with acks=all are refused.
        case underMinISR = "under-min-isr"
        /// Nobody leads: neither reads nor writes, while some replica lives.
        case leaderless
        /// Nobody leads, and none of the replicas is on a broker that is alive.
        case offline

        public static func < (one: State, other: State) -> Bool {
            guard let first = allCases.firstIndex(of: one), let second = allCases.firstIndex(of: other) else { return false }
            return first < second
        }
    }

    public var partition: TopicPartition
    public var state: State
    public var description: PartitionDescription
    /// In words.
    public var reason: String
}

/// The condition of a cluster at one moment.
public struct ClusterHealth: Hashable, Sendable {
    public var brokers: [RegisteredBroker]
    /// Nil where the cluster does not tell.
    public var quorum: QuorumDescription?
    /// The metadata quorum was asked and did not answer: it has no leader. What is known of brokers and partitions may be out of date then.
    public var isQuorumSilent = false
    public var topics: Int
    public var partitions: Int
    public var reassignments: [OngoingReassignment]
    /// The worst first.
    public var troubles: [PartitionTrouble]

    /// Brokers that are registered and do not serve.
    public var fencedBrokers: [Int32] { brokers.filter { $0.isFenced == true }.map(\.node.id) }
    public var isHealthy: Bool { troubles.isEmpty && fencedBrokers.isEmpty && !lacksController }
    /// Whether nothing can be created, changed or elected, because no controller is active.
    public var lacksController: Bool { isQuorumSilent || quorum.map { $0.leaderID < 0 } ?? false }

    public func count(_ state: PartitionTrouble.State) -> Int { troubles.count { $0.state == state } }

    /// - Parameter minimumInSync: `min.insync.replicas` by topic.
    public init(
        brokers: [RegisteredBroker], quorum: QuorumDescription?, topics: [TopicDescription], minimumInSync: [String: Int],
        reassignments: [OngoingReassignment]
    ) {
        self.brokers = brokers
        self.quorum = quorum
        self.topics = topics.count
        self.reassignments = reassignments
        partitions = topics.reduce(0) { $0 + $1.partitions.count }
        let alive = Set(brokers.filter { $0.isFenced != true }.map(\.node.id))
        let moving = Dictionary(reassignments.map { ($0.partition, $0) }, uniquingKeysWith: { first, _ in first })
        troubles = topics.flatMap { topic in
            topic.partitions.compactMap { description in
                let partition = TopicPartition(topic.name, description.partition)
                let examination = Examination(
                    description: description, alive: alive, minimum: minimumInSync[topic.name] ?? 1, moving: moving[partition])
                guard let (state, reason) = examination.result else { return nil }
                return PartitionTrouble(partition: partition, state: state, description: description, reason: reason)
            }
        }.sorted { ($1.state, $0.partition) < ($0.state, $1.partition) }
    }
}

/// One partition looked at.
private struct Examination {
    let description: PartitionDescription
    let alive: Set<Int32>
    let minimum: Int
    let moving: OngoingReassignment?

    var result: (PartitionTrouble.State, String)? {
        let missing = description.replicas.filter { !description.inSyncReplicas.contains($0) }
        if description.leader == nil {
            let hasLiving = description.replicas.contains { alive.contains($0) && !description.offlineReplicas.contains($0) }
            return (hasLiving ? .leaderless : .offline, leaderless(hasLiving: hasLiving))
        }
        let why = missing.map(reason).joined(separator: "; ")
        // More than there are replicas cannot be in sync, and Kafka asks for no more either.
        let needed = min(minimum, description.replicas.count)
        if description.inSyncReplicas.count < needed {
            return (
                .underMinISR,
                "\(description.inSyncReplicas.count) in sync and min.insync.replicas is \(minimum), so acks=all is refused: \(why)"
            )
        }
        return missing.isEmpty ? nil : (.underReplicated, why)
    }

    private func leaderless(hasLiving: Bool) -> String {
        let candidates = Set(description.inSyncReplicas + description.eligibleLeaderReplicas).sorted()
        let waiting = candidates.filter { !alive.contains($0) || description.offlineReplicas.contains($0) }
        let who = (waiting.isEmpty ? candidates : waiting).map { "\($0)" }.joined(separator: ", ")
        if !hasLiving { return "all of its brokers are down or lost the directory: \(list(description.replicas)); start broker \(who)" }
        if waiting.isEmpty, !candidates.isEmpty { return "broker \(who) may lead and is alive: an election is due" }
        if candidates.isEmpty {
            return "no replica is known to have every record; `martlet partition elect --unclean` picks one, with loss"
        }
        return "waits for broker \(who), the last that had every record: start it; "
            + "`martlet partition elect --unclean` does without, with loss"
    }

    /// Why a replica is not in sync.
    private func reason(_ broker: Int32) -> String {
        if !alive.contains(broker) { return "broker \(broker) is down" }
        if description.offlineReplicas.contains(broker) { return "the directory on broker \(broker) failed" }
        if moving?.addingReplicas.contains(broker) == true { return "broker \(broker) is copying it (reassignment)" }
        return "broker \(broker) is alive and catching up"
    }

    private func list(_ brokers: [Int32]) -> String { brokers.map { "\($0)" }.joined(separator: ", ") }
}

extension AdminClient {
    /// The condition of the cluster.
    public func clusterHealth() async throws(KafkaError) -> ClusterHealth {
        let brokers = try await listRegisteredBrokers()
        let topics = try await listTopics(includingInternal: true)
        var minimum: [String: Int] = [:]
        // A few requests for any number of topics, none of them large.
        for start in stride(from: 0, to: topics.count, by: 500) {
            let some = topics[start..<min(start + 500, topics.count)]
            for outcome in try await describeConfigs(some.map { .topic($0.name) }, names: ["min.insync.replicas"]) {
                // A topic that was deleted meanwhile has no settings any more.
                guard case .success(let settings) = outcome.result else { continue }
                minimum[outcome.item.name] = settings.first.flatMap { $0.value.flatMap { Int($0) } }
            }
        }
        let (quorum, isSilent) = await quorumIfKnown()
        // Reassignments are told by the same controller.
        let reassignments = isSilent ? [] : await reassignmentsIfKnown()
        var health = ClusterHealth(
            brokers: brokers, quorum: quorum, topics: topics, minimumInSync: minimum, reassignments: reassignments)
        health.isQuorumSilent = isSilent
        return health
    }

    /// Health can be told without it, and must be while the quorum has no leader. Only who is not permitted to ask, or asks somebody who does
    /// not know the question, learns nothing from being refused.
    private func quorumIfKnown() async -> (quorum: QuorumDescription?, isSilent: Bool) {
        do throws(KafkaError) {
            return (try await describeQuorum(), false)
        } catch {
            let isRefused = error.kind == .unsupportedVersion || error.errorCode == .clusterAuthorizationFailed
            return (nil, !isRefused)
        }
    }

    private func reassignmentsIfKnown() async -> [OngoingReassignment] {
        do throws(KafkaError) { return try await listPartitionReassignments() } catch { return [] }
    }
}
