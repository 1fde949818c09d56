// The doctor's examination of a running cluster.
import KafkaMessages
import KafkaWire
import MartletClient
import Primitives

/// Looks at one thing after the other; what cannot be looked at is a finding too.
struct ClusterChecks {
    let admin: AdminClient
    private(set) var diagnosis = Diagnosis()

    /// Whether brokers were met that are not Martlet's.
    private var hasForeignBrokers = false
    /// Whether to look at what Martlet does not serve even so.
    private let isForMigration: Bool

    init(admin: AdminClient, isForMigration: Bool) {
        self.admin = admin
        self.isForMigration = isForMigration
    }

    private var configuration: ClientConfiguration { admin.cluster.configuration }

    /// - Throws: when no bootstrap server can be used, so that there is nothing to examine.
    mutating func run() async throws {
        _ = try await admin.cluster.connection(to: .bootstrap)
        let reachable = try await listeners()
        // Every further question goes to the addresses that are advertised.
        guard reachable else { return }
        await look("topics") { checks in try await checks.topics() }
        await look("data directories") { checks in try await checks.directories() }
        await look("metadata quorum") { checks in try await checks.quorum() }
        await look("features") { checks in try await checks.features() }
        await look("settings") { checks in try await checks.settings() }
        guard isForMigration || hasForeignBrokers else { return }
        var migration = MigrationChecks(admin: admin)
        await migration.run()
        diagnosis.add(migration.diagnosis)
    }

    private mutating func look(_ what: String, _ body: (inout ClusterChecks) async throws -> Void) async {
        do {
            try await body(&self)
        } catch {
            diagnosis.add(.warning, "not-examined", what, "cannot be examined: \(error)", "ask again when the cluster is healthy")
        }
    }

    // MARK: Listeners

    /// Returns whether any advertised address can be used.
    private mutating func listeners() async throws -> Bool {
        var clusterIDs: [String: BrokerAddress] = [:]
        var versions: [[Int16: ClosedRange<Int16>]: [Int32]] = [:]
        var isAnyReachable = false
        for bootstrap in configuration.bootstrapServers {
            let metadata: MetadataResponse
            do throws(KafkaError) {
                metadata = try await ask(bootstrap)
            } catch {
                diagnosis.add(
                    .error, "bootstrap-unreachable", "bootstrap server \(bootstrap)", error.explanation,
                    "start the broker, or correct the address")
                continue
            }
            if let id = metadata.clusterId {
                if let (other, address) = clusterIDs.first(where: { $0.key != id }) {
                    diagnosis.add(
                        .error, "two-clusters", "bootstrap server \(bootstrap)",
                        "belongs to cluster \(id), but \(address) to cluster \(other)",
                        "name servers of one cluster only")
                }
                clusterIDs[id] = bootstrap
            }
            for broker in metadata.brokers.sorted(by: { $0.nodeId < $1.nodeId }) {
                if let found = await advertised(broker, of: metadata.clusterId, by: bootstrap) {
                    isAnyReachable = true
                    let ranges = Dictionary(found.map { ($0.key, $0.versions) }, uniquingKeysWith: { first, _ in first })
                    versions[ranges, default: []].append(broker.nodeId)
                }
            }
        }
        if versions.count > 1 {
            let groups = versions.values.map { Set($0).sorted().map { "\($0)" }.joined(separator: ", ") }.sorted().joined(separator: " | ")
            diagnosis.add(
                .warning, "version-mix", "brokers", "speak different versions of the protocol: \(groups)",
                "finish the upgrade; until then clients use what all have in common")
        }
        return isAnyReachable
    }

    private func ask(_ address: BrokerAddress) async throws(KafkaError) -> MetadataResponse {
        let connection = try await BrokerConnection.connect(to: address, configuration: configuration)
        defer { connection.close() }
        var request = MetadataRequest()
        request.topics = []
        return try await connection.send(request, timeout: configuration.requestTimeout, allowed: 4...13)
    }

