// Writes the protocol's Swift from Definitions/. Deterministic, so that CI can prove the committed code to be what the definitions say.
import ArgumentParser
import Foundation
import KafkaSchema

@main
struct SchemaCompiler: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "SchemaCompiler",
        abstract: "Writes Swift for Kafka's messages from their definitions.")

    @Argument(help: "The directory of definitions.")
    var definitions: String

    @Argument(help: "The directory of targets: KafkaWire, KafkaMessages and KafkaRecords below it get their Generated/ written.")
    var sources: String

    @Flag(help: "Write nothing; fail when what is there differs.")
    var check = false

    func run() throws {
        let outputs = try GeneratedSources(definitions: try DefinitionFiles(directory: definitions)).files
        var differences: [String] = []
        for target in ["KafkaWire", "KafkaMessages", "KafkaRecords"] {
            let wanted = outputs.filter { $0.target == target }
            let directory = URL(fileURLWithPath: sources).appendingPathComponent("\(target)/Generated")
            differences += try update(directory, with: wanted)
        }
        if check, !differences.isEmpty {
            for path in differences { FileHandle.standardError.write(Data("not up to date: \(path)\n".utf8)) }
            throw ExitCode.failure
        }
        print("\(outputs.count) files, \(differences.count) \(check ? "differ" : "written")")
    }

    /// Brings a directory to the wanted content and returns what had to change.
    private func update(_ directory: URL, with wanted: [GeneratedFile]) throws -> [String] {
        let files = FileManager.default
        if !check { try files.createDirectory(at: directory, withIntermediateDirectories: true) }
        var changed: [String] = []
        for file in wanted {
            let url = directory.appendingPathComponent(file.name)
            if let old = try? String(contentsOf: url, encoding: .utf8), old == file.text { continue }
            changed.append(url.path)
            if !check { try file.text.write(to: url, atomically: true, encoding: .utf8) }
        }
        let names = Set(wanted.map(\.name))
        for name in (try? files.contentsOfDirectory(atPath: directory.path))?.sorted() ?? [] where !names.contains(name) {
            changed.append(directory.appendingPathComponent(name).path)
            if !check { try files.removeItem(at: directory.appendingPathComponent(name)) }
        }
        return changed
    }
}

/// One file to write.
struct GeneratedFile {
    let target: String
    let name: String
    let text: String
}

/// Everything that Definitions/ holds.
struct DefinitionFiles {
    struct File {
        let path: String
        let definition: Definition
    }

    var files: [File] = []
    var errors: [ErrorDefinition] = []

    init(directory: String) throws {
        guard let paths = FileManager.default.enumerator(atPath: directory)?.compactMap({ $0 as? String }) else {
            throw ValidationError("\(directory): no such directory")
        }
        for path in paths.filter({ $0.hasSuffix(".kafka") }).sorted() {
            let url = URL(fileURLWithPath: directory).appendingPathComponent(path)
            let text = try String(contentsOf: url, encoding: .utf8)
            if path == "errors.kafka" {
                errors = try DefinitionParser.errors(text, file: url.path)
            } else {
                var parser = try DefinitionParser(text, file: url.path)
                files.append(File(path: path, definition: try parser.definition()))
            }
        }
    }
}

/// Decides which file goes where.
struct GeneratedSources {
    var files: [GeneratedFile] = []

    init(definitions: DefinitionFiles) throws {
        var apis: [APIDefinition] = []
        var metadata: [NumberedRecord] = []
        var remoteLog: [NumberedRecord] = []
        var coordinators: [CoordinatorRecordDefinition] = []
        for file in definitions.files {
            switch file.definition {
            case .api(let api):
                apis.append(api)
                add(api.request, .request(api), "KafkaMessages", file.path)
                add(api.response, .response(api), "KafkaMessages", file.path)
            case .header(let message): add(message, .plain, "KafkaWire", file.path)
            case .metadata(let id, let message):
                metadata.append(NumberedRecord(id: id, message: message))
                add(message, .plain, "KafkaRecords", file.path)
            case .remoteLogMetadata(let id, let message):
                remoteLog.append(NumberedRecord(id: id, message: message))
                add(message, .plain, "KafkaRecords", file.path)
            case .coordinator(let record):
                coordinators.append(record)
                add(record.key, .plain, "KafkaRecords", file.path)
                add(record.value, .plain, "KafkaRecords", file.path)
            case .data(let message): add(message, .plain, "KafkaRecords", file.path)
            }
        }
        apis.sort { $0.key < $1.key }
        add("ApiKey.swift", "KafkaWire", TableGenerator.apiKeys(apis))
        add("ErrorCode.swift", "KafkaWire", TableGenerator.errors(definitions.errors))
        add("MessageCatalog.swift", "KafkaMessages", TableGenerator.catalog(apis))
        add("MetadataRecord.swift", "KafkaRecords", RecordGenerator.framed("MetadataRecord", "a metadata log (KIP-631)", metadata))
        add(
            "RemoteLogMetadataRecord.swift", "KafkaRecords",
            RecordGenerator.framed("RemoteLogMetadataRecord", "the topic __remote_log_metadata (KIP-405)", remoteLog))
        var stored = metadata.map(\.message) + remoteLog.map(\.message) + coordinators.flatMap { [$0.key, $0.value] }
        for case .data(let message) in definitions.files.map(\.definition) { stored.append(message) }
        add("RecordCatalog.swift", "KafkaRecords", RecordGenerator.catalog(stored))
        var topics: [String] = []
        for record in coordinators where !topics.contains(record.topic) { topics.append(record.topic) }
        for topic in topics {
            let records = coordinators.filter { $0.topic == topic }.sorted { $0.id < $1.id }
            let name = topic.split(separator: "_").map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
            add("\(name)Records.swift", "KafkaRecords", RecordGenerator.coordinator(name, topic: topic, records))
        }
    }

    private mutating func add(_ message: MessageDefinition, _ role: MessageGenerator.Role, _ target: String, _ path: String) {
        let text = MessageGenerator(message, role: role, path: path, target: target).text
        files.append(GeneratedFile(target: target, name: "\(message.name).swift", text: text))
    }

    private mutating func add(_ name: String, _ target: String, _ text: String) {
        files.append(GeneratedFile(target: target, name: name, text: text))
    }
}
