// `martlet acl`: who may do what.
import ArgumentParser
import MartletClient
import Primitives

struct ACLCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "acl", abstract: "List, add and remove access control entries.",
        discussion: """
              martlet acl add --principal User:alice --topic orders --operation read,describe
              martlet acl add --principal User:app --topic app- --prefix --producer
              martlet acl list --topic orders --match
              martlet acl remove --principal User:alice --topic orders
            """,
        subcommands: [ACLListCommand.self, ACLAddCommand.self, ACLRemoveCommand.self])
}

/// Which resources are meant.
struct ResourceOptions: ParsableArguments {
    @Option(help: "A topic; * for all. May be given several times.")
    var topic: [String] = []

    @Option(help: "A group; * for all. May be given several times.")
    var group: [String] = []

    @Flag(help: "The cluster itself.")
    var cluster = false

    @Option(help: "A transactional id; * for all. May be given several times.")
    var transactionalId: [String] = []

    @Option(help: "A delegation token's id. May be given several times.")
    var delegationToken: [String] = []

    @Option(help: "A user as a resource, User:name. May be given several times.")
    var user: [String] = []

    /// Types and names in Kafka's words.
    var all: [(type: String, name: String)] {
        topic.map { ("TOPIC", $0) } + group.map { ("GROUP", $0) } + (cluster ? [("CLUSTER", "kafka-cluster")] : [])
            + transactionalId.map { ("TRANSACTIONAL_ID", $0) } + delegationToken.map { ("DELEGATION_TOKEN", $0) }
            + user.map { ("USER", $0) }
    }
}

extension AccessEntry {
    fileprivate var json: JSONValue {
        [
            "principal": .string(principal), "permission": .string(permission), "operation": .string(operation),
            "resourceType": .string(resourceType), "resourceName": .string(resourceName), "patternType": .string(patternType),
            "host": .string(host),
        ]
    }

    fileprivate static func table(_ entries: [AccessEntry]) -> String {
        var table = TextTable("PRINCIPAL", "PERMISSION", "OPERATION", "RESOURCE", "PATTERN", "HOST")
        for entry in entries {
            table.add(
                entry.principal, entry.permission, entry.operation, "\(entry.resourceType):\(entry.resourceName)", entry.patternType,
                entry.host)
        }
        return table.text
    }
}

struct ACLListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List entries.")

    @OptionGroup var resources: ResourceOptions

    @Option(help: "Only entries for this principal, such as User:alice. May be given several times.")
    var principal: [String] = []

    @Flag(help: "Also entries whose prefix or wildcard covers the resource.")
    var match = false

    @OptionGroup var clusterOptions: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let filters = AccessEntryFilter.all(resources.all, principals: principal, patternType: match ? "MATCH" : nil)
        let entries = try await clusterOptions.withAdmin { admin in
            var found: [AccessEntry] = []
            for filter in filters {
                for entry in try await admin.listAccessEntries(filter) where !found.contains(entry) { found.append(entry) }
            }
            return found
        }
        output.show(.array(entries.map(\.json)), entries.isEmpty ? "There are no such entries." : AccessEntry.table(entries))
    }
}

extension AccessEntryFilter {
    fileprivate static func all(
        _ resources: [(type: String, name: String)], principals: [String], patternType: String?
    ) -> [AccessEntryFilter] {
        let ofResources =
            resources.isEmpty
            ? [AccessEntryFilter()]
            : resources.map { type, name in
                var filter = AccessEntryFilter()
                filter.resourceType = type
                filter.resourceName = name
                filter.patternType = patternType
                return filter
            }
        if principals.isEmpty { return ofResources }
        return ofResources.flatMap { filter in
            principals.map { principal in
                var filter = filter
                filter.principal = principal
                return filter
            }
        }
    }
}

