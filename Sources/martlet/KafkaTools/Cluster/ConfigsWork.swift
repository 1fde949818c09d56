// What `kafka-configs` asks and says once its arguments are understood.
import KafkaMessages
import KafkaWire
import MartletClient
import Primitives

struct ConfigsWork {
    let options: ToolOptions
    let entities: ConfigsTool.Entities
    let admin: AdminClient

    private var type: String { entities.types[0] }
    private var quotas: ClientQuotas { ClientQuotas(entities: entities, admin: admin) }

    private static let kinds: [String: ConfigResource.Kind] = [
        "topics": .topic, "brokers": .broker, "broker-loggers": .brokerLogger, "client-metrics": .clientMetrics, "groups": .group,
    ]

    // MARK: Describing

    func describe() async throws {
        if let kind = Self.kinds[type] { return try await describe(kind) }
        try await quotas.describe()
        guard type != "ips", !entities.types.contains("clients"), !entities.names.contains("") else { return }
        for outcome in try await admin.describeScramUsers(entities.names.isEmpty ? nil : entities.names) {
            switch outcome.result {
            case .success(let user):
                let text = user.credentials.map { "\($0.mechanism)=iterations=\($0.iterations)" }.joined(separator: ", ")
                Terminal.print("SCRAM credential configs for user-principal '\(outcome.item)' are \(text)")
            case .failure(let error):
                if error.codeName == "RESOURCE_NOT_FOUND", !entities.names.isEmpty { continue }
                let name = error.javaClass.split(separator: ".").last ?? ""
                Terminal.print(
                    "Error retrieving SCRAM credential configs for user-principal '\(outcome.item)': \(name): \(error.message)")
            }
        }
    }

    private func describe(_ kind: ConfigResource.Kind) async throws {
        let showsAll = options.has("all")
        if !showsAll, let name = entities.names.first, !(try await exists(name, kind)) {
            return Terminal.print("The \(type.dropLast()) '\(name)' doesn't exist and doesn't have dynamic config.")
        }
        let names = entities.names.isEmpty ? try await all(kind) : [entities.names[0]]
        for name in names {
            Terminal.print(
                name.isEmpty
                    ? "Default configs for \(type) in the cluster are:"
                    : "\(showsAll ? "All" : "Dynamic") configs for \(type.dropLast()) \(name) are:")
            for setting in try await settings(kind, name, all: showsAll, synonyms: true) {
                let synonyms = setting.synonyms.map { "\($0.source.javaName):\($0.name)=\($0.value ?? "null")" }.joined(separator: ", ")
                Terminal.print("  \(setting.name)=\(setting.value ?? "null") sensitive=\(setting.isSensitive) synonyms={\(synonyms)}")
            }
        }
    }

    private func exists(_ name: String, _ kind: ConfigResource.Kind) async throws -> Bool {
        switch kind {
        case .topic: try await admin.listTopics(includingInternal: true).contains { $0.name == name }
        case .broker, .brokerLogger: name.isEmpty ? true : try await all(kind).contains(name)
        case .clientMetrics, .group: try await all(kind).contains(name)
        }
    }

    /// Everything of a kind that may have settings.
    private func all(_ kind: ConfigResource.Kind) async throws -> [String] {
        switch kind {
        case .topic: return try await admin.listTopics(includingInternal: true).map(\.name)
        case .broker, .brokerLogger:
            // Fenced ones too, when asked by a controller; brokers tell those that serve.
            return try await admin.describeCluster().brokers.map { "\($0.id)" } + [""]
        case .clientMetrics: return try await resources(kind)
        case .group: return Set(try await admin.listGroups().map(\.group) + resources(kind)).sorted()
        }
    }

    /// Resources that have settings (KIP-1142).
    private func resources(_ kind: ConfigResource.Kind) async throws(KafkaError) -> [String] {
        var request = ListConfigResourcesRequest()
        request.resourceTypes = [kind.rawValue]
        let response = try await admin.cluster.retrying { [request] () throws(KafkaError) in
            let response = try await admin.cluster.send(request, to: .any)
            try response.errorCode.check()
            return response
        }
        return response.configResources.filter { $0.resourceType == kind.rawValue }.map(\.resourceName).sorted()
    }

    private func settings(
        _ kind: ConfigResource.Kind, _ name: String, all: Bool, synonyms: Bool
    ) async throws(KafkaError) -> [ConfigSetting] {
        let source: ConfigSetting.Source? =
            switch kind {
            case .topic: .topic
            case .broker: name.isEmpty ? .dynamicDefaultBroker : .dynamicBroker
            case .brokerLogger: nil
            case .clientMetrics: .clientMetrics
            case .group: .group
            }
        return try await admin.describeConfigs([ConfigResource(kind, name)], includingSynonyms: synonyms).values().flatMap { $0 }
            .filter { all || source == nil || $0.source == source }.sorted { $0.name < $1.name }
    }

