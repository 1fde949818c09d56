// What a drill on real topics has found, for people and for auditors.
import Linking
import Primitives

/// What was seen of clients around a change of the cluster that takes writes.
struct DrillChange: Sendable {
    var from: DrillSide
    /// Nanoseconds from the last write seen on one side to the first seen on the other, of the partition that waited longest; nil where nobody
    /// wrote on both.
    var recoveryTime: Int64?
    /// Nanoseconds from the command to the first write on the other side.
    var firstWrite: Int64?
    /// Offsets acknowledged by the side that was left and not on the other.
    var lost: Int64 = 0
    var lostMilliseconds: Int64 = 0
    /// Offsets that the other side did not have when the command was given: what a death of the side that was left would have cost.
    var exposure: Int64 = 0
    /// Partitions that were written to before it, and those of them that were written to afterwards.
    var writtenBefore = 0
    var writtenAfter = 0
    /// The longest time without an acknowledgement of the drill's own producers, in nanoseconds; nil without any.
    var probeGap: Int64?
}

/// A step that was taken.
struct RealDrillStep: Sendable {
    var stage: DrillStage
    var topics: Int
    var at: Timestamp
    /// Nanoseconds from the command to the state that it leads to.
    var duration: Int64
    var change: DrillChange?
}

/// What the drill's own producers and consumer found.
struct DrillProbe: Sendable {
    var rate: Int
    var recordSize: Int
    var acknowledged: Int
    var failures: Int
    var findings: DrillFindings
    var consumer: DrillConsumer.Counts
}

struct RealDrillTopic: Sendable {
    var partitions: Int
    var before: DrillStanding
    var after: DrillStanding
}

struct RealDrillReport: DrillDocument {
    var kind: DrillKind
    var link: String
    var sourceClusterID: String
    var clusterID: String
    var startedAt: Timestamp
    var endedAt: Timestamp = 0
    var topics: [RealDrillTopic] = []
    var steps: [RealDrillStep] = []
    var probe: DrillProbe?
    var problems: [String] = []
    /// What leads on from here.
    var advice = ""

    private var changes: [DrillChange] { steps.compactMap(\.change) }
    /// By the drill's own records where it wrote some, or else by what was seen of others.
    private var recoveryTime: Int64? { changes.compactMap { probe == nil ? $0.recoveryTime : $0.probeGap }.max() }
    private var lost: Int64 { changes.reduce(0) { $0 + $1.lost } }

    private static func text(_ nanoseconds: Int64?) -> String { nanoseconds.map { "\(seconds($0)) s" } ?? "not seen" }
    private static func number(_ nanoseconds: Int64?) -> JSONValue { nanoseconds.map { .number(seconds($0)) } ?? .null }

    // MARK: JSON

    var json: JSONValue {
        let milliseconds = changes.map(\.lostMilliseconds).max() ?? 0
        return [
            "drill": .string(kind.rawValue), "forReal": true, "passed": .bool(isPassed), "link": .string(link),
            "sourceClusterId": .string(sourceClusterID), "clusterId": .string(clusterID), "startedAt": .string(TimeText.of(startedAt)),
            "endedAt": .string(TimeText.of(endedAt)), "measuredBy": .string(probe == nil ? "observation" : "probes"),
            "rtoSeconds": Self.number(recoveryTime),
            "rpo": ["records": .integer(lost), "seconds": .number(Double(milliseconds) / 1000)],
            "exposureRecords": .integer(changes.map(\.exposure).max() ?? 0),
            "duplicates": probe.map { .whole($0.findings.duplicates) } ?? .null,
            "probe": probe.map(Self.json) ?? .null,
            "steps": .array(steps.map(Self.json)),
            "topics": .array(
                topics.map { topic in
                    [
                        "topic": .string(topic.after.topic), "partitions": .whole(topic.partitions), "before": Self.json(topic.before),
                        "after": Self.json(topic.after),
                    ]
                }),
            "problems": .strings(problems), "next": .string(advice),
        ]
    }

    private static func json(_ step: RealDrillStep) -> JSONValue {
        var object = JSONObject([
            ("step", .string(step.stage.rawValue)), ("topics", .whole(step.topics)), ("at", .string(TimeText.of(step.at))),
            ("seconds", number(step.duration)),
        ])
        if let change = step.change {
            object.append("from", .string("\(change.from)"))
            object.append("rtoSeconds", number(change.recoveryTime))
            object.append("probeRtoSeconds", number(change.probeGap))
            object.append("firstWriteSeconds", number(change.firstWrite))
            object.append("lostRecords", .integer(change.lost))
            object.append("exposureRecords", .integer(change.exposure))
            object.append("partitionsWrittenBefore", .whole(change.writtenBefore))
            object.append("partitionsWrittenAfter", .whole(change.writtenAfter))
        }
        return .object(object)
    }

    private static func json(_ probe: DrillProbe) -> JSONValue {
        [
            "recordsPerSecond": .whole(probe.rate), "recordBytes": .whole(probe.recordSize), "acknowledged": .whole(probe.acknowledged),
            "refusedOrUnansweredWrites": .whole(probe.failures), "lost": .whole(probe.findings.lost),
            "missing": .whole(probe.findings.missing), "duplicates": .whole(probe.findings.duplicates),
            "consumer": ["records": .whole(probe.consumer.records), "duplicates": .whole(probe.consumer.duplicates)],
        ]
    }

