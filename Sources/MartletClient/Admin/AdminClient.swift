// The administrator's view of a cluster: one method per thing to do, each tried again while the cluster says "later".
import KafkaMessages
import KafkaWire
import Primitives

/// What became of one item of a request that names several.
public struct Outcome<Item: Sendable, Value: Sendable>: Sendable {
    public var item: Item
    public var result: Result<Value, KafkaError>

    /// Nil after success.
    public var error: KafkaError? {
        if case .failure(let error) = result { error } else { nil }
    }

    /// The same with another value.
    public func map<Other>(_ transform: (Value) -> Other) -> Outcome<Item, Other> {
        Outcome<Item, Other>(item: item, result: result.map(transform))
    }
}

extension Sequence {
    /// The values of all items, or the first error.
    @discardableResult
    public func values<Item, Value>() throws(KafkaError) -> [Value] where Element == Outcome<Item, Value> {
        var values: [Value] = []
        for outcome in self { values.append(try outcome.result.get()) }
        return values
    }
}

/// Administers a cluster.
///
/// ```swift
/// let admin = try AdminClient(bootstrapServers: "localhost:9092")
/// try await admin.createTopics([NewTopic("orders", partitions: 3)]).values()
/// for topic in try await admin.listTopics() { print(topic.name) }
/// admin.close()
/// ```
///
/// Retriable errors are tried again until ``ClientConfiguration/operationTimeout`` is over; that a topic does not exist counts as
/// final after a few answers.
public final class AdminClient: Sendable {
    /// The client underneath, for requests that have no method here.
    package let cluster: ClusterClient

    public init(_ configuration: ClientConfiguration) {
        cluster = ClusterClient(configuration)
    }

    public convenience init(bootstrapServers: String) throws(KafkaError) {
        self.init(try ClientConfiguration(bootstrapServers: bootstrapServers))
    }

    package init(cluster: ClusterClient) {
        self.cluster = cluster
    }

    public func close() {
        cluster.close()
    }

    var timeoutMilliseconds: Int32 { cluster.configuration.requestTimeout.clampedMilliseconds }

    /// Repeats while any of the outcomes can only be had later, and returns the last ones when the time is up.
    func retryingOutcomes<Item, Value>(
        _ operation: () async throws(KafkaError) -> [Outcome<Item, Value>]
    ) async throws(KafkaError) -> [Outcome<Item, Value>] {
        let deadline = SystemClock.monotonicMilliseconds() &+ cluster.configuration.operationTimeout.wholeMilliseconds
        var failures = 0
        while true {
            let outcomes = try await cluster.retrying { () throws(KafkaError) in try await operation() }
            failures += 1
            let again = outcomes.allSatisfy { outcome in
                guard let error = outcome.error else { return false }
                return error.isRetriable
                    && (error.errorCode != .unknownTopicOrPartition || failures < ClusterClient.answersUntilMissing)
            }
            let pause = cluster.backoff.milliseconds(afterFailures: failures)
            guard again, !outcomes.isEmpty, SystemClock.monotonicMilliseconds() &+ pause < deadline else { return outcomes }
            _ = try? await cluster.refreshMetadata()
            try await ClusterClient.pause(milliseconds: pause)
        }
    }
}

// MARK: The cluster

/// A cluster and its brokers.
public struct ClusterDescription: Hashable, Sendable {
    public var clusterID: String?
    /// A broker that forwards to the controller, in KRaft any one that is alive; nil while there is none.
    public var controllerID: Int32?
    public var brokers: [BrokerNode]
}

/// A feature's level, such as `metadata.version`.
public struct FeatureDescription: Hashable, Sendable {
    public var name: String
    /// What the broker that answered supports.
    public var supportedVersions: ClosedRange<Int16>?
    /// What the cluster has agreed on; nil when the feature is not enabled.
    public var finalizedLevel: Int16?
}

/// How a feature's level is to change.
public enum FeatureUpgradeType: Int8, Sendable {
    case upgrade = 1
    case safeDowngrade = 2
    case unsafeDowngrade = 3
}

/// A replica of the metadata log.
public struct QuorumReplica: Hashable, Sendable {
    public var nodeID: Int32
    public var directoryID: KafkaUUID
    public var logEndOffset: Int64
    /// Milliseconds since 1970; -1 when unknown.
    public var lastFetchTimestamp: Int64
    public var lastCaughtUpTimestamp: Int64
}

/// The controllers' quorum (KIP-836).
public struct QuorumDescription: Hashable, Sendable {
    public var leaderID: Int32
    public var leaderEpoch: Int32
    public var highWatermark: Int64
    public var voters: [QuorumReplica]
    public var observers: [QuorumReplica]
}

