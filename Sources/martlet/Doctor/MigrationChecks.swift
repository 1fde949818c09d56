// What a cluster of Apache Kafka uses that Martlet would not serve. `martlet doctor` says it before anything is moved.
import Broker
import ConfigDefinitions
import KafkaMessages
import KafkaWire
import MartletClient

/// Looks for everything in use that a Martlet node in the cluster would miss, refuse or ignore.
struct MigrationChecks {
    let admin: AdminClient
    private(set) var diagnosis = Diagnosis()
    private var brokers: [Int32] = []
    /// Those that are configured to give out delegation tokens.
    private var withTokens: [Int32] = []
    private static let tokenKey = "delegation.token.secret.key"
    /// Of SASL, those that Martlet's listeners serve.
    private static let mechanisms = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]

    init(admin: AdminClient) {
        self.admin = admin
    }

    /// Whether a broker that has these settings is not Martlet: it has no defaults for Martlet's own. Apache Kafka lists whatever stands in
    /// its file, so a name alone says nothing.
    static func isForeign(_ settings: [ConfigSetting]) -> Bool {
        !settings.isEmpty && !settings.contains { $0.name.hasPrefix("martlet.") && $0.source == .defaultConfig }
    }

    mutating func run() async {
        do throws(KafkaError) {
            brokers = try await admin.describeCluster().brokers.map(\.id).sorted()
        } catch {
            return notExamined("the cluster", error)
        }
        await look("features") { checks in try await checks.features() }
        await look("settings of brokers") { checks in try await checks.brokerSettings() }
        await look("settings of topics") { checks in try await checks.topicSettings() }
        await look("transactions") { checks in try await checks.transactions() }
        await look("groups") { checks in try await checks.groups() }
        await look("ACLs") { checks in try await checks.accessControl() }
        await look("quotas") { checks in try await checks.quotas() }
        await look("SCRAM credentials") { checks in try await checks.credentials() }
        await look("delegation tokens") { checks in checks.tokens() }
        await look("data directories") { checks in try await checks.directories() }
    }

    private mutating func look(_ what: String, _ body: (inout MigrationChecks) async throws -> Void) async {
        do {
            try await body(&self)
        } catch {
            notExamined(what, error)
        }
    }

    private mutating func notExamined(_ what: String, _ error: any Error) {
        diagnosis.add(.warning, "not-examined", what, "cannot be examined: \(error)", "look at it by hand before anything is moved")
    }

    private mutating func problem(_ severity: Finding.Severity, _ code: String, _ subject: String, _ message: String, _ remedy: String) {
        diagnosis.add(severity, "migrate-\(code)", subject, message, remedy)
    }

    /// The first few, and how many there are.
    private static func some(_ names: [String]) -> String {
        names.prefix(5).joined(separator: ", ") + (names.count > 5 ? ", … (\(names.count) in all)" : "")
    }

    // MARK: Features

    private mutating func features() async throws {
        var fits = true
        for feature in try await admin.describeFeatures() {
            guard let level = feature.finalizedLevel else { continue }
            let known = ServedByBrokers.features[feature.name]
            if let known, known.contains(level) { continue }
            fits = false
            let range = known.map { "knows levels \($0.lowerBound) to \($0.upperBound)" } ?? "does not know it"
            problem(
                .error, "feature", "feature \(feature.name)",
                "is finalised at level \(level), and Martlet \(range): no node could register",
                "lower it (kafka-features.sh downgrade --feature \(feature.name)=LEVEL), or stay until Martlet knows it")
        }
        if fits { diagnosis.isSound("Martlet knows every finalised feature at its level") }
    }

    // MARK: Settings

    private mutating func brokerSettings() async throws {
        var findings = SettingFindings(table: .broker)
        for broker in brokers {
            let settings = try await admin.describeConfigs([.broker(broker)]).values().flatMap(\.self)
            var values: [String: String] = [:]
            for setting in settings { values[setting.name] = setting.value }
            listeners(values, of: broker)
            if settings.contains(where: { $0.name == Self.tokenKey && $0.source != .defaultConfig }) { withTokens.append(broker) }
            for setting in settings where setting.source != .defaultConfig { findings.add(setting, at: "broker \(broker)") }
        }
        report(findings, "brokers")
    }

    private mutating func listeners(_ values: [String: String], of broker: Int32) {
        let protocols = Dictionary(
            (values["listener.security.protocol.map"] ?? "").split(separator: ",").compactMap { entry -> (String, String)? in
                let parts = entry.split(separator: ":")
                return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
            }, uniquingKeysWith: { first, _ in first })
        let names = (values["listeners"] ?? "").split(separator: ",").compactMap { $0.split(separator: ":").first.map(String.init) }
        for name in names {
            guard (protocols[name] ?? name).hasPrefix("SASL_") else { continue }
            let offered =
                values["listener.name.\(name.lowercased()).sasl.enabled.mechanisms"] ?? values["sasl.enabled.mechanisms"] ?? "GSSAPI"
            let foreign = offered.split(separator: ",").map { $0.trimmingPrefix(" ") }.filter { !Self.mechanisms.contains(String($0)) }
            guard !foreign.isEmpty else { continue }
            problem(
                .error, "listener", "broker \(broker)",
                "listener \(name) offers \(foreign.joined(separator: ", ")), which Martlet does not",
                "give clients and nodes another mechanism first (\(Self.mechanisms.joined(separator: ", ")))")
        }
    }

    private mutating func topicSettings() async throws {
        var findings = SettingFindings(table: .topic)
        let topics = try await admin.listTopics(includingInternal: true).map(\.name)
        for start in stride(from: 0, to: topics.count, by: 200) {
            let some = topics[start..<min(topics.count, start + 200)]
            for outcome in try await admin.describeConfigs(some.map { .topic($0) }) {
                if outcome.item.name.hasPrefix("__") { continue }
                for setting in try outcome.result.get() where setting.source == .topic {
                    findings.add(setting, at: "topic \(outcome.item.name)")
                }
            }
        }
        report(findings, "topics")
    }

    private mutating func report(_ findings: SettingFindings, _ what: String) {
        for found in findings.all {
            problem(
                found.isRefused ? .error : .warning, found.isRefused ? "setting-refused" : "setting-ignored",
                found.keys.count == 1 ? "setting \(found.keys[0])" : "settings \(found.keys.joined(separator: ", "))",
                (found.isRefused ? "not accepted by Martlet: " : "without effect in Martlet: ") + found.reason
                    + " (\(Self.some(found.places)))",
                found.isRefused ? "take it away where you can do without it" : "make sure that nothing depends on it")
        }
        if findings.all.isEmpty { diagnosis.isSound("Martlet honours every setting of \(what)") }
    }

    // MARK: What clients use

    private mutating func transactions() async throws {
        let listings = try await admin.listTransactions()
        guard !listings.isEmpty else { return diagnosis.isSound("no transactional id is in use") }
        let open = listings.filter { ["Ongoing", "PrepareCommit", "PrepareAbort"].contains($0.state) }.count
        diagnosis.isSound("transactions are served as they are: \(listings.count) transactional id(s), \(open) of them with one open")
    }

    private mutating func groups() async throws {
        let foreign = try await admin.listGroups().filter {
            !["", "classic", "consumer", "share", "streams"].contains($0.type.lowercased())
        }
        if foreign.isEmpty { return diagnosis.isSound("Martlet coordinates every kind of group in use") }
        for type in Set(foreign.map { $0.type.lowercased() }).sorted() {
            let names = foreign.filter { $0.type.lowercased() == type }.map(\.group)
            problem(
                .error, "groups", "\(names.count) group(s) of type \(type)",
                "have a protocol that Martlet does not coordinate: \(Self.some(names))",
                "leave the cluster to Apache Kafka while they are used")
        }
    }

    private mutating func accessControl() async throws {
        var request = DescribeAclsRequest()
        // Any resource, pattern, operation and permission.
        (request.resourceTypeFilter, request.patternTypeFilter, request.operation, request.permissionType) = (1, 1, 1, 1)
        (request.resourceNameFilter, request.principalFilter, request.hostFilter) = (nil, nil, nil)
        let response = try await admin.cluster.send(request, to: .any)
        if response.errorCode == .securityDisabled { return diagnosis.isSound("there is no authorizer") }
        try response.errorCode.check(response.errorMessage, about: "DescribeAcls")
        let count = response.resources.reduce(0) { $0 + $1.acls.count }
        if count == 0 { return diagnosis.isSound("there is an authorizer and no ACL") }
        problem(
            .warning, "acls", "\(count) ACL(s)", "are enforced by a node of Martlet only if its configuration has an authorizer",
            "set authorizer.class.name and super.users on every node as they are on Apache Kafka's")
    }

    private mutating func quotas() async throws {
        let response = try await admin.cluster.send(DescribeClientQuotasRequest(), to: .any)
        try response.errorCode.check(response.errorMessage, about: "DescribeClientQuotas")
        let names = (response.entries ?? []).map { entry in
            entry.entity.map { "\($0.entityType) \($0.entityName ?? "(default)")" }.joined(separator: " and ")
        }
        if names.isEmpty { return diagnosis.isSound("there are no quotas") }
        diagnosis.isSound("\(names.count) quota(s), which Martlet keeps to: \(Self.some(names.sorted()))")
    }

    private mutating func credentials() async throws {
        var request = DescribeUserScramCredentialsRequest()
        request.users = nil
        let response = try await admin.cluster.send(request, to: .any)
        try response.errorCode.check(response.errorMessage, about: "DescribeUserScramCredentials")
        let users = response.results.map(\.user)
        if users.isEmpty { return diagnosis.isSound("no user has SCRAM credentials") }
        diagnosis.isSound("\(users.count) user(s) with SCRAM credentials, which Martlet takes over")
    }

    private mutating func tokens() {
        for broker in withTokens {
            problem(
                .warning, "tokens", "broker \(broker)", "gives out delegation tokens (\(Self.tokenKey) is set)",
                "set the same key in Martlet's configuration: with another one, or none, no token is taken")
        }
    }

    private mutating func directories() async throws {
        let directories = try await admin.describeLogDirectories()
        for broker in brokers {
            let mine = directories.filter { $0.broker == broker }
            let moving = mine.flatMap(\.replicas).count { $0.isFuture }
            if moving > 0 {
                diagnosis.isSound("broker \(broker) moves \(moving) replica(s) between its directories, which Martlet goes on with")
            }
        }
    }
}

/// Settings in force that Martlet refuses or ignores, by the reason, with where they stand.
private struct SettingFindings {
    struct Found {
        var isRefused: Bool
        var reason: String
        var keys: [String]
        var places: [String]
    }

    let table: ConfigTable
    private(set) var all: [Found] = []

    init(table: ConfigTable) { self.table = table }

    mutating func add(_ setting: ConfigSetting, at place: String) {
        guard let definition = table[setting.name], let reason = definition.support.reason, setting.value != definition.defaultText,
            setting.value != nil || definition.isSensitive
        else { return }
        let isRefused = if case .refused = definition.support { true } else { false }
        guard let index = all.firstIndex(where: { $0.reason == reason && $0.isRefused == isRefused }) else {
            return all.append(Found(isRefused: isRefused, reason: reason, keys: [setting.name], places: [place]))
        }
        if !all[index].keys.contains(setting.name) { all[index].keys.append(setting.name) }
        if !all[index].places.contains(place) { all[index].places.append(place) }
    }
}
