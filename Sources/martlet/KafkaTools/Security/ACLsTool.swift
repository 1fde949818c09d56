// `kafka-acls`: list, add and remove access control entries.
import Glibc
import MartletClient

enum ACLsTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-acls", "This tool helps to manage acls on kafka.",
        [
            .value("bootstrap-server", as: "server to connect to", "Brokers to begin with."),
            .value("bootstrap-controller", as: "controller to connect to", "Controllers to begin with."),
            .value("command-config", as: "command-config", "Client properties, such as those of security."),
            .value("topic", as: "topic", "A topic; * for all."), .flag("cluster", "The cluster."),
            .value("group", as: "group", "A group; * for all."),
            .value("transactional-id", as: "transactional-id", "A transactional id; * for all."),
            .flag("idempotent", "With --producer: also idempotent writing."),
            .value("delegation-token", as: "delegation-token", "A delegation token; * for all."),
            .value("resource-pattern-type", as: "type", default: "LITERAL", "literal, prefixed, match or any."),
            .flag("add", "Add entries."), .flag("remove", "Remove entries."), .flag("list", "List entries."),
            .value("operation", as: "operation", default: "All", "What is allowed or denied."),
            .value("allow-principal", as: "allow-principal", "Who is allowed, type:name."),
            .value("deny-principal", as: "deny-principal", "Who is denied, type:name."),
            .value("principal", as: "principal", "List entries of these only, type:name."),
            .value("allow-host", as: "allow-host", "Addresses from which it is allowed; * for all."),
            .value("deny-host", as: "deny-host", "Addresses from which it is denied; * for all."),
            .flag("producer", "What a producer needs."), .flag("consumer", "What a consumer needs."),
            .flag("force", "Ask no question."), .value("user-principal", as: "user-principal", "A user as the resource."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        try check(options)
        var reached = options
        if options.has("bootstrap-controller") { reached = options.replacing("bootstrap-server", with: "bootstrap-controller") }
        let asked = options
        do {
            try await ToolAdmin.with(reached) { admin in
                if asked.has("list") {
                    try await list(asked, admin)
                } else if asked.has("add") {
                    try await add(asked, admin)
                } else {
                    try await remove(asked, admin)
                }
            }
            return 0
        } catch let error as KafkaError {
            Terminal.print("Error while executing ACL command: \(error.javaText)")
            Terminal.print("java.util.concurrent.ExecutionException: \(error.javaText)")
            return 1
        }
    }

    private static func check(_ options: ToolOptions) throws(ToolExit) {
        let places = ["bootstrap-server", "bootstrap-controller"].filter { options.has($0) }.count
        if places > 1 { throw syntax.mistake("Only one of --bootstrap-server or --bootstrap-controller must be specified") }
        if places < 1 { throw syntax.mistake("One of --bootstrap-server or --bootstrap-controller must be specified") }
        guard ["add", "remove", "list"].filter({ options.has($0) }).count == 1 else {
            throw syntax.mistake("Command must include exactly one action: --list, --add, --remove. ")
        }
        try syntax.exclude(
            options, "list", ["producer", "consumer", "allow-host", "allow-principal", "deny-host", "deny-principal"])
        for role in ["producer", "consumer"] { try syntax.exclude(options, role, ["operation", "deny-principal", "deny-host"]) }
        if options.has("principal"), !options.has("list") {
            throw syntax.mistake("The --principal option is only available if --list is set")
        }
        if options.has("producer"), !options.has("topic") { throw syntax.mistake("With --producer you must specify a --topic") }
        if options.has("idempotent"), !options.has("producer") {
            throw syntax.mistake("The --idempotent option is only available if --producer is set")
        }
        let hasOthers = !options.has("producer") && (options.has("cluster") || options.has("transactional-id"))
        if options.has("consumer"), !options.has("topic") || !options.has("group") || hasOthers {
            throw syntax.mistake(
                "With --consumer you must specify a --topic and a --group and no --cluster or --transactional-id option should be specified."
            )
        }
        guard ["ANY", "MATCH", "LITERAL", "PREFIXED"].contains(pattern(options)) else {
            throw syntax.mistake(
                "Cannot parse argument '\(options.value("resource-pattern-type") ?? "")' of option resource-pattern-type")
        }
    }

    private static func pattern(_ options: ToolOptions) -> String { options.value("resource-pattern-type")?.uppercased() ?? "LITERAL" }

    // MARK: Resources and entries

    /// A resource, or a filter of resources.
    private struct Resource: Hashable {
        var type: String
        var name: String
        var pattern: String

        static let cluster = Resource(type: "CLUSTER", name: "kafka-cluster", pattern: "LITERAL")

        var text: String { "ResourcePattern(resourceType=\(type), name=\(name), patternType=\(pattern))" }
    }

    private static func resources(_ options: ToolOptions, isRequired: Bool) throws(ToolExit) -> [Resource] {
        let pattern = pattern(options)
        func named(_ option: String, _ type: String) -> [Resource] {
            options.values(option).map { Resource(type: type, name: $0.trimmingBlanks, pattern: pattern) }
        }
        let hasCluster = pattern == "LITERAL" && (options.has("cluster") || options.has("idempotent"))
        let found =
            named("topic", "TOPIC") + (hasCluster ? [.cluster] : []) + named("group", "GROUP")
            + named("transactional-id", "TRANSACTIONAL_ID") + named("delegation-token", "DELEGATION_TOKEN")
            + named("user-principal", "USER")
        if found.isEmpty, isRequired {
            throw syntax.mistake(
                "You must provide at least one resource: --topic <topic> or --cluster or --group <group> or --delegation-token <Delegation "
                    + "Token ID>")
        }
        return found
    }

    private static func entries(_ options: ToolOptions, _ resource: Resource, _ operations: [String]) -> [AccessEntry] {
        var entries: [AccessEntry] = []
        for (permission, principals, hosts) in [("ALLOW", "allow-principal", "allow-host"), ("DENY", "deny-principal", "deny-host")] {
            let addresses = options.has(hosts) ? options.values(hosts).map(\.trimmingBlanks) : ["*"]
            for principal in options.values(principals).map(\.trimmingBlanks) {
                for operation in operations {
                    for host in addresses {
                        entries.append(
                            AccessEntry(
                                resourceType: resource.type, resourceName: resource.name, patternType: resource.pattern,
                                principal: principal, host: host, operation: operation, permission: permission))
                    }
                }
            }
        }
        return entries
    }

    /// Resources and the entries that are meant for each.
    private static func wanted(_ options: ToolOptions) throws(ToolExit) -> [(resource: Resource, entries: [AccessEntry])] {
        for option in ["allow-principal", "deny-principal"] {
            for principal in options.values(option) where !principal.trimmingBlanks.contains(":") {
                throw .saying(
                    "java.lang.IllegalArgumentException: expected a string in format principalType:principalName but got "
                        + principal.trimmingBlanks)
            }
        }
        var wanted: [(resource: Resource, entries: [AccessEntry])] = []
        func add(_ resource: Resource, _ operations: [String]) {
            let entries = entries(options, resource, operations)
            guard let index = wanted.firstIndex(where: { $0.resource == resource }) else { return wanted.append((resource, entries)) }
            wanted[index].entries += entries.filter { !wanted[index].entries.contains($0) }
        }
        let resources = try resources(options, isRequired: true)
        if !options.has("producer"), !options.has("consumer") {
            let operations = try options.values("operation").map { word throws(ToolExit) in try operation(word) }
            for resource in resources { add(resource, operations) }
        }
        if options.has("producer") {
            for resource in resources {
                if resource.type == "TOPIC" { add(resource, ["WRITE", "DESCRIBE", "CREATE"]) }
                if resource.type == "TRANSACTIONAL_ID" { add(resource, ["WRITE", "DESCRIBE"]) }
            }
            if options.has("idempotent") { add(.cluster, ["IDEMPOTENT_WRITE"]) }
        }
        if options.has("consumer") {
            for resource in resources {
                if resource.type == "TOPIC" { add(resource, ["READ", "DESCRIBE"]) }
                if resource.type == "GROUP" { add(resource, ["READ"]) }
            }
        }
        for (resource, entries) in wanted {
            let supported = (operations[resource.type] ?? []) + ["ALL"]
            if entries.contains(where: { !supported.contains($0.operation) }) {
                throw syntax.mistake("ResourceType \(resource.type) only supports operations [\(supported.joined(separator: ", "))]")
            }
        }
        return wanted
    }

    /// `DescribeConfigs` and `DESCRIBE_CONFIGS` are the same word.
    private static func operation(_ word: String) throws(ToolExit) -> String {
        func plain(_ text: String) -> String { text.lowercased().filter { $0.isLetter } }
        let known = Set(operations.values.flatMap { $0 } + ["ALL"])
        guard let found = known.first(where: { plain($0) == plain(word) }) else {
            throw .saying("java.lang.IllegalArgumentException: Unknown operation \(word)")
        }
        return found
    }

    /// What may be done to which kind of resource.
    private static let operations: [String: [String]] = [
        "TOPIC": ["READ", "WRITE", "CREATE", "DESCRIBE", "DELETE", "ALTER", "DESCRIBE_CONFIGS", "ALTER_CONFIGS"],
        "GROUP": ["READ", "DESCRIBE", "DELETE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS"],
        "CLUSTER": ["CREATE", "CLUSTER_ACTION", "DESCRIBE_CONFIGS", "ALTER_CONFIGS", "IDEMPOTENT_WRITE", "ALTER", "DESCRIBE"],
        "TRANSACTIONAL_ID": ["DESCRIBE", "WRITE", "TWO_PHASE_COMMIT"], "DELEGATION_TOKEN": ["DESCRIBE"],
        "USER": ["CREATE_TOKENS", "DESCRIBE_TOKENS"],
    ]

    private static func text(_ entries: [AccessEntry]) -> String { entries.map { "\t" + $0.javaText }.joined(separator: "\n") }

    // MARK: Actions

    private static func list(_ options: ToolOptions, _ admin: AdminClient) async throws {
        let resources = try resources(options, isRequired: false)
        var entries: [AccessEntry] = []
        for filter in resources.isEmpty ? [AccessEntryFilter()] : resources.map({ filter($0) }) {
            entries += try await admin.listAccessEntries(filter).filter { !entries.contains($0) }
        }
        guard options.has("principal") else { return show(entries) }
        for principal in options.values("principal").map(\.trimmingBlanks) {
            Terminal.print("ACLs for principal `\(principal)`")
            show(entries.filter { $0.principal == principal })
        }
    }

    private static func show(_ entries: [AccessEntry]) {
        var groups: [(resource: Resource, entries: [AccessEntry])] = []
        for entry in entries {
            let resource = Resource(type: entry.resourceType, name: entry.resourceName, pattern: entry.patternType)
            if let index = groups.firstIndex(where: { $0.resource == resource }) {
                groups[index].entries.append(entry)
            } else {
                groups.append((resource, [entry]))
            }
        }
        for (resource, entries) in groups {
            Terminal.print("Current ACLs for resource `\(resource.text)`:\n\(text(entries))\n")
        }
    }

    private static func filter(_ resource: Resource, _ entry: AccessEntry? = nil) -> AccessEntryFilter {
        var filter = AccessEntryFilter()
        filter.resourceType = resource.type
        filter.resourceName = resource.name
        filter.patternType = resource.pattern
        filter.principal = entry?.principal
        filter.host = entry?.host
        filter.operation = entry?.operation
        filter.permission = entry?.permission
        return filter
    }

    private static func add(_ options: ToolOptions, _ admin: AdminClient) async throws {
        guard ["LITERAL", "PREFIXED"].contains(pattern(options)) else {
            throw syntax.mistake("A '--resource-pattern-type' value of '\(pattern(options))' is not valid when adding acls.")
        }
        let wanted = try wanted(options)
        if wanted.contains(where: { $0.entries.isEmpty }) {
            throw syntax.mistake("You must specify one of: --allow-principal, --deny-principal when trying to add ACLs.")
        }
        for (resource, entries) in wanted {
            Terminal.print(
                "Adding ACLs for resource `\(resource.text)`: \n \(text(entries))\n")
            try await admin.createAccessEntries(entries).values()
        }
    }

    private static func remove(_ options: ToolOptions, _ admin: AdminClient) async throws {
        for (resource, entries) in try wanted(options) {
            let question =
                entries.isEmpty
                ? "Are you sure you want to delete all ACLs for resource filter `\(resource.text)`? (y/n)"
                : "Are you sure you want to remove ACLs: \n \(text(entries))\n from resource filter "
                    + "`\(resource.text)`? (y/n)"
            if !options.has("force") {
                Terminal.print(question)
                guard readLine()?.lowercased() == "y" else { continue }
            }
            for filter in entries.isEmpty ? [filter(resource)] : entries.map({ filter(resource, $0) }) {
                _ = try await admin.deleteAccessEntries(filter)
            }
        }
    }
}

extension AccessEntry {
    /// As Kafka's tools print an entry.
    fileprivate var javaText: String {
        "(principal=\(principal), host=\(host), operation=\(operation), permissionType=\(permission))"
    }
}
