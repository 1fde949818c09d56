// `--reset-offsets` of the tools of groups: works out new offsets by the scenario that the command line names, and shows them.
import Configuration
import MartletClient
import Primitives

/// New offsets of partitions.
typealias NewOffsets = [(partition: TopicPartition, offset: Int64)]

struct OffsetScenario {
    static let names = [
        "to-offset", "shift-by", "to-datetime", "by-duration", "to-earliest", "to-latest", "to-current", "from-file",
    ]

    let options: ToolOptions
    let admin: AdminClient

    /// Fails when the command line names no scenario.
    func require(_ names: [String] = Self.names) throws {
        guard !names.contains(where: { options.has($0) }) else { return }
        throw CommandFailure(
            "Option '[reset-offsets]' requires one of the following scenarios: ["
                + names.map { "[\($0)]" }.joined(separator: ", ") + "]")
    }

    /// - Parameters:
    ///   - partitions: those in question; none when a file names them.
    ///   - committed: where the group is, for scenarios that begin there.
    func offsets(
        of group: String, _ partitions: [TopicPartition], committed: () async throws -> [TopicPartition: Int64]
    ) async throws -> NewOffsets {
        try await unordered(of: group, partitions, committed: committed).sorted { $0.partition < $1.partition }
    }

    private func unordered(
        of group: String, _ partitions: [TopicPartition], committed: () async throws -> [TopicPartition: Int64]
    ) async throws -> NewOffsets {
        if let offset = options.integer("to-offset") {
            return try await withinLog(partitions.map { ($0, Int64(offset)) })
        }
        if options.has("to-earliest") { return try await listed(partitions, .earliest) }
        if options.has("to-latest") { return try await listed(partitions, .latest) }
        if let text = options.value("to-datetime") { return try await atTime(partitions, try DateText.milliseconds(text)) }
        if let text = options.value("by-duration") {
            return try await atTime(partitions, SystemClock.now() - (try DateText.durationMilliseconds(text)))
        }
        if options.has("from-file") { return try await withinLog(try planned(group)) }
        let committed = try await committed()
        if let shift = options.integer("shift-by") {
            let wanted = try partitions.map { partition in
                guard let current = committed[partition] else {
                    throw CommandFailure("Cannot shift offset for partition \(partition) since there is no current committed offset")
                }
                return (partition, current + Int64(shift))
            }
            return try await withinLog(wanted)
        }
        let known = partitions.compactMap { partition in committed[partition].map { (partition, $0) } }
        return known + (try await listed(partitions.filter { committed[$0] == nil }, .latest))
    }

    /// Shows what was, or would be, reset: as a table or, with `--export`, as CSV.
    ///
    /// - Parameter isFitted: whether columns are as wide as their names, and not as wide as the older tools make them.
    func show(_ resets: [(group: String, offsets: NewOffsets)], isFitted: Bool = false) {
        if options.has("export") { return Terminal.print(exported(resets)) }
        func width(_ names: [String]) -> Int { isFitted ? max(15, names.map(\.count).max() ?? 0) : 30 }
        let groupWidth = width(resets.map(\.group))
        let topicWidth = width(resets.flatMap { $0.offsets.map(\.partition.topic) })
        func line(_ cells: [String]) -> String {
            "\n" + JavaFormat.row([(cells[0], groupWidth), (cells[1], topicWidth), (cells[2], 10), (cells[3], isFitted ? 0 : 15)])
        }
        var text = resets.isEmpty ? "" : line(["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"])
        for (group, offsets) in resets {
            for (partition, offset) in offsets { text += line([group, partition.topic, "\(partition.partition)", "\(offset)"]) }
        }
        Terminal.print(text)
    }

    private func exported(_ resets: [(group: String, offsets: NewOffsets)]) -> String {
        let isOne = options.values("group").count == 1
        var text = ""
        for (group, offsets) in resets {
            for (partition, offset) in offsets {
                text += (isOne ? "" : CSV.field(group) + ",") + "\(CSV.field(partition.topic)),\(partition.partition),\(offset)\n"
            }
        }
        return text
    }

    // MARK: New offsets

    private func listed(_ partitions: [TopicPartition], _ query: OffsetQuery) async throws(KafkaError) -> NewOffsets {
        try await admin.listOffsets(partitions.map { ($0, query) }).map { outcome throws(KafkaError) in
            (outcome.item, try outcome.result.get().offset)
        }
    }

    /// The first offsets at a time, or the ends where no record is so late.
    private func atTime(_ partitions: [TopicPartition], _ time: Int64) async throws(KafkaError) -> NewOffsets {
        var found = try await listed(partitions, .timestamp(time))
        let without = found.filter { $0.offset < 0 }.map(\.partition)
        for partition in without {
            Terminal.print(
                "\nWarn: Partition \(partition.partition) from topic \(partition.topic) is empty. Falling back to latest known offset.")
        }
        found.removeAll { $0.offset < 0 }
        return found + (try await listed(without, .latest))
    }

    /// Offsets that the logs do not have become the nearest ones.
    private func withinLog(_ wanted: NewOffsets) async throws(KafkaError) -> NewOffsets {
        let partitions = wanted.map(\.partition)
        let starts = Dictionary(
            try await listed(partitions, .earliest).map { ($0.partition, $0.offset) }, uniquingKeysWith: { first, _ in first })
        let ends = Dictionary(
            try await listed(partitions, .latest).map { ($0.partition, $0.offset) }, uniquingKeysWith: { first, _ in first })
        return wanted.map { partition, offset in
            if let end = ends[partition], offset > end {
                Terminal.complain(
                    "WARN New offset (\(offset)) is higher than latest offset for topic partition \(partition). Value will be set to \(end)"
                )
                return (partition, end)
            }
            if let start = starts[partition], offset < start {
                Terminal.complain(
                    "WARN New offset (\(offset)) is lower than earliest offset for topic partition \(partition). Value will be set to "
                        + "\(start)")
                return (partition, start)
            }
            return (partition, offset)
        }
    }

    /// What the file says for a group: `topic,partition,offset` for one group, with the group before it for several.
    private func planned(_ group: String) throws -> NewOffsets {
        let path = options.value("from-file") ?? ""
        guard case .success(let text) = ConfigurationFile.text(path) else {
            throw CommandFailure("java.nio.file.NoSuchFileException: \(path)")
        }
        var offsets: NewOffsets = []
        for line in text.split(whereSeparator: \.isNewline) {
            var fields = line.split(separator: ",").map { String($0).trimmingBlanks.filter { $0 != "\"" } }
            if fields.count == 4 {
                guard fields.removeFirst() == group else { continue }
            }
            guard fields.count == 3, let partition = Int32(fields[1]), let offset = Int64(fields[2]) else {
                throw CommandFailure("\(path): '\(line)' is not of the form topic,partition,offset")
            }
            offsets.append((TopicPartition(fields[0], partition), offset))
        }
        if offsets.isEmpty { Terminal.print("\nError: No reset plan for group \(group) found") }
        return offsets
    }
}

private enum CSV {
    /// Quoted where it has to be.
    static func field(_ text: String) -> String {
        text.contains(where: { $0 == "," || $0 == "\"" }) ? "\"" + text.replacing("\"", with: "\"\"") + "\"" : text
    }
}
