// `kafka-metadata-quorum`: the controllers' quorum, and its voters.
import Configuration
import KafkaMessages
import KafkaWire
import MartletClient
import Primitives
import Storage

enum MetadataQuorumTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-metadata-quorum", "This tool describes kraft metadata quorum status: describe, add-controller, remove-controller",
        style: .brief,
        [
            .value("bootstrap-server", as: "BOOTSTRAP_SERVER", "Brokers to begin with."),
            .value("bootstrap-controller", as: "BOOTSTRAP_CONTROLLER", "Controllers to begin with."),
            .value("command-config", as: "COMMAND_CONFIG", "Client properties; add-controller: the new controller's configuration."),
            .flag("status", "describe: a summary."), .flag("replication", "describe: how far each replica is."),
            .flag("human-readable", "describe --replication: times as how long ago."),
            .flag("dry-run", "Say what would be done."),
            .value("controller-id", "i", as: "CONTROLLER_ID", .integer, "remove-controller: the voter's id."),
            .value("controller-directory-id", "d", as: "CONTROLLER_DIRECTORY_ID", "remove-controller: the id of its directory."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        guard options.has("bootstrap-server") != options.has("bootstrap-controller") else {
            throw syntax.mistake(
                options.has("bootstrap-server")
                    ? "argument --bootstrap-controller: not allowed with argument --bootstrap-server"
                    : "one of the arguments --bootstrap-server --bootstrap-controller is required")
        }
        guard let command = options.rest.first else { throw syntax.mistake("too few arguments") }
        var reached = options
        if options.has("bootstrap-controller") { reached = options.replacing("bootstrap-server", with: "bootstrap-controller") }
        do {
            switch command {
            case "describe": try await describe(reached)
            case "add-controller": try await add(reached)
            case "remove-controller": try await remove(reached)
            default: throw syntax.mistake("argument command: invalid choice: '\(command)'")
            }
            return 0
        } catch let error as KafkaError {
            throw ToolExit.saying("java.util.concurrent.ExecutionException: \(error.javaText)")
        } catch let failure as CommandFailure {
            throw ToolExit.saying(failure.description)
        }
    }

    // MARK: describe

    private static func describe(_ options: ToolOptions) async throws {
        let showsStatus = options.has("status")
        if showsStatus, options.has("replication") {
            throw CommandFailure("Only one of --status or --replication should be specified with describe sub-command")
        }
        guard showsStatus || options.has("replication") else {
            throw CommandFailure("One of --status or --replication must be specified with describe sub-command")
        }
        if showsStatus, options.has("human-readable") {
            throw CommandFailure("The option --human-readable is only supported along with --replication")
        }
        try await ToolAdmin.with(options) { admin in
            let (quorum, endpoints) = try await admin.describeQuorumWithEndpoints()
            guard let leader = quorum.voters.first(where: { $0.nodeID == quorum.leaderID }) else {
                throw CommandFailure("No value present")
            }
            guard showsStatus else { return showReplication(quorum, leader, isForPeople: options.has("human-readable")) }
            let slowest = quorum.voters.min { $0.logEndOffset < $1.logEndOffset } ?? leader
            let isLeader = slowest.nodeID == leader.nodeID
            let hasTimes = leader.lastCaughtUpTimestamp >= 0 && slowest.lastCaughtUpTimestamp >= 0
            let lagTime = isLeader ? 0 : hasTimes ? leader.lastCaughtUpTimestamp - slowest.lastCaughtUpTimestamp : -1
            let values = [
                ("ClusterId:", try await admin.describeCluster().clusterID ?? "null"), ("LeaderId:", "\(quorum.leaderID)"),
                ("LeaderEpoch:", "\(quorum.leaderEpoch)"), ("HighWatermark:", "\(quorum.highWatermark)"),
                ("MaxFollowerLag:", "\(leader.logEndOffset - slowest.logEndOffset)"), ("MaxFollowerLagTimeMs:", "\(lagTime)"),
                ("CurrentVoters:", list(quorum.voters, endpoints)), ("CurrentObservers:", list(quorum.observers, endpoints)),
            ]
            Terminal.print(values.map { JavaFormat.padded($0.0, 24) + $0.1 }.joined(separator: "\n"))
        }
    }

    private static func list(_ replicas: [QuorumReplica], _ endpoints: [Int32: [String]]) -> String {
        let items = replicas.map { replica in
            var text = "{\"id\": \(replica.nodeID)"
            if replica.directoryID != .zero { text += ", \"directoryId\": \"\(replica.directoryID)\"" }
            if let known = endpoints[replica.nodeID], !known.isEmpty {
                text += ", \"endpoints\": [" + known.map { "\"\($0)\"" }.joined(separator: ", ") + "]"
            }
            return text + "}"
        }
        return "[" + items.joined(separator: ", ") + "]"
    }

    private static func showReplication(_ quorum: QuorumDescription, _ leader: QuorumReplica, isForPeople: Bool) {
        let now = SystemClock.now()
        func time(_ timestamp: Int64) -> String {
            timestamp < 0 ? "-1" : isForPeople ? "\(max(0, now - timestamp)) ms ago" : "\(timestamp)"
        }
        func row(_ replica: QuorumReplica, _ status: String) -> [String] {
            [
                "\(replica.nodeID)", "\(replica.directoryID)", "\(replica.logEndOffset)", "\(leader.logEndOffset - replica.logEndOffset)",
                time(replica.lastFetchTimestamp), time(replica.lastCaughtUpTimestamp), status,
            ]
        }
        JavaFormat.printTable(
            ["NodeId", "DirectoryId", "LogEndOffset", "Lag", "LastFetchTimestamp", "LastCaughtUpTimestamp", "Status"],
            [row(leader, "Leader")] + quorum.voters.filter { $0.nodeID != leader.nodeID }.map { row($0, "Follower") }
                + quorum.observers.map { row($0, "Observer") })
    }

    // MARK: voters

    private static func add(_ options: ToolOptions) async throws {
        guard let path = options.value("command-config") else {
            throw CommandFailure(
                "You must supply the configuration file of the controller you are adding when using add-controller.")
        }
        let loaded: BrokerConfiguration
        do throws(ConfigurationMistakes) {
            loaded = try ConfigurationLoader.load(file: path).configuration
        } catch {
            throw CommandFailure("\(error)")
        }
        guard loaded.processRoles.contains(.controller) else {
            throw CommandFailure(
                "process.roles did not contain 'controller' in configuration file. Is this a valid controller configuration file?")
        }
        let directory = loaded.metadataLog.directory
        guard let properties = try? MetaProperties(path: "\(directory)/\(MetaProperties.fileName)") else {
            throw CommandFailure("Unable to read meta.properties from \(directory)")
        }
        guard let directoryID = properties.directoryID else { throw CommandFailure("No directory id found in \(directory)") }
        let endpoints = loaded.advertisedControllerListeners.compactMap { listener in
            UInt16(exactly: listener.port).map { NewVoter.Endpoint(listener: listener.name, host: listener.host, port: $0) }
        }
        if !options.has("dry-run") {
            let voter = NewVoter(nodeID: loaded.nodeID, directoryID: directoryID, endpoints: endpoints)
            try await ToolAdmin.with(options) { try await $0.addVoter(voter) }
        }
        let places = endpoints.map { "\($0.listener)://\($0.host.contains(":") ? "[\($0.host)]" : $0.host):\($0.port)" }
        Terminal.print(
            "\(options.has("dry-run") ? "DRY RUN of adding" : "Added") controller \(loaded.nodeID) with directory id \(directoryID) and "
                + "endpoints: \(places.joined(separator: ", "))")
    }

    private static func remove(_ options: ToolOptions) async throws {
        try syntax.require(options, "controller-id", "controller-directory-id")
        guard let id = options.integer("controller-id"), id >= 0 else {
            throw CommandFailure("Invalid negative --controller-id: \(options.value("controller-id") ?? "")")
        }
        let text = options.value("controller-directory-id") ?? ""
        guard let directory = KafkaUUID(text) else { throw CommandFailure("Failed to parse --controller-directory-id: \(text)") }
        if !options.has("dry-run") {
            try await ToolAdmin.with(options) { try await $0.removeVoter(Int32(clamping: id), directoryID: directory) }
        }
        Terminal.print(
            "\(options.has("dry-run") ? "DRY RUN of removing " : "Removed ") KRaft controller \(id) with directory id \(directory)")
    }
}

extension JavaFormat {
    /// Rows under titles, every column as wide as it needs to be, each cell ended by a tab.
    static func printTable(_ titles: [String], _ rows: [[String]]) {
        let widths = titles.indices.map { column in ([titles] + rows).map { $0[column].count }.max() ?? 0 }
        for row in [titles] + rows {
            Terminal.print(zip(row, widths).map { padded($0, $1) + "\t" }.joined())
        }
    }
}
