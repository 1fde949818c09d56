// Which metrics which clients are to push (KIP-714): the configurations of the kind CLIENT_METRICS.
import ClusterMetadata
import ConfigDefinitions
import KafkaWire
import Primitives

/// What of a client subscriptions are matched with.
struct TelemetryClient {
    var instanceID: KafkaUUID
    var clientID: String
    var softwareName: String
    var softwareVersion: String
    var address: String
    var port: String

    /// By the names that `match` knows.
    func attribute(_ name: String) -> String? {
        switch name {
        case "client_instance_id": instanceID.description
        case "client_id": clientID
        case "client_software_name": softwareName
        case "client_software_version": softwareVersion
        case "client_source_address": address
        case "client_source_port": port
        default: nil
        }
    }
}

/// What one client is asked for.
struct TelemetryPlan: Equatable {
    /// Kafka's, when no subscription matches.
    static let defaultIntervalMilliseconds: Int32 = 300_000

    /// Prefixes of names; `*` for everything; none for nothing.
    var metrics: [String] = []
    var intervalMilliseconds = defaultIntervalMilliseconds
}

/// All subscriptions, as metadata has them.
struct ClientMetricsSubscriptions: Sendable {
    private struct Subscription: Sendable {
        var metrics: [String]
        var intervalMilliseconds: Int32
        /// Texts that have to match as a whole, by attribute.
        var matches: [(attribute: String, pattern: LinearPattern?)]

        func holds(for client: TelemetryClient) -> Bool {
            matches.allSatisfy { match in
                guard let pattern = match.pattern, let text = client.attribute(match.attribute) else { return false }
                return pattern.matchesWhole(text)
            }
        }
    }

    private var subscriptions: [Subscription] = []

    init() {}

    init(_ image: ConfigurationsImage) {
        for (resource, values) in image.byResource where resource.kind == .clientMetrics && !values.isEmpty {
            let metrics = Self.list(values["metrics"])
            let interval = values["interval.ms"].flatMap { Int32($0) } ?? TelemetryPlan.defaultIntervalMilliseconds
            let matches = Self.list(values["match"]).map { entry -> (attribute: String, pattern: LinearPattern?) in
                let parts = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map { Self.trimmed(String($0)) }
                return (parts[0], parts.count == 2 ? try? LinearPattern(parts[1]) : nil)
            }
            subscriptions.append(Subscription(metrics: metrics, intervalMilliseconds: interval, matches: matches))
        }
    }

    private static func list(_ text: String?) -> [String] {
        (text ?? "").split(separator: ",").map { trimmed(String($0)) }.filter { !$0.isEmpty }
    }

    private static func trimmed(_ text: String) -> String {
        var rest = text[...]
        while rest.first == " " { rest.removeFirst() }
        while rest.last == " " { rest.removeLast() }
        return String(rest)
    }

    /// What a client is asked for: everything that matches together, at the shortest interval.
    func plan(for client: TelemetryClient) -> TelemetryPlan {
        var plan = TelemetryPlan()
        var names: Set<String> = []
        for subscription in subscriptions where subscription.holds(for: client) {
            names.formUnion(subscription.metrics)
            plan.intervalMilliseconds = min(plan.intervalMilliseconds, subscription.intervalMilliseconds)
        }
        plan.metrics = names.contains("*") ? ["*"] : names.sorted()
        return plan
    }
}
