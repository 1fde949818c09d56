// Kafka's own tools in one binary: `martlet kafka-topics …` takes what `kafka-topics.sh …` takes and prints the lines that scripts
// written for it expect. The scripts of those names in `bin` call it; `martlet --help` does not show it.
import Glibc
import MartletClient

/// A tool under Kafka's name.
protocol KafkaTool: Sendable {
    static var syntax: ToolSyntax { get }

    /// Returns the status that the process ends with.
    static func run(_ arguments: [String]) async throws -> Int32
}

enum KafkaTools {
    /// Every tool by its name, which is that of Kafka's script without `.sh`.
    static var all: [(name: String, tool: any KafkaTool.Type)] {
        [
            ("kafka-acls", ACLsTool.self),
            ("kafka-broker-api-versions", BrokerVersionsTool.self),
            ("kafka-cluster", ClusterTool.self),
            ("kafka-configs", ConfigsTool.self),
            ("kafka-console-consumer", ConsoleConsumerTool.self),
            ("kafka-console-producer", ConsoleProducerTool.self),
            ("kafka-consumer-groups", ConsumerGroupsTool.self),
            ("kafka-consumer-perf-test", ConsumerPerformanceTool.self),
            ("kafka-delegation-tokens", DelegationTokensTool.self),
            ("kafka-delete-records", DeleteRecordsTool.self),
            ("kafka-dump-log", DumpLogTool.self),
            ("kafka-features", FeaturesTool.self),
            ("kafka-get-offsets", GetOffsetsTool.self),
            ("kafka-leader-election", LeaderElectionTool.self),
            ("kafka-log-dirs", LogDirectoriesTool.self),
            ("kafka-metadata-quorum", MetadataQuorumTool.self),
            ("kafka-producer-perf-test", ProducerPerformanceTool.self),
            ("kafka-reassign-partitions", ReassignPartitionsTool.self),
            ("kafka-server-start", ServerStartTool.self),
            ("kafka-share-groups", ShareGroupsTool.self),
            ("kafka-storage", StorageTool.self),
            ("kafka-streams-groups", StreamsGroupsTool.self),
            ("kafka-topics", TopicsTool.self),
            ("kafka-transactions", TransactionsTool.self),
        ]
    }

    /// Runs the tool that the process's first argument names and ends the process; returns when it names none.
    static func runIfNamed(_ arguments: [String]) async {
        guard arguments.count > 1, arguments[1].hasPrefix("kafka-") else { return }
        guard let tool = all.first(where: { $0.name == arguments[1] })?.tool else {
            Terminal.complain("\(arguments[1]) is none of: \(all.map(\.name).joined(separator: ", "))")
            exit(1)
        }
        do {
            let status = try await tool.run(Array(arguments.dropFirst(2)))
            try Terminal.checkOutput()
            exit(status)
        } catch let exiting as ToolExit {
            exit(exiting.status)
        } catch let error as KafkaError {
            Terminal.complain("Error: \(error.javaText)")
        } catch {
            Terminal.complain("Error: \(error)")
        }
        exit(1)
    }
}
