// `martlet format`: prepares data directories for a node's first start, with the flags of Kafka's storage tool.
import ArgumentParser
import ClusterMetadata
import Collections
import Configuration
import Consensus
import Primitives
import Runtime

struct FormatCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "format", abstract: "Prepare a node's data directories for its first start.",
        discussion: """
            Writes meta.properties and the first metadata into every directory of log.dirs and metadata.log.dir. All nodes of a cluster
            are formatted with the same cluster id. The flags are those of Kafka's kafka-storage tool.

              martlet format --random-cluster-id --config server.properties
            """)

    @Option(name: [.customShort("t"), .customLong("cluster-id")], help: "The cluster's id, the same for all of its nodes.")
    var clusterID: String?

    @Flag(name: .customLong("random-cluster-id"), help: "Make up a cluster id and print it.")
    var randomClusterID = false

    @Option(
        name: [.customShort("c"), .customLong("config")], help: "server.properties or YAML; KAFKA_* variables count too.",
        completion: .file())
    var config: String?

    @Option(name: .customLong("override"), help: "A setting under Kafka's name, key=value. May be given several times.")
    var overrides: [String] = []

    @Flag(name: [.customShort("g"), .long], help: "Leave directories alone that are formatted already, instead of failing.")
    var ignoreFormatted = false

    @Option(name: [.customShort("r"), .long], help: "The release whose feature levels to begin with, such as 4.1 or 4.1-IV1.")
    var releaseVersion: String?

    @Option(
        name: [.customShort("f"), .customLong("feature")], help: "A feature's level, such as kraft.version=1. May be given several times.")
    var features: [String] = []

    @Flag(name: [.customShort("s"), .long], help: "This controller alone is the quorum, to which others can be added.")
    var standalone = false

    @Option(name: [.customShort("I"), .long], help: "The quorum's first voters, id@host:port:directoryId, separated by commas.")
    var initialControllers: String?

    @Flag(name: [.customShort("N"), .long], help: "The voters are those of the quorum that this node will find.")
    var noInitialControllers = false

    @Option(
        name: [.customShort("S"), .long],
        help: "A user from the first start on: SCRAM-SHA-256=[name=alice,password=…]. May be given several times.")
    var addScram: [String] = []

    @OptionGroup var output: OutputOptions

    func validate() throws {
        if (clusterID != nil) == randomClusterID {
            throw ValidationError(
                "Give either --cluster-id (-t), the same for all nodes of a cluster, or --random-cluster-id for a new one.")
        }
        if [standalone, initialControllers != nil, noInitialControllers].filter(\.self).count > 1 {
            throw ValidationError("--standalone, --initial-controllers and --no-initial-controllers exclude each other.")
        }
    }

    func run() throws {
        let (report, id, nodeID) = try format()
        show(report, clusterID: id, nodeID: nodeID)
    }

    /// Formats and says what was done, for which cluster and node.
    func format() throws -> (report: MetadataFormat.Report, clusterID: String, nodeID: NodeID) {
        let loaded: BrokerConfiguration
        do throws(ConfigurationMistakes) {
            loaded = try ConfigurationLoader.load(file: config, overrides: overrides, includingSecurity: false).configuration
        } catch {
            Terminal.complain("\(error)")
            throw NodeExit.configuration
        }
        var directories = loaded.storage.logDirectories
        if !directories.contains(loaded.metadataLog.directory) { directories.append(loaded.metadataLog.directory) }
        let id = clusterID ?? KafkaUUID.random().description
        var format = MetadataFormat(
            nodeID: loaded.nodeID, clusterID: id, directories: directories, metadataDirectory: loaded.metadataLog.directory)
        format.ignoresFormatted = ignoreFormatted
        format.quorum = try quorum(loaded)
        format.releaseVersion = try release()
        format.featureLevels = try levels()
        format.scramCredentials = try addScram.map(ScramOption.record)
        do throws(MetadataStorageError) {
            return (try format.run(), id, loaded.nodeID)
        } catch {
            throw CommandFailure("\(error)")
        }
    }

    private func quorum(_ configuration: BrokerConfiguration) throws -> FormatQuorum {
        let isDynamic = configuration.controllerQuorumVoters.isEmpty
        if !isDynamic, standalone || initialControllers != nil {
            throw ValidationError(
                "controller.quorum.voters is set, which makes the voters static, so --standalone and --initial-controllers make no sense. "
                    + "For a dynamic quorum remove it and set controller.quorum.bootstrap.servers instead.")
        }
        if standalone {
            guard configuration.processRoles.contains(.controller) else {
                throw ValidationError("--standalone is for controllers, and process.roles does not have controller.")
            }
            return .standalone(
                try configuration.advertisedControllerListeners.map { listener in
                    guard let port = UInt16(exactly: listener.port) else {
                        throw ValidationError("port \(listener.port) of \(listener) is none")
                    }
                    return Voter.Endpoint(name: listener.name, host: listener.host, port: port)
                })
        }
        if let initialControllers {
            let listener = configuration.controllerListenerNames.first ?? "CONTROLLER"
            return .initialControllers(try Self.voters(initialControllers, listener: listener))
        }
        if !isDynamic { return .staticVoters }
        if !noInitialControllers, configuration.processRoles.contains(.controller) {
            throw ValidationError(
                "controller.quorum.voters is not set on this controller, so one of --standalone, --initial-controllers and "
                    + "--no-initial-controllers is needed.")
        }
        return .noInitialControllers
    }

    /// Reads `0@host:port:directoryId,…`.
    static func voters(_ text: String, listener: String) throws -> [Voter] {
        var seen: Set<NodeID> = []
        let voters = try text.split(separator: ",").map { part in
            let mistake = ValidationError("'\(part)' is not of the form id@host:port:directoryId")
            guard let at = part.firstIndex(of: "@"), let id = NodeID(part[..<at]), id >= 0 else { throw mistake }
            let rest = part[part.index(after: at)...]
            guard let lastColon = rest.lastIndex(of: ":"), let portColon = rest[..<lastColon].lastIndex(of: ":"),
                let port = UInt16(rest[rest.index(after: portColon)..<lastColon]),
                let directory = KafkaUUID(String(rest[rest.index(after: lastColon)...]))
            else { throw mistake }
            var host = rest[..<portColon]
            if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
            guard !host.isEmpty, port > 0 else { throw mistake }
            guard seen.insert(id).inserted else { throw ValidationError("--initial-controllers names node \(id) more than once") }
            return Voter(id: id, directoryID: directory, endpoints: [.init(name: listener, host: String(host), port: port)])
        }
        if voters.isEmpty { throw ValidationError("--initial-controllers names nobody; it is a list of id@host:port:directoryId") }
        return voters
    }

    private func release() throws -> MetadataVersion? {
        guard let releaseVersion else { return nil }
        guard let version = MetadataVersion(name: releaseVersion) else {
            throw ValidationError(
                "'\(releaseVersion)' is no release that is known: from \(MetadataVersion.minimum) to \(MetadataVersion.latest)")
        }
        return version
    }

    private func levels() throws -> OrderedDictionary<String, Int16> {
        var levels: OrderedDictionary<String, Int16> = [:]
        for feature in features {
            let parts = feature.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, let level = Int16(parts[1]) else {
                throw ValidationError("'\(feature)' is not of the form name=level, such as kraft.version=1")
            }
            guard levels.updateValue(level, forKey: String(parts[0])) == nil else {
                throw ValidationError("feature \(parts[0]) is given twice")
            }
        }
        return levels
    }

    private func show(_ report: MetadataFormat.Report, clusterID: String, nodeID: NodeID) {
        var text = report.skipped.map { "Left alone \($0): it is formatted already." }
        text += report.formatted.map {
            "Formatted \($0) for node \(nodeID) of cluster \(clusterID) with metadata.version \(report.metadataVersion)."
        }
        output.show(
            [
                "clusterId": .string(clusterID), "nodeId": .whole(nodeID), "metadataVersion": .string("\(report.metadataVersion)"),
                "features": .object(report.featureLevels.map { ($0.key, .whole($0.value)) }),
                "formatted": .strings(report.formatted), "skipped": .strings(report.skipped),
            ], text.joined(separator: "\n"))
    }
}