struct ACLAddCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Permit or forbid something.",
        discussion: "Whatever is forbidden stays forbidden, however many entries permit it.")

    @OptionGroup var resources: ResourceOptions

    @Option(help: "Whom it is about, such as User:alice; User:* is everybody. May be given several times.")
    var principal: [String]

    @Option(help: "Operations, separated by commas: read, write, describe, create, delete, alter, describe-configs, all, …")
    var operation: String?

    @Flag(help: "What a producer needs: write, describe and create on the topics, write and describe on transactional ids.")
    var producer = false

    @Flag(help: "What a consumer needs: read and describe on the topics, read on the groups.")
    var consumer = false

    @Flag(help: "Forbid instead of permitting.")
    var deny = false

    @Option(help: "Only from this address or range of addresses. May be given several times.")
    var host: [String] = []

    @Flag(help: "Names are beginnings of names.")
    var prefix = false

    @OptionGroup var clusterOptions: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if resources.all.isEmpty { throw ValidationError("Name at least one resource: --topic, --group, --cluster and so on.") }
        if principal.isEmpty { throw ValidationError("--principal says whom the entry is about, such as User:alice.") }
        for name in principal where !name.contains(":") {
            throw ValidationError("--principal '\(name)' has no type; it is probably User:\(name).")
        }
        if [operation != nil, producer, consumer].filter(\.self).count != 1 {
            throw ValidationError("Give one of --operation, --producer and --consumer.")
        }
    }

    func run() async throws {
        let entries = entries
        let outcomes = try await clusterOptions.withAdmin { try await $0.createAccessEntries(entries) }
        try outcomes.values()
        output.show(.array(entries.map(\.json)), AccessEntry.table(entries))
    }

    private var entries: [AccessEntry] {
        var entries: [AccessEntry] = []
        for (type, name) in resources.all {
            for operation in operations(on: type) {
                for who in principal {
                    for address in host.isEmpty ? ["*"] : host {
                        entries.append(
                            AccessEntry(
                                resourceType: type, resourceName: name, patternType: prefix && type != "CLUSTER" ? "PREFIXED" : "LITERAL",
                                principal: who, host: address, operation: operation, permission: deny ? "DENY" : "ALLOW"))
                    }
                }
            }
        }
        return entries
    }

    private func operations(on type: String) -> [String] {
        if let operation { return operation.split(separator: ",").map { $0.uppercased().filter { $0 != " " } } }
        switch (type, producer) {
        case ("TOPIC", true): return ["WRITE", "DESCRIBE", "CREATE"]
        case ("TRANSACTIONAL_ID", true): return ["WRITE", "DESCRIBE"]
        case ("CLUSTER", true): return ["IDEMPOTENT_WRITE"]
        case ("TOPIC", false): return ["READ", "DESCRIBE"]
        case ("GROUP", false): return ["READ"]
        default: return ["DESCRIBE"]
        }
    }
}

struct ACLRemoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Remove the entries that match.", aliases: ["delete"])

    @OptionGroup var resources: ResourceOptions

    @Option(help: "Only entries for this principal. May be given several times.")
    var principal: [String] = []

    @Option(help: "Only entries for this operation.")
    var operation: String?

    @Flag(help: "All entries of the cluster, when nothing else is said.")
    var all = false

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    @OptionGroup var clusterOptions: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if resources.all.isEmpty, principal.isEmpty, operation == nil, !all {
            throw ValidationError("Say which entries: by resource, --principal or --operation; --all removes every one of them.")
        }
    }

    func run() async throws {
        let filters = AccessEntryFilter.all(resources.all, principals: principal, patternType: nil).map { filter in
            var filter = filter
            filter.operation = operation
            return filter
        }
        let removed = try await clusterOptions.withAdmin { admin in
            var matching: [AccessEntry] = []
            for filter in filters { matching += try await admin.listAccessEntries(filter) }
            guard !matching.isEmpty else { return [AccessEntry]() }
            if !output.json { Terminal.complain(AccessEntry.table(matching)) }
            try Confirmation.ask("Remove these \(matching.count) entries?", unless: yes)
            var removed: [AccessEntry] = []
            for filter in filters { removed += try await admin.deleteAccessEntries(filter) }
            return removed
        }
        output.show(
            .array(removed.map(\.json)), removed.isEmpty ? "There are no such entries." : "Removed \(removed.count) entries.")
    }
}
