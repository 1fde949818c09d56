// A segment or a metadata snapshot, batch by batch and record by record.
import NIOCore
import Primitives
import RecordBatches

/// Walks over a segment file.
struct SegmentDump {
    var showsRecords = true
    var from = Offset.min
    var limit = Int.max
    private var view: StoredRecordView
    private var shown = 0

    init(_ decoding: RecordDecoding) {
        view = StoredRecordView(decoding)
    }

    mutating func run(_ file: borrowing LogFile, _ dump: inout LogDump) throws(CommandFailure) {
        var position = 0
        while position < file.size, shown < limit {
            let head = try file.read(at: position, count: RecordBatchHeader.size)
            guard head.readableBytes > RecordBatchHeader.Position.magic,
                let length: Int32 = head.getInteger(at: head.readerIndex + RecordBatchHeader.Position.batchLength)
            else {
                return dump.problem("\(file.size - position) bytes at the end are no whole batch", position: position)
            }
            let size = Int(length) + RecordBatchHeader.logOverhead
            guard size >= 26, size <= file.size - position else {
                let what = head.readableBytesView.allSatisfy { $0 == 0 } ? "only zeros" : "a batch of \(size) bytes"
                return dump.problem("\(what) where \(file.size - position) bytes are left", position: position)
            }
            let bytes = try file.read(at: position, count: size)
            do throws(RecordBatchError) {
                if RecordBatchHeader.magic(in: bytes) == 2 {
                    try show(try RecordBatch(bytes), position, &dump)
                } else {
                    try show(try LegacyMessage(bytes), position, &dump)
                }
            } catch {
                dump.problem("\(error)", position: position)
            }
            position += size
        }
    }

    private mutating func show(_ batch: RecordBatch, _ position: Int, _ dump: inout LogDump) throws(RecordBatchError) {
        let header = batch.header
        guard header.lastOffset >= from else { return }
        var isSound = true
        do throws(RecordBatchError) { try batch.verifyChecksum() } catch { isSound = false }
        dump.add("batch", members(header, position, isSound), text(header, position, isSound))
        if !isSound { dump.problem("the checksum of the batch at offset \(header.baseOffset) does not fit", position: position) }
        guard showsRecords else { return shown += 1 }
        var records = try batch.records()
        while shown < limit, let record = try records.next() {
            if record.offset >= from { show(record, isControl: header.isControl, &dump) }
        }
    }

    private mutating func show(_ message: LegacyMessage, _ position: Int, _ dump: inout LogDump) throws(RecordBatchError) {
        let codec = CompressionType(rawValue: UInt8(message.compressionIdentifier))?.name ?? "unknown"
        var isSound = true
        do throws(RecordBatchError) { try message.verifyChecksum() } catch { isSound = false }
        dump.add(
            "messageSet",
            [
                ("offset", .whole(message.offset)), ("position", .whole(position)), ("size", .whole(message.sizeInBytes)),
                ("magic", .whole(message.magic)), ("compression", .string(codec)), ("isValid", .bool(isSound)),
            ], "message \(message.offset)  position \(position)  size \(message.sizeInBytes)  magic \(message.magic)  \(codec)")
        if !isSound { dump.problem("the checksum of the message at offset \(message.offset) does not fit", position: position) }
        guard showsRecords else { return shown += 1 }
        for record in try message.records() where record.offset >= from && shown < limit { show(record, isControl: false, &dump) }
    }

    private mutating func show(_ record: Record, isControl: Bool, _ dump: inout LogDump) {
        shown += 1
        let content: [(String, JSONValue)]
        do throws(CommandFailure) {
            content = try view.members(record, isControl: isControl)
        } catch {
            return dump.problem("\(error)")
        }
        var members: [(String, JSONValue)] = [("offset", .whole(record.offset)), ("timestamp", .whole(record.timestamp))]
        members += content
        if !record.headers.isEmpty {
            members.append(
                ("headers", .array(record.headers.map { .object([("key", .string($0.key)), ByteText.member("value", $0.value)]) })))
        }
        dump.add(isControl ? "controlRecord" : "record", members, text(record, content))
    }

    private func text(_ record: Record, _ content: [(String, JSONValue)]) -> String {
        var text = "  \(record.offset)  \(TimeText.of(record.timestamp))"
        for (name, value) in content {
            switch name {
            case "type": text += "  " + (value.stringValue ?? "")
            case "version": text += " v" + value.text()
            case "data": text += "  " + value.text()
            default: text += "  \(name) \(value.text())"
            }
        }
        if !record.headers.isEmpty {
            text += "  headers " + record.headers.map { "\($0.key)=\(ByteText.of($0.value))" }.joined(separator: ", ")
        }
        return text
    }

    private func members(_ header: RecordBatchHeader, _ position: Int, _ isSound: Bool) -> [(String, JSONValue)] {
        [
            ("baseOffset", .whole(header.baseOffset)), ("lastOffset", .whole(header.lastOffset)), ("count", .whole(header.recordCount)),
            ("position", .whole(position)), ("size", .whole(header.sizeInBytes)), ("magic", 2),
            ("partitionLeaderEpoch", .whole(header.partitionLeaderEpoch)), ("compression", .string(codec(header))),
            ("timestampType", .string(header.timestampType == .createTime ? "CreateTime" : "LogAppendTime")),
            ("baseTimestamp", .whole(header.baseTimestamp)), ("maxTimestamp", .whole(header.maxTimestamp)),
            ("producerId", .whole(header.producerId)), ("producerEpoch", .whole(header.producerEpoch)),
            ("baseSequence", .whole(header.baseSequence)), ("lastSequence", .whole(header.hasProducerId ? header.lastSequence : -1)),
            ("isTransactional", .bool(header.isTransactional)), ("isControl", .bool(header.isControl)),
            ("deleteHorizonMs", .optional(header.deleteHorizon)), ("crc", .whole(header.crc)), ("isValid", .bool(isSound)),
        ]
    }

    private func text(_ header: RecordBatchHeader, _ position: Int, _ isSound: Bool) -> String {
        let records = "\(header.recordCount) record\(header.recordCount == 1 ? "" : "s")"
        var text = "batch \(header.baseOffset)..\(header.lastOffset)  \(records)  position \(position)  size \(header.sizeInBytes)"
        text += "  epoch \(header.partitionLeaderEpoch)  \(codec(header))"
        text += header.timestampType == .createTime ? "  CreateTime " : "  LogAppendTime "
        text += TimeText.of(header.maxTimestamp)
        if header.hasProducerId {
            text += "  producer \(header.producerId) epoch \(header.producerEpoch)"
            if header.baseSequence >= 0 { text += " sequence \(header.baseSequence)..\(header.lastSequence)" }
        }
        if header.isTransactional { text += "  transactional" }
        if header.isControl { text += "  control" }
        if let horizon = header.deleteHorizon { text += "  deleteHorizon \(TimeText.of(horizon))" }
        return text + (isSound ? "" : "  WRONG CHECKSUM")
    }

    private func codec(_ header: RecordBatchHeader) -> String {
        CompressionType(rawValue: UInt8(header.attributes.compressionIdentifier))?.name ?? "unknown codec"
    }
}
