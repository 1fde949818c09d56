// `kafka-dump-log` on the offset and time indexes of a segment.
import NIOCore
import Primitives
import RecordBatches

struct IndexText {
    let path: String
    let options: ToolOptions

    private var isTime: Bool { path.hasSuffix(".timeindex") }
    private var base: Offset { Offset(LogFile.name(of: path).prefix { $0.isNumber }) ?? 0 }

    mutating func run() throws(CommandFailure) {
        let file = try LogFile(path)
        let size = isTime ? 12 : 8
        if !isTime, file.size < size { return Terminal.print("\(path) is empty.") }
        if options.has("index-sanity-check") {
            guard file.size % size == 0 else { throw CommandFailure("\(path): the size \(file.size) is no multiple of \(size)") }
            return Terminal.print("\(path) passed sanity check.")
        }
        var mismatches: [String] = []
        var position = 0
        while position + size <= file.size {
            var entry = try file.read(at: position, count: size)
            guard isTime ? showTime(&entry, isFirst: position == 0) : try showOffset(&entry, isFirst: position == 0, &mismatches) else {
                break
            }
            position += size
        }
        guard !mismatches.isEmpty else { return }
        Terminal.complain("Mismatches in :\(LogFile.absolute(path))\n" + mismatches.joined(separator: "\n"))
    }

    /// Returns false behind the last entry: an index in use is longer, and what follows is zero.
    private func showTime(_ entry: inout ByteBuffer, isFirst: Bool) -> Bool {
        guard let timestamp: Int64 = entry.readInteger(), let relative: Int32 = entry.readInteger() else { return false }
        if relative == 0, !isFirst || timestamp == 0 { return false }
        if !options.has("verify-index-only") { Terminal.print("timestamp: \(timestamp) offset: \(base + Offset(relative))") }
        return true
    }

    private func showOffset(
        _ entry: inout ByteBuffer, isFirst: Bool, _ mismatches: inout [String]
    ) throws(CommandFailure) -> Bool {
        guard let relative: Int32 = entry.readInteger(), let position: Int32 = entry.readInteger() else { return false }
        if relative == 0, position == 0 { return false }
        let offset = base + Offset(relative)
        if let last = try lastOffset(at: Int(position)), last != offset {
            mismatches.append("  Index offset: \(offset), log offset: \(last)")
        }
        if !options.has("verify-index-only") { Terminal.print("offset: \(offset) position: \(position)") }
        return true
    }

    /// The last offset of the batch at a position of the segment beside the index.
    private func lastOffset(at position: Int) throws(CommandFailure) -> Offset? {
        let file = try LogFile(path.replacing(isTime ? ".timeindex" : ".index", with: ".log"))
        let head = try file.read(at: position, count: RecordBatchHeader.size)
        guard RecordBatchHeader.magic(in: head) == 2, let header = try? RecordBatchHeader(from: head) else { return nil }
        return header.lastOffset
    }
}