    // MARK: Altering

    func alter(_ changes: ConfigChanges) async throws {
        if let kind = Self.kinds[type] {
            try await alter(kind, changes)
        } else if type == "ips" {
            try ClientQuotas.check(changes, known: ClientQuotas.addressKeys) { names in
                "Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected config names: "
                    + names.joined(separator: ",")
            }
            try await quotas.alter(changes)
        } else {
            try await alterClients(changes)
        }
        let name = entities.names[0]
        Terminal.print(
            name.isEmpty
                ? "Completed updating default config for \(type) in the cluster."
                : "Completed updating config for \(type.dropLast()) \(name).")
    }

    private func alter(_ kind: ConfigResource.Kind, _ changes: ConfigChanges) async throws {
        let name = entities.names[0]
        let known = Set(try await settings(kind, name, all: false, synonyms: false).map(\.name))
        let invalid = changes.deleted.filter { !known.contains($0) }
        if kind == .brokerLogger {
            let loggers = invalid + changes.added.map(\.name).filter { !known.contains($0) }
            if !loggers.isEmpty { throw CommandFailure("Invalid broker logger(s): \(loggers.joined(separator: ","))") }
        }
        if !invalid.isEmpty { throw CommandFailure("Invalid config(s): \(invalid.joined(separator: ","))") }
        let operations = changes.deleted.map { ConfigChange.delete($0) } + changes.added.map { ConfigChange.set($0.name, $0.value) }
        try await admin.alterConfigs([(ConfigResource(kind, name), operations)]).values()
    }

    private func alterClients(_ changes: ConfigChanges) async throws {
        func isScram(_ name: String) -> Bool { ["SCRAM-SHA-256", "SCRAM-SHA-512"].contains(name) }
        let isOfClients = type == "clients" || entities.types.count == 2
        let allowed = isOfClients ? "quota" : "quota and SCRAM credential"
        try ClientQuotas.check(changes, known: ClientQuotas.clientKeys + (isOfClients ? [] : ["SCRAM-SHA-256", "SCRAM-SHA-512"])) { names in
            "Only \(allowed) configs can be added for '\(isOfClients ? "clients" : "users")' using --bootstrap-server. Unexpected config "
                + "names: \(names.joined(separator: ","))"
        }
        let names = changes.added.map(\.name) + changes.deleted
        guard names.contains(where: isScram) else { return try await quotas.alter(changes) }
        if entities.names.contains("") {
            throw CommandFailure(
                "The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials using --bootstrap-server.")
        }
        guard names.allSatisfy(isScram) else {
            throw CommandFailure(
                "Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using --bootstrap-server.")
        }
        for mechanism in changes.deleted { try await admin.deleteCredential(of: entities.names[0], mechanism: mechanism) }
        for (mechanism, text) in changes.added {
            let (iterations, password) = try Self.credential(mechanism, text)
            try await admin.setPassword(password, of: entities.names[0], mechanism: mechanism, iterations: iterations)
        }
    }

    /// Reads `iterations=8192,password=…`; without iterations there are 4096.
    private static func credential(_ mechanism: String, _ text: String) throws -> (Int32, String) {
        var rest = text[...]
        var iterations: Int32 = 4096
        if rest.hasPrefix("iterations="), let comma = rest.firstIndex(of: ",") {
            let number = rest[..<comma].dropFirst("iterations=".count)
            guard let value = Int32(number) else { throw CommandFailure("Invalid credential property \(mechanism)=…") }
            if value != -1 { iterations = value }
            rest = rest[rest.index(after: comma)...]
        }
        guard rest.hasPrefix("password=") else { throw CommandFailure("Invalid credential property \(mechanism)=…") }
        guard iterations >= 4096 else {
            throw CommandFailure("Iterations \(iterations) is less than the minimum 4096 required for \(mechanism)")
        }
        return (iterations, String(rest.dropFirst("password=".count)))
    }
}

extension ConfigSetting.Source {
    /// As Kafka's admin client calls it.
    var javaName: String {
        switch self {
        case .unknown: "UNKNOWN"
        case .topic: "DYNAMIC_TOPIC_CONFIG"
        case .dynamicBroker: "DYNAMIC_BROKER_CONFIG"
        case .dynamicDefaultBroker: "DYNAMIC_DEFAULT_BROKER_CONFIG"
        case .staticBroker: "STATIC_BROKER_CONFIG"
        case .defaultConfig: "DEFAULT_CONFIG"
        case .dynamicBrokerLogger: "DYNAMIC_BROKER_LOGGER_CONFIG"
        case .clientMetrics: "DYNAMIC_CLIENT_METRICS_CONFIG"
        case .group: "DYNAMIC_GROUP_CONFIG"
        }
    }
}
