// `kafka-storage`: format directories, look at them, and what levels of features mean.
import Configuration
import Controlling
import ClusterMetadata
import Glibc
import Primitives
import Storage

enum StorageTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-storage", "The Kafka storage tool: info, format, version-mapping, feature-dependencies, random-uuid", style: .brief,
        [
            .value("config", "c", as: "CONFIG", "The configuration file."),
            .value("cluster-id", "t", as: "CLUSTER_ID", "format: the cluster's id."),
            .value("add-scram", "S", as: "ADD_SCRAM", "format: a user, SCRAM-SHA-256=[name=alice,password=alice-secret]."),
            .flag("ignore-formatted", "g", "format: leave directories alone that are formatted."),
            .value("release-version", "r", as: "RELEASE_VERSION", "The release whose feature levels are meant."),
            .value("feature", "f", as: "FEATURE", "A feature's level, name=level."),
            .flag("standalone", "s", "format: a dynamic quorum of this controller alone."),
            .flag("no-initial-controllers", "N", "format: the voters are those of the quorum that the node finds."),
            .value("initial-controllers", "I", as: "INITIAL_CONTROLLERS", "format: the first voters, id@host:port:directory,..."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        guard let command = options.rest.first else { throw syntax.mistake("too few arguments") }
        do {
            switch command {
            case "random-uuid": Terminal.print(KafkaUUID.random().description)
            case "info": return try info(options)
            case "format": try format(options)
            case "version-mapping": try FeatureText.showMapping(options.value("release-version"))
            case "feature-dependencies":
                try syntax.require(options, "feature")
                try FeatureText.showDependencies(options.values("feature"))
            default:
                throw syntax.mistake(
                    "argument command: invalid choice: '\(command)' (choose from 'info', 'format', 'version-mapping', "
                        + "'feature-dependencies', 'random-uuid')")
            }
        } catch let failure as CommandFailure {
            throw ToolExit.saying(failure.description)
        }
        return 0
    }

    // MARK: format

    private static func format(_ options: ToolOptions) throws {
        try syntax.require(options, "config", "cluster-id")
        let exclusive = ["standalone", "no-initial-controllers", "initial-controllers"].filter { options.has($0) }
        if exclusive.count > 1 {
            throw syntax.mistake("argument --\(exclusive[1]): not allowed with argument --\(exclusive[0])")
        }
        var passed: [String] = []
        for name in ["config", "cluster-id", "add-scram", "release-version", "feature", "initial-controllers"] where options.has(name) {
            for value in options.values(name) { passed.append("--\(name)=\(value)") }
        }
        for name in ["ignore-formatted", "standalone", "no-initial-controllers"] where options.has(name) { passed.append("--\(name)") }
        let report: (formatted: [String], version: MetadataVersion)
        do {
            let done = try FormatCommand.parse(passed).format()
            report = (done.report.formatted, done.report.metadataVersion)
        } catch let failure as CommandFailure {
            throw failure
        } catch {
            throw CommandFailure(FormatCommand.message(for: error))
        }
        if report.formatted.isEmpty { Terminal.print("All of the log directories are already formatted.") }
        let metadata = try configuration(options).metadataLog.directory
        for directory in report.formatted {
            let isDynamic = directory == metadata && exclusive.contains { $0 != "no-initial-controllers" }
            let kind = directory != metadata ? "data" : isDynamic ? "dynamic metadata voter" : "metadata"
            Terminal.print("Formatting \(kind) directory \(directory) with metadata.version \(report.version).")
        }
    }

    private static func configuration(_ options: ToolOptions) throws -> BrokerConfiguration {
        do throws(ConfigurationMistakes) {
            return try ConfigurationLoader.load(file: options.value("config"), includingSecurity: false).configuration
        } catch {
            throw CommandFailure("\(error)")
        }
    }

    // MARK: info

    private static func info(_ options: ToolOptions) throws -> Int32 {
        try syntax.require(options, "config")
        let configuration = try configuration(options)
        let directories = Set(configuration.storage.logDirectories + [configuration.metadataLog.directory]).sorted()
        var found: [String] = []
        var problems: [String] = []
        var first: MetaProperties?
        for directory in directories {
            guard LogFile.names(in: directory) != nil else {
                problems.append(access(directory, F_OK) == 0 ? "\(directory) is not a directory" : "\(directory) does not exist")
                continue
            }
            found.append(directory)
            do throws(StorageError) {
                guard let properties = try MetaProperties(path: "\(directory)/\(MetaProperties.fileName)") else {
                    problems.append("\(directory) is not formatted.")
                    continue
                }
                if let first, first.clusterID != properties.clusterID {
                    problems.append("Mismatched cluster IDs between storage directories.")
                } else if let first, first.nodeID != properties.nodeID {
                    problems.append("Mismatched node IDs between storage directories.")
                }
                first = first ?? properties
            } catch {
                problems.append("Error loading \(directory)/\(MetaProperties.fileName): \(error)")
            }
        }
        if !found.isEmpty {
            Terminal.print(found.count == 1 ? "Found log directory:" : "Found log directories:")
            Terminal.print(found.map { "  \($0)\n" }.joined())
        }
        if let first {
            let values = [
                ("cluster.id", first.clusterID), ("directory.id", first.directoryID.map { "\($0)" }),
                ("node.id", first.nodeID.map { "\($0)" }),
                ("version", "\(first.version)"),
            ]
            let text = values.compactMap { name, value in value.map { "\(name)=\($0)" } }.joined(separator: ", ")
            Terminal.print("Found metadata: {\(text)}\n")
        }
        if problems.isEmpty { return 0 }
        Terminal.print(problems.count == 1 ? "Found problem:" : "Found problems:")
        Terminal.print(problems.map { "  \($0)\n" }.joined())
        return 1
    }
}

