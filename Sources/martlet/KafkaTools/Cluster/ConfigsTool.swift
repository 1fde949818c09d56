// `kafka-configs`: settings of topics, brokers, groups and client metrics, SCRAM credentials, quotas.
import MartletClient
import Primitives

enum ConfigsTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-configs",
        "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, client-metrics or group",
        [
            .value("bootstrap-server", as: "server to connect to", "Brokers to begin with."),
            .value("bootstrap-controller", as: "controller to connect to", "Controllers to begin with."),
            .value("command-config", as: "command config property file", "Client properties, such as those of security."),
            .flag("alter", "Change settings."), .flag("describe", "Show settings."),
            .flag("all", "Show all settings, not only those that were changed while running."),
            .value("entity-type", as: "type", "topics, clients, users, brokers, broker-loggers, ips, client-metrics or groups."),
            .value("entity-name", as: "name", "Topic, client id, user, broker id, address, group."),
            .flag("entity-default", "The default of clients, users, brokers or addresses."),
            .value("add-config", as: "key=value,...", "Settings to set; brackets hold values with commas: k=[v1,v2]."),
            .value("add-config-file", as: "file", "A properties file of settings to set."),
            .value("delete-config", as: "key,...", "Settings to take back to their defaults."),
            .value("topic", as: "topic", "The topic."), .value("client", as: "client", "The client id."),
            .flag("client-defaults", "The default of all clients."), .value("user", as: "user", "The user."),
            .flag("user-defaults", "The default of all users."), .value("broker", as: "broker", "The broker's id."),
            .flag("broker-defaults", "The default of all brokers."),
            .value("broker-logger", as: "broker", "The id of the broker whose log levels are meant."),
            .flag("ip-defaults", "The default of all addresses."), .value("ip", as: "ip", "The address."),
            .value("group", as: "group", "The group."), .value("client-metrics", as: "name", "The client metrics subscription."),
        ])

    private static let flags = [
        ("topic", "topics"), ("client", "clients"), ("user", "users"), ("broker", "brokers"), ("broker-logger", "broker-loggers"),
        ("ip", "ips"), ("client-metrics", "client-metrics"), ("group", "groups"),
    ]
    private static let defaultFlags = [
        ("client-defaults", "clients"), ("user-defaults", "users"), ("broker-defaults", "brokers"), ("ip-defaults", "ips"),
    ]

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        do {
            let entities = Entities(types: types(options), names: names(options))
            try check(options, entities)
            let changes = options.has("alter") ? try ConfigChanges(options) : nil
            var reached = options
            if options.has("bootstrap-controller") { reached = options.replacing("bootstrap-server", with: "bootstrap-controller") }
            try await ToolAdmin.with(reached) { admin in
                let work = ConfigsWork(options: options, entities: entities, admin: admin)
                if let changes { try await work.alter(changes) } else { try await work.describe() }
            }
            return 0
        } catch let failure as CommandFailure {
            Terminal.complain(failure.description)
        } catch let error as KafkaError {
            Terminal.complain("Error while executing config command with args '\(arguments.joined(separator: " "))'")
            Terminal.complain("java.util.concurrent.ExecutionException: \(error.javaText)")
        }
        return 1
    }

    /// What is meant, by type and name; an empty name is the default of the type.
    struct Entities {
        var types: [String]
        var names: [String]
    }

    private static func types(_ options: ToolOptions) -> [String] {
        options.values("entity-type") + (flags + defaultFlags).filter { options.has($0.0) }.map(\.1)
    }

    private static func names(_ options: ToolOptions) -> [String] {
        var given = options.values("entity-name")[...]
        let generic = options.order.compactMap { name -> String? in
            switch name {
            case "entity-name": given.popFirst()
            case "entity-default": ""
            default: nil
            }
        }
        return generic + flags.compactMap { options.value($0.0) } + defaultFlags.filter { options.has($0.0) }.map { _ in "" }
    }

    private static func check(_ options: ToolOptions, _ entities: Entities) throws {
        guard options.has("alter") != options.has("describe") else {
            throw syntax.mistake("Command must include exactly one action: --describe, --alter")
        }
        try syntax.exclude(options, "describe", ["alter", "add-config", "delete-config"])
        if Set(entities.types).count != entities.types.count {
            let twice = Set(entities.types.filter { one in entities.types.count { $0 == one } > 1 }).sorted()
            throw CommandFailure("Duplicate entity type(s) specified: \(twice.joined(separator: ","))")
        }
        let hasServer = options.has("bootstrap-server")
        guard hasServer || options.has("bootstrap-controller") else {
            throw CommandFailure("Either --bootstrap-server or --bootstrap-controller must be specified.")
        }
        let known = ["topics", "clients", "users", "brokers", "ips", "client-metrics", "groups", "broker-loggers"]
        for type in entities.types where !known.contains(type) {
            throw CommandFailure(
                "Invalid entity type \(type), the entity type must be one of \(known.joined(separator: ", ")) with a --bootstrap-server or "
                    + "--bootstrap-controller argument")
        }
        if entities.types.isEmpty { throw CommandFailure("At least one entity type must be specified") }
        if entities.types.count > 1, Set(entities.types) != ["users", "clients"] {
            throw CommandFailure("Only 'users' and 'clients' entity types may be specified together")
        }
        let isGeneric = ["entity-name", "entity-type", "entity-default"].contains { options.has($0) }
        if isGeneric, (flags + defaultFlags).contains(where: { options.has($0.0) }) {
            throw CommandFailure("--entity-{type,name,default} should not be used in conjunction with specific entity flags")
        }
        if hasServer, options.has("bootstrap-controller") {
            throw CommandFailure("Only one of --bootstrap-server or --bootstrap-controller can be specified")
        }
        if ["brokers", "broker-loggers"].contains(entities.types[0]) {
            for name in entities.names where !name.isEmpty && Int32(name) == nil {
                throw CommandFailure("The entity name for \(entities.types[0]) must be a valid integer broker id, but it is: \(name)")
            }
        }
        try checkNames(options, entities)
    }

    private static func checkNames(_ options: ToolOptions, _ entities: Entities) throws {
        let hasName = entities.names.contains { !$0.isEmpty }
        let types = entities.types.joined(separator: ",")
        let withDefaults = entities.types.contains { ["users", "clients", "brokers", "ips"].contains($0) }
        if options.has("describe") {
            if !withDefaults, options.has("entity-default") {
                throw CommandFailure("--entity-default must not be specified with --describe of \(types)")
            }
            if entities.types.contains("broker-loggers"), !hasName {
                throw CommandFailure("An entity name must be specified with --describe of \(types)")
            }
            return
        }
        if withDefaults {
            if entities.names.isEmpty {
                throw CommandFailure(
                    "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips")
            }
        } else if !hasName {
            throw CommandFailure("An entity name must be specified with --alter of \(types)")
        }
        if options.has("add-config"), options.has("add-config-file") {
            throw CommandFailure("Only one of --add-config or --add-config-file must be specified")
        }
        guard ["add-config", "add-config-file", "delete-config"].contains(where: { options.has($0) }) else {
            throw CommandFailure("At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter")
        }
        guard entities.types.count == entities.names.count else {
            throw CommandFailure("An entity name must be specified for every entity type")
        }
    }
}