    static func json(_ standing: DrillStanding) -> JSONValue {
        [
            "here": standing.here.map { .string($0.rawValue) } ?? .null, "source": standing.source.map { .string($0.rawValue) } ?? .null,
            "fencedHere": .bool(standing.isFencedHere), "fencedAtSource": .bool(standing.isFencedAtSource),
            "takesWrites": .strings(standing.writable.map { "\($0)" }),
        ]
    }

    // MARK: Text

    /// What was measured, a line each.
    private var figures: [(String, String)] {
        var lines: [(String, String)] = [
            (
                probe == nil ? "RTO: last write seen on one side to the first on the other" : "RTO: longest gap of the drill's own writes",
                Self.text(recoveryTime)
            ),
            ("RPO: records acknowledged by the side that was left, and lost", "\(lost)"),
            ("RPO: time that they span, by their timestamps", "\(Double(changes.map(\.lostMilliseconds).max() ?? 0) / 1000) s"),
        ]
        for step in steps {
            lines.append(("\(step.stage.rawValue): command to done", Self.text(step.duration)))
            guard let change = step.change else { continue }
            lines.append(("\(step.stage.rawValue): command to first write seen", Self.text(change.firstWrite)))
            lines.append(("\(step.stage.rawValue): what a sudden death would have cost", "\(change.exposure) records"))
            lines.append(
                ("\(step.stage.rawValue): partitions written to before, of them after", "\(change.writtenBefore), \(change.writtenAfter)"))
        }
        guard let probe else {
            lines.append(("Duplicates", "not counted: that takes records of the drill (--probe)"))
            return lines
        }
        lines.append(("Duplicates among the drill's own records", "\(probe.findings.duplicates)"))
        lines.append(("The drill's own records acknowledged, of them lost", "\(probe.acknowledged), \(probe.findings.lost)"))
        lines.append(("Writes refused or not answered, written again", "\(probe.failures)"))
        lines.append(("The drill's consumer: records, of them twice", "\(probe.consumer.records), \(probe.consumer.duplicates)"))
        return lines
    }

    private var title: String { "Drill \(kind.rawValue) over link '\(link)', for real" }

    private var ends: [[String]] {
        topics.map { topic in
            [topic.after.topic, Self.words(topic.before), Self.words(topic.after), Self.writers(topic.after)]
        }
    }

    /// What a topic is, in words.
    static func words(_ standing: DrillStanding) -> String { standing.here?.rawValue ?? "no mirror" }

    static func writers(_ standing: DrillStanding) -> String {
        standing.writable.isEmpty ? "nobody" : standing.writable.map(\.name).joined(separator: " and ")
    }

    var text: String {
        var table = TextTable("MEASURED", ">")
        for (name, value) in figures { table.add(name, value) }
        var ending = TextTable("TOPIC", "MIRROR WAS", "IS", "WRITES ARE TAKEN BY")
        for line in ends { ending.add(line) }
        return "\(title): \(isPassed ? "passed" : "NOT passed")\n\n\(table.text)\n\n\(ending.text)" + problems.map { "\n\n\($0)" }.joined()
            + (advice.isEmpty ? "" : "\n\n\(advice)")
    }

    var markdown: String {
        var lines = [
            "# \(title): \(isPassed ? "passed" : "not passed")", "",
            "| | |", "|---|---|",
            "| From | \(TimeText.of(startedAt)) to \(TimeText.of(endedAt)) |",
            "| Source cluster | \(sourceClusterID) |", "| Mirroring cluster | \(clusterID) |",
            "| Topics | \(topics.count), with \(topics.reduce(0) { $0 + $1.partitions }) partitions |",
            "| Measured | \(measure) |", "",
            "## Measured", "", "| what | how much |", "|---|---|",
        ]
        for (name, value) in figures { lines.append("| \(name) | \(value) |") }
        lines += ["", "## Course", "", "| time | step | topics | took |", "|---|---|---|---|"]
        for step in steps {
            lines.append("| \(TimeText.of(step.at)) | \(step.stage.rawValue) | \(step.topics) | \(Self.text(step.duration)) |")
        }
        lines += ["", "## Topics in the end", "", "| topic | mirror was | is | writes are taken by |", "|---|---|---|---|"]
        for line in ends { lines.append("| \(line.joined(separator: " | ")) |") }
        if !problems.isEmpty { lines += ["", "## What did not go as it should", ""] + problems.map { "- \($0)" } }
        if !advice.isEmpty { lines += ["", advice] }
        return lines.joined(separator: "\n") + "\n"
    }

    private var measure: String {
        guard let probe else {
            return "by the ends of partitions, looked at every \(DrillObserver.pauseMilliseconds) ms; nothing was written"
        }
        return "by \(probe.rate) records of \(probe.recordSize) bytes a second with the header \(RealDrillRun.header)"
    }
}