/// What `kafka-storage` and `kafka-features` say about levels of features.
enum FeatureText {
    /// In Kafka's order.
    static let features = [
        FeatureName.kraft, FeatureName.transaction, FeatureName.group, FeatureName.eligibleLeaderReplicas, FeatureName.share,
        FeatureName.streams,
    ].compactMap { Feature.named($0) }

    static func version(_ name: String) throws(CommandFailure) -> MetadataVersion {
        guard let version = MetadataVersion(name: name) else {
            throw CommandFailure(
                "Unknown release version '\(name)'. Supported versions are: \(MetadataVersion.minimum) to "
                    + "\(MetadataVersion.defaultForNewClusters)")
        }
        return version
    }

    static func showMapping(_ release: String?) throws(CommandFailure) {
        let name = release ?? "\(MetadataVersion.defaultForNewClusters)"
        let version = try version(name)
        Terminal.print("\(MetadataVersion.featureName)=\(version.rawValue) (\(name))")
        for feature in features { Terminal.print("\(feature.name)=\(feature.defaultLevel(for: version))") }
    }

    static func nameAndLevel(_ text: String) throws(CommandFailure) -> (name: String, level: Int16) {
        guard let sign = text.firstIndex(of: "=") else {
            throw CommandFailure("Can't parse feature=level string \(text): equals sign not found.")
        }
        let level = String(text[text.index(after: sign)...]).trimmingBlanks
        guard let number = Int16(level) else {
            throw CommandFailure("Can't parse feature=level string \(text): unable to parse \(level) as a short.")
        }
        return (String(text[..<sign]).trimmingBlanks, number)
    }

    static func showDependencies(_ arguments: [String]) throws(CommandFailure) {
        for argument in arguments {
            let (name, level) = try nameAndLevel(argument)
            if name == MetadataVersion.featureName {
                guard let version = MetadataVersion(rawValue: level) else { throw CommandFailure("Unknown metadata.version \(level)") }
                Terminal.print("\(name)=\(level) (\(version)) has no dependencies.")
                continue
            }
            guard let feature = Feature.named(name) else { throw CommandFailure("Unknown feature: \(name)") }
            guard let definition = feature.levels.first(where: { $0.level == level }) else {
                throw CommandFailure("Feature level \(level) is not supported for feature \(name)")
            }
            if definition.needs.isEmpty {
                Terminal.print("\(name)=\(level) has no dependencies.")
                continue
            }
            Terminal.print("\(name)=\(level) requires:")
            for (needed, neededLevel) in definition.needs {
                let version = needed == MetadataVersion.featureName ? MetadataVersion(rawValue: neededLevel).map { " (\($0))" } : nil
                Terminal.print("    \(needed)=\(neededLevel)\(version ?? "")")
            }
        }
    }
}
