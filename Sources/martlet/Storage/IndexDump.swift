// The small binary files beside a segment: offset, time and transaction index, producer snapshot.
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import Storage

/// Shows index files entry by entry.
enum IndexDump {
    /// Whole index files are read at once; Kafka's largest possible index is 2 GiB, its default 10 MiB.
    private static func entries(
        _ path: String, size: Int, _ dump: inout LogDump, _ body: (inout ByteBuffer, Int, inout LogDump) -> Bool
    ) throws(CommandFailure) {
        let file = try LogFile(path)
        var position = 0
        while position < file.size {
            var chunk = try file.read(at: position, count: size * 8192)
            guard chunk.readableBytes > 0 else { return }
            while chunk.readableBytes >= size {
                guard var entry = chunk.readSlice(length: size), body(&entry, position, &dump) else { return }
                position += size
            }
            if chunk.readableBytes > 0 {
                return dump.problem("\(chunk.readableBytes) bytes at the end are no whole entry", position: position)
            }
        }
    }

    private static func baseOffset(_ path: String) -> Offset {
        Offset(LogFile.name(of: path).prefix { $0.isNumber }) ?? 0
    }

    static func offsets(_ path: String, _ dump: inout LogDump) throws(CommandFailure) {
        let base = baseOffset(path)
        var last: (offset: Offset, position: Int32) = (-1, -1)
        try entries(path, size: 8, &dump) { entry, at, dump in
            guard let relative: Int32 = entry.readInteger(), let position: Int32 = entry.readInteger() else { return false }
            // An index in use is longer than its entries; what follows them is zero.
            if relative == 0, position == 0 { return false }
            let offset = base + Offset(relative)
            dump.add(
                "offsetIndexEntry", [("offset", .whole(offset)), ("position", .whole(position))], "offset \(offset)  position \(position)")
            if offset <= last.offset || position <= last.position { dump.problem("entries do not grow", position: at) }
            last = (offset, position)
            return true
        }
    }

    static func times(_ path: String, _ dump: inout LogDump) throws(CommandFailure) {
        let base = baseOffset(path)
        var last: (timestamp: Timestamp, offset: Offset) = (-1, -1)
        try entries(path, size: 12, &dump) { entry, at, dump in
            guard let timestamp: Int64 = entry.readInteger(), let relative: Int32 = entry.readInteger() else { return false }
            if timestamp == 0, relative == 0 { return false }
            let offset = base + Offset(relative)
            dump.add(
                "timeIndexEntry", [("timestamp", .whole(timestamp)), ("offset", .whole(offset))],
                "\(TimeText.of(timestamp)) (\(timestamp))  offset \(offset)")
            if timestamp <= last.timestamp || offset < last.offset { dump.problem("entries do not grow", position: at) }
            last = (timestamp, offset)
            return true
        }
    }

    static func transactions(_ path: String, _ dump: inout LogDump) throws(CommandFailure) {
        try entries(path, size: 34, &dump) { entry, at, dump in
            guard let aborted = try? AbortedTxn(decodingWithVersion: entry) else {
                dump.problem("unreadable entry", position: at)
                return false
            }
            dump.add(
                "abortedTransaction",
                [
                    ("producerId", .whole(aborted.producerId)), ("firstOffset", .whole(aborted.firstOffset)),
                    ("lastOffset", .whole(aborted.lastOffset)), ("lastStableOffset", .whole(aborted.lastStableOffset)),
                ],
                "producer \(aborted.producerId)  offsets \(aborted.firstOffset)..\(aborted.lastOffset)  "
                    + "lastStableOffset \(aborted.lastStableOffset)")
            return true
        }
    }

    static func producers(_ path: String, _ dump: inout LogDump) throws(CommandFailure) {
        let entries: [ProducerSnapshotEntry]
        do throws(StorageError) {
            entries = try ProducerSnapshotFile.read(path)
        } catch {
            return dump.problem("\(error)")
        }
        for entry in entries {
            let hasTransaction = entry.currentTransactionFirstOffset >= 0
            dump.add(
                "producer",
                [
                    ("producerId", .whole(entry.producerID)), ("producerEpoch", .whole(entry.producerEpoch)),
                    ("lastSequence", .whole(entry.lastSequence)), ("lastOffset", .whole(entry.lastOffset)),
                    ("offsetDelta", .whole(entry.offsetDelta)), ("timestamp", .whole(entry.timestamp)),
                    ("coordinatorEpoch", .whole(entry.coordinatorEpoch)),
                    ("currentTxnFirstOffset", .whole(entry.currentTransactionFirstOffset)),
                ],
                "producer \(entry.producerID)  epoch \(entry.producerEpoch)  lastSequence \(entry.lastSequence)  "
                    + "lastOffset \(entry.lastOffset)  \(TimeText.of(entry.timestamp))"
                    + (hasTransaction ? "  open transaction from \(entry.currentTransactionFirstOffset)" : ""))
        }
    }
}
