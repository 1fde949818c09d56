// `martlet server CONFIG`: a broker as its configuration says.
import ArgumentParser
import Broker
import CLinux
import Configuration
import Logging
import Observability

struct ServerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "server", abstract: "Run a broker with Kafka's server.properties, or the same settings in YAML.",
        discussion: """
            Settings come from the file, then from environment variables (KAFKA_LOG_DIRS is log.dirs), then from --override; later ones win.
            The data directories must have been formatted (martlet format).
            """)

    @Argument(help: "server.properties, or a .yaml file; without it only the environment and --override count.", completion: .file())
    var config: String?

    @Option(name: .customLong("override"), help: "A setting under Kafka's name, key=value. May be given several times.")
    var overrides: [String] = []

    @Flag(help: "Write the log as JSON, one object a line.")
    var logJSON = false

    @Flag(help: .hidden)
    var endsWithParent = false

    func run() throws {
        if endsWithParent { martlet_end_with_parent() }
        if config == nil, overrides.isEmpty, EnvironmentSource.entries(ProcessSurroundings.environment()).isEmpty {
            throw ValidationError("Name a configuration, such as server.properties. `martlet dev` runs a broker without any.")
        }
        let loaded: LoadedConfiguration
        do throws(ConfigurationMistakes) {
            loaded = try ConfigurationLoader.load(file: config, overrides: overrides)
        } catch {
            Terminal.complain("\(error)")
            throw NodeExit.configuration
        }
        let level = Logger.Level(rawValue: loaded.configuration.logLevel) ?? .info
        let log = StructuredLog(level: level, format: logJSON ? .json : .text)
        let logger = log.logger("configuration")
        for warning in loaded.warnings { logger.warning("\(warning)") }
        try NodeRunning(configuration: loaded.configuration, log: log).run()
    }
}
