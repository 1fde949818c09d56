// swift-tools-version: 6.2
// The floors of the house, top of the file is the ground: an import may only point down.
// `Tests/ArchitectureTests` enforces it; docs/architecture.md says what each target is for.
import PackageDescription

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableExperimentalFeature("Lifetimes"),
]

let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioEmbedded: Target.Dependency = .product(name: "NIOEmbedded", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let collections: Target.Dependency = .product(name: "Collections", package: "swift-collections")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let cryptoExtras: Target.Dependency = .product(name: "CryptoExtras", package: "swift-crypto")
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let certificates: Target.Dependency = .product(name: "X509", package: "swift-certificates")
let asn1: Target.Dependency = .product(name: "SwiftASN1", package: "swift-asn1")
let nioTLS: Target.Dependency = .product(name: "NIOTLS", package: "swift-nio")
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

func library(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource]? = nil) -> Target {
    .testTarget(name: name, dependencies: dependencies, resources: resources, swiftSettings: strict)
}

let words: [Target] = [
    library("Primitives", [nioCore, collections]),
    .target(name: "CChecksums"),
    .target(name: "CLinux"),
    .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(name: "CSnappy", providers: [.apt(["libsnappy-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .target(name: "KafkaSchema", swiftSettings: strict),
    library("KafkaWire", ["Primitives", "KafkaSchema", nioCore]),
    library("KafkaMessages", ["KafkaWire", "Primitives", nioCore]),
    library("KafkaRecords", ["KafkaWire", "Primitives", nioCore]),
    library("RecordBatches", ["Primitives", "CChecksums", "CLZ4", "CZstd", "CSnappy", "CZlib", nioCore]),
    library("ConfigDefinitions", ["Primitives", collections]),
]

let cores: [Target] = [
    library("ClusterMetadata", ["Primitives", "KafkaWire", "KafkaRecords", "RecordBatches", collections, nioCore]),
    library("Authentication", ["Primitives", crypto, cryptoExtras]),
    library("Authorization", ["Primitives", "ClusterMetadata", collections]),
    library("Consensus", ["Primitives", "KafkaWire", "KafkaMessages", "KafkaRecords", "RecordBatches", collections, nioCore]),
    library(
        "Controlling",
        [
            "Primitives", "KafkaWire", "KafkaMessages", "KafkaRecords", "ConfigDefinitions", "ClusterMetadata", "Authentication",
            "Authorization", collections, nioCore,
        ]),
    library("Replication", ["Primitives", "KafkaWire", collections, nioCore]),
    library("GroupCoordination", ["Primitives", "KafkaWire", "KafkaMessages", "KafkaRecords", "ConfigDefinitions", collections, nioCore]),
    library("TransactionCoordination", ["Primitives", "KafkaWire", "KafkaMessages", "KafkaRecords", collections, nioCore]),
    library("ShareCoordination", ["Primitives", "KafkaWire", "KafkaMessages", "KafkaRecords", collections, nioCore]),
    library("Mirroring", ["Primitives", "RecordBatches", collections, nioCore, crypto]),
    library("Linking", ["Primitives", "Mirroring", collections, nioCore]),
]

let shells: [Target] = [
    library("TransportSecurity", ["Primitives", "Authentication", nioCore, nioSSL, certificates, asn1]),
    library("IdentityProvider", ["Primitives", "Authentication", "TransportSecurity", nioCore, nioPosix, nioHTTP1]),
    library("Storage", ["Primitives", "RecordBatches", "CChecksums", "CLinux", nioCore, nioPosix, collections, logging]),
    library(
        "Network",
        [
            "Primitives", "KafkaWire", "KafkaMessages", "Authentication", "TransportSecurity", "CLinux", nioCore, nioPosix, nioTLS,
            collections, logging,
        ]),
    library(
        "Runtime",
        [
            "Primitives", "KafkaWire", "KafkaMessages", "KafkaRecords", "RecordBatches", "ClusterMetadata", "Consensus", "Controlling",
            "GroupCoordination", "TransactionCoordination", "ShareCoordination", "Linking", "Storage", "Network", "CLinux", nioCore,
            nioPosix,
            collections, logging,
        ]),
    library("Configuration", ["Primitives", "ConfigDefinitions", "Authentication", "Authorization", collections]),
    library("Observability", ["Primitives", nioCore, nioPosix, nioHTTP1, logging]),
]

let services: [Target] = [
    library(
        "MartletClient",
        [
            "Primitives", "KafkaWire", "KafkaMessages", "KafkaRecords", "RecordBatches", "ClusterMetadata", "Authentication",
            "Authorization", "Linking", "TransportSecurity", "IdentityProvider", nioCore, nioPosix, collections, logging,
        ]),
    library(
        "Broker",
        [
            "Primitives", "KafkaWire", "KafkaMessages", "KafkaRecords", "RecordBatches", "ConfigDefinitions", "ClusterMetadata",
            "CLinux", "Consensus",
            "Controlling", "Replication", "GroupCoordination", "TransactionCoordination", "ShareCoordination", "Linking",
            "Authentication", "Authorization",
            "TransportSecurity", "IdentityProvider", "Storage", "Network", "Runtime", "Configuration", "Observability", "MartletClient",
            nioCore, nioPosix, collections, logging,
        ]),
    library(
        "MirrorMaker",
        [
            "Primitives", "KafkaWire", "KafkaMessages", "RecordBatches", "Mirroring", "Observability", "MartletClient", nioCore,
            collections, logging,
        ]),
]

let programs: [Target] = [
    .executableTarget(
        name: "martlet",
        dependencies: [
            "Primitives", "KafkaWire", "KafkaMessages", "KafkaRecords", "RecordBatches", "ConfigDefinitions", "ClusterMetadata",
            "CLinux", "Consensus",
            "Authentication", "Authorization", "Controlling", "Linking", "Storage", "Runtime", "Configuration", "Observability", "Broker",
            "MartletClient", "Mirroring", "MirrorMaker", certificates, crypto, asn1, argumentParser, logging, nioCore, nioPosix,
            collections,
        ],
        swiftSettings: strict)
]

let beside: [Target] = [
    .executableTarget(name: "SchemaCompiler", dependencies: ["KafkaSchema", argumentParser], swiftSettings: strict),
    library(
        "TestKit",
        ["Primitives", "KafkaWire", "RecordBatches", "Storage", "Runtime", "Configuration", "Observability", "Broker", nioCore]),
    library(
        "Simulation",
        [
            "Primitives", "KafkaWire", "KafkaMessages", "KafkaRecords", "RecordBatches", "ConfigDefinitions", "ClusterMetadata",
            "Consensus", "Controlling", "Replication", "Linking", "Storage", collections, nioCore,
        ]),
    .executableTarget(name: "simulate", dependencies: ["Simulation", "Primitives"], swiftSettings: strict),
    tests("ArchitectureTests", []),
    tests("PrimitivesTests", ["Primitives"]),
    tests("KafkaWireTests", ["KafkaWire", "KafkaMessages", "KafkaRecords", "KafkaSchema"], resources: [.copy("Vectors")]),
    tests("RecordBatchesTests", ["RecordBatches", "CChecksums"], resources: [.copy("Vectors")]),
    tests("ConfigurationTests", ["ConfigDefinitions", "Configuration", "TestKit", collections]),
    tests("AuthenticationTests", ["Authentication", "Primitives", crypto, cryptoExtras]),
    tests("AuthorizationTests", ["Authorization", "ClusterMetadata", "KafkaRecords", "Primitives"]),
    tests(
        "ClusterMetadataTests",
        ["ClusterMetadata", "Consensus", "Controlling", "KafkaMessages", "KafkaWire", "Network", "Runtime", "Storage", nioCore, nioPosix]),
    tests(
        "ControllingTests",
        ["Controlling", "Authentication", "ClusterMetadata", "KafkaWire", "KafkaMessages", "KafkaRecords", "Primitives", collections]),
    tests(
        "GroupCoordinationTests",
        ["GroupCoordination", "Runtime", "Storage", "KafkaWire", "KafkaMessages", "KafkaRecords", "RecordBatches", "TestKit", nioCore]),
    tests(
        "TransactionCoordinationTests",
        [
            "TransactionCoordination", "Runtime", "Storage", "KafkaWire", "KafkaMessages", "KafkaRecords", "RecordBatches", "Primitives",
            "TestKit", nioCore,
        ]),
    tests("LinkingTests", ["Linking", "Mirroring", "Primitives", collections]),
    tests(
        "ShareCoordinationTests",
        [
            "ShareCoordination", "Runtime", "Storage", "KafkaWire", "KafkaMessages", "KafkaRecords", "RecordBatches", "Primitives",
            "TestKit", nioCore,
        ]),
    tests(
        "ConsensusTests",
        ["Consensus", "KafkaMessages", "KafkaRecords", "KafkaWire", "Primitives", "RecordBatches", nioCore, collections]),
    tests("ReplicationTests", ["Replication"]),
    tests("MirroringTests", ["Mirroring", "MirrorMaker", "MartletClient", "RecordBatches", "Primitives", nioCore, logging]),
    tests("SimulationTests", ["Simulation", "Consensus", "KafkaMessages", "RecordBatches", "Primitives", nioCore]),
    tests("StorageTests", ["Storage", "RecordBatches"]),
    tests("NetworkTests", ["Network", "KafkaWire", "KafkaMessages", "CLinux", "Observability", nioPosix]),
    tests(
        "BrokerTests",
        [
            "Broker", "Configuration", "KafkaMessages", "KafkaWire", "Linking", "Observability", "Primitives", "RecordBatches",
            "Replication", "Runtime", "Storage", "TestKit", nioCore, nioPosix, nioEmbedded,
        ]),
    tests(
        "MartletClientTests",
        [
            "MartletClient", "KafkaWire", "KafkaMessages", "KafkaRecords", "RecordBatches", "Primitives", "TestKit", nioCore,
        ]),
]

// Only where asked for: it has no `main` of its own, which libFuzzer brings.
let fuzzing: [Target] =
    Context.environment["MARTLET_FUZZ"] == nil
    ? []
    : [
        .executableTarget(
            name: "DecoderFuzzer",
            dependencies: ["Primitives", "KafkaWire", "KafkaMessages", "KafkaRecords", "RecordBatches", "Storage", "Broker", nioCore],
            path: "Tests/DecoderFuzzer", swiftSettings: strict)
    ]

let package = Package(
    name: "martlet",
    products: [
        .executable(name: "martlet", targets: ["martlet"]),
        .library(name: "MartletClient", targets: ["MartletClient"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
    ],
    targets: words + cores + shells + services + programs + beside + fuzzing
)
