// `martlet log`: looks into the files of a data directory while no broker needs to run.
import ArgumentParser
import Glibc
import Primitives

struct LogCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log", abstract: "Look into the files of a data directory.", subcommands: [LogDumpCommand.self])
}

struct LogDumpCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dump", abstract: "Show what log segments, indexes, snapshots and checkpoints hold.",
        discussion: """
            Reads files only, so it is safe beside a running broker. The records of Kafka's own topics (metadata, committed offsets and
            groups, transactions) are shown decoded, under Kafka's names. Every batch's checksum is verified; when something is damaged,
            the process ends with status 1.

              martlet log dump data/orders-0
              martlet log dump --json data/__cluster_metadata-0/*.log | jq .data
            """)

    @Argument(help: ArgumentHelp("Files, or directories for all of their files.", valueName: "path"), completion: .file())
    var paths: [String]

    @Flag(name: .shortAndLong, help: "Go into the directories of a directory, such as all partitions of a data directory.")
    var recursive = false

    @Flag(name: .long, help: "Show batches without their records.")
    var batchesOnly = false

    @Option(name: .long, help: "Leave out what lies before this offset.")
    var from: Offset?

    @Option(name: .long, help: "Show at most this many records (batches, with --batches-only) of each segment.")
    var count: Int?

    @Option(name: .long, help: "How to read records.")
    var decode = RecordDecoding.auto

    @OptionGroup var output: OutputOptions

    func validate() throws {
        if paths.isEmpty { throw ValidationError("Name a file or a directory, such as data/orders-0.") }
        if let count, count < 0 { throw ValidationError("--count is not negative.") }
    }

    func run() throws {
        var dump = LogDump(json: output.json)
        for path in paths { try visit(path, named: true, &dump) }
        dump.finish()
        if dump.problems > 0 { throw ExitCode.failure }
    }

    private func visit(_ path: String, named: Bool, _ dump: inout LogDump) throws {
        guard let names = LogFile.names(in: path) else {
            guard access(path, F_OK) == 0 else { throw CommandFailure("\(path): \(String(cString: strerror(errno)))") }
            guard let kind = LogFileKind(name: LogFile.name(of: path)) else {
                if !named { return }
                throw CommandFailure("\(path) is no file of a data directory, going by its name")
            }
            return try show(path, kind, &dump)
        }
        let directory = path.hasSuffix("/") ? String(path.dropLast()) : path
        for name in names {
            let inner = "\(directory)/\(name)"
            if recursive || LogFile.names(in: inner) == nil { try visit(inner, named: false, &dump) }
        }
    }

    private func show(_ path: String, _ kind: LogFileKind, _ dump: inout LogDump) throws {
        dump.begin(path)
        switch kind {
        case .segment, .metadataSnapshot:
            var segment = SegmentDump(decode == .auto ? RecordDecoding(path: path) : decode)
            segment.showsRecords = !batchesOnly
            segment.from = from ?? .min
            segment.limit = count ?? .max
            try segment.run(try LogFile(path), &dump)
        case .offsetIndex: try IndexDump.offsets(path, &dump)
        case .timeIndex: try IndexDump.times(path, &dump)
        case .transactionIndex: try IndexDump.transactions(path, &dump)
        case .producerSnapshot: try IndexDump.producers(path, &dump)
        case .text: try TextFileDump.run(path, &dump)
        }
    }
}
