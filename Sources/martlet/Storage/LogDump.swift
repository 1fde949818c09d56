// Where a dump goes: lines for people with the file's name above them, or one JSON object a line.
import Primitives

/// The output of `martlet log dump`.
struct LogDump {
    let json: Bool
    private(set) var problems = 0
    private var path = ""
    private var isFirst = true
    private var buffer = OutputBuffer()

    init(json: Bool) {
        self.json = json
    }

    mutating func begin(_ path: String) {
        self.path = path
        if !json { buffer.line((isFirst ? "" : "\n") + path) }
        isFirst = false
    }

    /// One thing found in the file.
    ///
    /// - Parameters:
    ///   - kind: for programs, such as `batch`.
    ///   - members: what JSON says of it.
    ///   - text: what people read.
    mutating func add(_ kind: String, _ members: @autoclosure () -> [(String, JSONValue)], _ text: @autoclosure () -> String) {
        if json {
            buffer.line(JSONValue.object([("file", .string(path)), ("kind", .string(kind))] + members()).text())
        } else {
            buffer.line("  " + text())
        }
    }

    /// Something that should not be there, or be otherwise.
    mutating func problem(_ message: String, position: Int? = nil) {
        problems += 1
        var members: [(String, JSONValue)] = [("message", .string(message))]
        if let position { members.append(("position", .whole(position))) }
        add("problem", members, "PROBLEM: " + message + (position.map { " (at byte \($0))" } ?? ""))
    }

    mutating func finish() {
        buffer.flush()
        if problems > 0 { Terminal.complain("\(problems) problem\(problems == 1 ? "" : "s") found") }
    }
}
