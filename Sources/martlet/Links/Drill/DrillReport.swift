// What a drill has found, for people and for auditors: a page in markdown, and the same as JSON.
import Glibc
import Linking
import Primitives

/// What is handed on of a drill.
protocol DrillDocument: Sendable {
    /// What did not go as it should.
    var problems: [String] { get }
    var json: JSONValue { get }
    /// For the terminal.
    var text: String { get }
    /// For auditors.
    var markdown: String { get }
}

extension DrillDocument {
    var isPassed: Bool { problems.isEmpty }

    static func seconds(_ nanoseconds: Int64) -> Double { (Double(nanoseconds) / 1e6).rounded() / 1000 }

    /// Writes the page and the JSON beside it: FILE.md and FILE.json.
    func write(to path: String) throws {
        var base = path
        for ending in [".md", ".json"] where base.hasSuffix(ending) { base.removeLast(ending.count) }
        try Self.write(markdown, to: base + ".md")
        try Self.write(json.text(indentation: 2) + "\n", to: base + ".json")
    }

    private static func write(_ text: String, to path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw CommandFailure("cannot write \(path): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var text = text
        let isWritten = text.withUTF8 { Glibc.write(descriptor, $0.baseAddress, $0.count) == $0.count }
        guard isWritten else { throw CommandFailure("cannot write \(path): \(String(cString: strerror(errno)))") }
    }
}

/// One change of the writing side within a drill.
struct DrillStep: Sendable {
    /// Such as "promote here".
    var name: String
    var from: DrillSide
    var to: DrillSide
    /// Wall clock when the command was given.
    var at: Timestamp
    /// Nanoseconds from the command to the state STOPPED, that is, writable.
    var writable: Int64
    /// Nanoseconds from the command to the first acknowledged record on the other side.
    var firstWrite: Int64
    /// The longest time that a producer went without an acknowledgement around it, in nanoseconds.
    var gap: Int64 = 0
}

struct DrillReport: DrillDocument {
    var kind: String
    var link: String
    var sourceClusterID: String
    var clusterID: String
    var topic: String
    var partitions: Int32
    var rate: Int
    var recordSize: Int
    var startedAt: Timestamp
    var endedAt: Timestamp = 0
    var steps: [DrillStep] = []
    var acknowledged = 0
    var acknowledgedAtSource = 0
    var failures = 0
    var findings: DrillFindings
    var consumer = DrillConsumer.Counts()
    /// Nanoseconds from the order to restore to the old source being a mirror that has everything; nil where nothing was restored.
    var restored: Int64?
    var problems: [String] = []

    /// The longest time without an acknowledged write, in nanoseconds.
    var recoveryTime: Int64 { steps.map(\.gap).max() ?? 0 }

    private static func text(_ nanoseconds: Int64) -> String { "\(seconds(nanoseconds)) s" }

    private static func counted(_ count: Int, _ word: String) -> String { "\(count) \(word)\(count == 1 ? "" : "s")" }

    var json: JSONValue {
        [
            "drill": .string(kind), "passed": .bool(isPassed), "link": .string(link), "sourceClusterId": .string(sourceClusterID),
            "clusterId": .string(clusterID), "topic": .string(topic), "partitions": .whole(partitions), "recordsPerSecond": .whole(rate),
            "recordBytes": .whole(recordSize), "startedAt": .string(TimeText.of(startedAt)), "endedAt": .string(TimeText.of(endedAt)),
            "rtoSeconds": .number(Self.seconds(recoveryTime)),
            "rpo": ["records": .whole(findings.lost), "seconds": .number(Self.seconds(findings.lostNanoseconds))],
            "duplicates": .whole(findings.duplicates),
            "acknowledged": ["records": .whole(acknowledged), "atSource": .whole(acknowledgedAtSource)],
            "writtenWithoutAcknowledgement": .whole(findings.unacknowledged), "missing": .whole(findings.missing),
            "refusedOrUnansweredWrites": .whole(failures),
            "restoreSeconds": restored.map { .number(Self.seconds($0)) } ?? .null,
            "steps": .array(
                steps.map { step in
                    [
                        "step": .string(step.name), "at": .string(TimeText.of(step.at)),
                        "writableSeconds": .number(Self.seconds(step.writable)),
                        "firstWriteSeconds": .number(Self.seconds(step.firstWrite)), "rtoSeconds": .number(Self.seconds(step.gap)),
                    ]
                }),
            "consumer": [
                "records": .whole(consumer.records), "duplicates": .whole(consumer.duplicates),
                "longestGapSeconds": .number(Self.seconds(consumer.longestGap)), "setBackPartitions": .whole(consumer.setBack),
                "setBackRecords": .integer(consumer.setBackRecords),
            ],
            "problems": .strings(problems),
        ]
    }

    /// What was measured, a line each: what and how much.
    private var figures: [(String, String)] {
        var lines: [(String, String)] = [
            ("RTO: longest gap of acknowledged writes", Self.text(recoveryTime)),
            ("RPO: acknowledged records that are lost", Self.counted(findings.lost, "record")),
            ("RPO: time that they span", Self.text(findings.lostNanoseconds)),
            ("Duplicates in the topic", "\(findings.duplicates)"),
            ("Acknowledged records", "\(acknowledged), of them \(acknowledgedAtSource) by the source"),
            ("Writes refused or not answered, written again", "\(failures)"),
        ]
        for step in steps {
            lines.append(("\(step.name): command to writable", Self.text(step.writable)))
            lines.append(("\(step.name): command to first acknowledged write", Self.text(step.firstWrite)))
        }
        if let restored { lines.append(("Restore: command to the old source being a mirror with everything", Self.text(restored))) }
        lines.append(("Consumer: records, of them twice", "\(consumer.records), \(consumer.duplicates)"))
        lines.append(("Consumer: longest time without a record", Self.text(consumer.longestGap)))
        if consumer.setBack > 0 {
            lines.append(
                ("Consumer: set back to the end", "\(Self.counted(consumer.setBack, "partition")), by \(consumer.setBackRecords) records"))
        }
        return lines
    }

    var text: String {
        var table = TextTable("MEASURED", ">")
        for (name, value) in figures { table.add(name, value) }
        return "\(title): \(isPassed ? "passed" : "NOT passed")\n\n" + table.text + problems.map { "\n\n\($0)" }.joined()
    }

    private var title: String { "Drill \(kind) over link '\(link)'" }

    var markdown: String {
        var lines = [
            "# \(title): \(isPassed ? "passed" : "not passed")", "",
            "| | |", "|---|---|",
            "| From | \(TimeText.of(startedAt)) to \(TimeText.of(endedAt)) |",
            "| Source cluster | \(sourceClusterID) |", "| Mirroring cluster | \(clusterID) |",
            "| Topic | \(topic), \(Self.counted(Int(partitions), "partition")), made for the drill and removed afterwards |",
            "| Load | \(rate) records of \(recordSize) bytes a second, acks=all, idempotent |", "",
            "## Measured", "", "| what | how much |", "|---|---|",
        ]
        for (name, value) in figures { lines.append("| \(name) | \(value) |") }
        lines += ["", "## Course", "", "| time | step | producers went without an acknowledgement for |", "|---|---|---|"]
        for step in steps {
            lines.append("| \(TimeText.of(step.at)) | \(step.name): from \(step.from.name) to \(step.to.name) | \(Self.text(step.gap)) |")
        }
        if !problems.isEmpty { lines += ["", "## What did not go as it should", ""] + problems.map { "- \($0)" } }
        return lines.joined(separator: "\n") + "\n"
    }
}
