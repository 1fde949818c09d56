// The files of a data directory that are text: checkpoints, properties, the quorum's state.
import NIOCore
import Primitives

/// Shows text files by their meaning.
enum TextFileDump {
    private static let largest = 64 << 20

    static func run(_ path: String, _ dump: inout LogDump) throws(CommandFailure) {
        let file = try LogFile(path)
        guard file.size <= largest else { return dump.problem("\(file.size) bytes are too many for such a file") }
        let bytes = try file.read(at: 0, count: file.size)
        guard let text = bytes.withUnsafeReadableBytes({ String(validating: $0, as: UTF8.self) }) else {
            return dump.problem("the file is not text")
        }
        let name = LogFile.name(of: path)
        if name == "leader-epoch-checkpoint" {
            lines(text, &dump) { line, dump in
                let fields = line.split(separator: " ")
                guard fields.count == 2, let epoch = LeaderEpoch(fields[0]), let offset = Offset(fields[1]) else { return false }
                dump.add(
                    "leaderEpoch", [("epoch", .whole(epoch)), ("startOffset", .whole(offset))], "epoch \(epoch)  startOffset \(offset)")
                return true
            }
        } else if name.hasSuffix("-checkpoint") {
            lines(text, &dump) { line, dump in
                let fields = line.split(separator: " ")
                guard fields.count == 3, let partition = Int32(fields[1]), let offset = Offset(fields[2]) else { return false }
                dump.add(
                    "checkpoint",
                    [("topic", .string(String(fields[0]))), ("partition", .whole(partition)), ("offset", .whole(offset))],
                    "\(fields[0])-\(partition)  \(offset)")
                return true
            }
        } else if name == "quorum-state" || name == ".kafka_cleanshutdown" {
            json(text, name == "quorum-state" ? "quorumState" : "cleanShutdown", &dump)
        } else {
            properties(text, separator: name == "partition.metadata" ? ":" : "=", &dump)
        }
    }

    /// A version, a count, and as many lines.
    private static func lines(_ text: String, _ dump: inout LogDump, _ show: (Substring, inout LogDump) -> Bool) {
        let lines = text.split(separator: "\n")
        guard lines.first == "0" else { return dump.problem("version is \(lines.first ?? "missing"), not 0") }
        guard lines.count >= 2, Int(lines[1]) == lines.count - 2 else { return dump.problem("the count does not fit the entries") }
        for line in lines[2...] where !show(line, &dump) { dump.problem("unreadable line: \(line)") }
    }

    private static func json(_ text: String, _ kind: String, _ dump: inout LogDump) {
        guard let value = try? JSONValue(parsing: text) else { return dump.problem("the file is not JSON") }
        dump.add(kind, [("data", value)], value.text())
    }

    private static func properties(_ text: String, separator: Character, _ dump: inout LogDump) {
        var members: [(String, JSONValue)] = []
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let parts = line.split(separator: separator, maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { return dump.problem("unreadable line: \(line)") }
            let value = parts[1].drop { $0 == " " }
            members.append((String(parts[0]), .string(String(value))))
        }
        dump.add("properties", members, members.map { "\($0.0)=\($0.1.stringValue ?? "")" }.joined(separator: "\n  "))
    }
}