extension AdminClient {
    /// The cluster's id and the brokers as clients reach them.
    public func describeCluster() async throws(KafkaError) -> ClusterDescription {
        try await cluster.retrying { () throws(KafkaError) in
            let connection = try await self.cluster.connection(to: .any)
            guard connection.versions.supports(.describeCluster) else {
                try await self.cluster.refreshMetadata()
                let view = self.cluster.view
                return ClusterDescription(clusterID: view.clusterID, controllerID: view.controllerID, brokers: Array(view.brokers.values))
            }
            let response = try await connection.send(DescribeClusterRequest(), timeout: self.cluster.configuration.requestTimeout)
            try response.errorCode.check(response.errorMessage, about: "DescribeCluster")
            return ClusterDescription(
                clusterID: response.clusterId, controllerID: response.controllerId >= 0 ? response.controllerId : nil,
                brokers: response.brokers.map { BrokerNode(id: $0.brokerId, host: $0.host, port: Int($0.port), rack: $0.rack) })
        }
    }

    /// The features that a broker supports and the cluster has finalized.
    public func describeFeatures() async throws(KafkaError) -> [FeatureDescription] {
        let response = try await cluster.retrying { () throws(KafkaError) in
            let response = try await self.cluster.send(ApiVersionsRequest.own, to: .any, allowed: 0...4)
            try response.errorCode.check(about: "ApiVersions")
            return response
        }
        var features = response.supportedFeatures.map { feature in
            FeatureDescription(
                name: feature.name,
                supportedVersions: feature.minVersion <= feature.maxVersion ? feature.minVersion...feature.maxVersion : nil)
        }
        for finalized in response.finalizedFeatures {
            if let index = features.firstIndex(where: { $0.name == finalized.name }) {
                features[index].finalizedLevel = finalized.maxVersionLevel
            } else {
                features.append(FeatureDescription(name: finalized.name, finalizedLevel: finalized.maxVersionLevel))
            }
        }
        return features.sorted { $0.name < $1.name }
    }

    /// Sets the levels of features; level 0 disables one.
    public func updateFeatures(
        _ levels: [(name: String, level: Int16)], type: FeatureUpgradeType = .upgrade, validateOnly: Bool = false
    ) async throws(KafkaError) {
        var request = UpdateFeaturesRequest()
        request.timeoutMs = timeoutMilliseconds
        request.validateOnly = validateOnly
        request.featureUpdates = levels.map { name, level in
            var update = UpdateFeaturesRequest.FeatureUpdateKey()
            update.feature = name
            update.maxVersionLevel = level
            update.upgradeType = type.rawValue
            return update
        }
        let response = try await cluster.retrying { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: .controller, allowed: 1...2)
            try response.errorCode.check(response.errorMessage, about: "UpdateFeatures")
            return response
        }
        for result in response.results { try result.errorCode.check(result.errorMessage, about: "feature \(result.feature)") }
    }

    /// The quorum that holds the cluster's metadata.
    public func describeQuorum() async throws(KafkaError) -> QuorumDescription {
        try await describeQuorumWithEndpoints().quorum
    }

    /// The quorum, and where its nodes' controllers listen by node id, as `LISTENER://host:port` (KIP-853).
    package func describeQuorumWithEndpoints() async throws(KafkaError) -> (quorum: QuorumDescription, endpoints: [Int32: [String]]) {
        var partition = DescribeQuorumRequest.PartitionData()
        partition.partitionIndex = 0
        var topic = DescribeQuorumRequest.TopicData()
        topic.topicName = "__cluster_metadata"
        topic.partitions = [partition]
        var request = DescribeQuorumRequest()
        request.topics = [topic]
        do throws(KafkaError) {
            return try await cluster.retrying { [request] () throws(KafkaError) in
                let response = try await self.cluster.send(request, to: .any)
                try response.errorCode.check(response.errorMessage, about: "DescribeQuorum")
                guard let found = response.topics.first?.partitions.first else {
                    throw KafkaError(.protocolViolation, "the answer to DescribeQuorum is empty")
                }
                try found.errorCode.check(found.errorMessage, about: "DescribeQuorum")
                let quorum = QuorumDescription(
                    leaderID: found.leaderId, leaderEpoch: found.leaderEpoch, highWatermark: found.highWatermark,
                    voters: found.currentVoters.map(QuorumReplica.init), observers: found.observers.map(QuorumReplica.init))
                let endpoints = response.nodes.map { node in
                    (node.nodeId, node.listeners.map { "\($0.name)://\($0.host):\($0.port)" })
                }
                return (quorum, Dictionary(endpoints, uniquingKeysWith: { first, _ in first }))
            }
        } catch {
            // What was tried last says little: another broker that is gone, or one that waits for a controller.
            guard error.isRetriable else { throw error }
            throw KafkaError(
                .timedOut,
                "the metadata quorum did not answer in time: it has no leader unless a majority of its voters runs. The log of a node that "
                    + "runs names those that it cannot reach (the last error: \(error.explanation))", isRetriable: true)
        }
    }

    /// The API versions of one broker: key, name if known, range.
    package func describeVersions(of target: RequestTarget = .any) async throws(KafkaError) -> NegotiatedVersions {
        try await cluster.connection(to: target).versions
    }
}

extension QuorumReplica {
    init(_ replica: DescribeQuorumResponse.ReplicaState) {
        self.init(
            nodeID: replica.replicaId, directoryID: replica.replicaDirectoryId, logEndOffset: replica.logEndOffset,
            lastFetchTimestamp: replica.lastFetchTimestamp, lastCaughtUpTimestamp: replica.lastCaughtUpTimestamp)
    }
}
