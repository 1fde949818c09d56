// `martlet config`: the settings of topics, brokers, all brokers, and groups.
import ArgumentParser
import MartletClient
import Primitives

struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Show and change settings of topics, brokers and groups.",
        subcommands: [ConfigDescribeCommand.self, ConfigSetCommand.self, ConfigDeleteCommand.self])
}

/// Whose settings.
struct ConfigTarget: ParsableArguments {
    @Option(name: .shortAndLong, help: "Settings of this topic.")
    var topic: String?

    @Option(help: "Settings of the broker with this id.")
    var broker: Int32?

    @Flag(help: "Settings that all brokers share.")
    var allBrokers = false

    @Option(name: .shortAndLong, help: "Settings of this group.")
    var group: String?

    func validate() throws {
        if [topic != nil, broker != nil, allBrokers, group != nil].filter(\.self).count != 1 {
            throw ValidationError("Say whose settings: one of --topic, --broker, --all-brokers and --group.")
        }
    }

    var resource: ConfigResource {
        if let topic { return .topic(topic) }
        if let group { return .group(group) }
        return .broker(broker)
    }

    /// A topic or broker that does not exist is told at once; asked for its settings, brokers answer "try again".
    func check(_ admin: AdminClient) async throws {
        if let topic { _ = try await admin.describeTopics([topic]).values() }
        if let broker { try await admin.checkBrokers([broker]) }
    }

    /// What a change is in JSON.
    func changed(_ keys: [String], operation: String, executed: Bool) -> JSONValue {
        [
            "resource": .string(description), "operation": .string(operation), "settings": .strings(keys), "executed": .bool(executed),
        ]
    }

    var description: String {
        if let topic { return "topic \(topic)" }
        if let group { return "group \(group)" }
        return broker.map { "broker \($0)" } ?? "all brokers"
    }
}

struct ConfigDescribeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "describe", abstract: "Show settings that differ from the defaults, or all of them.")

    @Argument(help: "Only these settings.")
    var keys: [String] = []

    @Flag(name: .shortAndLong, help: "Defaults too.")
    var all = false

    @OptionGroup var target: ConfigTarget
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let settings = try await cluster.withAdmin { admin in
            try await target.check(admin)
            return try await admin.describeConfigs([target.resource], names: keys.isEmpty ? nil : keys, includingSynonyms: true).values()
        }.flatMap(\.self).filter { all || !keys.isEmpty || $0.source != .defaultConfig }.sorted { $0.name < $1.name }
        if let missing = keys.first(where: { key in !settings.contains { $0.name == key } }) {
            throw CommandFailure("there is no setting '\(missing)' of \(target.description)")
        }
        var table = TextTable("SETTING", "VALUE", "FROM")
        for setting in settings {
            let value = setting.isSensitive ? "(hidden)" : setting.value ?? "(none)"
            table.add(setting.name, value, Self.source(setting.source) + (setting.isReadOnly ? ", needs a restart" : ""))
        }
        output.show(
            .array(settings.map(Self.json)),
            table.isEmpty ? "All settings of \(target.description) have their defaults; --all shows them." : table.text)
    }

    private static func json(_ setting: ConfigSetting) -> JSONValue {
        [
            "name": .string(setting.name), "value": .optional(setting.value), "source": .string("\(setting.source)"),
            "isReadOnly": .bool(setting.isReadOnly), "isSensitive": .bool(setting.isSensitive),
            "synonyms": .array(
                setting.synonyms.map { ["name": .string($0.name), "value": .optional($0.value), "source": .string("\($0.source)")] }),
        ]
    }

    private static func source(_ source: ConfigSetting.Source) -> String {
        switch source {
        case .unknown: "unknown"
        case .topic: "this topic"
        case .dynamicBroker: "this broker, changed while running"
        case .dynamicDefaultBroker: "all brokers, changed while running"
        case .staticBroker: "the broker's configuration"
        case .defaultConfig: "default"
        case .dynamicBrokerLogger: "this broker's loggers"
        case .clientMetrics: "client metrics"
        case .group: "this group"
        }
    }
}

struct ConfigSetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "set", abstract: "Change settings; they take effect at once.")

    @Argument(help: "key=value, several if need be.")
    var settings: [Assignment]

    @Flag(help: "Add the values to lists instead of replacing them.")
    var append = false

    @Flag(help: "Take the values away from lists.")
    var subtract = false

    @Flag(help: "Check everything and change nothing.")
    var dryRun = false

    @OptionGroup var target: ConfigTarget
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if append, subtract { throw ValidationError("--append and --subtract exclude each other.") }
    }

    func run() async throws {
        let operation: ConfigChange.Operation = append ? .append : subtract ? .subtract : .set
        let changes = settings.map { ConfigChange($0.name, operation, $0.value) }
        try await cluster.withAdmin { admin in
            try await target.check(admin)
            _ = try await admin.alterConfigs([(target.resource, changes)], validateOnly: dryRun).values()
        }
        let names = settings.map(\.name).joined(separator: ", ")
        output.show(
            target.changed(settings.map(\.name), operation: "\(operation)", executed: !dryRun),
            dryRun ? "\(names) of \(target.description) can be changed." : "Changed \(names) of \(target.description).")
    }
}

struct ConfigDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "delete", abstract: "Take settings back to their defaults.")

    @Argument(help: "Names of settings.")
    var keys: [String]

    @OptionGroup var target: ConfigTarget
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await cluster.withAdmin { admin in
            try await target.check(admin)
            _ = try await admin.alterConfigs([(target.resource, keys.map { .delete($0) })]).values()
        }
        output.show(
            target.changed(keys, operation: "delete", executed: true),
            "\(keys.joined(separator: ", ")) of \(target.description): back to the default.")
    }
}
