// `kafka-log-dirs`: what lies in the brokers' directories, as JSON.
import MartletClient
import Primitives

enum LogDirectoriesTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-log-dirs", "This tool helps to query log directory usage on the specified brokers.",
        [
            .value("bootstrap-server", as: "The server(s) to use for bootstrapping", "REQUIRED: Brokers to begin with."),
            .value("command-config", as: "Admin client property file", "Client properties, such as those of security."),
            .flag("describe", "Describe the directories."),
            .value("topic-list", as: "Topic list", default: "", "Only these topics, separated by commas."),
            .value("broker-list", as: "Broker list", default: "", "Only these brokers, separated by commas."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        try syntax.require(options, "bootstrap-server", "describe")
        let topics = Set((options.value("topic-list") ?? "").split(separator: ",").map { String($0) })
        let wanted = try (options.value("broker-list") ?? "").split(separator: ",").map { text throws(ToolExit) in
            guard let id = Int32(text) else { throw .saying("For input string: \"\(text)\"") }
            return id
        }
        do {
            try await ToolAdmin.with(options) { admin in
                let known = try await admin.describeCluster().brokers.map(\.id).sorted()
                func list(_ ids: [Int32]) -> String { ids.map { "\($0)" }.joined(separator: ",") }
                let missing = wanted.filter { !known.contains($0) }
                if !missing.isEmpty {
                    throw ToolExit.saying(
                        "ERROR: The given brokers do not exist from --broker-list: \(list(missing)). Current existent brokers: \(list(known))"
                    )
                }
                Terminal.print("Querying brokers for log directories information")
                let brokers = wanted.isEmpty ? known : wanted.sorted()
                let found = try await admin.describeLogDirectories(brokers: brokers)
                Terminal.print("Received log directory information from brokers \(list(brokers))")
                Terminal.print(json(found, brokers, topics).text())
            }
            return 0
        } catch let error as KafkaError {
            throw ToolExit.saying("java.util.concurrent.ExecutionException: \(error.javaText)")
        }
    }

    private static func json(_ directories: [LogDirectoryDescription], _ brokers: [Int32], _ topics: Set<String>) -> JSONValue {
        func replica(_ replica: LogDirectoryDescription.Replica) -> JSONValue {
            [
                "partition": .string("\(replica.partition)"), "size": .whole(replica.size), "offsetLag": .whole(replica.offsetLag),
                "isFuture": .bool(replica.isFuture),
            ]
        }
        func directory(_ directory: LogDirectoryDescription) -> JSONValue {
            let replicas = directory.replicas.filter { topics.isEmpty || topics.contains($0.partition.topic) }
            return [
                "partitions": .array(replicas.sorted { $0.partition < $1.partition }.map(replica)),
                "error": .optional(directory.error?.javaClass), "logDir": .string(directory.path),
            ]
        }
        return [
            "brokers": .array(
                brokers.map { broker in
                    [
                        "broker": .whole(broker),
                        "logDirs": .array(directories.filter { $0.broker == broker }.map(directory)),
                    ]
                }), "version": 1,
        ]
    }
}
