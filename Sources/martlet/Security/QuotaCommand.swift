// `martlet quota`: how much clients may take.
import ArgumentParser
import ClusterMetadata
import MartletClient
import OrderedCollections
import Primitives

struct QuotaCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quota", abstract: "List, set and delete what clients may take: bytes, time, partitions, connections.",
        discussion: """
            A quota is for a user, a client id, both together, or an address; the most special one counts.

              martlet quota set --user alice producer_byte_rate=1048576 consumer_byte_rate=2097152
              martlet quota set --default-client-id request_percentage=50
              martlet quota set --ip 10.0.0.7 connection_creation_rate=5
            """,
        subcommands: [QuotaListCommand.self, QuotaSetCommand.self, QuotaDeleteCommand.self])
}

/// `--user`, `--client-id`, `--ip` and their defaults.
struct QuotaEntityOptions: ParsableArguments {
    @Option(help: "A user's name, without 'User:'.")
    var user: String?

    @Flag(help: "Users without a quota of their own.")
    var defaultUser = false

    @Option(help: "A client id.")
    var clientID: String?

    @Flag(help: "Client ids without a quota of their own.")
    var defaultClientID = false

    @Option(help: "An address that clients connect from.")
    var ip: String?

    @Flag(help: "Addresses without a quota of their own.")
    var defaultIP = false

    func validate() throws {
        for (name, value, flag) in named where value != nil && flag {
            throw ValidationError("Give either --\(name) or --default-\(name).")
        }
    }

    private var named: [(String, String?, Bool)] {
        [("user", user, defaultUser), ("client-id", clientID, defaultClientID), ("ip", ip, defaultIP)]
    }

    /// The parts that were given.
    var parts: [ClientQuotaEntity.Part] {
        named.compactMap { name, value, flag in
            value != nil ? ClientQuotaEntity.Part(type: name, name: value) : flag ? ClientQuotaEntity.Part(type: name, name: nil) : nil
        }
    }

    func entity() throws -> ClientQuotaEntity {
        guard !parts.isEmpty else {
            throw ValidationError("Say whom the quota is for: --user, --client-id or --ip, or their --default- forms.")
        }
        return ClientQuotaEntity(parts)
    }
}

extension ClientQuotaEntity {
    /// `user alice, client-id <default>`.
    fileprivate var text: String {
        let order = ["user", "client-id", "ip"]
        return parts.sorted { (order.firstIndex(of: $0.type) ?? 3) < (order.firstIndex(of: $1.type) ?? 3) }
            .map { "\($0.type) \($0.name ?? "<default>")" }.joined(separator: ", ")
    }

    fileprivate var json: JSONValue {
        .array(parts.map { ["type": .string($0.type), "name": .optional($0.name)] })
    }
}

extension Double {
    /// Without `.0` behind whole numbers.
    fileprivate var quotaText: String {
        self == rounded() && magnitude < 1e15 ? String(Int64(self)) : "\(self)"
    }
}

struct QuotaListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List quotas; those that concern an entity when one is given.")

    @OptionGroup var entity: QuotaEntityOptions
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let matches = OrderedDictionary(
            entity.parts.map { ($0.type, $0.name.map { .exactly($0) } ?? ClientQuotaFilter.Match.theDefault) }, uniquingKeysWith: { $1 })
        let quotas = try await cluster.withAdmin { try await $0.describeClientQuotas(ClientQuotaFilter(matches)) }
            .sorted { $0.entity.text < $1.entity.text }
        var table = TextTable("FOR", "QUOTA", ">VALUE")
        for quota in quotas {
            for (key, value) in quota.values { table.add(quota.entity.text, key, value.quotaText) }
        }
        output.show(
            .array(
                quotas.map { quota in
                    [
                        "entity": quota.entity.json,
                        "quotas": .array(quota.values.map { ["key": .string($0), "value": .number($1)] }),
                    ]
                }), quotas.isEmpty ? "There are no quotas." : table.text)
    }
}

struct QuotaSetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set", abstract: "Set quotas of an entity. They hold at once, for connections that stand as well.",
        discussion: """
            producer_byte_rate, consumer_byte_rate  bytes per second, on each broker
            request_percentage                      per cent of one thread, on each broker
            controller_mutation_rate                partitions created and deleted per second
            connection_creation_rate                new connections per second, for --ip
            """)

    @OptionGroup var entity: QuotaEntityOptions

    @Argument(help: "KEY=VALUE, once or several times.")
    var quotas: [String]

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let entity = try entity.entity()
        var changes: OrderedDictionary<String, Double?> = [:]
        for text in quotas {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, let value = Double(parts[1]), value.isFinite else {
                throw ValidationError("'\(text)' is not of the form KEY=NUMBER.")
            }
            changes[parts[0]] = .some(value)
        }
        let wanted = changes
        try await cluster.withAdmin { try await $0.alterClientQuotas(entity, wanted) }
        output.show(
            ["entity": entity.json, "quotas": .array(wanted.map { ["key": .string($0), "value": .number($1 ?? 0)] })],
            "Set for \(entity.text): \(wanted.map { "\($0)=\(($1 ?? 0).quotaText)" }.joined(separator: " ")).")
    }
}

struct QuotaDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "delete", abstract: "Delete quotas of an entity.")

    @OptionGroup var entity: QuotaEntityOptions

    @Argument(help: "Keys; all that the entity has when none is given.")
    var keys: [String] = []

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let entity = try entity.entity()
        let deleted = try await cluster.withAdmin { admin -> [String] in
            let matches = OrderedDictionary(
                entity.parts.map { ($0.type, $0.name.map { .exactly($0) } ?? ClientQuotaFilter.Match.theDefault) },
                uniquingKeysWith: { $1 })
            let known = try await admin.describeClientQuotas(ClientQuotaFilter(matches, isStrict: true)).flatMap { Array($0.values.keys) }
            let wanted = keys.isEmpty ? known : keys
            if !wanted.isEmpty {
                try await admin.alterClientQuotas(entity, OrderedDictionary(wanted.map { ($0, nil) }, uniquingKeysWith: { $1 }))
            }
            return wanted
        }
        output.show(
            ["entity": entity.json, "deleted": .strings(deleted)],
            deleted.isEmpty ? "There are no quotas for \(entity.text)." : "Deleted for \(entity.text): \(deleted.joined(separator: " ")).")
    }
}