    /// Connects to where a broker says it is. Returns the APIs it has there.
    private mutating func advertised(
        _ broker: MetadataResponse.MetadataResponseBroker, of clusterID: String?, by bootstrap: BrokerAddress
    ) async -> [(key: Int16, versions: ClosedRange<Int16>)]? {
        let address = BrokerAddress(host: broker.host, port: Int(broker.port))
        let subject = "broker \(broker.nodeId)"
        let remedy =
            "set advertised.listeners of broker \(broker.nodeId) to an address that clients here can reach, "
            + "for the listener that \(bootstrap) belongs to"
        if ["0.0.0.0", "::", ""].contains(broker.host) {
            diagnosis.add(.error, "advertised-wildcard", subject, "advertises \(address), which is no address to connect to", remedy)
            return nil
        }
        do throws(KafkaError) {
            let connection = try await BrokerConnection.connect(to: address, configuration: configuration)
            defer { connection.close() }
            var request = MetadataRequest()
            request.topics = []
            let answer = try await connection.send(request, timeout: configuration.requestTimeout, allowed: 4...13)
            if let clusterID, let other = answer.clusterId, other != clusterID {
                diagnosis.add(
                    .error, "advertised-foreign", subject,
                    "advertises \(address), where a broker of another cluster answers (\(other) instead of \(clusterID))", remedy)
                return nil
            }
            if Self.isLoopback(broker.host), !Self.isLoopback(bootstrap.host) {
                diagnosis.add(
                    .warning, "advertised-loopback", subject, "advertises \(address), which other machines cannot reach", remedy)
            } else {
                diagnosis.isSound("\(subject) can be reached at \(address), as \(bootstrap) advertises it")
            }
            return connection.versions.all
        } catch {
            diagnosis.add(
                .error, "advertised-unreachable", subject,
                "\(bootstrap) answers, but the address it advertises for \(subject), \(address), cannot be used: \(error.explanation)",
                remedy)
            return nil
        }
    }

    private static func isLoopback(_ host: String) -> Bool { host == "localhost" || host.hasPrefix("127.") || host == "::1" }

    // MARK: What the brokers hold

    private mutating func topics() async throws {
        let topics = try await admin.listTopics(includingInternal: true)
        let brokers = try await admin.describeCluster().brokers
        let known = Set(brokers.map(\.id))
        var partitions = 0
        var lonely: [String] = []
        for topic in topics {
            partitions += topic.partitions.count
            let health = TopicHealth(topic)
            let subject = "topic \(topic.name)"
            let missing = Set(topic.partitions.flatMap(\.replicas)).subtracting(known).sorted().map { "\($0)" }
            let who = missing.isEmpty ? "" : " (brokers that are away: \(missing.joined(separator: ", ")))"
            if health.leaderless > 0 {
                diagnosis.add(
                    .error, "no-leader", subject, "\(health.leaderless) of \(topic.partitions.count) partitions have no leader\(who)",
                    "start the brokers that hold their replicas")
            } else if health.underReplicated > 0 {
                diagnosis.add(
                    .warning, "under-replicated", subject,
                    "\(health.underReplicated) of \(topic.partitions.count) partitions lack in-sync replicas\(who)",
                    "start the brokers that are away, or give those that lag behind time and bandwidth")
            }
            if brokers.count > 1, topic.partitions.contains(where: { $0.replicas.count == 1 }) { lonely.append(topic.name) }
        }
        if !lonely.isEmpty {
            let some = lonely.prefix(5).joined(separator: ", ") + (lonely.count > 5 ? ", …" : "")
            diagnosis.add(
                .warning, "single-replica", "\(lonely.count) topics",
                "have a single replica although there are \(brokers.count) brokers: \(some)",
                "raise their replication factor by a reassignment")
        }
        diagnosis.isSound(
            "\(topics.count) topic\(topics.count == 1 ? "" : "s") with \(partitions) partition\(partitions == 1 ? "" : "s") were looked at")
    }

