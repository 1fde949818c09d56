// `kafka-dump-log` on a segment or a snapshot of the metadata: a line for each batch, and one for each record if wanted.
import Consensus
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import RecordBatches

struct SegmentText {
    private let options: ToolOptions
    private let showsRecords: Bool
    private let showsContents: Bool
    private var contents: StoredRecordText
    private var lastOffset: Offset = -1
    private var gaps: [String] = []

    init(_ options: ToolOptions) {
        self.options = options
        let decoders = ["offsets-decoder", "transaction-log-decoder", "cluster-metadata-decoder", "share-group-state-decoder"]
        let classes = ["value-decoder-class", "key-decoder-class"]
        showsContents = (["print-data-log"] + decoders + classes).contains { options.has($0) }
        showsRecords = showsContents || options.has("deep-iteration")
        contents = StoredRecordText(decoder: decoders.first { options.has($0) })
    }

    mutating func run(_ path: String) throws(CommandFailure) {
        let name = LogFile.name(of: path)
        if name.hasSuffix(".log") {
            Terminal.print("Log starting offset: \(Offset(name.prefix { $0.isNumber }) ?? 0)")
        } else if name == "bootstrap.checkpoint" {
            Terminal.print("KRaft bootstrap snapshot")
        } else {
            let parts = name.split(separator: ".")[0].split(separator: "-").compactMap { Int64($0) }
            if parts.count == 2 { Terminal.print("Snapshot end offset: \(parts[0]), epoch: \(parts[1])") }
        }
        let file = try LogFile(path)
        let limit = options.integer("max-bytes") ?? Int.max
        var output = OutputBuffer()
        var position = 0
        while let bytes = try batch(in: file, at: position, before: min(file.size, limit)) {
            do throws(RecordBatchError) {
                try show(bytes, position, &output)
            } catch {
                output.flush()
                throw CommandFailure("\(path) at position \(position): \(error)")
            }
            position += bytes.readableBytes
        }
        output.flush()
        if position < file.size, limit >= Int(Int32.max) {
            Terminal.print("Found \(file.size - position) invalid bytes at the end of \(name)")
        }
        if !gaps.isEmpty {
            Terminal.complain("Non-consecutive offsets in \(LogFile.absolute(path))\n" + gaps.reversed().joined(separator: "\n"))
        }
    }

    /// The bytes of a whole batch; nil behind the last one.
    private func batch(in file: borrowing LogFile, at position: Int, before end: Int) throws(CommandFailure) -> ByteBuffer? {
        guard end - position >= RecordBatchHeader.logOverhead + 14 else { return nil }
        let head = try file.read(at: position, count: RecordBatchHeader.logOverhead)
        guard let length: Int32 = head.getInteger(at: head.readerIndex + RecordBatchHeader.Position.batchLength), length >= 14 else {
            return nil
        }
        let size = Int(length) + RecordBatchHeader.logOverhead
        return size <= end - position ? try file.read(at: position, count: size) : nil
    }

    private mutating func show(_ bytes: ByteBuffer, _ position: Int, _ output: inout OutputBuffer) throws(RecordBatchError) {
        guard RecordBatchHeader.magic(in: bytes) == 2 else { return try showLegacy(try LegacyMessage(bytes), position, &output) }
        let batch = try RecordBatch(bytes)
        let header = batch.header
        var isValid = true
        do throws(RecordBatchError) { try batch.verifyChecksum() } catch { isValid = false }
        let codec = CompressionType(rawValue: UInt8(header.attributes.compressionIdentifier))?.name ?? "unknown"
        let horizon = header.deleteHorizon.map { "OptionalLong[\($0)]" } ?? "OptionalLong.empty"
        output.line(
            "baseOffset: \(header.baseOffset) lastOffset: \(header.lastOffset) count: \(header.recordCount) "
                + "baseSequence: \(header.baseSequence) lastSequence: \(header.baseSequence < 0 ? -1 : header.lastSequence) "
                + "producerId: \(header.producerId) producerEpoch: \(header.producerEpoch) "
                + "partitionLeaderEpoch: \(header.partitionLeaderEpoch) isTransactional: \(header.isTransactional) "
                + "isControl: \(header.isControl) deleteHorizonMs: \(horizon) position: \(position) "
                + "\(Self.name(header.timestampType)): \(header.maxTimestamp) size: \(header.sizeInBytes) magic: 2 "
                + "compresscodec: \(codec) crc: \(header.crc) isvalid: \(isValid)")
        guard showsRecords else { return }
        var records = try batch.records()
        var index: Int32 = 0
        while let record = try records.next() {
            show(record, header, index, &output)
            index += 1
        }
    }

    private static func name(_ type: TimestampType) -> String { type == .createTime ? "CreateTime" : "LogAppendTime" }

    private mutating func note(_ offset: Offset) {
        if lastOffset >= 0, offset != lastOffset + 1 { gaps.append("  \(lastOffset) is followed by \(offset)") }
        lastOffset = offset
    }

    private mutating func show(_ record: Record, _ header: RecordBatchHeader, _ index: Int32, _ output: inout OutputBuffer) {
        note(record.offset)
        var line = ""
        var prefix = "| "
        if !options.has("skip-record-metadata") {
            let sequence = header.baseSequence < 0 ? -1 : (header.baseSequence &+ index) & Int32.max
            line += "\(prefix)offset: \(record.offset) \(Self.name(header.timestampType)): \(record.timestamp) "
            line += "keySize: \(record.key?.readableBytes ?? -1) valueSize: \(record.value?.readableBytes ?? -1) sequence: \(sequence) "
            line += "headerKeys: [\(record.headers.map(\.key).joined(separator: ","))]"
            prefix = " "
            if header.isControl { line += contents.control(record) }
        }
        if showsContents, !header.isControl { line += contents.text(record, prefix) }
        output.line(line)
    }

    /// Batches of formats from before Kafka 0.11, which no broker writes any more.
    private mutating func showLegacy(
        _ message: LegacyMessage, _ position: Int, _ output: inout OutputBuffer
    ) throws(RecordBatchError) {
        let codec = CompressionType(rawValue: UInt8(message.compressionIdentifier))?.name ?? "unknown"
        var isValid = true
        do throws(RecordBatchError) { try message.verifyChecksum() } catch { isValid = false }
        output.line(
            "offset: \(message.offset) position: \(position) size: \(message.sizeInBytes) magic: \(message.magic) compresscodec: \(codec) "
                + "isvalid: \(isValid)")
        guard showsRecords else { return }
        for record in try message.records() {
            note(record.offset)
            var line = "| offset: \(record.offset) CreateTime: \(record.timestamp) keySize: \(record.key?.readableBytes ?? -1) "
            line += "valueSize: \(record.value?.readableBytes ?? -1)"
            if showsContents { line += contents.text(record, " ") }
            output.line(line)
        }
    }
}
