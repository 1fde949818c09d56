// `kafka-delete-records`: deletes records before offsets that a file names.
import Configuration
import MartletClient
import Primitives

enum DeleteRecordsTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-delete-records", "This tool helps to delete records of the given partitions down to the specified offset.",
        [
            .value("bootstrap-server", as: "server(s) to use for bootstrapping", "REQUIRED: Brokers to begin with."),
            .value(
                "offset-json-file", as: "Offset json file path",
                "REQUIRED: {\"partitions\": [{\"topic\": \"foo\", \"partition\": 1, \"offset\": 1}], \"version\": 1}"),
            .value("command-config", as: "command config property file path", "Client properties, such as those of security."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        try syntax.require(options, "bootstrap-server", "offset-json-file")
        let items = try PartitionFile(options.value("offset-json-file") ?? "").partitions
        var offsets: [(partition: TopicPartition, before: Int64)] = []
        for (partition, item) in items {
            guard let offset = item["offset"]?.integerValue else { throw ToolExit.saying("Missing offset field") }
            offsets.append((partition, offset))
        }
        let twice = Set(items.map(\.partition).filter { one in items.count { $0.partition == one } > 1 }).sorted()
        if !twice.isEmpty {
            throw ToolExit.saying(
                "Offset json file contains duplicate topic partitions: \(twice.map { "\($0)" }.joined(separator: ","))")
        }
        Terminal.print("Executing records delete operation")
        let wanted = offsets
        try await ToolAdmin.with(options) { admin in
            let outcomes = try await admin.deleteRecords(wanted)
            Terminal.print("Records delete operation completed:")
            for outcome in outcomes.sorted(by: { $0.item < $1.item }) {
                switch outcome.result {
                case .success(let mark): Terminal.print("partition: \(outcome.item)\tlow_watermark: \(mark)")
                case .failure(let error): Terminal.print("partition: \(outcome.item)\terror: \(error.javaText)")
                }
            }
        }
        return 0
    }
}

/// `{"partitions": [{"topic": …, "partition": …}, …], "version": 1}`, which several tools take.
struct PartitionFile {
    private(set) var partitions: [(partition: TopicPartition, item: JSONValue)] = []

    init(_ path: String) throws(ToolExit) {
        guard case .success(let text) = ConfigurationFile.text(path) else { throw .saying("java.nio.file.NoSuchFileException: \(path)") }
        try self.init(text: text)
    }

    init(text: String) throws(ToolExit) {
        guard let json = try? JSONValue(parsing: text) else { throw .saying("The input string is not a valid JSON") }
        if let version = json["version"]?.integerValue, version != 1 { throw .saying("Not supported version field value \(version)") }
        guard let items = json["partitions"]?.arrayValue else { throw .saying("Missing partitions field") }
        for item in items {
            guard let topic = item["topic"]?.stringValue, let partition = item["partition"]?.integerValue.flatMap({ Int32(exactly: $0) })
            else { throw .saying("each of the partitions needs topic and partition") }
            partitions.append((TopicPartition(topic, partition), item))
        }
    }
}
