// `kafka-dump-log`: what segments, snapshots and indexes hold. Reads files only.
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import Storage

enum DumpLogTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-dump-log",
        "This tool helps to parse a log file and dump its contents to the console, useful for debugging a seemingly corrupt log segment.",
        [
            .value("files", as: "file1, file2, ...", "REQUIRED: Files, separated by commas."),
            .flag("print-data-log", "Show the contents of records."), .flag("verify-index-only", "Verify indexes and show nothing."),
            .flag("index-sanity-check", "Check indexes as a broker does when it starts, and show nothing."),
            .value("max-message-size", as: "size", .integer, default: "5242880", "Accepted for compatibility."),
            .value("max-bytes", as: "size", .integer, default: "2147483647", "Read so many bytes of a log."),
            .flag("deep-iteration", "Show records too."),
            .optionalValue("value-decoder-class", as: "class", "StringDecoder is known."),
            .optionalValue("key-decoder-class", as: "class", "StringDecoder is known."),
            .flag("offsets-decoder", "The log is of __consumer_offsets."),
            .flag("transaction-log-decoder", "The log is of __transaction_state."),
            .flag("cluster-metadata-decoder", "The log is of the cluster's metadata."),
            .flag("share-group-state-decoder", "The log is of __share_group_state."),
            .flag("skip-record-metadata", "Leave out what goes with records."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        try syntax.require(options, "files")
        for path in (options.value("files") ?? "").split(separator: ",").map({ String($0) }) {
            Terminal.print("Dumping \(path)")
            do throws(CommandFailure) {
                try dump(path, options)
            } catch {
                throw ToolExit.saying(error.description)
            }
        }
        return 0
    }

    private static func dump(_ path: String, _ options: ToolOptions) throws(CommandFailure) {
        let name = LogFile.name(of: path)
        if name.hasSuffix(".log") || name.hasSuffix(".checkpoint") {
            var dump = SegmentText(options)
            try dump.run(path)
        } else if name.hasSuffix(".index") || name.hasSuffix(".timeindex") {
            var dump = IndexText(path: path, options: options)
            try dump.run()
        } else if name.hasSuffix(".snapshot") {
            try producers(path)
        } else if name.hasSuffix(".txnindex") {
            try transactions(path)
        } else {
            Terminal.complain("Ignoring unknown file \(path)")
        }
    }

    private static func producers(_ path: String) throws(CommandFailure) {
        do throws(StorageError) {
            for entry in try ProducerSnapshotFile.read(path) {
                var line =
                    "producerId: \(entry.producerID) producerEpoch: \(entry.producerEpoch) coordinatorEpoch: \(entry.coordinatorEpoch) "
                let hasTransaction = entry.currentTransactionFirstOffset >= 0
                line += "currentTxnFirstOffset: "
                line += hasTransaction ? "OptionalLong[\(entry.currentTransactionFirstOffset)]" : "OptionalLong.empty"
                line += " lastTimestamp: \(entry.timestamp) "
                if entry.lastOffset >= 0 {
                    line += "firstSequence: \(entry.lastSequence - entry.offsetDelta) lastSequence: \(entry.lastSequence) "
                    line += "lastOffset: \(entry.lastOffset) offsetDelta: \(entry.offsetDelta) timestamp: \(entry.timestamp)"
                }
                Terminal.print(line)
            }
        } catch {
            Terminal.complain("\(error)")
        }
    }

    private static func transactions(_ path: String) throws(CommandFailure) {
        let file = try LogFile(path)
        var position = 0
        while position + 34 <= file.size {
            let entry = try file.read(at: position, count: 34)
            position += 34
            guard let aborted = try? AbortedTxn(decodingWithVersion: entry) else { throw CommandFailure("\(path): unreadable entry") }
            Terminal.print(
                "version: 0 producerId: \(aborted.producerId) firstOffset: \(aborted.firstOffset) lastOffset: \(aborted.lastOffset) "
                    + "lastStableOffset: \(aborted.lastStableOffset)")
        }
    }
}
