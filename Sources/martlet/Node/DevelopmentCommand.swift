// `martlet dev`: a broker for development that needs no configuration.
import ArgumentParser
import Broker
import Configuration
import Logging
import Observability

struct DevelopmentCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dev", abstract: "Run a one-node broker on this machine, without any configuration.",
        discussion: """
            Listens on 127.0.0.1 only, and does not look at environment variables. The data directory is made and formatted when it is not there yet, and kept between runs.
            """)

    @Option(help: "Port for Kafka clients; the controller takes the next one. 0 lets the system choose.")
    var port = 9092

    @Option(help: "Directory that holds the data.", completion: .directory)
    var data = "./data"

    @Option(help: "Port for health and metrics; 0 lets the system choose.")
    var adminPort = 9644

    @Option(name: .customLong("override"), help: "A setting under Kafka's name, key=value. May be given several times.")
    var overrides: [String] = []

    @Flag(help: "Write the log as JSON, one object a line.")
    var logJSON = false

    func validate() throws {
        guard (0...65_535).contains(port), (0...65_535).contains(adminPort) else {
            throw ValidationError("--port and --admin-port are from 0 to 65535.")
        }
    }

    func run() throws {
        let loaded: LoadedConfiguration
        do throws(ConfigurationMistakes) {
            loaded = try ConfigurationLoader.development(port: port, dataDirectory: data, adminPort: adminPort, overrides: overrides)
        } catch {
            Terminal.complain("\(error)")
            throw NodeExit.configuration
        }
        let log = StructuredLog(level: Logger.Level(rawValue: loaded.configuration.logLevel) ?? .info, format: logJSON ? .json : .text)
        let logger = log.logger("configuration")
        for warning in loaded.warnings { logger.warning("\(warning)") }
        try NodeRunning(configuration: loaded.configuration, log: log, formatsIfNeeded: true) { endpoints in greet(endpoints) }.run()
    }

    private func greet(_ endpoints: BrokerServer.Endpoints) {
        let address = endpoints.listeners.first.map { "127.0.0.1:\($0.port)" } ?? ""
        let server = port == 9092 ? "" : " --bootstrap-server \(address)"
        Terminal.print(
            """

            Martlet is ready: Kafka clients connect to \(address). Data is in \(data).

            Try, in another terminal:
              martlet topic create greetings\(server)
              echo 'hello, martlet' | martlet produce greetings\(server)
              martlet consume greetings --from beginning\(server)

            Health and metrics: http://127.0.0.1:\(endpoints.adminPort ?? adminPort)/health/ready and /metrics. Stop with Ctrl-C.

            """)

    }
}
