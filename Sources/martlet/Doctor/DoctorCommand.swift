// `martlet doctor`: looks at a running cluster, or at a configuration before it runs, and says what is wrong.
import ArgumentParser
import Configuration
import MartletClient

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Find out what is wrong with a cluster or a configuration, and what to do.",
        discussion: """
            Against a cluster it looks above all at the addresses that brokers advertise, as seen from this machine: run it where the
            clients run. Name one bootstrap server of each listener to have all of them checked. The process ends with status 1 when there
            is an error, and 0 when there are only warnings and hints.

            When brokers of Apache Kafka are met, it also says what of that cluster Martlet would not serve: features, listeners,
            settings, transactions, groups of newer protocols, ACLs, quotas, credentials.

              martlet doctor -b kafka.example.com:9092,kafka.example.com:9093
              martlet doctor --config server.properties
            """)

    @Option(name: .shortAndLong, help: "Check this configuration instead of a cluster.", completion: .file())
    var config: String?

    @Option(name: .customLong("override"), help: "With --config: a setting under Kafka's name, key=value. May be given several times.")
    var overrides: [String] = []

    @Flag(name: .customLong("for-migration"), help: "Say what Martlet would not serve even if all brokers are Martlet's already.")
    var isForMigration = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if config == nil, !overrides.isEmpty { throw ValidationError("--override goes with --config.") }
    }

    func run() async throws {
        let diagnosis = config == nil ? try await clusterDiagnosis() : try configurationDiagnosis()
        output.show(diagnosis.json, diagnosis.text)
        if diagnosis.hasErrors { throw ExitCode.failure }
    }

    private func clusterDiagnosis() async throws -> Diagnosis {
        let admin = AdminClient(try cluster.clientConfiguration())
        defer { admin.close() }
        var checks = ClusterChecks(admin: admin, isForMigration: isForMigration)
        try await cluster.explaining { try await checks.run() }
        return checks.diagnosis
    }

    private func configurationDiagnosis() throws -> Diagnosis {
        var diagnosis = Diagnosis()
        let loaded: LoadedConfiguration
        do throws(ConfigurationMistakes) {
            loaded = try ConfigurationLoader.load(file: config, overrides: overrides)
        } catch {
            for mistake in error.errors { diagnosis.add(.error, "mistake", "configuration", "\(mistake)", "correct it") }
            output.show(diagnosis.json, diagnosis.text)
            throw NodeExit.configuration
        }
        diagnosis.isSound("the configuration can be read")
        for warning in loaded.warnings {
            diagnosis.add(.hint, "note", "configuration", "\(warning)", "nothing breaks; correct it to have a quiet start")
        }
        for finding in ConfigurationChecks.check(loaded.configuration, resolve: HostResolution.addresses) {
            let severity: Finding.Severity =
                switch finding.severity.name {
                case "error": .error
                case "warning": .warning
                default: .hint
                }
            diagnosis.add(severity, finding.code, finding.key, finding.message, finding.remedy)
        }
        return diagnosis
    }
}