    private mutating func directories() async throws {
        for directory in try await admin.describeLogDirectories() {
            let subject = "broker \(directory.broker), \(directory.path)"
            if let error = directory.error {
                diagnosis.add(
                    .error, "offline-directory", subject, "the data directory is offline: \(error)",
                    "look at the broker's log and at the disk, then restart the broker")
                continue
            }
            guard directory.totalBytes > 0, directory.usableBytes >= 0 else { continue }
            let share = Double(directory.usableBytes) / Double(directory.totalBytes)
            let free = "\(SizeText.of(directory.usableBytes)) of \(SizeText.of(directory.totalBytes)) are free"
            if share < 0.1 {
                diagnosis.add(
                    share < 0.02 ? .error : .warning, "disk-full", subject, "only \(free)",
                    "add space, or shorten retention.ms or retention.bytes of the largest topics (martlet cluster log-dirs --partitions)")
            } else {
                diagnosis.isSound("\(subject): \(free)")
            }
        }
    }

    private mutating func quorum() async throws {
        let quorum = try await admin.describeQuorum()
        if quorum.leaderID < 0 {
            diagnosis.add(
                .error, "no-controller", "metadata quorum", "has no leader, so nothing can be created or changed",
                "start a majority of the \(quorum.voters.count) controllers")
            return
        }
        diagnosis.isSound("the metadata quorum is led by node \(quorum.leaderID), \(quorum.voters.count) voter(s)")
        if quorum.voters.count == 2 {
            diagnosis.add(
                .warning, "two-voters", "metadata quorum", "has two voters, so the loss of either one stops it", "use one, three or five")
        }
    }

    private mutating func features() async throws {
        for feature in try await admin.describeFeatures() {
            guard let level = feature.finalizedLevel, let supported = feature.supportedVersions else { continue }
            if !supported.contains(level) {
                diagnosis.add(
                    .error, "feature-unsupported", "feature \(feature.name)",
                    "is at level \(level), but a broker supports \(supported.lowerBound) to \(supported.upperBound)", "upgrade the broker")
            }
        }
    }

    // MARK: Settings

    private mutating func settings() async throws {
        let brokers = try await admin.describeCluster().brokers
        for broker in brokers {
            let settings = try await admin.describeConfigs([.broker(broker.id)]).values().flatMap(\.self)
            var values: [String: String] = [:]
            for setting in settings { values[setting.name] = setting.value }
            if MigrationChecks.isForeign(settings) { hasForeignBrokers = true }
            examine(values, of: broker.id, brokers: brokers.count)
        }
    }

    private mutating func examine(_ values: [String: String], of broker: Int32, brokers: Int) {
        let subject = "broker \(broker)"
        if values["unclean.leader.election.enable"] == "true" {
            diagnosis.add(
                .warning, "unclean-election", subject, "unclean.leader.election.enable is true: acknowledged records can be lost",
                "set it to false, and allow it for single topics only when their records may be lost")
        }
        if values["auto.create.topics.enable"] == "true" {
            diagnosis.add(
                .hint, "auto-creation", subject, "auto.create.topics.enable is true: a misspelt name makes a new topic",
                "set it to false where topics are created on purpose")
        }
        if brokers > 2 {
            for key in ["offsets.topic.replication.factor", "transaction.state.log.replication.factor", "default.replication.factor"]
            where values[key] == "1" {
                diagnosis.add(
                    .warning, "one-replica-default", subject, "\(key) is 1 although there are \(brokers) brokers", "set it to 3")
            }
            if values["min.insync.replicas"] == "1" {
                diagnosis.add(
                    .hint, "min-insync", subject, "min.insync.replicas is 1: acks=all then waits for the leader alone when others lag",
                    "set it to 2 for topics with three replicas")
            }
        }
        if let text = values["fetch.max.bytes"], let fetch = Int64(text), let message = values["message.max.bytes"].flatMap({ Int64($0) }),
            message > fetch
        {
            diagnosis.add(
                .warning, "message-over-fetch", subject, "message.max.bytes (\(message)) is larger than fetch.max.bytes (\(fetch))",
                "raise fetch.max.bytes; every large record now takes a fetch of its own")
        }
    }
}
