// `martlet cluster`: the cluster as a whole.
import ArgumentParser
import MartletClient
import Primitives

struct ClusterCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster", abstract: "Look at a cluster: health, brokers, features, the metadata quorum, disks.",
        subcommands: [
            ClusterDescribeCommand.self, ClusterHealthCommand.self, ClusterFeaturesCommand.self, ClusterQuorumCommand.self,
            ClusterLogDirsCommand.self,
            ClusterRandomIDCommand.self,
        ])
}

struct ClusterDescribeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "describe", abstract: "Show the cluster's id and its brokers.")

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let found = try await cluster.withAdmin { try await $0.describeCluster() }
        var table = TextTable(">BROKER", "ADDRESS", "RACK")
        for broker in found.brokers { table.add("\(broker.id)", "\(broker.address)", broker.rack ?? "") }
        output.show(
            [
                "clusterId": .optional(found.clusterID), "controllerId": .optional(found.controllerID),
                "brokers": .array(
                    found.brokers.map {
                        ["id": .whole($0.id), "host": .string($0.host), "port": .whole($0.port), "rack": .optional($0.rack)]
                    }),
            ], "Cluster \(found.clusterID ?? "without id")\n" + table.text)
    }
}

struct ClusterFeaturesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "features", abstract: "Show the features' levels, or set them.")

    @Option(help: "Raise a feature to a level, name=level. May be given several times.")
    var set: [Assignment] = []

    @Flag(help: "Allow levels to be lowered as far as no metadata is lost.")
    var downgrade = false

    @Flag(help: "Check everything and change nothing.")
    var dryRun = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let levels = try set.map { change in
            guard let level = Int16(change.value) else { throw ValidationError("'\(change.value)' is no level of \(change.name).") }
            return (name: change.name, level: level)
        }
        let features = try await cluster.withAdmin { admin in
            if !levels.isEmpty {
                try await admin.updateFeatures(levels, type: downgrade ? .safeDowngrade : .upgrade, validateOnly: dryRun)
            }
            return try await admin.describeFeatures()
        }
        var table = TextTable("FEATURE", ">LEVEL", "SUPPORTED")
        for feature in features {
            table.add(
                feature.name, feature.finalizedLevel.map { "\($0)" } ?? "-",
                feature.supportedVersions.map { "\($0.lowerBound) to \($0.upperBound)" } ?? "not by this broker")
        }
        output.show(
            .array(
                features.map {
                    [
                        "feature": .string($0.name), "finalizedLevel": .optional($0.finalizedLevel),
                        "minSupportedLevel": .optional($0.supportedVersions?.lowerBound),
                        "maxSupportedLevel": .optional($0.supportedVersions?.upperBound),
                    ]
                }), table.text)
    }
}

struct ClusterQuorumCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quorum", abstract: "Show the quorum of controllers that holds the metadata.")

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let quorum = try await cluster.withAdmin { try await $0.describeQuorum() }
        output.show(QuorumView(quorum).json, QuorumView(quorum).text)
    }
}

struct ClusterLogDirsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log-dirs", abstract: "Show the brokers' data directories, how full they are, and what lies in them.")

    @Option(help: "Only this broker. May be given several times.")
    var broker: [Int32] = []

    @Flag(name: .shortAndLong, help: "Each partition by itself, the largest first.")
    var partitions = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let directories = try await cluster.withAdmin { admin in
            try await admin.checkBrokers(broker)
            return try await admin.describeLogDirectories(brokers: broker.isEmpty ? nil : broker)
        }
        output.show(.array(directories.map(Self.json)), partitions ? Self.replicas(directories) : Self.summary(directories))
    }

    private static func summary(_ directories: [LogDirectoryDescription]) -> String {
        var table = TextTable(">BROKER", "DIRECTORY", "STATE", ">PARTITIONS", ">SIZE", ">FREE", ">DISK")
        for directory in directories {
            table.add(
                "\(directory.broker)", directory.path, directory.error.map(\.codeName) ?? "ok", "\(directory.replicas.count)",
                SizeText.of(directory.replicas.reduce(0) { $0 + $1.size }), SizeText.of(directory.usableBytes),
                SizeText.of(directory.totalBytes))
        }
        return table.text
    }

    private static func replicas(_ directories: [LogDirectoryDescription]) -> String {
        var table = TextTable(">BROKER", "PARTITION", ">SIZE", ">LAG", "DIRECTORY")
        let all = directories.flatMap { directory in directory.replicas.map { (directory, $0) } }
        for (directory, replica) in all.sorted(by: { ($1.1.size, $0.1.partition) < ($0.1.size, $1.1.partition) }) {
            table.add(
                "\(directory.broker)", "\(replica.partition)" + (replica.isFuture ? " (moving here)" : ""), SizeText.of(replica.size),
                "\(replica.offsetLag)", directory.path)
        }
        return table.text
    }

    private static func json(_ directory: LogDirectoryDescription) -> JSONValue {
        [
            "broker": .whole(directory.broker), "path": .string(directory.path), "error": .optional(directory.error?.codeName),
            "totalBytes": .whole(directory.totalBytes), "usableBytes": .whole(directory.usableBytes),
            "replicas": .array(
                directory.replicas.map {
                    [
                        "topic": .string($0.partition.topic), "partition": .whole($0.partition.partition), "size": .whole($0.size),
                        "offsetLag": .whole($0.offsetLag), "isFuture": .bool($0.isFuture),
                    ]
                }),
        ]
    }
}

struct ClusterRandomIDCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "random-id", abstract: "Print a new id, for `martlet format --cluster-id` or for a voter's directory.")

    @OptionGroup var output: OutputOptions

    func run() {
        let id = KafkaUUID.random().description
        output.show(["id": .string(id)], id)
    }
}
