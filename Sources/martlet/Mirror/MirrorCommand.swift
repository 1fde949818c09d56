// `martlet mirror`: replication between any two Kafka clusters, from MirrorMaker 2's own file.
import ArgumentParser
import Configuration
import Logging
import MartletClient
import MirrorMaker
import Mirroring
import NIOCore
import NIOPosix
import Observability
import Primitives

struct MirrorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mirror", abstract: "Replicate topics and groups between clusters, as MirrorMaker 2 does.",
        subcommands: [MirrorRunCommand.self, MirrorCheckCommand.self, MirrorTopicsCommand.self])
}

/// A MirrorMaker file and which of its clusters are written to.
struct MirrorFileOptions: ParsableArguments {
    @Argument(help: "The file, as MirrorMaker 2's dedicated mode has it.", completion: .file())
    var file: String

    @Option(
        name: .customLong("clusters"), parsing: .upToNextOption,
        help: ArgumentHelp("Only flows to these clusters (default: all).", valueName: "alias"))
    var targets: [String] = []

    /// What the file says; warnings are shown.
    func read() throws -> MirrorConfiguration {
        let content = ConfigurationFile.read(file)
        if let mistake = content.mistakes.first(where: { $0.severity == .error }) { throw CommandFailure("\(mistake)") }
        let entries = content.entries.map { entry in
            var line = 0
            if case .file(_, let number) = entry.origin { line = number }
            return MirrorEntry(key: entry.key, value: entry.value, line: line)
        }
        do throws(MirrorMistakes) {
            let configuration = try MirrorConfiguration(entries, targets: targets.isEmpty ? nil : targets)
            for warning in configuration.warnings { Terminal.complain("Warning: \(file): \(warning)") }
            return configuration
        } catch {
            throw CommandFailure(error.errors.map { "\(file): \($0)" }.joined(separator: "\n       "))
        }
    }
}

struct MirrorCheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Say what a file would do, and what is wrong with it.")

    @OptionGroup var options: MirrorFileOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let configuration = try options.read()
        do throws(KafkaError) {
            _ = try MirrorMaker(configuration, logger: Logger(label: "mirror"))
        } catch {
            throw CommandFailure("\(options.file): \(error.explanation)")
        }
        var table = TextTable("FLOW", "REPLICATES", "REMOTE TOPIC", "RECORDS", ">WORKERS", "DELIVERY", "GROUP OFFSETS", "HEARTBEATS")
        for flow in configuration.flows {
            table.add(
                flow.name, flow.isEnabled ? "yes" : "no", flow.policy.remoteTopic("TOPIC"), Self.records(flow), "\(flow.workers)",
                flow.isExactlyOnce ? "exactly once" : "at least once",
                flow.syncGroupOffsetsInterval == nil ? "checkpoints only" : "synchronised",
                flow.emitHeartbeatsInterval == nil ? "no" : "yes")
        }
        output.show(.array(configuration.flows.map(Self.json)), table.text)
    }

    /// What is done to records.
    private static func records(_ flow: MirrorFlow) -> String {
        let done = flow.transforms.map(\.name) + (flow.addsProvenance ? ["provenance headers"] : [])
        return done.isEmpty ? "as they are" : done.joined(separator: ", ")
    }

    private static func json(_ flow: MirrorFlow) -> JSONValue {
        [
            "source": .string(flow.source), "target": .string(flow.target), "enabled": .bool(flow.isEnabled),
            "remoteTopic": .string(flow.policy.remoteTopic("TOPIC")), "workers": .integer(Int64(flow.workers)),
            "provenance": .bool(flow.addsProvenance), "transforms": .array(flow.transforms.map { .string($0.name) }),
            "sharesWork": .bool(flow.sharing != nil),
            "exactlyOnce": .bool(flow.isExactlyOnce), "synchronisesGroupOffsets": .bool(flow.syncGroupOffsetsInterval != nil),
            "emitsHeartbeats": .bool(flow.emitHeartbeatsInterval != nil), "offsetSyncsTopic": .string(flow.offsetSyncsTopic),
            "checkpointsTopic": .string(flow.checkpointsTopic), "positionsTopic": .string(flow.positionsTopic),
        ]
    }
}

