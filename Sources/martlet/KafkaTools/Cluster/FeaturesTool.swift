// `kafka-features`: the levels of the cluster's features.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import MartletClient

enum FeaturesTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-features",
        "This tool manages feature flags in Kafka: describe, upgrade, downgrade, disable, version-mapping, feature-dependencies",
        style: .brief,
        [
            .value("bootstrap-server", as: "BOOTSTRAP_SERVER", "Brokers to begin with."),
            .value("bootstrap-controller", as: "BOOTSTRAP_CONTROLLER", "Controllers to begin with."),
            .value("command-config", as: "COMMAND_CONFIG", "Client properties, such as those of security."),
            .value("metadata", as: "METADATA", "A level of metadata.version by its name."),
            .value("release-version", as: "RELEASE_VERSION", "The release whose levels all features are to have."),
            .value("feature", as: "FEATURE", "A feature's level, name=level."),
            .flag("unsafe", "Also where metadata is lost by it."), .flag("dry-run", "Check and change nothing."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        guard options.has("bootstrap-server") != options.has("bootstrap-controller") else {
            throw ToolExit.saying(
                "Command line error: "
                    + (options.has("bootstrap-server")
                        ? "argument --bootstrap-controller: not allowed with argument --bootstrap-server"
                        : "one of the arguments --bootstrap-server --bootstrap-controller is required") + ". Type --help for help.")
        }
        guard let command = options.rest.first else {
            throw ToolExit.saying("Command line error: too few arguments. Type --help for help.")
        }
        var reached = options
        if options.has("bootstrap-controller") { reached = options.replacing("bootstrap-server", with: "bootstrap-controller") }
        do {
            switch command {
            case "describe": try await describe(reached)
            case "upgrade": try await change("upgrade", reached, .upgrade)
            case "downgrade": try await change("downgrade", reached, options.has("unsafe") ? .unsafeDowngrade : .safeDowngrade)
            case "disable": try await disable(reached)
            case "version-mapping": try FeatureText.showMapping(options.value("release-version"))
            case "feature-dependencies": try FeatureText.showDependencies(options.values("feature"))
            default: throw syntax.mistake("argument command: invalid choice: '\(command)'")
            }
            return 0
        } catch let error as KafkaError {
            throw ToolExit.saying(error.javaText)
        } catch let failure as CommandFailure {
            throw ToolExit.saying(failure.description)
        }
    }

    private static func describe(_ options: ToolOptions) async throws {
        let response = try await ToolAdmin.with(options) { admin in
            try await admin.cluster.retrying { () throws(KafkaError) in
                let response = try await admin.cluster.send(ApiVersionsRequest.own, to: .any, allowed: 3...4)
                try response.errorCode.check()
                return response
            }
        }
        func level(_ name: String, _ level: Int16) -> String {
            name == MetadataVersion.featureName ? MetadataVersion(rawValue: level).map { "\($0)" } ?? "UNKNOWN \(level)" : "\(level)"
        }
        let epoch = response.finalizedFeaturesEpoch
        for feature in response.supportedFeatures.sorted(by: { $0.name < $1.name }) {
            let finalized = response.finalizedFeatures.first { $0.name == feature.name }?.maxVersionLevel ?? 0
            Terminal.print(
                "Feature: \(feature.name)\tSupportedMinVersion: \(level(feature.name, feature.minVersion))\t"
                    + "SupportedMaxVersion: \(level(feature.name, feature.maxVersion))\t"
                    + "FinalizedVersionLevel: \(level(feature.name, finalized))\tEpoch: \(epoch >= 0 ? "\(epoch)" : "-")")
        }
    }

    private static func change(_ operation: String, _ options: ToolOptions, _ type: FeatureUpgradeType) async throws {
        var levels: [(name: String, level: Int16)] = []
        if let release = options.value("release-version") {
            if options.has("metadata") || options.has("feature") {
                throw CommandFailure("Can not specify `release-version` with other feature flags.")
            }
            let version = try version(release)
            levels.append((MetadataVersion.featureName, version.rawValue))
            for feature in FeatureText.features {
                let level = feature.defaultLevel(for: version)
                if type != .upgrade || level > 0 { levels.append((feature.name, level)) }
            }
        } else {
            if let name = options.value("metadata") {
                Terminal.print(" `metadata` flag is deprecated and may be removed in a future release.")
                levels.append((MetadataVersion.featureName, try version(name).rawValue))
            }
            for text in options.values("feature") { levels.append(try FeatureText.nameAndLevel(text)) }
        }
        try await update(operation, levels, options, type)
    }

    private static func version(_ name: String) throws(CommandFailure) -> MetadataVersion {
        guard let version = MetadataVersion(name: name) else {
            let known = MetadataVersion.all.filter { $0 <= .defaultForNewClusters }.map { "\($0)" }.joined(separator: ", ")
            throw CommandFailure("Unknown metadata.version \(name). Supported metadata.version are \(known)")
        }
        return version
    }

    private static func disable(_ options: ToolOptions) async throws {
        try await update(
            "disable", options.values("feature").map { ($0, 0) }, options, options.has("unsafe") ? .unsafeDowngrade : .safeDowngrade)
    }

    private static func update(
        _ operation: String, _ levels: [(name: String, level: Int16)], _ options: ToolOptions, _ type: FeatureUpgradeType
    ) async throws {
        if levels.isEmpty { throw CommandFailure("You must specify at least one feature to \(operation)") }
        if let twice = levels.first(where: { one in levels.count { $0.name == one.name } > 1 }) {
            throw CommandFailure("Feature \(twice.name) was specified more than once.")
        }
        let isDry = options.has("dry-run")
        let failure = try await ToolAdmin.with(options) { admin -> KafkaError? in
            do throws(KafkaError) {
                try await admin.updateFeatures(levels, type: type, validateOnly: isDry)
                return nil
            } catch {
                return error
            }
        }
        let isDisabling = operation == "disable"
        for (name, level) in levels.sorted(by: { $0.name < $1.name }) {
            if let failure {
                let what = isDisabling ? "disable \(name)" : "\(operation) \(name) to \(level)"
                Terminal.print("\(isDry ? "Can not" : "Could not") \(what). \(failure.message)")
            } else {
                Terminal.print("\(name) \(isDry ? "can be" : "was") \(isDisabling ? "disabled." : "\(operation)d to \(level).")")
            }
        }
        if failure != nil { throw CommandFailure("\(levels.count) out of \(levels.count) operation(s) failed.") }
    }
}
