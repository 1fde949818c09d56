// The one binary: every role and every tool is a subcommand.
import ArgumentParser
import Glibc

@main
struct Martlet: AsyncParsableCommand {
    static let version = "0.1.0"

    static func main() async {
        Terminal.occupyStandardStreams()
        await KafkaTools.runIfNamed(CommandLine.arguments)
        await main(nil)
    }

    static let configuration = CommandConfiguration(
        commandName: "martlet",
        abstract: "An event-streaming platform that every Kafka client takes for Kafka.",
        discussion: """
            Start with `martlet dev`: a broker on 127.0.0.1:9092 that needs no configuration.
            """,
        version: version,
        groupedSubcommands: [
            CommandGroup(name: "Nodes", subcommands: [DevelopmentCommand.self, ServerCommand.self]),
            CommandGroup(
                name: "Records", subcommands: [ProduceCommand.self, ConsumeCommand.self, BenchCommand.self]),
            CommandGroup(
                name: "Clusters",
                subcommands: [
                    TopicCommand.self, PartitionCommand.self, GroupCommand.self, TransactionCommand.self, ConfigCommand.self,
                    ClusterCommand.self, BrokerCommand.self, QuorumCommand.self, DoctorCommand.self,
                ]),
            CommandGroup(name: "Several clusters", subcommands: [LinkCommand.self, DrillCommand.self, MirrorCommand.self]),
            CommandGroup(
                name: "Security",
                subcommands: [
                    UserCommand.self, TokenCommand.self, ACLCommand.self, QuotaCommand.self, CertificateCommand.self,
                ]),
            CommandGroup(name: "Files", subcommands: [FormatCommand.self, LogCommand.self]),
        ])
}
