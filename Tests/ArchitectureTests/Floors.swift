// The floors of the house as data, from the ground up. A target may import only targets named before it,
// so the order inside a floor matters too. Package.swift declares the same arrows; this table is what a
// reader checks a new arrow against, and what fails when Package.swift alone was changed.

/// What a floor's targets may import besides the targets below them.
struct Floor {
    let name: String
    let targets: [String]
    /// Modules of other packages and of the system.
    let foreignModules: Set<String>
}

enum House {
    private static let everywhere: Set<String> = [
        "NIOCore", "Collections", "OrderedCollections", "DequeModule", "HeapModule", "BitCollections",
    ]
    private static let system: Set<String> = ["Glibc", "Musl", "Darwin", "Synchronization"]
    private static let shell: Set<String> = ["Logging", "NIOPosix", "NIOHTTP1", "NIOConcurrencyHelpers", "FoundationEssentials"]

    static let floors: [Floor] = [
        Floor(
            name: "words",
            targets: [
                "Primitives", "CChecksums", "CLinux", "CLZ4", "CZstd", "CSnappy", "CZlib", "KafkaSchema", "KafkaWire", "KafkaMessages",
                "KafkaRecords", "RecordBatches", "ConfigDefinitions",
            ],
            foreignModules: everywhere.union(system)),
        // Cores decide; they have no clock, no logger, no event loop and no files.
        Floor(
            name: "cores",
            targets: [
                "ClusterMetadata", "Authentication", "Authorization", "Consensus", "Controlling", "Replication", "GroupCoordination",
                "TransactionCoordination", "ShareCoordination", "Mirroring", "Linking",
            ],
            foreignModules: everywhere.union(["Crypto", "CryptoExtras", "_StringProcessing"])),
        Floor(
            name: "shells",
            targets: ["Storage", "TransportSecurity", "IdentityProvider", "Network", "Runtime", "Configuration", "Observability"],
            foreignModules: everywhere.union(system).union(shell).union(["NIOSSL", "NIOTLS", "X509", "SwiftASN1"])),
        Floor(
            name: "services",
            targets: ["MartletClient", "Broker", "MirrorMaker"],
            foreignModules: everywhere.union(system).union(shell)),
        Floor(
            name: "programs",
            targets: ["martlet"],
            foreignModules: everywhere.union(system).union(shell).union(["ArgumentParser", "Crypto", "X509", "SwiftASN1"])),
        Floor(
            name: "beside",
            targets: ["SchemaCompiler", "TestKit", "Simulation", "simulate"],
            foreignModules: everywhere.union(system).union(shell).union(["ArgumentParser", "Foundation", "Testing"])),
    ]

    /// Every target, the ground first.
    static let order: [String] = floors.flatMap(\.targets)

    static func floor(of target: String) -> Floor? {
        floors.first { $0.targets.contains(target) }
    }

    /// The targets that decide without touching the world.
    static let cores: [String] = floors.first { $0.name == "cores" }?.targets ?? []
}