/// Settings to set and to take back.
struct ConfigChanges {
    private(set) var added: [(name: String, value: String)] = []
    private(set) var deleted: [String] = []

    init(_ options: ToolOptions) throws {
        if let path = options.value("add-config-file") {
            for (name, value) in try ToolProperties(file: path).values.sorted(by: { $0.key < $1.key }) { added.append((name, value)) }
        }
        if let text = options.value("add-config") {
            for pair in Self.split(text) {
                guard let sign = pair.firstIndex(of: "=") else {
                    throw CommandFailure(
                        "requirement failed: Invalid entity config: all configs to be added must be in the format \"key=val\" or  "
                            + "\"key=[val1,val2]\" to group values which contain commas.")
                }
                let value = pair[pair.index(after: sign)...].filter { $0 != "[" && $0 != "]" }
                added.append((String(pair[..<sign]).trimmingBlanks, value.trimmingBlanks))
            }
        }
        for (name, _) in added
        where !name.unicodeScalars.allSatisfy({
            $0.isASCII && ($0.properties.isAlphabetic || $0.properties.numericType != nil || "._-".unicodeScalars.contains($0))
        }) {
            throw CommandFailure("Invalid character found for config key: \(name)")
        }
        deleted = options.values("delete-config").flatMap { $0.split(separator: ",") }.map { String($0).trimmingBlanks }
    }

    /// At commas that are not within brackets.
    private static func split(_ text: String) -> [String] {
        var parts = [""]
        var isInside = false
        for character in text {
            if character == "[" { isInside = true }
            if character == "]" { isInside = false }
            if character == ",", !isInside { parts.append("") } else { parts[parts.count - 1].append(character) }
        }
        return parts.last == "" ? Array(parts.dropLast()) : parts
    }
}
