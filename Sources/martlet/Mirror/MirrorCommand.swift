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
        subcommands: [MirrorRunCommand.self, MirrorCheckCommand.self])
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
        var table = TextTable("FLOW", "REPLICATES", "REMOTE TOPIC", ">WORKERS", "DELIVERY", "GROUP OFFSETS", "HEARTBEATS")
        for flow in configuration.flows {
            table.add(
                flow.name, flow.isEnabled ? "yes" : "no", flow.policy.remoteTopic("TOPIC"), "\(flow.workers)",
                flow.isExactlyOnce ? "exactly once" : "at least once",
                flow.syncGroupOffsetsInterval == nil ? "checkpoints only" : "synchronised",
                flow.emitHeartbeatsInterval == nil ? "no" : "yes")
        }
        output.show(.array(configuration.flows.map(Self.json)), table.text)
    }

    private static func json(_ flow: MirrorFlow) -> JSONValue {
        [
            "source": .string(flow.source), "target": .string(flow.target), "enabled": .bool(flow.isEnabled),
            "remoteTopic": .string(flow.policy.remoteTopic("TOPIC")), "workers": .integer(Int64(flow.workers)),
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

    @Option(help: "The least severe messages to log: trace, debug, info, notice, warning, error or critical.")
    var logLevel = "info"

    func run() async throws {
        guard let level = Logger.Level(rawValue: logLevel) else { throw ValidationError("--log-level '\(logLevel)' is none.") }
        let configuration = try options.read()
        let log = StructuredLog(level: level)
        let logger = log.logger("mirror")
        let mirror: MirrorMaker
        let address: BrokerAddress?
        do throws(KafkaError) {
            mirror = try MirrorMaker(configuration, logger: logger)
            address = try metrics.map { (text) throws(KafkaError) in try BrokerAddress(text) }
        } catch {
            throw CommandFailure(error.explanation)
        }
        Interruption.watch()
        if let address { try serve(mirror, address, log) }
        mirror.start()
        logger.info("mirroring", metadata: ["flows": "\(configuration.flows.map(\.name).joined(separator: ", "))"])
        while !Interruption.isWanted { try await Task.sleep(for: .milliseconds(50)) }
        logger.info("stopping")
        await mirror.stop()
        logger.info("stopped")
    }

    private func serve(_ mirror: MirrorMaker, _ address: BrokerAddress, _ log: StructuredLog) throws {
        let registry = MetricsRegistry()
        mirror.register(in: registry)
        let health = NodeHealth()
        health.reportReady()
        let server = AdminServer(
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, health: health, registry: registry, logger: log.logger("metrics"))
        do throws(AdminServerError) {
            _ = try server.start(host: address.host, port: address.port)
        } catch {
            throw CommandFailure("\(error)")
        }
    }
}