struct MirrorRunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Replicate until the process is told to stop.",
        discussion: """
            The file is that of MirrorMaker 2's dedicated mode (connect-mirror-maker.sh). Positions, offset syncs, checkpoints and \
            heartbeats are kept in the same topics and in the same form, so that either can go on where the other stopped.
            """)

    @OptionGroup var options: MirrorFileOptions

    @Option(help: ArgumentHelp("Serve metrics here, at /metrics.", valueName: "host:port"))
    var metrics: String?

    @Option(
        help: ArgumentHelp(
            "Serve state and topics here, at /mirror, and metrics; on the loopback interface if no host is named.",
            valueName: "[host:]port"))
    var admin: String?

    @Option(
        help: ArgumentHelp(
            "The file with the token that who asks for /mirror/topics has to send; needed where others than this machine can ask.",
            valueName: "file"), completion: .file())
    var adminTokenFile: String?

    @Option(help: "The least severe messages to log: trace, debug, info, notice, warning, error or critical.")
    var logLevel = "info"

    func run() async throws {
        guard let level = Logger.Level(rawValue: logLevel) else { throw ValidationError("--log-level '\(logLevel)' is none.") }
        let configuration = try options.read()
        let log = StructuredLog(level: level)
        let logger = log.logger("mirror")
        let mirror: MirrorMaker
        let address: BrokerAddress?
        let adminAddress: BrokerAddress?
        let topics: MirrorTopics
        do throws(KafkaError) {
            mirror = try MirrorMaker(configuration, logger: logger)
            topics = try MirrorTopics(configuration)
            address = try metrics.map { (text) throws(KafkaError) in try BrokerAddress(text) }
            adminAddress = try admin.map { (text) throws(KafkaError) in try Self.address(text) }
        } catch {
            throw CommandFailure(error.explanation)
        }
        Interruption.watch()
        if let address { _ = try serve(mirror, address, log) }
        if let adminAddress { try serve(mirror, topics, adminAddress, log) }
        mirror.start()
        logger.info("mirroring", metadata: ["flows": "\(configuration.flows.map(\.name).joined(separator: ", "))"])
        while !Interruption.isWanted { try await Task.sleep(for: .milliseconds(50)) }
        logger.info("stopping")
        await mirror.stop()
        await topics.close()
        logger.info("stopped")
    }

    /// `port` or `host:port`; port 0 for any that is free.
    private static func address(_ text: String) throws(KafkaError) -> BrokerAddress {
        let whole = text.contains(":") ? text : "127.0.0.1:\(text)"
        guard whole.hasSuffix(":0") else { return try BrokerAddress(whole) }
        var address = try BrokerAddress(whole.dropLast() + "1")
        address.port = 0
        return address
    }

    /// Where topics can be changed, protected from others than this machine's own.
    private func serve(_ mirror: MirrorMaker, _ topics: MirrorTopics, _ address: BrokerAddress, _ log: StructuredLog) throws {
        let isLoopback = ["127.0.0.1", "::1", "localhost"].contains(address.host)
        var token: String?
        if let adminTokenFile {
            guard let content = SecretFile.read(adminTokenFile) else { throw CommandFailure("\(adminTokenFile) cannot be read") }
            token = String(decoding: content, as: UTF8.self).split(whereSeparator: \.isWhitespace).first.map(String.init)
            guard let token, token.utf8.count >= 16 else {
                throw CommandFailure("\(adminTokenFile): a token that cannot be guessed has at least 16 characters and no blanks")
            }
        }
        guard isLoopback || token != nil else {
            throw CommandFailure(
                "--admin \(address): whoever reaches this address could change what is replicated. Listen on 127.0.0.1, or protect it with "
                    + "--admin-token-file")
        }
        let server = try serve(mirror, address, log) { server in
            if let token { server.requireToken(token) }
            MirrorRoutes(mirror, topics).add(to: server)
        }
        log.logger("admin").info("serving", metadata: ["address": "\(address)", "port": "\(server)"])
    }

    private func serve(
        _ mirror: MirrorMaker, _ address: BrokerAddress, _ log: StructuredLog, _ prepare: (AdminServer) -> Void = { _ in }
    ) throws -> Int {
        let registry = MetricsRegistry()
        mirror.register(in: registry)
        let health = NodeHealth()
        health.reportReady()
        let server = AdminServer(
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, health: health, registry: registry, logger: log.logger("metrics"))
        prepare(server)
        do throws(AdminServerError) {
            return try server.start(host: address.host, port: address.port)
        } catch {
            throw CommandFailure("\(error)")
        }
    }
}
