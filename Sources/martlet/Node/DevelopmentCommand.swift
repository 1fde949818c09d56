// `martlet dev`: a broker for development that needs no configuration, or a small cluster of them.
import ArgumentParser
import Broker
import Configuration
import Logging
import Observability

struct DevelopmentCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dev", abstract: "Run a broker on this machine, or a small cluster, without any configuration.",
        discussion: """
            Listens on 127.0.0.1 only, and does not look at environment variables. The data directory is made and formatted when it is not there yet, and kept between runs.

            With --brokers every node is a process of its own, broker and controller in one, so that a single one can be killed to see what happens.
            """)

    @Option(
        help:
            "Port for Kafka clients; the controller takes the next one. 0 lets the system choose. Further brokers take every second port behind."
    )
    var port = 9092

    @Option(help: "Directory that holds the data.", completion: .directory)
    var data = "./data"

    @Option(help: "Port for health and metrics; 0 lets the system choose. Further brokers take the ports behind.")
    var adminPort = 9644

    @Option(help: "Number of brokers. More than one make a cluster that replicates.")
    var brokers = 1

    @Option(help: "Zones (racks) that the brokers are spread over in turn, separated by commas, such as a,b,c.")
    var zones: String?

    @Option(name: .customLong("override"), help: "A setting under Kafka's name, key=value. May be given several times.")
    var overrides: [String] = []

    @Flag(help: "Write the log as JSON, one object a line.")
    var logJSON = false

    func validate() throws {
        guard (0...65_535).contains(port), (0...65_535).contains(adminPort) else {
            throw ValidationError("--port and --admin-port are from 0 to 65535.")
        }
        guard (1...9).contains(brokers) else { throw ValidationError("--brokers is from 1 to 9.") }
        if brokers > 1, port < 1 || port + 2 * brokers > 65_536 || adminPort < 1 || adminPort + brokers > 65_536 {
            throw ValidationError("With --brokers, --port and --admin-port begin a row of ports that must exist: not 0, and room for all.")
        }
        if let zones {
            guard brokers > 1 else { throw ValidationError("--zones needs --brokers.") }
            guard zones.split(separator: ",", omittingEmptySubsequences: false).allSatisfy({ !$0.isEmpty && !$0.contains(" ") }) else {
                throw ValidationError("--zones is a list of names separated by commas.")
            }
        }
    }

    func run() throws {
        if brokers > 1 {
            let zones = zones?.split(separator: ",").map { String($0) } ?? []
            try DevelopmentCluster(
                brokers: brokers, zones: zones, port: port, adminPort: adminPort, data: data, overrides: overrides, logJSON: logJSON
            ).run()
        } else {
            try runOne()
        }
    }

    private func runOne() throws {
        if DevelopmentCluster.holdsCluster(data) {
            throw CommandFailure(
                "\(data) holds a cluster of several nodes; say --brokers as before, or choose another directory with --data")
        }
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
        Terminal.print(
            DevelopmentGreeting.text(
                address: address, data: data, adminPorts: [endpoints.adminPort ?? adminPort],
                bootstrapOption: port == 9092 ? "" : " --bootstrap-server \(address)"))
    }
}

/// The first words to whoever tries Martlet.
enum DevelopmentGreeting {
    static func text(address: String, data: String, adminPorts: [Int], bootstrapOption: String) -> String {
        let ports = adminPorts.count > 1 ? "\(adminPorts[0])-\(adminPorts[adminPorts.count - 1])" : adminPorts.first.map { "\($0)" } ?? ""
        let more = adminPorts.count > 1 ? "\n  martlet cluster health --watch\(bootstrapOption)" : ""
        return """

            Martlet is ready: Kafka clients connect to \(address). Data is in \(data).

            Try, in another terminal:
              martlet topic create greetings\(bootstrapOption)
              echo 'hello, martlet' | martlet produce greetings\(bootstrapOption)
              martlet consume greetings --from beginning\(bootstrapOption)\(more)

            Health and metrics: http://127.0.0.1:\(ports)/health/ready and /metrics. Stop with Ctrl-C.

            """
    }
}
